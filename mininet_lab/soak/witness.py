"""Looks who has the spool mounted, every 20 ms, apart from hactrl and from what drives the soak.

    python -m mininet_lab.soak.witness IMAGE LOG

The kernel lists the journal of each mounted ext4 under /proc/fs/jbd2 by its device, in whatever
mount namespace it is mounted, from before the journal is played back until it is written out at the
unmount (under /sys/fs/ext4 the device comes later, and goes before that: tried on Linux 6.18); each
server has a loop device of its own on the image. A line of the log for every change, and a last one
at SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from mininet_lab.clock import now

#: Seconds between two looks.
INTERVAL = 0.020

#: It goes before ordinary processes: a look that comes too late may miss what it is for.
_NICENESS = -15

_JOURNALS = Path("/proc/fs/jbd2")
_BLOCK_DEVICES = Path("/sys/block")


def mounted(image: Path, journals: Path = _JOURNALS, devices: Path = _BLOCK_DEVICES) -> list[str]:
    """The loop devices of the image whose file system is mounted anywhere."""
    found = []
    for journal in os.listdir(journals):
        name, _, _inode = journal.rpartition("-")
        try:
            backing = (devices / name / "loop" / "backing_file").read_text()
        except OSError:  # no loop device, or detached since
            continue
        if Path(backing.rstrip("\n").removesuffix(" (deleted)")) == image:
            found.append(name)
    return sorted(found)


@dataclass(frozen=True)
class Look:
    """At `at` these devices of the image were mounted, and others before."""

    at: float
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """`looks`: how many; `stalled`: the longest time between two of them, in seconds. None of
    both where the witness was ended before it could say so."""

    changes: tuple[Look, ...]
    looks: int | None
    stalled: float | None

    @property
    def doubles(self) -> tuple[Look, ...]:
        """When more than one had the spool."""
        return tuple(change for change in self.changes if len(change.devices) > 1)


def read(log: Path) -> Seen:
    """
    Raises:
        ValueError: a line is none of the witness's.
    """
    changes, looks, stalled = [], None, None
    for line in map(json.loads, log.read_text().splitlines()):
        if "looks" in line:
            looks, stalled = line["looks"], line["stalled"]
        else:
            changes.append(Look(line["at"], tuple(line["devices"])))
    return Seen(tuple(changes), looks, stalled)


class Witness:
    """Context manager: the process looks inside it."""

    def __init__(self, image: Path, log: Path) -> None:
        self._log = log
        self._words = (sys.executable, "-m", __name__, str(image), str(log))

    def __enter__(self) -> Self:
        self._log.touch()
        self._process = subprocess.Popen(self._words, start_new_session=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=10.0)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None


def watch(image: Path, log: TextIO, ended: list[int]) -> None:
    """Until `ended` is not empty."""
    before: list[str] | None = None
    looks, stalled, last = 0, 0.0, now()
    while not ended:
        moment = now()
        stalled, last = max(stalled, moment - last), moment
        looks += 1
        if (seen := mounted(image)) != before:
            before = seen
            print(json.dumps({"at": moment, "devices": seen}), file=log, flush=True)
        time.sleep(max(0.0, moment + INTERVAL - now()))
    print(json.dumps({"looks": looks, "stalled": stalled}), file=log, flush=True)


def main(arguments: list[str]) -> None:
    image, log = map(Path, arguments)
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ended.append(number))
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    with log.open("a") as file:
        watch(image, file, ended)


if __name__ == "__main__":
    main(sys.argv[1:])
