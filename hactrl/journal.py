"""The journal's entries, and when one stands for several.

What happens again just as it did (kind, role and every detail) is no new entry: the first one
counts it, and says when it was last. So a stranger who knocks ten times a second fills one line,
and two who take turns two.

- It must be among the `NEWEST` different entries, so that alternating ones find theirs, and a
  count never goes to an entry that has left the journal.
- It must come within `PAUSE` of the last one. What comes back later is news, and whoever reads
  what led to something should find it there; six an hour of each kind fill no journal.
- An entry counts for an hour at most, so that what lasts is told again.
- Nothing is counted across a takeover or an operator's request: what was before and what came
  after is the story of it. These themselves have numbers that no other has.

What strangers say is different each time if they like, so they cause few entries at all
(`of_strangers`): pushing out what the journal holds takes them days, from however many addresses.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from flows.sparing import Sparing

#: Journal entries that are kept.
KEPT_ENTRIES = 100_000

#: Different entries among which one that comes again is looked for.
NEWEST = 256

#: Seconds after which what happens again is a new entry.
PAUSE = 600.0

#: Seconds that one entry counts.
LONGEST = 3600.0

#: Beginnings of the kinds that nothing is counted across.
LANDMARKS = ("takeover.", "request.")

#: Strangers of one kind that are told apart in `STRANGER_PAUSE` seconds, with an entry each; all
#: others share one.
STRANGERS = 16
STRANGER_PAUSE = 60.0

#: Entries in one transaction, so that a placement waits for no more than them.
PORTION = 500

_READ = """
SELECT number, at, kind, role, details, count, last FROM journal
WHERE (:role IS NULL OR role = :role) AND (:before IS NULL OR number < :before)
ORDER BY number DESC LIMIT :limit
"""

# Numbers are ours, so that an entry that counts on is found by its own.
_WRITE = """
INSERT INTO journal (number, at, kind, role, details, count, last) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET count = excluded.count, last = excluded.last
"""


def of_strangers(clock: Callable[[], float] = time.monotonic) -> Sparing:
    """What may be journalled of one kind of strangers, by what tells them apart."""
    return Sparing(STRANGER_PAUSE, apart=STRANGERS, clock=clock)


@dataclass(frozen=True)
class Entry:
    """One journal entry. `at` is wall clock time, in seconds since 1970; where it stands for
    `count` of the same, of the first, and `last` of the last."""

    number: int
    at: float
    kind: str
    role: str
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    count: int = 1
    last: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "last", max(self.at, self.last))


#: As it is written.
Row = tuple[int, float, str, str, str, int, float]


@dataclass(slots=True)
class _Line:
    """A row; `said` is kind, role, and details as JSON."""

    number: int
    at: float
    said: tuple[str, str, str]
    count: int
    last: float

    def row(self) -> Row:
        return self.number, self.at, *self.said, self.count, self.last


class Journal:
    """Entries that wait to be written, and table `journal`, for the thread of its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._recent: dict[tuple[str, str, str], _Line] = {}
        self._unwritten: dict[int, _Line] = {}
        rows = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")
        self._newest = int((rows.fetchone() or (0,))[0])

    @property
    def unwritten(self) -> int:
        """Entries that wait."""
        return len(self._unwritten)

    def take(self, at: float, said: tuple[str, str, str]) -> None:
        """Add an entry (kind, role, details as JSON), or count it with the one that it repeats."""
        if said[0].startswith(LANDMARKS):
            self._recent.clear()
        line = self._recent.get(said)
        if line is None or abs(at - line.last) > PAUSE or abs(at - line.at) > LONGEST:
            self._newest += 1
            line = _Line(self._newest, at, said, 1, at)
            self._recent.pop(said, None)
            self._recent[said] = line
            if len(self._recent) > NEWEST:
                del self._recent[next(iter(self._recent))]
        else:
            line.count += 1
            line.last = max(at, line.last)
        self._unwritten[line.number] = line

    def write(self) -> list[int]:
        """Write a portion of what waits, in a transaction of the caller's; returns the numbers
        for `written`."""
        lines = list(islice(self._unwritten.values(), PORTION))
        self._connection.executemany(_WRITE, [line.row() for line in lines])
        self._connection.execute(
            "DELETE FROM journal WHERE number <= ?", (self._newest - KEPT_ENTRIES,)
        )
        return [line.number for line in lines]

    def written(self, numbers: list[int]) -> None:
        """The transaction of that `write` is done."""
        for number in numbers:
            del self._unwritten[number]

    def read(self, role: str | None, before: int | None, limit: int) -> list[Entry]:
        """See `Store.history`; those that wait, too.

        Raises:
            sqlite3.Error: it cannot be read.
            ValueError: the details of an entry are no JSON.
        """
        asked = {"role": role, "before": before, "limit": limit}
        rows = self._connection.execute(_READ, asked).fetchall()
        waiting = (
            line.row()
            for line in self._unwritten.values()
            if role in (None, line.said[1]) and (before is None or line.number < before)
        )
        newest = {row[0]: row for row in (*rows, *waiting)}
        return [_entry(newest[number]) for number in sorted(newest, reverse=True)[:limit]]


def _entry(row: Row) -> Entry:
    number, at, kind, role, details, count, last = row
    return Entry(number, at, kind, role, json.loads(details), count, last)
