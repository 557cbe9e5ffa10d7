"""What the switches do alone: the controller was killed a minute before cables are pulled.

In each round (`--runs`, 5 if not given), with all cards on one switch and with each server's cards
on two: one link of the live server, then all its links, at the switch's end and at the server's.
The role has no lease, so nobody stops because no controller renews one.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from mininet_lab.race.arena import LIVE, Arena
from mininet_lab.race.contenders import ours
from mininet_lab.race.failures import FAILURES
from mininet_lab.race.rounds import strike
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options

ROUNDS = 5

#: Seconds from the controller's end to the first failure.
ALONE = 60.0

PULLED = tuple(
    FAILURES[name] for name in ("link-switch", "link-server", "cards-switch", "cards-server")
)

#: Are each server's cards on two switches?
LAYOUTS = {"on one switch": False, "on two switches": True}


def play(directory: Path, options: Options, story: Story) -> None:
    """See the module."""
    rounds = options.runs or ROUNDS
    found: dict[tuple[str, str], list[float | None]] = {}
    for number in range(1, rounds + 1):
        for layout, spread in LAYOUTS.items():
            story.chapter(f"Round {number} of {rounds}: cards {layout}")
            place = directory / f"unattended-{number}-{spread:d}"
            for failure, seconds in _pull(place, story, spread=spread).items():
                found.setdefault((failure, layout), []).append(seconds)
    _conclude(story, Results("unattended", options.seed), found)


def _pull(place: Path, story: Story, *, spread: bool) -> dict[str, float | None]:
    """By failure, how long users were not served; None if they never were again."""
    setting = ours.RULES_ALONE
    found = {}
    with Arena(place, setting.configure, setting.timers, spread=spread) as arena:
        contender = setting.make(arena)
        try:
            contender.start()
            with arena.client("settling") as log:
                contender.settle()
                arena.await_served(log, LIVE)
            with story.working(f"{ALONE:.0f} s without a controller"):
                time.sleep(ALONE)
            for failure in PULLED:
                seconds = strike(arena, contender, failure).seconds
                found[failure.name] = seconds
                took = "not over" if seconds is None else f"{seconds * 1e3:.1f} ms"
                story.tell(f"{failure.words}: {took}")
        finally:
            contender.stop()
    return found


def _conclude(
    story: Story, results: Results, found: dict[tuple[str, str], list[float | None]]
) -> None:
    rows, promises = [], []
    for (name, layout), values in found.items():
        words, goal = f"{FAILURES[name].words}, cards {layout}", FAILURES[name].goal
        over = [seconds for seconds in values if seconds is not None]
        lost = len(values) - len(over)
        results.add(words, "hactrl-rules", "s", over)
        results.add(f"{words}: not over", "hactrl-rules", "times", [float(lost)])
        spread = (min(over), median(over), max(over)) if over else ()
        shown = [f"{seconds * 1e3:.1f}" for seconds in spread] or ["-"] * 3
        rows.append((words, *shown, str(lost)))
        promise = f"{words}: at most {goal * 1e3:.0f} ms without a controller"
        held = not lost and median(over) <= goal
        promises.append((held, promise, f"{shown[1]} ms in the median, {lost} not over"))
    columns = ("milliseconds", "least", "median", "most", "not over")
    story.table("Without a controller", columns, rows)
    story.tell(f"figures are in {results.write()}")
    for held, promise, but in promises:
        story.expect(held, promise, but)
