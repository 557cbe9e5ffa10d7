"""What was promised, what went wrong, and when: the ledger, and the account drawn from it.

Times are those of `mininet_lab.clock`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import TracebackType


class Kind(Enum):
    """ACKNOWLEDGED: a server said 250 to a whole mail. SERVED: a mailbox was read.
    ERROR: an attempt failed. GAVE_UP: a mail that was never acknowledged, and will not be."""

    ACKNOWLEDGED = "acknowledged"
    SERVED = "served"
    ERROR = "error"
    GAVE_UP = "gave_up"


@dataclass(frozen=True)
class MailRecord:
    """`way` is a, b or c of the mission; `subject` the mail's id or the user; `protocol` and
    `address` those of the attempt, which lasted from `began` to `time`. `detail` is the
    trouble's word and the server's answer."""

    kind: Kind
    way: str
    subject: str
    protocol: str
    address: str
    began: float
    time: float
    detail: str = ""

    @property
    def family(self) -> int:
        return 6 if ":" in self.address else 4


class Ledger:
    """Append-only file of JSON lines. An entry is in the kernel's hands when `write` returns,
    so that killing the writer loses nothing, and several processes may share a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(self, entry: MailRecord) -> None:
        line = json.dumps(asdict(entry) | {"kind": entry.kind.value}) + "\n"
        os.write(self._file, line.encode())


def read(paths: Iterable[Path]) -> list[MailRecord]:
    """All entries of some ledgers, in order of time.

    Raises:
        ValueError: a line is no entry.
    """
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    entries = [MailRecord(**line | {"kind": Kind(line["kind"])}) for line in lines]
    return sorted(entries, key=lambda e: e.time)


@dataclass(frozen=True)
class WayAccount:
    """One way's mail. `lost`: acknowledged, not arrived whole. `duplicates`: further copies of
    a mail that arrived. `unacknowledged`: arrived though nobody had promised it, which SMTP
    permits."""

    acknowledged: int
    arrived: int
    lost: tuple[str, ...]
    duplicates: int
    unacknowledged: int


def account(
    entries: Iterable[MailRecord], arrived: Mapping[str, Counter[str]]
) -> dict[str, WayAccount]:
    """Compare what was acknowledged on each way with the ids that arrived on it, whole."""
    promised: dict[str, set[str]] = {way: set() for way in arrived}
    for entry in entries:
        if entry.kind is Kind.ACKNOWLEDGED:
            promised.setdefault(entry.way, set()).add(entry.subject)
    return {way: _account(ids, arrived.get(way, Counter())) for way, ids in promised.items()}


def _account(promised: set[str], arrived: Counter[str]) -> WayAccount:
    return WayAccount(
        acknowledged=len(promised),
        arrived=len(arrived),
        lost=tuple(sorted(promised - arrived.keys())),
        duplicates=arrived.total() - len(arrived),
        unacknowledged=len(arrived.keys() - promised),
    )


def first_served(entries: Iterable[MailRecord], way: str, since: float) -> float | None:
    """Seconds from `since` to the end of the first success that began after it, None if none.

    What began earlier may have been the dead server's last word.
    """
    ends = [e.time for e in _successes(entries, way) if e.began >= since]
    return min(ends) - since if ends else None


def longest_gap(entries: Iterable[MailRecord], way: str, begin: float, end: float) -> float:
    """The longest time without a success on a way, within a span of time."""
    times = [e.time for e in _successes(entries, way) if begin <= e.time <= end]
    marks = [begin, *sorted(times), end]
    return max(later - earlier for earlier, later in pairwise(marks))


def errors_by_kind(entries: Iterable[MailRecord]) -> dict[str, dict[str, int]]:
    """How often each trouble was met on each way."""
    counted: dict[str, Counter[str]] = {}
    for entry in entries:
        if entry.kind in (Kind.ERROR, Kind.GAVE_UP):
            word = entry.detail.split(" ", 1)[0] if entry.kind is Kind.ERROR else "gave_up"
            counted.setdefault(entry.way, Counter())[word] += 1
    return {way: dict(counts) for way, counts in counted.items()}


def _successes(entries: Iterable[MailRecord], way: str) -> list[MailRecord]:
    good = (Kind.ACKNOWLEDGED, Kind.SERVED)
    return [e for e in entries if e.way == way and e.kind in good]
