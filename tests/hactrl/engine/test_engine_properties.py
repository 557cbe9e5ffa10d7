"""Hundreds of random schedules of faults, requests and delays on a simulated clock.

Invariants, each watched by `simulation.World` and each with a test that removes its guard and
sees it break:

1. never two servers use the spool;
2. no server takes an epoch that is not above all that were taken before;
3. once settled, no group points to a fenced server;
4. once the faults stop, the site settles: everything that can be served is served by its
   placement, nothing moves any more, and the site is settled;
5. a role that is out for long is never called settled, whatever the controller cannot see;
6. a restart alone moves no role.

Hypothesis draws (and shrinks) the schedules; a plain seeded generator draws most of them,
because it is faster, and its seeds make failures repeatable: `run(schedule_of(SEED))`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation import SERVERS, Broken, Fault, World, make_site

from hactrl.engine import decide, memory, outlook, sight
from hactrl.engine.roles import leases, ledger, ownership
from hactrl.engine.roles.ownership import at_start
from hactrl.engine.state import Holder, Placement, Whose
from hactrl.site.model import Role
from hactrl.vocabulary import Holding

#: Faults happen between these seconds, stop at `REPAIRED`, and at `END` all must have settled.
FIRST, LAST, REPAIRED, END, QUIET = 6.0, 18.0, 30.0, 70.0, 16.0

SEEDS = 100
CHUNK = 50

#: Of each kind of schedule that is made for one danger.
FEW = 20

#: `make thorough`.
ALL_SEEDS = 100_100
LARGE_CHUNK = 2_000
MANY = 1_000


@dataclass(frozen=True)
class Schedule:
    seed: int
    servers: int
    lease: float | None
    power: bool
    failback: str
    slowest: float
    faults: tuple[Fault, ...]
    stays_off: str
    hopeless: bool


def run(schedule: Schedule) -> World:
    site = make_site(schedule.servers, schedule.lease, schedule.power, schedule.failback)
    world = World(site, schedule.seed, schedule.slowest)
    world.run_until(FIRST)
    for fault in schedule.faults:
        world.inject(fault)
    world.run_until(REPAIRED)
    provable = schedule.power or schedule.lease is not None
    world.end_faults(schedule.stays_off if provable else "", schedule.hopeless)
    if schedule.lease is None:
        world.person()
    world.run_until(END)
    world.check_settled(QUIET)
    return world


def schedule_of(seed: int) -> Schedule:
    """Faults come in bursts, because those that overlap are the interesting ones."""
    random = Random(seed)
    servers = random.choice((2, 2, 3))
    bursts = [random.uniform(FIRST, LAST) for _ in range(3)]
    faults = tuple(
        Fault(
            random.choice(list(World.FAULTS)),
            random.randrange(servers),
            random.choice(bursts) + random.uniform(0, 1.5),
            random.uniform(0.05, 8),
        )
        for _ in range(random.randint(1, 8))
    )
    return Schedule(
        seed,
        servers,
        random.choice((4.0, 4.0, None)),
        random.random() < 0.7,
        random.choice(("manual", "automatic")),
        random.choice((0.05, 0.3, 2.0)),
        faults,
        random.choice(SERVERS[:servers]),
        random.random() < 0.3,
    )


def late_assume(seed: int, lease: float | None) -> Schedule:
    """The switchover that goes wrong in the worst moment: the target's agent stops, or is
    killed, just when it is asked to assume, and obeys much later."""
    random = Random(seed)
    start = random.uniform(FIRST, FIRST + 1)
    if lease is None:
        killed = start + random.uniform(0.1, 1.0)
        worst = Fault("kill agent", 1, killed, random.uniform(1.2, 3.0))
    else:
        stopped = start + random.uniform(0.0, 0.9)  # after its sign of life, mostly
        worst = Fault("freeze", 1, stopped, random.uniform(4.0, 9.0))
    faults = (Fault("request mail", 1, start, 0.0), worst)
    slowest = 2.0 if lease is None else 0.3
    return Schedule(seed, 2, lease, False, "manual", slowest, faults, "", False)


def stopped_owner(seed: int) -> Schedule:
    """The owner is stopped, and nothing but the end of its lease proves anything."""
    random = Random(seed)
    fault = Fault("freeze", 0, random.uniform(FIRST, LAST), random.uniform(5.0, 9.0))
    return Schedule(seed, 2, 4.0, False, "manual", 0.05, (fault,), "", False)


def stuck_power(seed: int) -> Schedule:
    """The owner dies for good, only its power can prove that, and the first cut fails."""
    random = Random(seed)
    start = random.uniform(FIRST, LAST)
    faults = (
        Fault("break the power switch", 0, start, 3.0),
        Fault("crash", 0, start + 0.5, END),
    )
    return Schedule(seed, 2, None, True, "manual", 0.05, faults, SERVERS[0], False)


def copied_owner(seed: int) -> Schedule:
    """A copy of the owner takes its connection, the controller may start anew, and the role is to
    move, while the owner goes on."""
    random = Random(seed)
    start = random.uniform(FIRST, LAST)
    copy = random.choice(("twin", "twin with memory"))
    moved = random.choice(("unplug all", "break a service", "request mail", "freeze"))
    restart = Fault("restart controller", 0, start + 0.5, 0.0)
    faults = (
        Fault(copy, 0, start, 12.0),
        *((restart,) if random.random() < 0.5 else ()),
        Fault(moved, int(moved == "request mail"), start + random.uniform(0.2, 2.0), 10.0),
    )
    lease = random.choice((4.0, None))
    return Schedule(seed, 2, lease, False, "manual", 0.05, faults, SERVERS[1], False)


def unseen(seed: int) -> Schedule:
    """The prober cannot ask, and meanwhile a service ends where users are."""
    random = Random(seed)
    start = random.uniform(FIRST, LAST)
    faults = (
        Fault("pull the prober's cable", random.randrange(2), start, 11.0),
        Fault("break a service", random.randrange(2), start + 1.0, 9.0),
    )
    return Schedule(seed, 2, 4.0, True, "manual", 0.05, faults, "", False)


def changed_mind(seed: int) -> Schedule:
    """The owner serves ill, its successor fails before it is asked, so that the change is given
    up, and then the controller starts anew."""
    random = Random(seed)
    start = random.uniform(FIRST, LAST)
    fails = start + random.uniform(0.2, 2.0)
    faults = (
        Fault("common cause", 0, start, 6.0),
        Fault(random.choice(("freeze", "unplug all")), 1, fails, 4.0),
        Fault("restart controller", 0, fails + random.uniform(0.2, 3.0), 0.0),
    )
    return Schedule(seed, 2, 4.0, True, "manual", 0.05, faults, "", False)


def returning_controller(seed: int) -> Schedule:
    """The owner is stopped, or cut off with its guard, and the controller starts anew about when
    its lease ends."""
    random = Random(seed)
    start = random.uniform(FIRST, LAST)
    faults = (
        Fault("restart controller", 0, start, 0.0),
        Fault(random.choice(("freeze", "kill agent")), 0, start + random.uniform(-1.0, 1.0), 9.0),
        Fault("unplug all", 0, start + random.uniform(0.0, 6.0), 9.0),
    )
    return Schedule(seed, 2, 4.0, random.random() < 0.3, "manual", 0.05, faults, "", False)


def schedules() -> st.SearchStrategy[Schedule]:
    tenths = st.integers(60, 195).map(lambda n: n / 10)
    fault = st.builds(
        Fault,
        st.sampled_from(sorted(World.FAULTS)),
        st.integers(0, 2),
        tenths,
        st.integers(1, 80).map(lambda n: n / 10),
    )
    return st.builds(
        Schedule,
        st.integers(0, 2**32),
        st.integers(2, 3),
        st.sampled_from((4.0, None)),
        st.booleans(),
        st.sampled_from(("manual", "automatic")),
        st.sampled_from((0.05, 0.3, 2.0)),
        st.lists(fault, max_size=8).map(tuple),
        st.sampled_from(SERVERS[:2]),
        st.booleans(),
    )


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(schedules())
def test_no_drawn_schedule_breaks_an_invariant(schedule: Schedule) -> None:
    run(schedule)


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """One for each core, and fresh ones: a copy of this process would have its greenlets."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seeded_schedule_breaks_an_invariant(processes: ProcessPoolExecutor, first: int) -> None:
    assert broken_of(processes, range(first, first + CHUNK)) == {}


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(SEEDS, ALL_SEEDS, LARGE_CHUNK))
def test_none_of_all_schedules_breaks_an_invariant(
    processes: ProcessPoolExecutor, first: int
) -> None:
    assert broken_of(processes, range(first, first + LARGE_CHUNK)) == {}


