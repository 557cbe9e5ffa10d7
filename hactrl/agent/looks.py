"""What may hang on a disk: done by a short-lived child of a role's first process, which answers
with a line of text and can be abandoned."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hactrl.agent import linux

CLOCK_GRAIN = 0.02
"""Seconds by which a file may seem older than it is: the kernel stamps files by a clock that
moves on with its ticks, of which there are at least 100 a second."""

COARSE_GRAIN = 1.0
"""The same where the file system keeps whole seconds."""


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
    """The number in a pid file that was written since a moment of `linux.boot_time`.

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
    if age > linux.boot_time() - since + grain:
        raise LookError(f"{pidfile}: older than the command that should write it")
    words = content.split()
    if not words or not words[0].isdigit() or int(words[0]) < 2:
        raise LookError(f"{pidfile}: no number of a process")
    return str(int(words[0]))
