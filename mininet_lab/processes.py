"""Signals to processes that may end at any moment, and what they run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """To each that lives."""
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, number)


def command_line(pid: int) -> tuple[str, ...]:
    """Its words; none of one that has ended. Who has given itself a title may end it without a
    zero."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(map(os.fsdecode, said.removesuffix(b"\0").split(b"\0"))) if said else ()