def broken_of(processes: ProcessPoolExecutor, seeds: range) -> dict[int, str]:
    found = dict(zip(seeds, processes.map(breaks_seeded, seeds, chunksize=20), strict=True))
    return {seed: what for seed, what in found.items() if what}


def breaks_seeded(seed: int) -> str:
    return breaks(schedule_of(seed))


def late_leased_assume(seed: int) -> Schedule:
    return late_assume(seed, 4.0)


def late_unleased_assume(seed: int) -> Schedule:
    return late_assume(seed, None)


DANGERS = [
    late_leased_assume,
    late_unleased_assume,
    stopped_owner,
    pytest.param(copied_owner, marks=pytest.mark.reported("B1")),
    stuck_power,
    returning_controller,
    unseen,
    pytest.param(changed_mind, marks=pytest.mark.reported("A3")),
]


@pytest.mark.parametrize("danger", DANGERS)
def test_no_danger_breaks_an_invariant(danger: Callable[[int], Schedule]) -> None:
    for seed in range(FEW):
        run(danger(seed))


@pytest.mark.thorough
@pytest.mark.parametrize("danger", DANGERS)
def test_no_danger_breaks_an_invariant_however_often(danger: Callable[[int], Schedule]) -> None:
    for seed in range(FEW, MANY):
        run(danger(seed))


