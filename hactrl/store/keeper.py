"""The store among greenlets: nothing of the disk is ever waited for in the hub (law 6).

A thread of the hub's pool (`hub.execute_in_thread`) waits for the store's own threads. A placement
has one at once, while the journal has one greenlet that writes batches; that one can never keep
more than one of the pool's threads busy, so a slow journal leaves the others to placements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hactrl import hub
from hactrl.engine.effects import Record
from hactrl.hub import Semaphore
from hactrl.store.store import Entry, Store
from topology.model import Host

#: Seconds that the journal collects before it writes.
BATCH = 0.1

#: Seconds after which an idle store is looked at, so that one that is gone is noticed.
LOOK = 5.0

Result = TypeVar("Result")


class Keeper:
    """`store` for greenlets. Calls wait for the disk, but only the greenlet that makes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._appended = Semaphore(0)
        self._writing = Semaphore(1)
        self._remembering = Semaphore(1)

    def place(self, role: str, server: str, epoch: int) -> None:
        """See `Store.place`."""
        self._in_thread(lambda: self._store.place(role, server, epoch))

    def remember(self, text: str) -> None:
        """See `Store.remember`."""
        with self._remembering:  # in the order in which they are asked for
            self._in_thread(lambda: self._store.remember(text))

    def append(self, record: Record) -> None:
        """Add to the journal; returns at once. `run` writes it."""
        self._store.append(record)
        self._wake()

    def keep_hosts(self, hosts: tuple[Host, ...]) -> None:
        """Remember these hosts; returns at once. `run` writes them."""
        self._store.keep_hosts(hosts)
        self._wake()

    def _wake(self) -> None:
        if not self._appended.balance > 0:
            self._appended.release()

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        """See `Store.history`."""
        with self._writing:
            return self._in_thread(lambda: self._store.history(role, before, limit))

    def flush(self) -> None:
        """Write what has been appended.

        Raises:
            StoreError: it could not be written; it stays for the next time.
        """
        with self._writing:
            self._in_thread(self._store.flush)

    def run(self) -> None:
        """Write the journal for ever.

        Raises:
            StoreError: a write failed, or the store is gone; nothing is lost by calling it again.
        """
        while True:
            if self._appended.acquire(timeout=LOOK):
                hub.sleep(BATCH)
            self.flush()

    @staticmethod
    def _in_thread(call: Callable[[], Result]) -> Result:
        result: Result = hub.execute_in_thread(call)
        return result
