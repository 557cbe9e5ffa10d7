"""Time without a failure: nobody must be moved, though the machine and the live server are busy.

For each set of timers of the race: as many minutes (`--runs`, 20 if not given) idle, under
`stress-ng` on all cores, and under transfers through the live server in both directions at once.
Every connection of the race's client must be greeted by the same server.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.race.arena import ADDRESS, BULK_PORT, CLIENT, LIVE, Arena
from mininet_lab.race.contenders import ours
from mininet_lab.race.contenders.contender import Setting
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options

MINUTES = 20

_PROGRAMS = ("stress-ng", "iperf3")


def play(directory: Path, options: Options, story: Story) -> None:
    """See the module."""
    if missing := [name for name in _PROGRAMS if not shutil.which(name)]:
        story.expect(False, "all is installed", f"apt-get install {' '.join(missing)}")
        return
    minutes = options.runs or MINUTES
    results = Results("quiet", options.seed)
    rows = []
    for setting in ours.SETTINGS:
        story.chapter(setting.words)
        for load, counts in _of(directory, setting, story, minutes * 60.0).items():
            rows.append((setting.words, load, *map(str, counts.values())))
            for what, count in counts.items():
                results.add(f"{load}: {what}", setting.name, "times", [float(count)])
            moved = counts["moves"] + counts["users moved"]
            story.expect(not moved, f"{setting.words}, {load}: nobody is moved", f"{counts}")
    columns = ("timers", "load", "moves", "users moved", "connections failed", "verdicts changed")
    story.table(f"{minutes} minutes each, without a failure", columns, rows)
    story.tell(f"figures are in {results.write()}")


def _of(
    directory: Path, setting: Setting, story: Story, seconds: float
) -> dict[str, dict[str, int]]:
    """By load, what happened."""
    found = {}
    place = directory / f"quiet-{setting.name}"
    with Arena(place, setting.configure, setting.timers) as arena:
        contender = ours.Ours(arena)
        contender.start()
        try:
            for name, load in LOADS.items():
                with arena.client(name) as log:
                    contender.settle()
                    arena.await_served(log, LIVE)
                    since, at = now(), time.time()
                    with story.working(f"{name}, {seconds / 60:.0f} minutes"), load(arena):
                        time.sleep(seconds)
                    until = now()
                knocks = [k for k in log.knocks() if since <= k.began and k.ended <= until]
                kinds = [entry.kind for entry in contender.history() if entry.at >= at]
                servers = [knock.server for knock in knocks if knock.server]
                found[name] = {
                    "moves": kinds.count("takeover.started"),
                    "users moved": sum(one != other for one, other in pairwise(servers)),
                    "connections failed": len(knocks) - len(servers),
                    "verdicts changed": kinds.count("probe.changed"),
                }
        finally:
            contender.stop()
    return found


@contextmanager
def _stress(arena: Arena) -> Iterator[None]:
    words = ("stress-ng", "--quiet", "--cpu", str(os.cpu_count()))
    with _running(arena.directory / "stress.log", *words):
        yield


@contextmanager
def _bulk(arena: Arena) -> Iterator[None]:
    arena.live.start("bulk", "iperf3", "--server", "--port", str(BULK_PORT))
    client = arena.network.nodes[CLIENT.name].command
    target = ("--client", str(ADDRESS), "--port", str(BULK_PORT))
    # It is started after its server listens, and again if it ends.
    again = f"while :; do iperf3 {' '.join(target)} --bidir --time 60; sleep 0.2; done"
    with _running(arena.directory / "bulk.log", *client("sh", "-c", again)):
        yield


@contextmanager
def _running(said: Path, *words: str) -> Iterator[None]:
    with said.open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


LOADS: dict[str, Callable[[Arena], AbstractContextManager[None]]] = {
    "idle": lambda _arena: nullcontext(),
    "stress": _stress,
    "bulk": _bulk,
}
