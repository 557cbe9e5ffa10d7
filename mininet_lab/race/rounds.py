"""All failures for all contenders, again and again, interleaved: in each round every contender gets
an arena of its own, and every failure in it, so that what the machine does besides meets all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.race.arena import LIVE, Arena
from mininet_lab.race.contenders import SETTINGS
from mininet_lab.race.contenders.contender import Contender, Setting
from mininet_lab.race.failures import FAILURES, Failure
from mininet_lab.race.measure import Blackout, blackout, is_over
from mininet_lab.report import Story

#: Seconds without a failure before each, in which nobody must be moved.
IDLE = 5.0

#: Seconds that are watched after a failure at least, and at most: HAProxy's default takes 12.
WATCHED, LONGEST = 1.0, 30.0

#: Seconds between two looks whether it is over.
_LOOK = 0.2


@dataclass(frozen=True)
class Run:
    """One failure, of one contender, in one round."""

    setting: str
    failure: str
    round: int
    found: Blackout


class MissingProgramsError(Exception):
    """A contender is not installed; the message says what to install."""


def run_rounds(
    directory: Path, story: Story, settings: Iterable[str], failures: Iterable[str], runs: int
) -> list[Run]:
    """
    Raises:
        MissingProgramsError: nothing was started.
    """
    chosen = [SETTINGS[name] for name in settings]
    if missing := {p for s in chosen for p in s.programs if not shutil.which(p)}:
        raise MissingProgramsError(
            f"not installed: {', '.join(sorted(missing))}; apt-get install them, or leave them out"
            " by --systems"
        )
    done = []
    for number in range(1, runs + 1):
        for setting in chosen:
            story.chapter(f"Round {number} of {runs}: {setting.words}")
            place = directory / f"race-{number}-{setting.name}"
            with Arena(place, setting.configure, setting.timers) as arena:
                done += _all(arena, setting, story, [FAILURES[name] for name in failures], number)
    return done


def _all(
    arena: Arena, setting: Setting, story: Story, failures: list[Failure], number: int
) -> list[Run]:
    contender = setting.make(arena)
    done = []
    try:
        contender.start()
        for failure in failures:
            found = strike(arena, contender, failure)
            done.append(Run(setting.name, failure.name, number, found))
            took = "not over" if found.seconds is None else f"{found.seconds * 1e3:.1f} ms"
            before = f"; before it {found.early} failed, {found.moved} moved"
            told = before if found.early or found.moved else ""
            story.tell(f"{failure.words}: {took}, {found.failed} failed{told}")
    finally:
        contender.stop()
    return done


def strike(arena: Arena, contender: Contender, failure: Failure) -> Blackout:
    """One failure, from all well to all well again, and what the client has met."""
    with arena.client(failure.name) as log:
        contender.settle()
        arena.await_served(log, LIVE)
        since = now()
        time.sleep(IDLE)
        struck = failure.strike(arena, contender)
        time.sleep(WATCHED)
        while now() < struck + LONGEST and not is_over(log.knocks(), now(), WATCHED):
            time.sleep(_LOOK)
        until = now()
    arena.repair()
    return blackout(log.knocks(), since, struck, until)
