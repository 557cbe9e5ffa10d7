"""What a store does on a disk that is full: `python full_disk.py FOLDER`, on a disk of its own.

Prints a line for each thing that was tried; see `test_store_file.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from hactrl.engine.effects import Record
from hactrl.store.store import SqliteStore, StoreError


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass


def tell(what: str, call: Callable[[], object]) -> None:
    try:
        print(f"{what}: {call()}")
    except StoreError as error:
        print(f"{what}: {error}")


def main(folder: Path) -> None:
    store = SqliteStore(folder / "hactrl.sqlite")
    store.place("mail", "alpha", 1)
    ballast = folder / "ballast"
    fill(ballast)
    for number in range(2000):
        store.append(Record("event", "mail", (("number", number),)))
    tell("flush", store.flush)
    tell("place", lambda: store.place("mail", "beta", 2))
    tell("remember", lambda: store.remember("much " * 1000))
    tell("known", store.placements)
    tell("history", lambda: len(store.history(limit=10_000)))
    tell("new store", lambda: SqliteStore(folder / "new" / "hactrl.sqlite"))
    ballast.unlink()
    store.place("mail", "beta", 2)
    store.close()
    store = SqliteStore(folder / "hactrl.sqlite")
    print("afterwards:", store.placements(), len(store.history(limit=10_000)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
