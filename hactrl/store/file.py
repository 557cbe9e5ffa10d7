"""The file of the store: who may open it, what is in it, and whether it is still there.

One controller at a time has a store. Two things say so, because each alone has a gap: a lock
(flock) on a file beside it, which holds in every network namespace and container, but goes when
somebody deletes that file; and an abstract Unix socket, which nobody can delete, but others in the
same network namespace only see. Both end with the process, however it ends. The socket is named
after the store's folder, by device and inode, and not by its path: two containers may each have a
store of their own there, and one store may have two paths.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import sqlite3
import struct
from hashlib import sha256
from pathlib import Path

LOG = logging.getLogger(__name__)

#: Seconds that one connection waits for another's write.
BUSY_TIMEOUT = 5.0

#: What SQLite keeps beside the file in WAL mode. A commit is in the first of them until it is
#: carried over, so that one is as much of the store as the file itself.
COMPANIONS = ("-wal", "-shm")

#: Bytes of the smallest page that SQLite writes.
SMALLEST = 512

#: Statements that make each layout out of the one before; `PRAGMA user_version` says which a store
#: has. The first are those of the version that knew no other, which could end amid them.
LAYOUTS = (
    """
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
    """,
    """
    CREATE TABLE memory (
        only INTEGER PRIMARY KEY CHECK (only = 1), text TEXT NOT NULL, checksum INTEGER NOT NULL
    );
    CREATE TABLE epoch_floor (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL);
    ALTER TABLE journal ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE journal ADD COLUMN last REAL NOT NULL DEFAULT 0;
    UPDATE journal SET last = at;
    """,
)

#: The layout that this hactrl writes. An older one is migrated, a newer one refused.
LAYOUT = len(LAYOUTS)


class StoreError(Exception):
    """The store cannot be used; the message, of one line, says why and what to do."""


class StoreFile:
    """The file at `path`, held for this process until `close`; made if it is not there.

    Only its owner may read it. One that others may is tightened rather than refused, because it
    is what versions before left, and who upgrades should not stand without a controller.

    Raises:
        StoreError: it cannot be opened or tightened, or another controller has it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = os.path.realpath(path)
        self._hold = Hold(self.path)
        try:
            _make(self.path)
            for name in names(self.path):
                tighten(name)
        except OSError as error:
            self._hold.close()
            raise StoreError(f"{self.path}: {error.strerror}; see controller.store") from error
        except StoreError:
            self._hold.close()
            raise
        self._known: dict[str, tuple[int, int] | None] = {}

    def connect(self, synchronous: str, first: bool = False) -> sqlite3.Connection:
        """A connection for the thread that asks, and no other. The first one looks whether all is
        well, and migrates.

        Raises:
            StoreError: there is no store in the file, it is damaged or has a newer layout.
        """
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
            if first:
                migrate(connection, self.path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}; is it a store of hactrl?") from error
        return connection

    def remember(self) -> None:
        """From now on `check` compares with what is there now: all connections are made."""
        self._known = {name: _identity(name) for name in names(self.path)}

    def check(self) -> None:
        """What is written still gets into the files that stand there.

        Raises:
            StoreError: one of them was deleted or replaced.
        """
        for name, known in self._known.items():
            if _identity(name) != known:
                raise StoreError(
                    f"{name} was deleted or replaced while the controller runs, which therefore"
                    " can store nothing: put a copy in its place if there is one, and restart the"
                    " controller"
                )

    def close(self) -> None:
        """Let others have it."""
        self._hold.close()


def names(path: str) -> tuple[str, ...]:
    """All files of a store, but its lock."""
    return (path, *(path + suffix for suffix in COMPANIONS))


