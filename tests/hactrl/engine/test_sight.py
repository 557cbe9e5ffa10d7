"""What the engine makes of a prober that cannot see: on the small site of `simulation.make_site`,
where `mail` owns the spool and prefers alpha, and `relay` owns nothing and prefers beta."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulation import MAIL, PROBER_PORT, RELAY, SEGMENTS, Fault, World, make_site
from test_engine_decide import Engine as AnyEngine

from hactrl.engine import sight
from hactrl.engine.effects import JudgeAnew, Obstacle, Reason
from hactrl.engine.events import (
    AgentReported,
    Held,
    PortChanged,
    ProbeChanged,
    ProberSight,
    SwitchLost,
)
from hactrl.engine.roles.candidates import best_verdict, failings, obstacles
from hactrl.engine.state import Placement, Step
from hactrl.explain import words
from hactrl.site.model import Site
from hactrl.vocabulary import Holding, Verdict
from topology.model import Attachment

SILENT, HEARD = ProberSight(silent=True), ProberSight(silent=False)
CARDS = {"alpha": ("alpha-inner0", "alpha-inner1"), "beta": ("beta-inner0", "beta-inner1")}


class Engine(AnyEngine):
    """Nobody has to renew a lease, so that time may pass."""

    def __init__(self, site: Site | None = None) -> None:
        super().__init__(site or make_site(lease=None))


def prober_port(segment: str, up: bool) -> PortChanged:
    return PortChanged(Attachment(segment, PROBER_PORT), up)


def unseen(engine: Engine) -> list[str]:
    return [words.obstacle(each) for each in sight.obstacles(engine.state, engine.now)]


def judged(engine: Engine, server: str, verdict: Verdict, round_: int = 1) -> None:
    """The mail service of a server, as judged in this round."""
    for card in CARDS[server]:
        reason = "timeout" if verdict is Verdict.UNHEALTHY else ""
        engine.tell(ProbeChanged(MAIL, "smtp", card, verdict, reason, round_))


def without_sources(site: Site, segment: str) -> Site:
    """A prober that has no address to ask from on a segment."""
    own = site.network.segments[segment]
    assert own.prober is not None
    blind = replace(own, prober=replace(own.prober, sources={}))
    segments = {**site.network.segments, segment: blind}
    return replace(site, network=replace(site.network, segments=segments))


def test_a_site_in_normal_state_is_seen() -> None:
    assert unseen(Engine()) == []


@pytest.mark.reported("A5")
def test_a_prober_whose_port_is_down_cannot_ask_and_the_journal_says_so() -> None:
    engine = Engine().tell(prober_port("inner", up=False))
    assert unseen(engine) == ["the prober of inner cannot ask: port inner:9 is down"]
    details = dict(engine.recorded("prober.blind")[0].details)
    assert words.entry("prober.blind", details) == (
        "on inner nobody can be judged; the prober of inner cannot ask: port inner:9 is down"
    )


@pytest.mark.reported("A10")
def test_a_silent_process_of_the_prober_blinds_every_segment() -> None:
    engine = Engine().tell(SILENT)
    assert unseen(engine) == [
        f"the prober of {segment} cannot ask: its process is silent" for segment in SEGMENTS[::-1]
    ]


@pytest.mark.reported("A5")
def test_what_a_blind_prober_found_is_unknown_and_moves_nobody() -> None:
    engine = Engine().tell(SILENT).probe("alpha", MAIL, Verdict.UNHEALTHY, "timeout").wait(5.0)
    role = engine.site.roles[MAIL]
    assert best_verdict(engine.state, role, role.services[0], "alpha") is Verdict.UNKNOWN
    assert failings(engine.state, MAIL, "alpha") == ()
    assert not engine.state.takeovers


@pytest.mark.reported("A5")
def test_while_the_prober_is_blind_the_agents_own_word_moves_a_role() -> None:
    engine = Engine().tell(prober_port("inner", up=False))
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.FAILED, 3)))
    assert engine.state.takeovers[MAIL].target == "beta"


@pytest.mark.reported("A5")
def test_a_role_does_not_return_by_itself_while_nobody_can_judge() -> None:
    engine = Engine(make_site(lease=None, failback="automatic"))
    away = {**engine.state.placements, RELAY: Placement("alpha", 1, engine.now)}
    engine.state = replace(engine.state, placements=away)
    engine.tell(SILENT).wait(100.0)
    assert not engine.state.takeovers
    assert not engine.state.ready_since
    engine.tell(HEARD)
    for segment in SEGMENTS:
        for (role, service, card), found in [*engine.state.all_found()]:
            if engine.site.segment_of(card) == segment and found.verdict is Verdict.UNKNOWN:
                engine.tell(ProbeChanged(role, service, card, Verdict.HEALTHY, "", 1))
    assert RELAY in engine.state.ready_since


@pytest.mark.reported("A5")
@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("no_address", "the prober of outer has no address for beta-outer0"),
        ("no_address_ipv6", "the prober of outer has no address for beta-outer0"),
        ("no_card", "the prober of outer has no card with MAC 02:00:00:ff:00:00"),
        ("local_fault", "the prober of outer cannot ask beta-outer0"),
    ],
)
def test_a_prober_that_cannot_ask_through_a_card_says_why(reason: str, said: str) -> None:
    engine = Engine().probe("beta", RELAY, Verdict.UNKNOWN, reason)
    assert unseen(engine) == [said]


@pytest.mark.reported("A5")
def test_nobody_is_refused_because_the_prober_cannot_ask_him() -> None:
    engine = Engine().probe("beta", MAIL, Verdict.UNKNOWN, "no_address")
    assert obstacles(engine.state, MAIL, "beta") == ()


@pytest.mark.reported("A5")
def test_a_site_whose_prober_has_no_address_at_all_is_not_seen() -> None:
    engine = Engine(without_sources(make_site(lease=None), "inner"))
    assert "the prober of inner has no address for alpha-inner0" in unseen(engine)


@pytest.mark.reported("A5")
def test_what_was_never_judged_is_named_once_there_was_time_for_it() -> None:
    engine = Engine()
    never = {
        role: {key: found for key, found in own.items() if key[1] != "beta-outer0"}
        for role, own in engine.state.health.items()
    }
    engine = Engine()
    engine.state = replace(engine.state, health=never, sights=dict.fromkeys(()), started=engine.now)
    engine.wait(10.0)
    assert unseen(engine) == ["not judged for too long: smtp through beta-outer0"]


@pytest.mark.reported("A5")
def test_what_the_prober_has_not_judged_for_long_is_named() -> None:
    late = frozenset({(MAIL, "smtp", "alpha-inner0")})
    engine = Engine().tell(ProberSight(silent=False, late=late))
    assert unseen(engine) == ["not judged for too long: smtp through alpha-inner0"]


@pytest.mark.reported("A9")
def test_a_prober_that_sees_again_is_told_to_judge_anew() -> None:
    engine = Engine().tell(prober_port("inner", up=False)).wait(6.4)
    engine.tell(prober_port("inner", up=True))
    assert engine.last(JudgeAnew) == JudgeAnew("inner", 1)
    assert unseen(engine) == [
        "everybody on inner is being judged anew, after nobody could be judged"
    ]


@pytest.mark.reported("A9")
def test_verdicts_from_before_the_prober_saw_again_are_not_believed() -> None:
    engine = Engine().tell(SILENT).wait(1.0).tell(HEARD)
    judged(engine, "beta", Verdict.READY)
    judged(engine, "alpha", Verdict.UNHEALTHY, round_=0)
    engine.wait(1.0)
    role = engine.site.roles[MAIL]
    assert best_verdict(engine.state, role, role.services[0], "alpha") is Verdict.UNKNOWN
    assert sight.being_judged(engine.state, "inner")
    assert not engine.state.takeovers


@pytest.mark.reported("A9")
def test_nobody_is_left_before_everybody_has_been_judged_anew() -> None:
    engine = Engine().tell(prober_port("inner", up=False)).wait(6.4)
    engine.tell(prober_port("inner", up=True))
    judged(engine, "alpha", Verdict.UNHEALTHY)
    engine.tell(ProbeChanged(MAIL, "smtp", "beta-inner0", Verdict.READY, "", 1)).wait(0.5)
    assert not engine.state.takeovers
    judged(engine, "alpha", Verdict.HEALTHY)
    judged(engine, "beta", Verdict.READY)
    engine.wait(1.0)
    assert not engine.state.takeovers
    assert unseen(engine) == []


@pytest.mark.reported("A9")
def test_a_prober_that_loses_sight_again_begins_once_more_when_it_is_back() -> None:
    engine = Engine().tell(SILENT).wait(1.0).tell(HEARD).wait(0.1).tell(SILENT)
    judged(engine, "alpha", Verdict.UNHEALTHY)
    judged(engine, "beta", Verdict.READY)
    engine.wait(5.0)
    assert sight.blind(engine.state, "inner")
    assert not engine.state.takeovers
    engine.tell(HEARD)
    assert JudgeAnew("inner", 2) in engine.all(JudgeAnew)
    judged(engine, "alpha", Verdict.HEALTHY, 2)
    judged(engine, "beta", Verdict.READY, 2)
    assert not [o for o in sight.obstacles(engine.state, engine.now) if o.subject == "inner"]


@pytest.mark.reported("A9")
def test_who_does_not_answer_when_judged_anew_is_left() -> None:
    engine = Engine().tell(prober_port("inner", up=False)).wait(6.4)
    engine.tell(prober_port("inner", up=True))
    judged(engine, "beta", Verdict.READY)
    judged(engine, "alpha", Verdict.UNHEALTHY)
    assert not engine.state.takeovers  # silence is confirmed from when judging began again
    engine.wait(0.25)
    assert engine.state.takeovers[MAIL].target == "beta"


@pytest.mark.reported("A9")
def test_judging_anew_ends_also_when_somebody_is_never_judged() -> None:
    engine = Engine().tell(SILENT).wait(1.0).tell(HEARD)
    judged(engine, "alpha", Verdict.HEALTHY)
    engine.wait(10.0)
    assert "not judged for too long: smtp through beta-inner0" in unseen(engine)
    assert not sight.being_judged(engine.state, "inner")


@pytest.mark.reported("A9")
def test_when_nobody_answered_at_all_the_first_answer_makes_everybody_be_judged_anew() -> None:
    engine = Engine().tell(SwitchLost("inner"))
    judged(engine, "alpha", Verdict.UNHEALTHY, 0)
    judged(engine, "beta", Verdict.UNHEALTHY, 0)
    engine.wait(5.0)
    assert unseen(engine) == ["the prober of inner hears nobody in time"]
    judged(engine, "beta", Verdict.READY, 0)
    engine.wait(1.0)
    assert engine.last(JudgeAnew) == JudgeAnew("inner", 1)
    assert not engine.state.takeovers


@pytest.mark.reported("A1")
def test_who_is_found_slow_where_nobody_answers_in_time_is_no_reason_to_judge_anew() -> None:
    engine = Engine().tell(SwitchLost("inner"))
    judged(engine, "alpha", Verdict.UNHEALTHY, 0)
    judged(engine, "beta", Verdict.UNHEALTHY, 0)
    engine.wait(5.0)
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "slow")
    engine.wait(1.0)
    assert not engine.all(JudgeAnew)
    assert unseen(engine) == ["the prober of inner hears nobody in time"]


@pytest.mark.reported("A9")
def test_who_refuses_is_an_answer_so_that_a_dead_daemon_is_left_at_once() -> None:
    engine = Engine()
    judged(engine, "beta", Verdict.UNHEALTHY, 0)
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused")
    assert unseen(engine) == []


@pytest.mark.reported("A9")
def test_what_is_judged_as_before_does_not_fill_the_journal() -> None:
    engine = Engine().tell(prober_port("inner", up=False)).wait(6.4)
    engine.tell(prober_port("inner", up=True))
    judged(engine, "beta", Verdict.READY)
    judged(engine, "alpha", Verdict.HEALTHY)
    assert engine.recorded("probe.changed") == []
    (entry,) = engine.recorded("prober.sees")
    assert dict(entry.details) == {"segment": "inner", "seconds": pytest.approx(6.4)}


@pytest.mark.reported("A9")
def test_a_takeover_goes_on_when_its_target_is_being_judged_anew() -> None:
    engine = Engine().tell(AgentReported("alpha", Held(MAIL, Holding.FAILED, 3)))
    engine.stored().tell(SILENT, HEARD).wait(0.1)
    takeover = engine.state.takeovers[MAIL]
    assert (takeover.target, takeover.step) == ("beta", Step.FENCE)


@pytest.mark.reported("A9")
@pytest.mark.parametrize(
    ("kind", "lasts"),
    [("pull the prober's cable", 6.4), ("break the prober", 6.4), ("hang the prober", 0.0)],
)
@pytest.mark.parametrize("server", [0, 1])
def test_the_end_of_a_fault_of_the_prober_moves_nobody(
    kind: str, lasts: float, server: int
) -> None:
    for seed in range(20):
        world = World(make_site(), seed, slowest=0.05)
        world.failing = 0.0
        world.run_until(10.0)
        world.inject(Fault(kind, server, 10.5, lasts))
        world.run_until(40.0)
        moves = [r for at, r in world.journal if r.kind == "takeover.started" and at > 10.0]
        assert moves == [], seed
        assert sight.obstacles(world.state, world.now) == ()


def test_obstacles_of_a_role_are_those_of_its_own_services() -> None:
    engine = Engine().probe("beta", RELAY, Verdict.UNKNOWN, "no_address")
    expected = Obstacle(Reason.PROBER_NO_ADDRESS, "outer", "beta-outer0")
    assert sight.of_role(engine.state, RELAY, engine.now) == (expected,)
    assert sight.of_role(engine.state, MAIL, engine.now) == ()
