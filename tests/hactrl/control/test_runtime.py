"""The wiring between engine, compiler and everybody who carries something out.

The engine is the real one, on a clock that the test holds, or a script where only what happens
to its effects matters. Alarms are kept, not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import eventlet
import pytest
from campus_network import campus, site_of
from eventlet.queue import LightQueue
from simulation import MAIL, PROBER_PORT, make_site

from flows.barrier.compile import BarrierCompiler
from flows.planner import Planner
from hactrl.control import runtime as shell
from hactrl.control.planning import backbone_plan, barrier_plan
from hactrl.control.present import Present
from hactrl.control.runtime import MOST_WAITING, Outlets, Runtime, look_round
from hactrl.control.stretch import LONGEST, Stretch
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import (
    EFFECTS,
    AnswerRequest,
    AskAgent,
    Effect,
    FencePower,
    GrantLease,
    KeepHosts,
    Obstacle,
    ProbeEagerly,
    Reason,
    Record,
    Remember,
    StorePlacement,
    Verb,
    Wake,
)
from hactrl.engine.events import (
    AgentConnected,
    Event,
    Held,
    HostSighted,
    LinkHeard,
    PortChanged,
    ProbeChanged,
    Requested,
    RequestKind,
    RulesInstalled,
    SwitchConnected,
    Tick,
)
from hactrl.engine.state import State
from hactrl.health.targets import targets
from hactrl.site.model import Site
from hactrl.switches.session import Wanted
from hactrl.vocabulary import Holding, Verdict
from topology.discovery import round_time
from topology.hosts import Sighting
from topology.model import Attachment

STARTED = 100.0
PORTS = frozenset({*range(1, 7), PROBER_PORT})


class Alarm:
    """What `hub.spawn_after` gives."""

    def __init__(self, delay: float, ring: Callable[[], None]) -> None:
        self.delay = delay
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Controller:
    """A runtime whose two greenlets run until the test ends."""

    def __init__(self, site: Site) -> None:
        self.now = STARTED
        self.log: list[str] = []
        self.carried_out: list[tuple[str, Any]] = []
        self.handed_out: list[tuple[str, Wanted]] = []
        self.on_hand_out: Callable[[str], None] = lambda _switch: None
        outlets: Outlets = {
            kind: partial(self._note, kind.__name__)
            for kind in EFFECTS
            if kind not in (Wake, AnswerRequest)
        }
        self.planner = Planner(Stretch().pause)
        self.runtime = Runtime(
            Present(initial(site, {}, self.now)),
            LightQueue(),
            outlets,
            self.planner,
            want=self._want,
            clock=lambda: self.now,
        )
        self._greenlets = [
            eventlet.spawn(self.runtime.run),
            *(eventlet.spawn(rulebook.run) for rulebook in self.runtime.rulebooks),
        ]

    def _note(self, outlet: str, what: Any) -> None:
        self.log.append(outlet)
        self.carried_out.append((outlet, what))

    def _want(self, switch: str, wanted: Wanted) -> None:
        self.log.append("want")
        self.handed_out.append((switch, wanted))
        self.on_hand_out(switch)

    def tell(self, *events: Event) -> None:
        """Post, and let everybody work until all wait."""
        for event in events:
            self.runtime.post(event)
        for _ in range(20):
            eventlet.sleep(0)

    def last(self, switch: str) -> Wanted:
        return [wanted for name, wanted in self.handed_out if name == switch][-1]

    def end(self) -> None:
        for greenlet in self._greenlets:
            greenlet.kill()


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[Alarm]:
    kept: list[Alarm] = []

    def keep(delay: float, function: Callable[..., None], *arguments: Any) -> Alarm:
        kept.append(Alarm(delay, lambda: function(*arguments)))
        return kept[-1]

    monkeypatch.setattr(shell.hub, "spawn_after", keep)
    return kept


def probed_site() -> Site:
    """The simulation's, with a source address for each card, without which nothing is probed."""
    site = make_site()
    segments = {}
    for name, segment in site.network.segments.items():
        assert segment.prober is not None
        cards = [c.name for c in site.network.interfaces.values() if c.segment == name]
        first = segment.networks[0][100]
        sources = {card: (ip_address(int(first) + n),) for n, card in enumerate(cards)}
        segments[name] = replace(segment, prober=replace(segment.prober, sources=sources))
    return replace(site, network=replace(site.network, segments=segments))


