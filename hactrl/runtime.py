"""The one greenlet that owns the state: takes events from one queue, decides, and hands out.

     events ──► queue ──► decide(state, event, now) ──┬──► effects ──► outlets
                               ▲                      │
                               └────── state ◄────────┤
                                                      └──► (version grew) compile ──► sessions

Effects leave before rules are compiled, because what they start takes longest. Nothing here
waits for anybody: every outlet queues or spawns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import eventlet
from eventlet.event import Event as Answered
from eventlet.queue import LightQueue

from flows.compile import compile as compile_rules
from flows.rules import RuleSet
from hactrl.engine.decide import decide
from hactrl.engine.effects import (
    Answer,
    AskAgent,
    Effect,
    FencePower,
    GrantLease,
    ProbeEagerly,
    Record,
    StorePlacement,
    Wake,
)
from hactrl.engine.events import Event, Requested, Tick
from hactrl.engine.state import State
from hactrl.wanted import intents
from topology.graph import LiveGraph

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outlets:
    """Who carries out which effect. None may block, each result comes back as an event."""

    ask_agent: Callable[[AskAgent], None]
    fence_power: Callable[[FencePower], None]
    store_placement: Callable[[StorePlacement], None]
    grant_lease: Callable[[GrantLease], None]
    probe_eagerly: Callable[[ProbeEagerly], None]
    record: Callable[[Record, float], None]
    want: Callable[[str, RuleSet, int], None]


class Runtime:
    """`clock` gives seconds that never jump and go on during suspend (CLOCK_BOOTTIME)."""

    def __init__(self, state: State, outlets: Outlets, clock: Callable[[], float]) -> None:
        self.state = state
        self.clock = clock
        self.rule_sets: Mapping[str, RuleSet] = wanted_rules(state)
        self._outlets = outlets
        self._events: LightQueue = LightQueue()
        self._answers: dict[str, Answered] = {}
        self._numbers = count(1)
        self._wake: eventlet.greenthread.GreenThread | None = None

    def post(self, event: Event) -> None:
        """Queue an event. Safe from every greenlet, never blocks."""
        self._events.put(event)

    def submit(self, request: Requested) -> Answer:
        """Put an operator's request to the engine and wait for its answer."""
        answered = self._answers[request.request] = Answered()
        try:
            self.post(request)
            answer: Answer = answered.wait()
        finally:
            del self._answers[request.request]
        return answer

    def new_request(self) -> str:
        """A name for the next request, unique in this run."""
        return f"request-{next(self._numbers)}"

    def run(self) -> None:
        """Serve events for ever. An exception is a defect and ends the controller: the rules in
        the switches keep working, and a new start takes over from them."""
        while True:
            self._serve(self._events.get())

    def _serve(self, event: Event) -> None:
        now = self.clock()
        version = self.state.version
        self.state, effects = decide(self.state, event, now)
        for effect in effects:
            self._carry_out(effect, now)
        if self.state.version != version:
            self.publish()

    def publish(self) -> None:
        """Compile the wanted rules and hand every switch its own."""
        self.rule_sets = wanted_rules(self.state)
        for switch, rules in self.rule_sets.items():
            self._outlets.want(switch, rules, self.state.version)

    def _carry_out(self, effect: Effect, now: float) -> None:
        match effect:
            case AskAgent():
                self._outlets.ask_agent(effect)
            case FencePower():
                self._outlets.fence_power(effect)
            case StorePlacement():
                self._outlets.store_placement(effect)
            case GrantLease():
                self._outlets.grant_lease(effect)
            case ProbeEagerly():
                self._outlets.probe_eagerly(effect)
            case Record():
                self._outlets.record(effect, now)
            case Wake():
                self._set_alarm(effect.at, now)
            case Answer():
                if answered := self._answers.get(effect.request):
                    answered.send(effect)

    def _set_alarm(self, at: float, now: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = eventlet.spawn_after(max(0.0, at - now), self.post, Tick())


def wanted_rules(state: State) -> dict[str, RuleSet]:
    """What every switch should hold: a function of the state alone (law 2)."""
    network = state.site.network
    ports_up = {name: switch.ports_up for name, switch in state.switches.items()}
    graph = LiveGraph.of(network, ports_up=ports_up)
    return compile_rules(network, graph, intents(state.site, state))
