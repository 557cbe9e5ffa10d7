"""Three roles placed at once, through `Keeper` and eventlet's threads, as a controller does it.

A program, because its interpreter is the matter: `python store_stress.py STORE ROUNDS` prints what
went wrong, as JSON; see `test_store_threads.py`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import warnings
from contextlib import closing

warnings.simplefilter("ignore")

import eventlet  # noqa: E402 - its import warns

eventlet.monkey_patch()

from hactrl.engine.effects import Record  # noqa: E402 - after all is patched, as in a controller
from hactrl.store.keeper import Keeper  # noqa: E402
from hactrl.store.store import SqliteStore, StaleEpochError, StoreError  # noqa: E402

ROLES = ("mail", "relay", "web")


def stress(path: str, rounds: int) -> dict[str, int]:
    """How often what went wrong."""
    found = {"lost": 0, "stale": 0, "errors": 0, "unanswered": 0}
    keeper = Keeper(SqliteStore(path))
    eventlet.spawn(keeper.run)

    def place(role: str, epoch: int) -> str:
        keeper.append(Record("takeover.started", role, (("epoch", epoch),)))
        try:
            keeper.place(role, f"server{epoch}", epoch)
        except StaleEpochError:
            return "stale"
        except StoreError:
            return "errors"
        return ""

    with closing(sqlite3.connect(path)) as reader:
        for epoch in range(1, rounds + 1):
            placing = [eventlet.spawn(place, role, epoch) for role in ROLES]
            if not epoch % 10:
                keeper.history(limit=5)
            for role, greenlet in zip(ROLES, placing, strict=True):
                try:
                    with eventlet.Timeout(10):
                        wrong = greenlet.wait()
                except (Exception, eventlet.Timeout):  # noqa: BLE001 - is what is counted
                    wrong = "unanswered"
                if wrong:
                    found[wrong] += 1
                    continue
                rows = reader.execute("SELECT epoch FROM placements WHERE role = ?", (role,))
                found["lost"] += rows.fetchall() != [(epoch,)]
    return found


if __name__ == "__main__":
    print(json.dumps(stress(sys.argv[1], int(sys.argv[2]))))