@pytest.fixture
def controller(alarms: list[Alarm]) -> Iterator[Controller]:
    del alarms  # only kept
    started = Controller(probed_site())
    yield started
    started.end()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Effect]:
    """The engine answers every event with the effects that a test puts here, once."""
    effects: list[Effect] = []

    def decide(state: State, _event: Event, _now: float) -> tuple[State, tuple[Effect, ...]]:
        wanted = tuple(effects)
        effects.clear()
        return state, wanted

    monkeypatch.setattr(shell, "decide", decide)
    return effects


def agents(holding: Holding = Holding.NOTHING) -> list[Event]:
    said = (Held(MAIL, holding, 0),)
    return [AgentConnected("alpha", "b1", said), AgentConnected("beta", "b1", said)]


def switches() -> list[Event]:
    return [SwitchConnected("outer", PORTS), SwitchConnected("inner", PORTS)]


def verdicts(site: Site, verdict: Verdict) -> list[Event]:
    return [ProbeChanged(t.role, t.service, t.interface, verdict, "") for t in targets(site)]


# Effects


@pytest.mark.parametrize(
    ("outlet", "effect"),
    [
        ("AskAgent", AskAgent(1, "alpha", Verb.RELEASE, MAIL, 2)),
        ("FencePower", FencePower(1, "alpha")),
        ("StorePlacement", StorePlacement(1, MAIL, "alpha", 2)),
        ("Remember", Remember(1, "{}")),
        ("GrantLease", GrantLease("r", True, 4.0)),
        ("ProbeEagerly", ProbeEagerly(MAIL, "alpha", 103.0)),
    ],
)
def test_an_effect_goes_to_who_carries_it_out(
    controller: Controller, scripted: list[Effect], outlet: str, effect: Effect
) -> None:
    scripted.append(effect)
    controller.tell(Tick())
    assert controller.carried_out == [(outlet, effect)]


def test_a_record_goes_to_the_journal_with_the_time_of_its_event(
    controller: Controller, scripted: list[Effect]
) -> None:
    controller.now = 123.0
    scripted.append(Record("port.up", ""))
    controller.tell(Tick())
    assert controller.carried_out == [("Record", Record("port.up", ""))]


def test_what_starts_something_leaves_before_rules_are_compiled(controller: Controller) -> None:
    settle(controller)
    controller.log.clear()
    controller.tell(PortChanged(Attachment("outer", 3), False))  # where beta serves RELAY
    assert controller.log.index("ProbeEagerly") < controller.log.index("want")


@pytest.mark.parametrize(
    ("effects", "order"),
    [
        ([Record("port.down", "")], ["want", "want", "Record"]),
        ([Remember(1, "{}")], ["want", "want", "Remember"]),
        ([KeepHosts(())], ["want", "want", "KeepHosts"]),
        (
            [Remember(1, "{}"), StorePlacement(2, MAIL, "alpha", 2)],
            ["Remember", "StorePlacement", "want", "want"],
        ),
    ],
)
def test_what_is_only_written_down_leaves_when_rules_have_been_handed_out(
    controller: Controller,
    monkeypatch: pytest.MonkeyPatch,
    effects: list[Effect],
    order: list[str],
) -> None:
    settle(controller)
    controller.log.clear()
    version = controller.runtime.state.version + 1
    monkeypatch.setattr(
        shell, "decide", lambda state, *_: (state.changed(version=version), tuple(effects))
    )
    controller.tell(Tick())
    assert controller.log == order


def test_an_alarm_replaces_the_one_before(
    controller: Controller, scripted: list[Effect], alarms: list[Alarm]
) -> None:
    controller.tell()
    alarms.clear()
    scripted.append(Wake(STARTED + 4.0))
    controller.tell(Tick())
    scripted.append(Wake(STARTED + 2.5))
    controller.tell(Tick())
    assert [(alarm.delay, alarm.cancelled) for alarm in alarms] == [(4.0, True), (2.5, False)]


def test_an_alarm_whose_time_has_passed_rings_at_once(
    controller: Controller, scripted: list[Effect], alarms: list[Alarm]
) -> None:
    scripted.append(Wake(STARTED - 1.0))
    controller.tell(Tick())
    assert alarms[-1].delay == 0.0


def test_an_alarm_that_rings_makes_the_engine_look_round(
    controller: Controller, scripted: list[Effect], alarms: list[Alarm]
) -> None:
    scripted.append(Wake(STARTED + 4.0))
    controller.tell(Tick())
    scripted.append(Record("role.waiting", MAIL))
    alarms[-1].ring()
    controller.tell()
    assert [name for name, _ in controller.carried_out] == ["Record"]


