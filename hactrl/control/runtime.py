"""The one greenlet that owns the state: takes events from one queue, decides, and hands out.

     events ──► queue ──► decide(state, event, now) ──┬──► effects ──► outlets
                               ▲                      │
                               └────── state ◄────────┤
                                                      └──► (version grew) compile ──► sessions

Effects that start something leave before rules are compiled, because that takes longest; what only
writes down what was decided leaves when the rules are on their way. Nothing here waits for anybody:
every outlet queues or spawns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from flows.planner import Planner
from flows.rules import RuleSet
from hactrl import hub
from hactrl.control.answered import answered_for
from hactrl.control.planning import plans
from hactrl.control.present import Present
from hactrl.control.rulebook import Rulebook
from hactrl.engine.decide import decide
from hactrl.engine.effects import (
    EFFECTS,
    AnswerRequest,
    Effect,
    KeepHosts,
    Record,
    Remember,
    StorePlacement,
    Wake,
)
from hactrl.engine.events import (
    Event,
    HostSighted,
    Requested,
    RulesInstalled,
    SwitchLost,
    Tick,
)
from hactrl.engine.state import State
from hactrl.health.targets import Target, judged_within, targets
from hactrl.hub import Event as Answered
from hactrl.hub import LightQueue
from hactrl.switches.session import Wanted
from hactrl.vocabulary import Verdict
from topology.discovery import round_time

LOG = logging.getLogger(__name__)

#: Seconds until a started prober probes and agents and switches have connected again.
WARM_UP = 3.0
#: Seconds between two looks, at least, whether it has settled.
LOOK = 0.1
#: Seconds that an operator's request waits for the engine, which answers at once.
ANSWER_TIMEOUT = 5.0
#: Events that wait for the engine while sightings are still taken: half a second of its work.
MOST_WAITING = 1_000


#: Effects that write down what was decided.
WRITTEN = (Record, Remember, KeepHosts)

#: Turns of the hub in which a change of rules gets from the rulebook by sessions to connections. A
#: change of many switches takes longer, and then others run between two of them anyway.
ON_ITS_WAY = 3


#: By the type of an effect who carries it out. None may block, each result comes back as an event.
#: What one raises does so too, and what it leaves to a greenlet is in `answered_for` there.
Outlets = Mapping[type[Any], Callable[[Any], None]]


class Runtime:
    """The only one that changes what is `present`.

    Args:
        events: the queue that everybody puts events into.
        outlets: one for each type of `Effect`, but for those that the runtime carries out itself.
        planner: of the backbones.
        want: takes what a switch should hold.
        clock: seconds that never jump and go on during suspend (CLOCK_BOOTTIME).
        awaited: the switches that are to have their rules first.

    Raises:
        ValueError: an effect has no outlet, or two.
    """

    def __init__(
        self,
        present: Present,
        events: LightQueue,
        outlets: Outlets,
        planner: Planner,
        *,
        want: Callable[[str, Wanted], None],
        clock: Callable[[], float],
        awaited: Callable[[], Set[str]] = frozenset,
    ) -> None:
        self.clock = clock
        self._present = present
        own: Outlets = {Wake: self._set_alarm, AnswerRequest: self._answer}
        if own.keys() & outlets.keys() or own.keys() | outlets.keys() != set(EFFECTS):
            wrong = (own.keys() | outlets.keys()) ^ set(EFFECTS) or own.keys() & outlets.keys()
            raise ValueError(f"not one outlet each: {sorted(kind.__name__ for kind in wrong)}")
        self._outlets = {**outlets, **own}
        self._events = events
        self._answers: dict[str, Answered] = {}
        self.sightings_lost = self._sightings_told = 0
        self._settled = False
        site = present.state.site
        self.rulebooks = tuple(
            Rulebook(switches, self._current, plan, want, awaited=awaited)
            for switches, plan in plans(site.network, planner)
            if switches
        )
        self._probes = targets(site)
        self._look_round = look_round(self._probes)
        self._wake: hub.GreenThread | None = None

    @property
    def state(self) -> State:
        return self._present.state

    def post(self, event: Event) -> None:
        """Queue an event. Safe from every greenlet, never blocks.

        Packets of unknown hosts are lost while `MOST_WAITING` events wait: their senders try again.
        Not what answers a question of ours, because a holder who is not heard loses his address,
        and no change of links, because it is told once. Of all others there
        are no more than ports, switches, agents, probes and operators' requests that change or ask
        at once."""
        if isinstance(event, HostSighted) and event.packet and self._events.qsize() >= MOST_WAITING:
            if self.sightings_lost == self._sightings_told:
                LOG.warning("the engine has %d events to serve: sightings are lost", MOST_WAITING)
            self.sightings_lost += 1
            return
        self._events.put(event)

    def submit(self, request: Requested) -> AnswerRequest:
        """Put an operator's request to the engine and wait for its answer.

        Raises:
            TimeoutError: no answer after `ANSWER_TIMEOUT`; it may yet be carried out.
        """
        answered = self._answers[request.request] = Answered()
        try:
            self.post(request)
            with hub.Timeout(ANSWER_TIMEOUT, TimeoutError()):
                answer: AnswerRequest = answered.wait()
        finally:
            del self._answers[request.request]
        return answer

    def run(self) -> None:
        """Serve events for ever. An exception is a defect and ends the controller: the rules in
        the switches keep working, and a new start takes over from them."""
        while True:
            self._serve(self._next())

    def _next(self) -> Event:
        """Confirmations that came one after another count at once: a hundred switches may confirm
        the same within a few milliseconds. They are not urgent, because packets are steered
        already: whoever else has work goes first, and may bring more of them."""
        if not self._events.qsize():
            self._sightings_told = self.sightings_lost
        event: Event = self._events.get()
        if isinstance(event, RulesInstalled):
            hub.sleep(0)
        while isinstance(event, RulesInstalled) and self._events.qsize():
            following = self._events.queue[0]
            if not isinstance(following, RulesInstalled) or following.version != event.version:
                break
            event = replace(event, switches=event.switches | self._events.get().switches)
        return event

    def settle(self) -> None:
        """Have the engine look, when it is time, whether it has settled, in a greenlet of its own:
        events may not come by themselves. Ports that are told of make the time longer."""
        while self.looking_round:
            hub.sleep(max(LOOK, self.state.started + self._longest() - self.clock()))
            self.post(Tick())

    def _serve(self, event: Event) -> None:
        now = self.clock()
        version = self.state.version
        self._present.state, effects = decide(self.state, event, now)
        at_once, later = _in_two(effects)
        for effect in at_once:
            self._carry_out(effect)
        if isinstance(event, SwitchLost):
            for rulebook in self.rulebooks:
                rulebook.lost()
        settles = not self._settled and self._has_settled(now)
        if settles or self.state.version != version:
            for rulebook in self.rulebooks:
                rulebook.outdate()
            self._let_rules_go()
        for effect in later:
            self._carry_out(effect)

    def _let_rules_go(self) -> None:
        """Before anything is written down; no longer than until something else has happened."""
        for _ in range(ON_ITS_WAY):
            if not self._events.qsize():
                hub.sleep(0)

    def _current(self) -> tuple[State, bool]:
        return self.state, self.looking_round

    def hand_out(self, switch: str) -> None:
        """Hand one switch what it should hold now, as when it has just connected."""
        for rulebook in self.rulebooks:
            rulebook.hand_out(switch)

    def installed(self, switch: str, wanted: Wanted) -> None:
        """The switch has confirmed all of this."""
        for rulebook in self.rulebooks:
            rulebook.confirm(switch, wanted)
        if wanted.final:
            self.post(RulesInstalled(frozenset({switch}), wanted.version))

    @property
    def rule_sets(self) -> dict[str, RuleSet]:
        """What every switch should hold."""
        books = (rulebook.rule_sets for rulebook in self.rulebooks)
        return {switch: rules for book in books for switch, rules in book.items()}

    @property
    def looking_round(self) -> bool:
        """Whether it has just been started, and changes no switch that is set up."""
        return not self._settled

    def _has_settled(self, now: float) -> bool:
        """Does the controller know enough to change a switch that some earlier one set up?"""
        state = self.state
        heard = now >= state.started + hearing(state)
        known = (
            heard
            and state.agents.keys() >= state.site.network.servers.keys()
            and all(
                (found := state.found(probe.role, probe.service, probe.interface))
                and found.verdict is not Verdict.UNKNOWN
                for probe in self._probes
            )
        )
        late = now >= state.started + self._longest()
        self._settled = known or bool(state.takeovers) or late
        return self._settled

    def _longest(self) -> float:
        """Seconds after the start when it has settled at the latest, as far as known by now."""
        return max(self._look_round, hearing(self.state))

    def _carry_out(self, effect: Effect) -> None:
        outlet = self._outlets[type(effect)]
        if isinstance(effect, Record | Wake | AnswerRequest):
            outlet(effect)  # a defect of what would tell of it ends the controller
        else:
            with answered_for(effect, self.post):
                outlet(effect)

    def _set_alarm(self, wake: Wake) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = hub.spawn_after(max(0.0, wake.at - self.clock()), self.post, Tick())

    def _answer(self, answer: AnswerRequest) -> None:
        if answered := self._answers.get(answer.request):
            answered.send(answer)


def _in_two(effects: Sequence[Effect]) -> tuple[Sequence[Effect], Sequence[Effect]]:
    """Those that somebody waits for, and those that only write something down. Where a placement is
    stored somebody waits for all: what the engine remembers is on disk before it."""
    if any(isinstance(effect, StorePlacement) for effect in effects):
        return effects, ()
    at_once = [effect for effect in effects if not isinstance(effect, WRITTEN)]
    return at_once, [effect for effect in effects if isinstance(effect, WRITTEN)]


def look_round(probes: Iterable[Target]) -> float:
    """Seconds that a starting controller looks round at most, before it changes a switch that is
    set up: what it does not know yet (a probe's verdict, an agent) would look like a change."""
    return WARM_UP + judged_within(probes)


def hearing(state: State) -> float:
    """Seconds from the start until links that nobody has declared have been heard of again: they
    must not go and come back with the controller. None where there can be no such links."""
    backbones = {s.name for s in state.site.network.segments.values() if s.discover}
    members = [s.name for s in state.site.network.switches.values() if s.segment in backbones]
    ports = sum(len(state.switches[name].ports_up) for name in members if name in state.switches)
    return WARM_UP + round_time(ports) if members else 0.0