def _make(path: str) -> None:
    """The file, empty if there is none."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    size = os.fstat(descriptor).st_size
    os.close(descriptor)
    if 0 < size < SMALLEST:  # SQLite would write over it
        raise StoreError(f"{path}: no database; is it a store of hactrl?")


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring a store, or an empty file, to the layout that is written today; each step is a
    transaction.

    Raises:
        StoreError: it is none of hactrl's, or of a newer layout, or damaged.
        sqlite3.Error: it is no database, or cannot be written.
    """
    layout = layout_of(connection, path)
    for number, statements in enumerate(LAYOUTS[layout:], layout + 1):
        script = f"BEGIN IMMEDIATE; {statements}; PRAGMA user_version = {number}; COMMIT;"
        try:
            connection.executescript(script)
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def layout_of(connection: sqlite3.Connection, path: str) -> int:
    """That of a store that is whole; 0 if nothing is in it yet. Raises as `migrate` does."""
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise StoreError(
            f"{path}: layout {layout}, and this hactrl knows those up to {LAYOUT}: use the version"
            " that wrote it or a newer one, or restore a copy from before"
        )
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    ours = {"placements", "generation", "journal", "hosts", "journal_by_role", "sqlite_sequence"}
    if layout < 0 or (layout == 0 and any(n not in ours for n in found if "autoindex" not in n)):
        raise StoreError(f"{path}: a database of something else; is it a store of hactrl?")
    for (fault,) in connection.execute("PRAGMA quick_check(1)").fetchall():
        if fault != "ok":
            raise damaged(path, " ".join(fault.split()))
    return int(layout)


def damaged(path: str, fault: str) -> StoreError:
    """The error for a store in which something cannot be as it was written."""
    return StoreError(
        f"{path} is damaged ({fault}): restore a copy, or move it away: epochs are then learnt"
        " from the agents"
    )


class Hold:
    """A store, held for this process; see the module's text.

    The lock is on a file of its own: closing a second descriptor of the database would drop
    SQLite's own locks (sqlite.org/howtocorrupt.html, section 2.2).

    Raises:
        StoreError: another process has it, or the lock file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        name = f"{path}.lock"
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{name}: {error.strerror}; see controller.store") from error
        try:
            tighten(name)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._claim = _claim(path)
        except BlockingIOError as error:
            os.close(self._lock)
            raise _taken(path) from error
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"{name}: {error.strerror}") from error
        except StoreError:
            os.close(self._lock)
            raise

    def close(self) -> None:
        os.close(self._lock)
        if self._claim is not None:
            self._claim.close()


def tighten(name: str) -> None:
    """Let nobody but its owner read or write the file, if it is there.

    Raises:
        StoreError: somebody else's file; the message names the command that mends it.
    """
    try:
        mode = os.stat(name).st_mode
        if mode & 0o077:
            os.chmod(name, 0o600)
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise StoreError(
            f"{name} is another user's and open to others: chown {_user()} {name} &&"
            f" chmod 600 {name}"
        ) from error


def _user() -> str:
    return str(os.geteuid())


def _claim(path: str) -> socket.socket | None:
    """The abstract socket of this store; None if a stranger has taken its name, who shall not keep
    a controller from starting.

    Raises:
        StoreError: another controller has it.
    """
    name = claim_name(path)
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(name)
        claim.listen(1)
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise StoreError(f"{path}: cannot be claimed: {error.strerror}") from error
        owner = _owner(name)
        if owner in (0, os.geteuid()):
            raise _taken(path) from error
        LOG.warning(
            "%s: the abstract socket that marks it as in use belongs to user %s, and is ignored;"
            " the lock beside the store holds",
            *(path, "unknown" if owner is None else owner),
        )
        return None
    return claim


def claim_name(path: str) -> bytes:
    """Of the abstract socket."""
    return b"\0hactrl-store-" + digest_of(path).encode()


def digest_of(path: str) -> str:
    """What tells a store from all others of this boot: of a fixed length, because a file's name may
    be longer than that of a socket."""
    folder, name = os.path.split(path)
    found = os.stat(folder)
    what = f"{found.st_dev} {found.st_ino} ".encode() + os.fsencode(name)
    return sha256(what).hexdigest()


def _owner(name: bytes) -> int | None:
    """The user who listens there, as the kernel knows; None if nobody can be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(name)
            form = "3i"  # struct ucred: process, user, group
            answer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
        except OSError:
            return None
    return int(struct.unpack(form, answer)[1])


def _taken(path: str) -> StoreError:
    return StoreError(f"{path}: another controller is using it; end that one first")


def _identity(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{name}: {error.strerror}") from error
    return found.st_dev, found.st_ino
