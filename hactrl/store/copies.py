"""Copies of a store: made while a controller runs, and put back while none does.

An old copy is safe to start from: the store says where to begin, never who owns what (see
`hactrl.engine.roles.ownership`), and agents know their epochs, refuse lower ones, and tell theirs.
What a copy cannot know are the epochs that were given since to servers that are away. So whoever
restores one names an epoch that none of these can be above: the seconds since 1970.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from hactrl.store.file import BUSY_TIMEOUT, Hold, StoreError, layout_of, migrate, names

#: What the name of a store that was replaced ends with.
REPLACED = ".replaced"

_RAISE = """
INSERT INTO {} VALUES (1, ?)
ON CONFLICT (only) DO UPDATE SET value = max(value, excluded.value)
"""

# Of a store of any layout, which may lack the last table.
_HIGHEST = (
    "SELECT max(value) FROM generation",
    "SELECT max(epoch) FROM placements",
    "SELECT max(value) FROM epoch_floor",
)


class UnfinishedError(StoreError):
    """It was begun, and something of it may have been done; the message says what to look at."""


def backup(store: Path, copy: Path) -> None:
    """Write a whole and durable copy, of one moment, to a new file, only for its owner to read.

    Reading keeps no writer waiting (VACUUM INTO, sqlite.org/lang_vacuum.html).

    Raises:
        StoreError: there is no store, `copy` is there already, or it cannot be written; nothing
            has changed.
    """
    if copy.exists():
        raise StoreError(f"{copy} is there already, and is not written over")
    unfinished = copy.with_name(f"{copy.name}.part")
    with _or_gone(unfinished), _explained(store, f"no copy at {copy}"):
        _empty(unfinished)
        with closing(_opened(store)) as connection:
            if not layout_of(connection, str(store)):
                raise StoreError(f"{store}: nothing is in it; is it a store of hactrl?")
            connection.execute("VACUUM INTO ?", (str(unfinished),))
        _sync(unfinished)
        os.rename(unfinished, copy)
        _sync(copy.parent)


def restore(copy: Path, store: Path, clock: float | None = None) -> Path | None:
    """Put a copy, of this layout or an older one, in the place of a store; returns where the store
    that was there is now, None if there was none.

    `clock` is the wall clock's time, now if left out. Neither the generation nor the next epochs
    are below those of the store that is replaced, where it can be read.

    Raises:
        StoreError: a controller uses the store, or the copy is none, damaged or of a newer layout;
            nothing has changed.
        UnfinishedError: it cannot be put in place.
    """
    store = Path(os.path.realpath(store))
    hold = Hold(str(store))
    unfinished = store.with_name(f"{store.name}.restoring")
    try:
        with _or_gone(unfinished), _explained(copy, f"{store} not restored"):
            _empty(unfinished)
            _prepare(copy, store, unfinished, time.time() if clock is None else clock)
            _sync(unfinished)
            return _put_in_place(unfinished, store)
    finally:
        hold.close()


def _prepare(copy: Path, store: Path, unfinished: Path, clock: float) -> None:
    if any(os.path.exists(name) and os.path.getsize(name) for name in names(str(copy))[1:2]):
        raise StoreError(
            f"{copy}: {copy.name}-wal lies beside it, so it is a store, or a part of one, and no"
            " copy that `hactl store backup` made: make one of it first"
        )
    shutil.copyfile(copy, unfinished)
    with closing(_opened(unfinished)) as connection:
        if not layout_of(connection, str(copy)):
            raise StoreError(f"{copy}: nothing is in it; is it a copy of a store?")
        migrate(connection, str(copy))
        generation, *epochs = _highest(store)
        connection.execute(_RAISE.format("generation"), (generation,))
        connection.execute(_RAISE.format("epoch_floor"), (max(int(clock), *epochs),))
        connection.execute(
            "INSERT INTO journal (at, kind, role, details, last)"
            " VALUES (?, 'store.restored', '', '{}', ?)",
            (clock, clock),
        )
    _own_as(unfinished, store if store.exists() else store.parent)
    _own_as(Path(f"{store}.lock"), unfinished)


def _put_in_place(unfinished: Path, store: Path) -> Path | None:
    """The files of the old one go together, the database first: what is left of a store without it
    is nothing to SQLite."""
    replaced = store.with_name(store.name + REPLACED)
    there = store.exists()
    if there:
        for name in names(str(replaced)):
            Path(name).unlink(missing_ok=True)
        os.rename(store, replaced)
    try:
        for old, new in list(zip(names(str(store)), names(str(replaced)), strict=True))[1:]:
            if os.path.exists(old):
                os.rename(old, new)
        os.rename(unfinished, store)
        _sync(store.parent)
    except OSError as error:
        raise UnfinishedError(
            f"{store}: {error.strerror}; what was there is {replaced}, the copy {unfinished}"
        ) from error
    return replaced if there else None


def _highest(store: Path) -> list[int]:
    """Generation, and epochs, of a store that is to be replaced; 0 what cannot be read any more:
    damage is why one restores."""
    if not store.exists():
        return [0] * len(_HIGHEST)
    with closing(_opened(store, "ro")) as connection:  # what is put aside is left as it is
        return [_number(connection, question) for question in _HIGHEST]


def _number(connection: sqlite3.Connection, question: str) -> int:
    try:
        ((number,),) = connection.execute(question).fetchall()
    except sqlite3.Error:
        return 0
    return int(number or 0)


def _opened(file: Path, mode: str = "rw") -> sqlite3.Connection:
    """Of a file that is there; none is made."""
    if not file.is_file():
        raise StoreError(f"{file}: there is no such file")
    name = f"file:{quote(str(file.absolute()))}?mode={mode}"
    return sqlite3.connect(name, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)


@contextmanager
def _explained(file: Path, failed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{failed}: {error.filename or file}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{failed}: {file}: {error}") from error


@contextmanager
def _or_gone(unfinished: Path) -> Iterator[None]:
    """What did not get finished is removed, unless it is needed to finish it by hand."""
    try:
        yield
    except UnfinishedError:
        raise
    except StoreError:
        unfinished.unlink(missing_ok=True)
        raise


def _empty(file: Path) -> None:
    """A new one, that its owner alone may read; what a run that was killed left is removed."""
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _own_as(file: Path, other: Path) -> None:
    """Root restores what a controller of another user must open."""
    if os.geteuid() == 0:
        owner = other.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
