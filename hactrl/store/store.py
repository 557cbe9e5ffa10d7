"""What must outlive the controller: placements with their epochs, the generation, the engine's
memory, the journal, the hosts of backbones.

Two kinds of writing, kept apart, in one SQLite file in WAL mode:

- A *placement*, or the engine's memory, is written before the engine acts on it (law 6). It is one
  statement, on a connection with `synchronous=FULL`: when `place` returns, it is on disk.
- The *journal* may lag. `append` only puts an entry into memory, `flush` writes all of them, on
  another connection with `synchronous=NORMAL`, which in WAL mode waits for no disk
  (sqlite.org/pragma.html#pragma_synchronous). It holds SQLite's write lock for a portion at a time,
  a few milliseconds at most, and lets placements that wait go first; it also carries over to the
  database what the log holds. What a crash can cost are the last entries, never a placement.

Hosts are written with the journal: who was learnt in the last moment is learnt again.

Each connection has a thread of its own (`hactrl.store.worker`), which makes it and alone uses it.
Threads that share one come between each other's statements whatever locks SQLite holds: a commit
waits for the other's statement, and from Python 3.12 on an answer can be the other's
(python/cpython#118172). So every call may come from any thread, and waits; `hactrl.store.keeper`
makes them for greenlets.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, TypeVar
from zlib import crc32

from hactrl import journal
from hactrl.engine.effects import Record
from hactrl.journal import Entry, Journal
from hactrl.store.file import StoreError, StoreFile, damaged
from hactrl.store.worker import Worker
from hactrl.vocabulary import EntryKind
from topology.model import Attachment, Host

__all__ = ["Entry", "SqliteStore", "StaleEpochError", "Store", "StoreError"]

# An equal epoch is the same write once more, after its answer was lost.
_PLACE = """
INSERT INTO placements VALUES (:role, :server, :epoch, :at)
ON CONFLICT (role) DO UPDATE SET server = excluded.server, epoch = excluded.epoch, at = excluded.at
WHERE excluded.epoch > epoch OR (excluded.epoch = epoch AND excluded.server = server)
RETURNING epoch
"""

_GENERATION = """
INSERT INTO generation VALUES (1, ?)
ON CONFLICT (only) DO UPDATE SET value = max(value + 1, excluded.value) RETURNING value
"""

_REMEMBER = """
INSERT INTO memory VALUES (1, ?, ?)
ON CONFLICT (only) DO UPDATE SET text = excluded.text, checksum = excluded.checksum
"""

# The oldest keeps its place.
_HOST = """
INSERT INTO hosts VALUES (?, ?, ?, ?, ?)
ON CONFLICT (mac) DO UPDATE SET switch = excluded.switch, port = excluded.port,
number = excluded.number, addresses = excluded.addresses
"""

Result = TypeVar("Result")


class StaleEpochError(StoreError):
    """A placement with an epoch that is not above the stored one; nothing was changed."""

    def __init__(self, role: str, epoch: int, known: int) -> None:
        super().__init__(f"{role}: epoch {epoch} is not above {known}, which is stored")
        self.known = known


class Store(Protocol):
    """What hactrl asks of a store. Calls may block for the disk, but for `append` and
    `keep_hosts`. Every one of those that may raises StoreError if it cannot do what it should."""

    def placements(self) -> dict[str, tuple[str, int]]:
        """Server and epoch of each role's last placement."""

    def place(self, role: str, server: str, epoch: int) -> None:
        """Write a placement durably.

        Raises:
            StaleEpochError: the stored epoch is higher, or the same for another server.
        """

    def next_generation(self) -> int:
        """A number for the role requests of this run, above those of all runs before
        (`generation_id`, OpenFlow 1.3.5, section 6.3.7)."""

    def generation(self) -> int:
        """What `next_generation` has told last; 0 if it never has."""

    def epoch_floor(self) -> int:
        """Above all epochs that were given before the store was restored from a copy; 0 if it
        never was. See `hactrl.engine.roles.ownership.forgetful`."""

    def memory(self) -> str:
        """What was given to `remember` last; empty if nothing ever was."""

    def remember(self, text: str) -> None:
        """Write what the engine must know again after a restart, durably."""

    def append(self, record: Record) -> None:
        """Add to the journal. Never waits."""

    def hosts(self) -> tuple[Host, ...]:
        """Those kept last, the oldest first."""

    def keep_hosts(self, hosts: tuple[Host, ...]) -> None:
        """These are all that there are now; `flush` writes them. Never waits."""

    def flush(self) -> int:
        """Write hosts and what was appended; returns how many entries that are. What cannot be
        written stays for the next call."""

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        """The newest entries first; of one role, and with numbers below `before`, if given. What
        was appended and could not be written yet is among them."""

    def close(self) -> None:
        """Flush, and give the store back, even if it cannot be flushed."""


