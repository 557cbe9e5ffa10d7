"""Faults that last for three simulated hours, drawn by lot, with the default timers: a role moves
a few times, and then stays where it is served best. `make thorough` draws 300 of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random
from unittest.mock import patch

import pytest
from simulation import Broken, Host, World, make_site

from hactrl.engine.roles import failures
from hactrl.site.model import Timers
from hactrl.vocabulary import Holding

HOUR = 3600.0
BEGINS = 60.0
HOURS = 3

#: Moves of a role by itself: in the first hour of a fault that lasts, and in each later one.
FIRST_HOUR, LATER_HOUR = 6, 2

FEW, MANY = 2, 300

#: A seed whose role moves for ever without either guard.
TELLING = 17

Begin = Callable[[World, Host, Random], None]


@dataclass(frozen=True)
class Lasting:
    """A fault that begins at `BEGINS` and has no end."""

    kind: str
    server: int


def repeat(world: World, every: float, action: Callable[[], None]) -> None:
    def again() -> None:
        action()
        world.after(every, again)

    world.after(every, again)


def common_cause(reason: str) -> Begin:
    return lambda world, _host, _random: setattr(world, "common_cause", reason)


def crashing_daemons(world: World, host: Host, random: Random) -> None:
    """A daemon of the mail ends some time after each start, on this server."""
    lives = random.choice((3.0, 10.0, 45.0, 400.0))

    def look() -> None:
        life = host.copy.life
        if host.copy.holding is Holding.HELD:
            world.after(lives, lambda: host.copy.life == life and world.kill_daemon(host))

    repeat(world, lives, look)


def blinking_agent(world: World, host: Host, random: Random) -> None:
    repeat(world, random.choice((0.7, 5.0, 60.0)), lambda: world.lose_connection(host))


def restarting_controller(world: World, host: Host, random: Random) -> None:
    repeat(world, random.choice((120.0, 900.0)), lambda: world.restart_controller(host))


def sick_service(world: World, host: Host, random: Random) -> None:
    """A service that is well for a while and ill for a while."""
    every = random.choice((5.0, 40.0, 500.0))

    def turn() -> None:
        if host.broken:
            world.mend_service(host)
        else:
            world.break_service(host)

    repeat(world, every, turn)


def flag(name: str) -> Begin:
    return lambda world, _host, _random: setattr(world, name, True)


def of_host(name: str) -> Begin:
    return lambda _world, host, _random: setattr(host, name, True)


def once(kind: str) -> Begin:
    def begin(world: World, host: Host, _random: Random) -> None:
        World.FAULTS[kind][0](world, host)

    return begin


LASTING: dict[str, Begin] = {
    "all are silent": common_cause("timeout"),
    "all are slow": common_cause("slow"),
    "all refuse": common_cause("refused"),
    "fails to take the mail": of_host("treacherous"),
    "never ends taking the mail": of_host("hangs"),
    "daemons crash": crashing_daemons,
    "agent blinks": blinking_agent,
    "controller restarts": restarting_controller,
    "service is ill at times": sick_service,
    "power switch is broken": flag("power_broken"),
    "store is broken": flag("store_broken"),
    "prober is broken": flag("prober_broken"),
    **{kind: once(kind) for kind in ("crash", "freeze", "unplug a card", "unplug all")},
    **{kind: once(kind) for kind in ("break a service", "kill agent", "lose a switch")},
    **{kind: once(kind) for kind in ("cut the guard off", "disable")},
}


def run(seed: int) -> World:
    random = Random(seed)
    servers = random.choice((2, 2, 3))
    site = make_site(
        servers,
        random.choice((4.0, 4.0, None)),
        random.random() < 0.7,
        random.choice(("manual", "automatic")),
        Timers(),
    )
    world = World(site, seed, slowest=random.choice((0.05, 0.3)))
    world.failing = 0.0
    world.run_until(BEGINS)
    drawn = random.sample(sorted(LASTING), random.choice((1, 1, 1, 2, 3)))
    world.lasting = tuple(Lasting(kind, random.randrange(servers)) for kind in drawn)
    for fault in world.lasting:
        LASTING[fault.kind](world, list(world.hosts.values())[fault.server], random)
    world.world_changed()
    world.run_until(BEGINS + HOURS * HOUR)
    check(world)
    return world


def check(world: World) -> None:
    for role in world.site.roles:
        for hour in range(HOURS):
            since = BEGINS + hour * HOUR
            moved = [
                f"{when:.0f}: {details['origin']} to {details['target']}"
                for when, record in world.journal
                if record.kind == "takeover.finished" and record.role == role
                if since <= when < since + HOUR
                if (details := dict(record.details))["origin"] != details["target"]
                if not details["request"]
            ]
            if len(moved) > (LATER_HOUR if hour else FIRST_HOUR):
                raise Broken(f"{role} moved {len(moved)} times in hour {hour}: {moved[:12]}")


def breaks(seed: int) -> str:
    try:
        run(seed)
    except Broken as broken:
        return str(broken)
    return ""


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield pool


def broken_of(processes: ProcessPoolExecutor, seeds: range) -> dict[int, str]:
    found = dict(zip(seeds, processes.map(breaks, seeds), strict=True))
    return {seed: what for seed, what in found.items() if what}


@pytest.mark.reported("A1")
def test_a_fault_that_lasts_moves_a_role_only_a_few_times(processes: ProcessPoolExecutor) -> None:
    assert broken_of(processes, range(FEW)) == {}


@pytest.mark.reported("A1")
@pytest.mark.parametrize(
    ("name", "replacement"),
    [("rests", lambda *_: False), ("remember", lambda *_: None)],
    ids=["who moved often rests", "failures are remembered"],
)
def test_without_its_guard_a_role_moves_for_ever(
    name: str, replacement: Callable[..., object]
) -> None:
    with patch.object(failures, name, replacement):
        assert "moved" in breaks(TELLING)


@pytest.mark.thorough
def test_no_fault_that_lasts_moves_a_role_for_ever(processes: ProcessPoolExecutor) -> None:
    assert broken_of(processes, range(FEW, MANY)) == {}
