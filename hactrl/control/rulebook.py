"""Keeps compiled what switches should hold, and hands it out.

    outdated ──► plan(state) ──► step ──► one switch after another ──► want
                                  ▲                                     │
                                  └────────── confirmed by all ◄────────┘

Most plans have one step. A change of routes in a backbone may have several, of which each must
stand on its switches before the next one is begun, or packets could go in circles meanwhile
(`topology.paths.rounds`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence, Set

from flows.planner import PlanStep
from flows.rules import RuleSet
from hactrl import hub
from hactrl.control.stretch import Stretch
from hactrl.engine.state import State
from hactrl.hub import LightQueue
from hactrl.switches.session import Wanted
from topology.paths.routes import Routes

#: Seconds that the next step waits for a switch that is connected and does not confirm.
CONFIRMATION_TIMEOUT = 1.0

#: Of Python's cyclic garbage collector: after how many new objects it looks at those, after how
#: many looks at those that are left, after how many of these at all. Python's are 700, 10 and 10;
#: the second kind of look takes 40 ms with 300 switches, whose tables are few and large objects.
COLLECTOR_THRESHOLDS = (700, 100, 10)

#: Seconds that the other switches wait for those that somebody waits for.
HEAD_START = 0.2


#: From the state and the routes that stand (None: unknown) to the steps, at least one.
Plan = Callable[[State, Routes | None], Sequence[PlanStep]]


class _Note:
    """That something has happened, however often: whoever waits for it looks again."""

    def __init__(self) -> None:
        self._written: LightQueue = LightQueue()

    def write(self) -> None:
        if self._written.empty():
            self._written.put(None)

    def await_it(self) -> None:
        """Until it is written, and wipe it out."""
        self._written.get()


class Rulebook:
    """The switches of barrier segments have one, those of backbones another, so that neither
    waits for the other.

    Args:
        switches: by name.
        current: the state, and whether it is provisional: not yet enough is known to change a
            switch that is set up.
        plan: how to get from the routes that stand to what the state asks for.
        want: takes what a switch should hold.
        awaited: switches that somebody waits for, a host that has just come above all: they are
            served first.
        timeout: seconds that a step waits to be confirmed.
    """

    def __init__(
        self,
        switches: Iterable[str],
        current: Callable[[], tuple[State, bool]],
        plan: Plan,
        want: Callable[[str, Wanted], None],
        *,
        awaited: Callable[[], Set[str]] = frozenset,
        timeout: float = CONFIRMATION_TIMEOUT,
    ) -> None:
        self.switches = tuple(switches)
        self._current = current
        self._plan = plan
        self._want = want
        self._awaited = awaited
        self._timeout = timeout
        self._wanted: dict[str, Wanted] = {}
        self._standing: Routes | None = None
        self._outdated = _Note()
        self._outdated.write()
        self._unconfirmed: dict[str, Wanted] = {}
        self._confirmed = _Note()
        self._spared = False
        self._silent: set[str] = set()  # have been waited for in vain, and confirmed nothing since

    def outdate(self) -> None:
        """The state asks for other rules. Safe from every greenlet, never blocks."""
        self._outdated.write()

    def confirm(self, switch: str, wanted: Wanted) -> None:
        """The switch holds this. Safe from every greenlet, never blocks."""
        self._silent.discard(switch)
        if self._unconfirmed.get(switch) is wanted:
            del self._unconfirmed[switch]
            self._confirmed.write()

    def lost(self) -> None:
        """A switch is no longer connected, and need not be waited for. Safe from every greenlet,
        never blocks."""
        self._confirmed.write()

    def hand_out(self, switch: str) -> None:
        """Hand one switch what it should hold now, as when it has just connected."""
        if switch in self._wanted:
            self._want(switch, self._wanted[switch])

    @property
    def rule_sets(self) -> dict[str, RuleSet]:
        """What every switch should hold."""
        return {switch: wanted.rules for switch, wanted in self._wanted.items()}

    def run(self) -> None:
        """Compile for ever what is outdated, and hand it out."""
        while True:
            self._outdated.await_it()  # one plan is for all that has happened until now
            self._bring_up_to_date()
            self._spare_collector()

    def _spare_collector(self) -> None:
        """Python's cyclic garbage collector stops everything while it looks at all objects: 0.4 s
        where 100 switches know 2,000 hosts. Those that are there once all is compiled for the first
        time stay, or are freed without it, because rules are in no cycles: it need not look, and
        not so often at what comes later."""
        if not self._spared and not self._current()[1]:
            gc.freeze()
            gc.set_threshold(*COLLECTOR_THRESHOLDS)
            self._spared = True

    def _bring_up_to_date(self) -> None:
        """When the state changes meanwhile, it begins again, where a step is whole."""
        state, provisional = self._current()
        awaited = frozenset(self._awaited())  # as now: who comes later is not in the plan
        *steps, last = self._plan(state, self._standing)
        for step in steps:
            self._await_confirmations()
            self._give(step, state, awaited, provisional=provisional, final=False)
            if self._current()[0].version != state.version:
                return  # there is a note of it
        if last.routes is not None:
            self._await_confirmations()
        self._give(last, state, awaited, provisional=provisional, final=True)

    def _give(
        self, step: PlanStep, state: State, awaited: Set[str], *, provisional: bool, final: bool
    ) -> None:
        """Compile a step, one switch at a time, those first that somebody waits for, and then the
        one that has waited longest. Others run now and then between two switches. Where no routes
        must stay together, a change of the state ends it.
        """
        self._standing = None if provisional else step.routes
        pause, like = Stretch().pause, Wanted(RuleSet(), state.version, provisional, final)
        order = sorted(self.switches, key=self._version_of)
        first = [switch for switch in order if switch in awaited]
        rest = [switch for switch in order if switch not in awaited]
        for switches in (first, rest):
            for switch in switches:
                self._give_one(switch, step, like)
                pause()
                if step.routes is None and self._current()[0].version != state.version:
                    return  # there is a note of it
            if switches is first:
                self._await_confirmed(frozenset(first), HEAD_START)

    def _give_one(self, switch: str, step: PlanStep, like: Wanted) -> None:
        """Hand a switch what the step has for it, if it has not got it; `like` but for rules."""
        had = self._wanted.get(switch)
        changes = had is None or step.changed is None or switch in step.changed
        if had and (not (changes or like.final) or (like.final and _same(had, like))):
            return
        rules = step.rules_of(switch) if had is None or changes else had.rules
        wanted = self._wanted[switch] = Wanted(rules, like.version, like.provisional, like.final)
        if not wanted.provisional:
            self._unconfirmed[switch] = wanted
        self._want(switch, wanted)

    def _version_of(self, switch: str) -> int:
        return self._wanted[switch].version if switch in self._wanted else 0

    def _await_confirmations(self) -> None:
        """Until what was handed out stands on every switch that is connected, or one of them has
        been silent for too long: it goes on by what it had, like one that is out of reach, and is
        not waited for again before it confirms something."""
        switches = frozenset(self.switches)
        self._await_confirmed(switches, self._timeout)
        self._silent |= self._missing(switches)
        self._unconfirmed.clear()

    def _await_confirmed(self, switches: Set[str], timeout: float) -> None:
        """Until these hold what was handed to them, if they are connected, or for so long."""
        with hub.Timeout(timeout, False):
            while self._missing(switches) - self._silent:
                self._confirmed.await_it()

    def _missing(self, switches: Set[str]) -> set[str]:
        return self._unconfirmed.keys() & switches & self._connected()

    def _connected(self) -> set[str]:
        state, _ = self._current()
        return {name for name, switch in state.switches.items() if switch.connected}


def _same(had: Wanted, wanted: Wanted) -> bool:
    """Is what it had all that the state asks for?"""
    return had.final and (had.version, had.provisional) == (wanted.version, wanted.provisional)
