"""What must outlive the controller: placements with their epochs, the generation, the journal,
the hosts of backbones.

Two kinds of writing, kept apart, in one SQLite file in WAL mode:

- A *placement* is written before the engine acts on it (law 6). It is one statement that compares
  and sets, on a connection of its own with `synchronous=FULL`: when `place` returns, it is on disk.
- The *journal* may lag. `append` only puts an entry into memory, `flush` writes all of them in one
  transaction, on another connection with `synchronous=NORMAL`, which in WAL mode waits for no disk
  (sqlite.org/pragma.html#pragma_synchronous). So it holds SQLite's write lock for well under a
  millisecond, and a failover that comes at the same time waits for that at most. What a crash can
  cost are the last entries of the journal, never a placement.

Hosts are written with the journal: who was learnt in the last moment is learnt again.

Nothing here starts a thread, knows eventlet, or uses a Python lock (eventlet would replace it by
one that real threads must not touch). `hactrl.keeper` runs `place` and `flush` in real threads.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, TextIO

from hactrl.engine.effects import Record
from topology.model import Attachment, Host

#: The layout below; a store with another one is refused.
LAYOUT = 1

#: Journal entries that are kept.
KEPT_ENTRIES = 100_000

#: Seconds that one connection waits for another's write.
BUSY_TIMEOUT = 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS placements (
    role TEXT PRIMARY KEY, server TEXT NOT NULL, epoch INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generation (
    only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    kind TEXT NOT NULL, role TEXT NOT NULL, details TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS hosts (
    mac TEXT NOT NULL UNIQUE, switch TEXT NOT NULL, port INTEGER NOT NULL,
    number INTEGER NOT NULL, addresses TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_by_role ON journal (role, number);
"""

# An equal epoch is the same write once more, after its answer was lost.
_PLACE = """
INSERT INTO placements VALUES (:role, :server, :epoch, :at)
ON CONFLICT (role) DO UPDATE SET server = excluded.server, epoch = excluded.epoch, at = excluded.at
WHERE excluded.epoch > epoch OR (excluded.epoch = epoch AND excluded.server = server)
RETURNING epoch
"""

# The oldest keeps its place.
_HOST = """
INSERT INTO hosts VALUES (?, ?, ?, ?, ?)
ON CONFLICT (mac) DO UPDATE SET switch = excluded.switch, port = excluded.port,
number = excluded.number, addresses = excluded.addresses
"""


class StoreError(Exception):
    """The store cannot be used; the message says why and what to do."""


class StaleEpochError(StoreError):
    """A placement with an epoch that is not above the stored one; nothing was changed."""

    def __init__(self, role: str, epoch: int, known: int) -> None:
        super().__init__(f"{role}: epoch {epoch} is not above {known}, which is stored")
        self.known = known


@dataclass(frozen=True)
class Entry:
    """One journal entry; `at` is wall clock time, in seconds since 1970."""

    number: int
    at: float
    kind: str
    role: str
    details: Mapping[str, str | int | float] = field(default_factory=dict)


class Store(Protocol):
    """What hactrl asks of a store. Calls may block for the disk, but for `append`."""

    def placements(self) -> dict[str, tuple[str, int]]:
        """Server and epoch of each role's last placement."""

    def place(self, role: str, server: str, epoch: int) -> None:
        """Write a placement durably.

        Raises:
            StaleEpochError: the stored epoch is higher, or the same for another server.
            StoreError: it could not be written.
        """

    def next_generation(self) -> int:
        """A number for the role requests of this run, above those of all runs before
        (`generation_id`, OpenFlow 1.3.5, section 6.3.7)."""

    def append(self, record: Record) -> None:
        """Add to the journal. Never waits."""

    def hosts(self) -> tuple[Host, ...]:
        """Those kept last, the oldest first.

        Raises:
            StoreError: one of them cannot be read.
        """

    def keep_hosts(self, hosts: tuple[Host, ...]) -> None:
        """These are all that there are now; `flush` writes them. Never waits."""

    def flush(self) -> int:
        """Write hosts and what was appended; returns how many entries. One call at a time.

        Raises:
            StoreError: it could not be written; the entries stay for the next call.
        """

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        """The newest entries first; of one role, and with numbers below `before`, if given."""

    def close(self) -> None:
        """Flush, and give the store back."""