# Requests


def test_a_request_is_answered_by_the_engine(controller: Controller) -> None:
    answer = controller.runtime.submit(
        Requested("r1", RequestKind.FAILOVER, "nonsense", None, "to see")
    )
    assert not answer.accepted
    assert answer.obstacles == (Obstacle(Reason.UNKNOWN_ROLE, "nonsense"),)


def test_each_of_two_requests_gets_its_own_answer(controller: Controller) -> None:
    first, second = (
        eventlet.spawn(
            controller.runtime.submit, Requested(name, RequestKind.FAILOVER, name, None, "to see")
        )
        for name in ("one", "two")
    )
    assert second.wait().request == "two"
    assert first.wait().request == "one"


def test_a_request_that_is_not_answered_in_time_raises_and_a_late_answer_harms_nobody(
    controller: Controller, scripted: list[Effect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "ANSWER_TIMEOUT", 0.01)
    with pytest.raises(TimeoutError):
        controller.runtime.submit(Requested("late", RequestKind.FAILOVER, MAIL, None, "to see"))
    scripted += [AnswerRequest("late", True), FencePower(1, "alpha")]
    controller.tell(Tick())
    assert controller.carried_out == [("FencePower", FencePower(1, "alpha"))]


# Looking round


def test_until_it_has_settled_rules_are_provisional(controller: Controller) -> None:
    controller.tell(*switches(), *agents())
    assert {name for name, _ in controller.handed_out} == {"outer", "inner"}
    assert all(wanted.provisional for _, wanted in controller.handed_out)


def test_it_has_settled_once_every_agent_has_spoken_and_every_probe_has_a_verdict(
    controller: Controller,
) -> None:
    site = controller.runtime.state.site
    *most, last = verdicts(site, Verdict.UNHEALTHY)
    controller.tell(*switches(), *agents(), *most)
    assert controller.last("outer").provisional
    controller.tell(last)
    assert not controller.last("outer").provisional
    assert not controller.last("inner").provisional


def test_a_probe_that_knows_nothing_has_no_verdict(controller: Controller) -> None:
    controller.tell(*switches(), *agents())
    controller.tell(*verdicts(controller.runtime.state.site, Verdict.UNKNOWN))
    assert controller.last("outer").provisional


def test_it_has_settled_after_a_while_whoever_is_silent(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:  # meanwhile there is more to be heard than was known
            monkeypatch.setattr(controller.runtime, "_look_round", slept[0] + 5.0)
        controller.now += seconds
        for _ in range(20):
            hub_sleep(0)

    hub_sleep = eventlet.sleep
    controller.tell(*switches())
    assert controller.last("outer").provisional
    with monkeypatch.context() as patched:
        patched.setattr(shell.hub, "sleep", sleep)
        controller.runtime.settle()
    controller.tell()
    assert slept[:2] == [pytest.approx(look_round(targets(controller.runtime.state.site))), 5.0]
    assert not controller.last("outer").provisional


def test_a_takeover_waits_for_no_silent_probe(controller: Controller) -> None:
    """Whoever starts one has seen enough, and STEER needs the switches."""
    controller.tell(*switches(), *agents())
    mail = [p for p in targets(controller.runtime.state.site) if p.role == MAIL]
    ready = [ProbeChanged(p.role, p.service, p.interface, Verdict.READY, "") for p in mail]
    assert controller.last("outer").provisional
    controller.tell(*ready)
    assert MAIL in controller.runtime.state.takeovers
    assert not controller.last("outer").provisional


@pytest.mark.usefixtures("alarms")
@pytest.mark.parametrize("discover", [True, False])
def test_where_links_are_discovered_they_are_heard_before_it_has_settled(discover: bool) -> None:
    """A predecessor has used them: without them its switches would be changed, and changed back."""
    network = campus([("a", "b")], ["a"])
    segment = replace(network.segments["campus"], discover=discover)
    site = site_of(replace(network, segments={"campus": segment}))
    controller = Controller(site)
    ports = frozenset(range(1, 301))
    controller.tell(*(SwitchConnected(name, ports) for name in "ab"), Tick())
    assert controller.last("a").provisional is discover
    controller.now += shell.WARM_UP + round_time(600)
    controller.tell(Tick())
    assert not controller.last("a").provisional
    controller.end()


def test_it_looks_round_for_as_long_as_the_slowest_probe_needs() -> None:
    (one, *_) = targets(probed_site())
    slow = replace(one, interval=2.0, timeout=3.0, rise=1, fall=4)
    assert look_round([one, slow]) - look_round([]) == 3.0 + 4 * 2.0


# Compiling


@pytest.mark.usefixtures("alarms")
def test_others_run_while_routes_of_many_switches_are_planned() -> None:
    names = [f"s{number:03}" for number in range(100)]
    controller = Controller(site_of(campus(list(pairwise((*names, names[0]))), names[:1])))
    ran: list[str] = []
    eventlet.spawn_n(ran.append, "ran")
    backbone_plan(controller.planner, controller.runtime.state, None)
    assert ran
    controller.end()


def settle(controller: Controller) -> None:
    site = controller.runtime.state.site
    controller.tell(*switches(), *agents(), *verdicts(site, Verdict.HEALTHY))
    controller.now += 60.0
    controller.tell(Tick())
    controller.handed_out.clear()


def test_what_is_handed_out_is_a_function_of_the_state(controller: Controller) -> None:
    settle(controller)
    controller.tell(PortChanged(Attachment("outer", 1), False))
    state = controller.runtime.state
    (step,) = barrier_plan(BarrierCompiler(), state, None)
    rules_of = step.rules_of
    expected = {name: rules_of(name) for name in ("outer", "inner")}
    assert controller.runtime.rule_sets == expected
    assert {name: wanted.rules for name, wanted in controller.handed_out} == expected
    assert {wanted.version for _, wanted in controller.handed_out} == {state.version}


def test_an_event_that_changes_no_rule_compiles_nothing(controller: Controller) -> None:
    settle(controller)
    controller.tell(Tick(), AgentConnected("beta", "b1", (Held(MAIL, Holding.NOTHING, 0),)))
    assert controller.handed_out == []


def test_when_the_state_changes_between_two_switches_it_begins_again_with_who_waited_longest(
    controller: Controller,
) -> None:
    settle(controller)
    version = controller.runtime.state.version

    def change_once(_switch: str) -> None:
        controller.on_hand_out = lambda _: None
        time.sleep(LONGEST)  # so long that others must run
        controller.runtime.post(PortChanged(Attachment("outer", 3), False))

    controller.on_hand_out = change_once
    controller.tell(PortChanged(Attachment("outer", 1), False))
    compiled = [(name, wanted.version - version) for name, wanted in controller.handed_out]
    (first, one), *others = compiled
    second = ({"inner", "outer"} - {first}).pop()
    assert one == 1
    assert others == [(second, 2), (first, 2)]


def test_confirmations_that_queue_up_count_at_once_and_in_their_order(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(controller)
    seen: list[Event] = []

    def deciding(state: State, event: Event, now: float) -> tuple[State, tuple[Effect, ...]]:
        seen.append(event)
        return decide(state, event, now)

    monkeypatch.setattr(shell, "decide", deciding)
    one, two = frozenset({"outer"}), frozenset({"inner"})
    first, second = RulesInstalled(one, 5), RulesInstalled(two, 5)
    later, tick = RulesInstalled(one, 6), Tick()
    controller.tell(first, second, later, tick, later, second)
    assert seen == [RulesInstalled(one | two, 5), later, tick, later, second]


def test_sightings_that_find_too_many_events_are_lost_and_nothing_else_is(
    controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has served any of them before this greenlet waits."""
    port = Attachment("outer", 3)
    seen = HostSighted(Sighting("00:16:3e:00:00:01", port, None), b"a packet")
    for _ in range(MOST_WAITING + 5):
        controller.runtime.post(seen)
    controller.runtime.post(replace(seen, packet=b""))  # an answer to a question of ours
    controller.runtime.post(LinkHeard(port, None))
    controller.runtime.post(SwitchConnected("outer", PORTS))
    assert controller.runtime.sightings_lost == 5
    assert [r.getMessage() for r in caplog.records] == [
        f"the engine has {MOST_WAITING} events to serve: sightings are lost"
    ]
    while "outer" not in controller.runtime.state.switches:
        controller.tell()
    controller.tell(seen)
    assert controller.runtime.sightings_lost == 5


def test_a_switch_that_connects_is_handed_what_is_compiled_already(controller: Controller) -> None:
    settle(controller)
    controller.runtime.hand_out("inner")
    ((name, wanted),) = controller.handed_out
    assert (name, wanted.rules) == ("inner", controller.runtime.rule_sets["inner"])


def test_before_anything_is_compiled_nothing_is_handed_out(controller: Controller) -> None:
    controller.runtime.hand_out("inner")
    assert controller.handed_out == []
