"""Steps are handed out one after another, each when the one before stands."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import eventlet
import pytest
from simulation import make_site

from flows.planner import PlanStep
from flows.rules import Match, Rule, RuleSet
from hactrl.control import rulebook
from hactrl.control.rulebook import COLLECTOR_THRESHOLDS, Rulebook
from hactrl.engine.decide import initial
from hactrl.engine.state import State, SwitchState
from hactrl.switches.session import Wanted
from topology.paths.routes import Destination, Routes

NAMES = ("a", "b", "c")


def rules(number: int) -> RuleSet:
    return RuleSet.of([Rule(6, number, Match())])


def routes(number: int) -> Routes:
    return Routes({Destination.switch(str(number)): {}})


def step(number: int, changed: frozenset[str] | None = None) -> PlanStep:
    return PlanStep(lambda _switch: rules(number), routes(number), changed)


class World:
    """All switches are connected; none confirms by itself."""

    def __init__(self, steps: Sequence[PlanStep], timeout: float = 60.0) -> None:
        self.steps = steps
        connected = {name: SwitchState(connected=True) for name in NAMES}
        self.state = replace(initial(make_site(), {}, 0.0), switches=connected)
        self.provisional = False
        self.standing: list[Routes | None] = []
        self.given: list[tuple[str, Wanted]] = []
        self.on_want: Callable[[str], None] = lambda _switch: None
        self.on_plan: Callable[[], None] = lambda: None
        self.awaited: set[str] = set()
        self.book = Rulebook(
            NAMES,
            self._current,
            self._plan,
            self._want,
            awaited=lambda: self.awaited,
            timeout=timeout,
        )

    def _current(self) -> tuple[State, bool]:
        return self.state, self.provisional

    def _plan(self, _state: State, standing: Routes | None) -> Sequence[PlanStep]:
        self.standing.append(standing)
        self.on_plan()
        return self.steps

    def _want(self, switch: str, wanted: Wanted) -> None:
        self.given.append((switch, wanted))
        self.on_want(switch)

    def confirm(self) -> None:
        """What was given last to each switch."""
        for switch, wanted in dict(self.given).items():
            self.book.confirm(switch, wanted)
        let_run()

    def change(self) -> None:
        self.state = replace(self.state, version=self.state.version + 1)
        self.book.outdate()

    @property
    def seen(self) -> list[tuple[str, RuleSet, bool]]:
        return [(switch, wanted.rules, wanted.final) for switch, wanted in self.given]


def let_run() -> None:
    for _ in range(10):
        eventlet.sleep(0)


@contextmanager
def running(world: World) -> Iterator[World]:
    greenlet = eventlet.spawn(world.book.run)
    let_run()
    yield world
    greenlet.kill()


def test_the_next_step_waits_until_all_have_confirmed_this_one() -> None:
    with running(World([step(1), step(2)])) as world:
        first = [(name, rules(1), False) for name in NAMES]
        assert world.seen == first
        for switch, wanted in world.given[:2]:
            world.book.confirm(switch, wanted)
        let_run()
        assert world.seen == first
        world.confirm()
        assert world.seen == [*first, *((name, rules(2), True) for name in NAMES)]


def test_a_confirmation_of_something_older_counts_for_nothing() -> None:
    with running(World([step(1), step(2)])) as world:
        older = replace(world.given[0][1])
        for name in NAMES:
            world.book.confirm(name, older)
        let_run()
        assert len(world.given) == len(NAMES)


def test_nobody_waits_for_a_switch_that_is_out_of_reach() -> None:
    world = World([step(1), step(2)])
    lost = world.state.switches | {"b": SwitchState(connected=False)}
    world.state = replace(world.state, switches=lost)
    with running(world):
        for switch, wanted in tuple(world.given):
            if switch != "b":
                world.book.confirm(switch, wanted)
        let_run()
        assert world.seen[-1] == ("c", rules(2), True)


def test_a_switch_that_is_lost_is_waited_for_no_longer() -> None:
    world = World([step(1), step(2)])
    with running(world):
        for switch, wanted in tuple(world.given):
            if switch != "b":
                world.book.confirm(switch, wanted)
        let_run()
        assert world.seen[-1] == ("c", rules(1), False)
        lost = world.state.switches | {"b": SwitchState(connected=False)}
        world.state = replace(world.state, switches=lost)
        world.book.lost()
        let_run()
        assert world.seen[-1] == ("c", rules(2), True)


def test_a_switch_that_never_confirms_is_not_waited_for_any_longer_than_the_timeout() -> None:
    with running(World([step(1), step(2)], timeout=0.001)) as world, eventlet.Timeout(5.0):
        while world.seen[-1] != ("c", rules(2), True):
            eventlet.sleep(0.001)


def test_a_step_on_the_way_reaches_only_those_that_it_changes() -> None:
    with running(World([step(1), step(2, frozenset("b")), step(3, frozenset())])) as world:
        world.confirm()
        assert world.seen[3:] == [("b", rules(2), False)]
        world.confirm()
        assert world.seen[4:] == [
            ("a", rules(1), True),
            ("b", rules(2), True),
            ("c", rules(1), True),
        ]


def test_the_first_step_after_a_change_waits_for_what_was_handed_out_before_it() -> None:
    with running(World([step(1)])) as world:
        given = len(world.given)
        world.change()
        let_run()
        assert len(world.given) == given
        world.confirm()
        assert len(world.given) == 2 * given


def test_a_change_between_two_steps_begins_a_new_plan_from_the_step_that_stands() -> None:
    world = World([step(1), step(2)])
    world.on_want = lambda _switch: world.change() if len(world.given) == len(NAMES) else None
    with running(world):
        assert world.standing == [None, routes(1)]


def test_what_is_provisional_does_not_stand() -> None:
    world = World([step(1)])
    world.provisional = True
    with running(world):
        world.provisional = False
        world.book.outdate()
        let_run()
        assert world.standing == [None, None]
        assert [wanted.provisional for _, wanted in world.given] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("twice", [True, False])
def test_where_no_routes_must_stay_together_nothing_is_waited_for(twice: bool) -> None:
    with running(World([PlanStep(lambda _switch: rules(1))])) as world:
        if twice:
            world.change()
            let_run()
        assert len(world.given) == len(NAMES) * (1 + twice)


def test_the_switch_that_a_host_waits_at_is_served_before_all_others() -> None:
    """Each takes its time: the last of a hundred would be seconds late."""
    world = World([step(1)])
    world.awaited = {"b"}
    with running(world):
        assert [switch for switch, _ in world.given] == ["b"]
        world.confirm()
        assert [switch for switch, _ in world.given] == ["b", "a", "c"]


def test_nobody_waits_for_who_came_while_the_plan_was_made_and_is_not_in_it() -> None:
    world = World([step(1)])
    world.on_plan = lambda: world.awaited.add("b")
    with running(world):
        assert [switch for switch, _ in world.given] == ["a", "b", "c"]


def test_a_switch_that_does_not_confirm_keeps_no_other_one_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rulebook, "HEAD_START", 0.001)
    world = World([step(1)])
    world.awaited = {"b"}
    with running(world), eventlet.Timeout(5.0):
        while [switch for switch, _ in world.given] != ["b", "a", "c"]:
            eventlet.sleep(0.001)


def test_many_changes_in_a_row_are_planned_for_once() -> None:
    """A flapping port makes hundreds, and nothing else runs while one is planned for."""
    with running(World([step(1)])) as world:
        world.confirm()
        planned = len(world.standing)
        for _ in range(100):
            world.change()
        let_run()
        assert len(world.standing) == planned + 1
        assert {wanted.version for _, wanted in world.given[-3:]} == {world.state.version}


def test_a_switch_that_never_confirms_is_waited_for_once() -> None:
    """One with a full table would hold up each step of each repair of all others."""
    world = World([step(number) for number in range(1, 6)], timeout=0.5)
    silent = ["b"]

    def confirm_all_but_the_silent(switch: str) -> None:
        if switch not in silent:
            world.book.confirm(*world.given[-1])

    world.on_want = confirm_all_but_the_silent
    with running(world), eventlet.Timeout(1.5):  # four steps are waited for
        while world.seen[-1] != ("c", rules(5), True):
            eventlet.sleep(0.01)
        world.book.confirm("b", world.given[-2][1])
        world.change()
        eventlet.sleep(0.1)
        assert world.seen[-1] == ("c", rules(1), False)  # "b" is waited for again


@pytest.fixture
def collector() -> Iterator[None]:
    """Python's own, as it was when it is done."""
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_what_all_switches_hold_is_not_looked_at_by_the_garbage_collector() -> None:
    """Nothing is provisional any more: what there is by then stays."""
    world = World([step(1)])
    world.provisional = True
    with running(world):
        assert gc.get_freeze_count() == 0
        world.provisional = False
        world.change()
        let_run()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == COLLECTOR_THRESHOLDS
