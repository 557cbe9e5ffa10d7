"""Which processes keep a block device in use, wherever they are: a shell that stands in a mount, a
service that was started while it was there. Asked and ended only where the agent's file says so.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class User:
    """`descriptor` (pidfd_open(2)) is this process and never a later one with its number."""

    process: int
    descriptor: int
    name: str
    how: str

    def __str__(self) -> str:
        return f"{self.name} ({self.process}, {self.how})"


def users(device: str) -> list[User]:
    """All processes that use the device, but for the first of the machine and this one. Close
    them by `end`. What the machine itself has mounted is used on purpose, and whoever merely sees
    that is none.

    Only file systems whose files carry the number of their device can tell, as ext4 and XFS do.
    """
    number = os.stat(device).st_rdev
    everywhere = _mounts("self", number)
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) in (1, os.getpid()):
            continue
        try:
            descriptor = os.pidfd_open(int(entry.name))
        except ProcessLookupError:
            continue
        if how := _use(entry.name, number, everywhere):
            found.append(User(int(entry.name), descriptor, _name(entry.name), how))
        else:
            os.close(descriptor)
    return found


def end(user: User) -> None:
    """Kill it, if it lives."""
    try:
        signal.pidfd_send_signal(user.descriptor, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself
    finally:
        os.close(user.descriptor)


def _use(process: str, number: int, everywhere: bool) -> str:
    """How a process uses the device, empty if it does not. One that has ended does not."""
    for how, path in _places(process):
        try:
            if os.stat(path).st_dev == number:
                return how
        except OSError:
            continue  # closed since, or a kernel thread's
    try:
        if not everywhere and not _shares_mounts(process) and _mounts(process, number):
            return "it is mounted there"
    except OSError:
        return ""
    return ""


def _places(process: str) -> Iterator[tuple[str, Path]]:
    yield "stands there", PROC / process / "cwd"
    yield "its root", PROC / process / "root"
    yield "its program", PROC / process / "exe"
    for how, directory in (("has a file open", "fd"), ("has a file in memory", "map_files")):
        try:
            yield from ((how, path) for path in (PROC / process / directory).iterdir())
        except OSError:
            continue  # it has ended


def _shares_mounts(process: str) -> bool:
    return (PROC / process / "ns/mnt").readlink() == (PROC / "self/ns/mnt").readlink()


def _mounts(process: str, number: int) -> bool:
    """Is the device mounted where the process lives? proc(5), mountinfo, third field."""
    wanted = f"{os.major(number)}:{os.minor(number)}"
    lines = (PROC / process / "mountinfo").read_text(errors="replace").splitlines()
    return any(line.split()[2] == wanted for line in lines)


def _name(process: str) -> str:
    try:
        return (PROC / process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
