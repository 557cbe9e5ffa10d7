"""What was done to the lab and when, a line each: written as it happens, read by the score.

Moments are those of `mininet_lab.clock`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Event(StrEnum):
    """STRUCK: a fault is there, and was seen to be. MISSED: it could not be made to strike.
    MENDED. POWER_OFF and POWER_ON: of a server, whoever did it. CONTROLLER_ENDED: by itself.
    ROUND_BEGAN, ROUND_MENDED (all faults are mended), ROUND_SERVED, ROUND_READY (the standbys
    too); UNSERVED and UNREADY: not within the time that there was. ATTENDED: what an operator did
    to put the site in order."""

    STRUCK = "struck"
    MISSED = "missed"
    MENDED = "mended"
    POWER_OFF = "power_off"
    POWER_ON = "power_on"
    CONTROLLER_ENDED = "controller_ended"
    ROUND_BEGAN = "round_began"
    ROUND_MENDED = "round_mended"
    ROUND_SERVED = "round_served"
    ROUND_READY = "round_ready"
    UNSERVED = "unserved"
    UNREADY = "unready"
    ATTENDED = "attended"


@dataclass(frozen=True)
class Line:
    """`number`: of the fault, or of the round. `where`: the servers, daemons or ports that it
    struck, resolved: `serving` is a name here. `words`: for people."""

    event: Event
    at: float
    number: int = -1
    kind: str = ""
    target: str = ""
    where: tuple[str, ...] = ()
    words: str = ""


@dataclass
class Diary:
    """Several threads may write."""

    file: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, line: Line) -> None:
        with self._lock, self.file.open("a") as file:
            file.write(json.dumps(asdict(line)) + "\n")


def read(file: Path) -> list[Line]:
    """All lines, in order of time.

    Raises:
        ValueError: a line is none.
    """
    lines = (json.loads(text) for text in file.read_text().splitlines())
    return _sorted(
        Line(**line | {"event": Event(line["event"]), "where": tuple(line["where"])})
        for line in lines
    )


def _sorted(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.at)
