"""What may hang on a disk: done by a short-lived child of a role's first process, which answers
with a line of text and can be abandoned."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NoReturn

from hactrl.clock import boot_time

CLOCK_GRAIN = 0.02
"""Seconds by which a file may seem older than it is: the kernel stamps files by a clock that
moves on with its ticks, of which there are at least 100 a second."""

COARSE_GRAIN = 1.0
"""The same where the file system keeps whole seconds."""


class DiskState(Enum):
    """FAILED: none of the others, an I/O error above all."""

    GOOD = "good"
    FULL = "full"
    READ_ONLY = "read-only"
    FAILED = "failed"


LONGEST_ANSWER = 4096
"""Bytes; what a pipe takes at once."""

GOOD = "+"
"""What an answer begins with that is no error."""


class LookError(Exception):
    """With the reason, for people."""


def answer(look: Callable[[], str], writer: int) -> NoReturn:
    """Look, write down what was seen or why nothing was, and end the process."""
    signal.set_wakeup_fd(-1)
    os.setpgid(0, 0)
    try:
        text = GOOD + look()
    except LookError as error:
        text = str(error)
    except BaseException as error:  # noqa: BLE001 - whatever it was, this process ends here
        text = repr(error)
    try:
        os.write(writer, text.encode(errors="replace")[:LONGEST_ANSWER])
    finally:
        os._exit(0)


def process_named(pidfile: str, since: float) -> str:
    """The number in a pid file that was written since a moment of `boot_time`.

    Ages are compared, not moments: the clock of files may have been set since. Raises LookError.
    """
    try:
        with Path(pidfile).open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(64)
    except OSError as error:
        raise LookError(f"{pidfile}: {error.strerror}") from None
    age = time.time() - status.st_mtime
    grain = CLOCK_GRAIN if status.st_mtime_ns % 1_000_000_000 else COARSE_GRAIN
    if age > boot_time() - since + grain:
        raise LookError(f"{pidfile}: older than the command that should write it")
    words = content.split()
    if not words or not words[0].isdigit() or int(words[0]) < 2:
        raise LookError(f"{pidfile}: no number of a process")
    return str(int(words[0]))


TRIED = bytes(range(256)) * 16
"""What is written to see whether a disk takes it: a block."""


def disk_state(directory: str) -> str:
    """Write, sync and read a file there that has no name, so that nobody can put another in its
    way and nothing is left; the `DiskState`, a space, and the reason."""
    try:
        _try(directory)
    except OSError as error:
        state = _STATES.get(error.errno or 0, DiskState.FAILED)
        return f"{state.value} {directory}: {error.strerror}"
    return f"{DiskState.GOOD.value} "


_STATES = {
    errno.ENOSPC: DiskState.FULL,
    errno.EDQUOT: DiskState.FULL,
    errno.EROFS: DiskState.READ_ONLY,
}


def _try(directory: str) -> None:
    file = _unnamed(directory)
    if os.write(file, TRIED) != len(TRIED):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)
    if os.pread(file, len(TRIED), 0) != TRIED:
        raise OSError(errno.EIO, "something else was read than was written")
    room = os.fstatvfs(file)
    # Root can write on into what is kept for it, and the daemons cannot.
    blocks, files = room.f_blocks and not room.f_bavail, room.f_files and not room.f_favail
    if blocks or files:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _unnamed(directory: str) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(directory, flags | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
    # Not every file system can do that, NFS above all.
    path = f"{directory}/.hactrl-check-{os.getpid()}-{time.monotonic_ns()}"
    file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return file