def test_the_same_events_give_the_same_decisions() -> None:
    world = World(make_site(), 7)
    world.run_until(5.0)
    first, second = (_replay(world) for _ in range(2))
    assert first == second


def _replay(world: World) -> list[Any]:
    state = decide.initial(world.site, {}, 0.0)
    seen: list[Any] = []
    for now, event in world.events:
        state, effects = decide.decide(state, event, now)
        seen.append((state, effects))
    return seen


# Without its guard, each invariant breaks.

Guard = Callable[[], AbstractContextManager[Any]]


def removed(module: Any, name: str, replacement: Callable[..., Any]) -> Guard:
    return lambda: patch.object(module, name, replacement)


def strangers_trusted(
    role: Role, placement: Placement, margin: float, _known: object, ends: float | None
) -> dict[str, Holder]:
    """After a start, the first word of whoever bears the name is believed."""
    entries = at_start(role, placement, margin, {}, ends)
    return {name: replace(entry, whose=Whose.NOBODY) for name, entry in entries.items()}


GUARDS = {
    "others must be proven gone": (
        removed(ownership, "may_assume", lambda *_: True),
        schedule_of,
        "use the spool",
    ),
    "a lease must have ended": (
        removed(leases, "lease_over_at", lambda holder: (holder.expires or 9e9) - 2.5),
        stopped_owner,
        "use the spool",
    ),
    "what was granted is noted": (
        removed(leases, "ends", lambda state: dict.fromkeys(state.holders, 0.0)),
        returning_controller,
        "use the spool",
    ),
    "only who is entitled may renew": (
        removed(leases, "may_renew", lambda *_: True),
        lambda seed: late_assume(seed, 4.0),
        "use the spool|took epoch",
    ),
    # Either of the two would do: a late order reaches only who was asked over that connection.
    "only a word at this epoch and of this machine counts": (
        removed(ownership, "has_let_go", lambda held, *_: held.holding is Holding.NOTHING),
        schedule_of,
        "use the spool|took epoch",
    ),
    "only the boot that was entered speaks for it": (
        removed(ledger, "is_of", lambda *_: True),
        copied_owner,
        "use the spool",
    ),
    "a copy of memory is told by what it never said": (
        removed(ledger, "is_of", lambda holder, agent, _: agent.boot == holder.boot),
        copied_owner,
        "use the spool",
    ),
    "a start trusts no stranger": (
        removed(ownership, "at_start", strangers_trusted),
        copied_owner,
        "use the spool",
    ),
    "epochs grow": (
        removed(ownership, "next_epoch", lambda s, r: max(1, s.placements[r].epoch)),
        schedule_of,
        "took epoch",
    ),
    "fenced servers get nothing": (
        removed(outlook, "may_receive", lambda *_: True),
        schedule_of,
        "points to",
    ),
    "what failed is tried again": (
        removed(decide, "expire_asks", lambda _: None),
        stuck_power,
        "not settled|does not serve",
    ),
    "what is not seen is not settled": (
        removed(sight, "obstacles", lambda *_: ()),
        unseen,
        "all is settled",
    ),
    "a change that was given up is no placement": (
        removed(memory, "placed", lambda _kept, _role, stored: memory.Placed(*stored, stored[1])),
        changed_mind,
        "moved by a restart",
    ),
    "what moved is held down": (
        removed(decide, "held_down", lambda *_: False),
        schedule_of,
        "has moved",
    ),
}


#: Seeds of schedules that are known to break without a guard; they are tried before all others.
TELLING = (94,)


@pytest.mark.parametrize("name", GUARDS)
def test_an_invariant_breaks_without_its_guard(name: str) -> None:
    remove, schedule, what = GUARDS[name]
    with remove():
        assert any(re.search(what, breaks(schedule(seed))) for seed in (*TELLING, *range(400)))


def breaks(schedule: Schedule) -> str:
    """What a schedule breaks; empty if nothing."""
    try:
        run(schedule)
    except Broken as broken:
        return str(broken)
    return ""