class SqliteStore:
    """`Store` in one SQLite file, for one controller at a time; see the module's text.

    `clock` gives wall clock time.

    Raises:
        StoreError: the file cannot be opened, is no store, or another controller has it.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # `append` takes no more than `KEPT_ENTRIES`, and counts what it refuses for the journal.
        self._waiting: deque[tuple[float, tuple[str, str, str]]] = deque()
        self._refused = self._told = 0
        self._file = StoreFile(path)
        self._placer, self._journalist = Worker("placements"), Worker("journal")
        self._opened: list[tuple[Worker, sqlite3.Connection]] = []
        try:
            self._placements = self._placer.run(self._open_placements)
            self._records, self._journal = self._journalist.run(self._open_journal)
            self._written: Mapping[str, Host] = {host.mac: host for host in self.hosts()}
            self._file.remember()
        except BaseException:
            self._give_back()
            raise
        self._kept = self._written

    def _open_placements(self) -> sqlite3.Connection:
        connection = self._file.connect("FULL", first=True)
        self._opened.append((self._placer, connection))
        # Carrying over what the log holds is left to the journal.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _open_journal(self) -> tuple[sqlite3.Connection, Journal]:
        connection = self._file.connect("NORMAL")
        self._opened.append((self._journalist, connection))
        with self._explained("cannot read the journal"):
            return connection, Journal(connection)

    def placements(self) -> dict[str, tuple[str, int]]:
        def read() -> dict[str, tuple[str, int]]:
            with self._explained("cannot read the placements"):
                rows = self._placements.execute("SELECT role, server, epoch FROM placements")
                return {role: (server, epoch) for role, server, epoch in rows}

        return self._placer.run(read)

    def place(self, role: str, server: str, epoch: int) -> None:
        values = {"role": role, "server": server, "epoch": epoch, "at": self._clock()}
        written = self._write_now(f"placement of {role} not written", _PLACE, values)
        if not written:
            raise StaleEpochError(role, epoch, self.placements()[role][1])

    def next_generation(self) -> int:
        # Seconds as a floor: a store that was lost, or an old copy of one, must not make switches
        # refuse us.
        floor = int(self._clock())
        rows = self._write_now("generation not written", _GENERATION, (floor,))
        return int(rows[0][0])

    def generation(self) -> int:
        return self._number("generation")

    def epoch_floor(self) -> int:
        return self._number("epoch_floor")

    def _number(self, table: str) -> int:
        def read() -> int:
            with self._explained(f"cannot read its {table}"):
                rows = self._placements.execute(f"SELECT value FROM {table}").fetchall()
                return int(rows[0][0]) if rows else 0

        return self._placer.run(read)

    def memory(self) -> str:
        def read() -> str:
            with self._explained("cannot read the engine's memory"):
                rows = self._placements.execute("SELECT text, checksum FROM memory").fetchall()
            for text, checksum in rows:
                # SQLite sees no zeroed page that holds nothing but the middle of a long text.
                if _checksum(text) != checksum:
                    raise damaged(self._file.path, "the engine's memory")
                return str(text)
            return ""

        return self._placer.run(read)

    def remember(self, text: str) -> None:
        self._write_now("the engine's memory not written", _REMEMBER, (text, _checksum(text)))

    def _write_now(
        self, failed: str, statement: str, values: Mapping[str, object] | tuple[object, ...]
    ) -> list[tuple[int]]:
        """One statement's rows, when it is on disk, in files that still stand there."""

        def write() -> list[tuple[int]]:
            with self._explained(failed):
                self._file.check()
                # Committed only when fetched to the end.
                rows = self._placements.execute(statement, values).fetchall()
                self._file.check()
                return rows

        return self._placer.run(write)

    @contextmanager
    def _explained(self, failed: str) -> Iterator[None]:
        """Make one line of what SQLite says, or of a value that it cannot hold."""
        try:
            yield
        except (sqlite3.Error, OverflowError, ValueError) as error:
            self._file.check()
            raise StoreError(f"{self._file.path}: {failed}: {error}") from error

    def append(self, record: Record) -> None:
        if len(self._waiting) + self._journal.unwritten >= journal.KEPT_ENTRIES:
            self._refused += 1
            return
        details = json.dumps(dict(record.details))
        self._waiting.append((self._clock(), (record.kind, record.role, details)))

    def hosts(self) -> tuple[Host, ...]:
        def read() -> tuple[Host, ...]:
            with self._explained("cannot read the hosts"):
                rows = self._records.execute(
                    "SELECT mac, switch, port, number, addresses FROM hosts ORDER BY rowid"
                )
                return tuple(self._host(*row) for row in rows)

        return self._journalist.run(read)

    def _host(self, mac: str, switch: str, port: int, number: int, known: str) -> Host:
        try:
            addresses = tuple(map(ip_address, json.loads(known)))
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{self._file.path}: the addresses of host {mac} cannot be read ({error}); delete"
                " its row from table hosts: a host is learnt again when it sends"
            ) from error
        return Host(mac, Attachment(switch, port), number, addresses)

    def keep_hosts(self, hosts: tuple[Host, ...]) -> None:
        self._kept = {host.mac: host for host in hosts}

    def flush(self) -> int:
        return self._journalist.run(self._flush)

    def _flush(self) -> int:
        self._take()
        self._file.check()
        written = 0
        while self._journal.unwritten or self._kept != self._written:
            if self._placer.busy:
                self._placer.run(lambda: None)  # what waits there goes first
            written += self._write_portion()
        if written:
            self._file.check()
        return written

    def _take(self) -> None:
        for _ in range(len(self._waiting)):
            self._journal.take(*self._waiting.popleft())
        if refused := self._refused - self._told:
            details = json.dumps({"entries": refused})
            self._journal.take(self._clock(), (EntryKind.JOURNAL_REFUSED, "", details))
            self._told += refused

    def _write_portion(self) -> int:
        kept, records = self._kept, self._records
        with self._explained("journal not written"):
            records.execute("BEGIN IMMEDIATE")
            try:
                numbers = self._journal.write()
                self._write_hosts(kept)
                records.execute("COMMIT")
            except sqlite3.Error:
                if records.in_transaction:  # a full disk may have ended it already
                    records.execute("ROLLBACK")
                raise
        self._journal.written(numbers)
        self._written = kept
        return len(numbers)

    def _write_hosts(self, kept: Mapping[str, Host]) -> None:
        gone = [(mac,) for mac in self._written if mac not in kept]
        changed = [host for mac, host in kept.items() if self._written.get(mac) != host]
        self._records.executemany("DELETE FROM hosts WHERE mac = ?", gone)
        self._records.executemany(_HOST, map(_row, changed))

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        def read() -> list[Entry]:
            self._take()
            with self._explained("cannot read the journal"):
                return self._journal.read(role, before, limit)

        return self._journalist.run(read)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        for worker, connection in reversed(self._opened):
            worker.run(connection.close)
        self._placer.end()
        self._journalist.end()
        self._file.close()


def _checksum(text: str) -> int:
    return crc32(text.encode())


def _row(host: Host) -> tuple[str, str, int, int, str]:
    known = json.dumps([str(address) for address in host.addresses])
    return host.mac, host.attachment.switch, host.attachment.port, host.number, known