class SqliteStore:
    """`Store` in one SQLite file, for one controller at a time; see the module's text.

    `clock` gives wall clock time.

    Raises:
        StoreError: the file cannot be opened, is no store, or another controller has it.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._path = str(path)
        self._clock = clock
        self._waiting: deque[tuple[float, str, str, str]] = deque()
        self._kept: dict[str, Host] = {}
        self._lock = _lock(self._path)
        try:
            self._placements = self._open("FULL")
            self._journal = self._open("NORMAL")
            self._written = {host.mac: host for host in self.hosts()}
        except StoreError:
            self._lock.close()
            raise
        self._kept = dict(self._written)

    def _open(self, synchronous: str) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            layout = connection.execute("PRAGMA user_version").fetchone()[0]
            if layout not in (0, LAYOUT):
                raise StoreError(
                    f"{self._path}: layout {layout}, and this hactrl knows {LAYOUT}: use the"
                    " version that wrote it, or move the file away"
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; is it a store of hactrl?") from error
        return connection

    def placements(self) -> dict[str, tuple[str, int]]:
        rows = self._placements.execute("SELECT role, server, epoch FROM placements")
        return {role: (server, epoch) for role, server, epoch in rows}

    def place(self, role: str, server: str, epoch: int) -> None:
        values = {"role": role, "server": server, "epoch": epoch, "at": self._clock()}
        try:
            # One statement, so that threads that share the connection cannot come between; and
            # fetched to its end, because only then has it been committed.
            written = self._placements.execute(_PLACE, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: placement of {role} not written: {error}") from error
        if not written:
            known = self.placements()[role][1]
            raise StaleEpochError(role, epoch, known)

    def next_generation(self) -> int:
        # Seconds as a floor: a store that was lost must not make switches refuse us.
        floor = int(self._clock())
        try:
            rows = self._placements.execute(
                "INSERT INTO generation VALUES (1, ?) ON CONFLICT (only)"
                " DO UPDATE SET value = max(value + 1, excluded.value) RETURNING value",
                (floor,),
            ).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: generation not written: {error}") from error
        return int(rows[0][0])

    def append(self, record: Record) -> None:
        details = json.dumps(dict(record.details))
        self._waiting.append((self._clock(), record.kind, record.role, details))

    def hosts(self) -> tuple[Host, ...]:
        rows = self._journal.execute(
            "SELECT mac, switch, port, number, addresses FROM hosts ORDER BY rowid"
        )
        return tuple(self._host(*row) for row in rows)

    def _host(self, mac: str, switch: str, port: int, number: int, known: str) -> Host:
        try:
            addresses = tuple(map(ip_address, json.loads(known)))
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{self._path}: the addresses of host {mac} cannot be read ({error}); delete its"
                " row from table hosts: a host is learnt again when it sends"
            ) from error
        return Host(mac, Attachment(switch, port), number, addresses)

    def keep_hosts(self, hosts: tuple[Host, ...]) -> None:
        self._kept = {host.mac: host for host in hosts}

    def flush(self) -> int:
        entries, kept = list(self._waiting), self._kept
        if not entries and kept == self._written:
            return 0
        journal = self._journal
        try:
            journal.execute("BEGIN IMMEDIATE")
            try:
                journal.executemany(
                    "INSERT INTO journal (at, kind, role, details) VALUES (?, ?, ?, ?)", entries
                )
                journal.execute(
                    "DELETE FROM journal WHERE number <= (SELECT max(number) FROM journal) - ?",
                    (KEPT_ENTRIES,),
                )
                self._write_hosts(kept)
            except sqlite3.Error:
                journal.execute("ROLLBACK")
                raise
            journal.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: journal not written: {error}") from error
        for _ in entries:
            self._waiting.popleft()
        self._written = kept
        return len(entries)

    def _write_hosts(self, kept: Mapping[str, Host]) -> None:
        gone = [(mac,) for mac in self._written if mac not in kept]
        changed = [host for mac, host in kept.items() if self._written.get(mac) != host]
        self._journal.executemany("DELETE FROM hosts WHERE mac = ?", gone)
        self._journal.executemany(_HOST, map(_row, changed))

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        rows = self._journal.execute(
            "SELECT number, at, kind, role, details FROM journal"
            " WHERE (:role IS NULL OR role = :role) AND (:before IS NULL OR number < :before)"
            " ORDER BY number DESC LIMIT :limit",
            {"role": role, "before": before, "limit": limit},
        ).fetchall()
        return [
            Entry(number, at, kind, of, json.loads(details))
            for number, at, kind, of, details in rows
        ]

    def close(self) -> None:
        self.flush()
        self._journal.close()
        self._placements.close()
        self._lock.close()


def _row(host: Host) -> tuple[str, str, int, int, str]:
    known = json.dumps([str(address) for address in host.addresses])
    return host.mac, host.attachment.switch, host.attachment.port, host.number, known


def _lock(path: str) -> TextIO:
    """Hold the store for this process, until it ends however it ends.

    In a file of its own: closing a second descriptor of the database would drop SQLite's own
    locks (sqlite.org/howtocorrupt.html, section 2.2).
    """
    name = f"{path}.lock"
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        lock = open(name, "a", encoding="utf-8")  # noqa: SIM115 - held until close()
    except OSError as error:
        raise StoreError(f"{name}: {error.strerror}; see controller.store") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(f"{path}: another controller is using it; end that one first") from error
    return lock
