"""A spool that is full, that fails, or that has turned read-only: under whoever has it mounted."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from mininet_lab import powercut
from mininet_lab.network import run
from mininet_lab.servers import LabServer, users
from mininet_lab.soak.struck import NotStruckError

BALLAST = "ballast"


@dataclass(frozen=True)
class Place:
    """Where a server's spool is mounted: a process that sees it, and the path by it."""

    server: str
    pid: int
    device: Path
    path: Path

    @property
    def inside(self) -> str:
        """The path as the process itself sees it."""
        return "/" + str(self.path).split("/root/", maxsplit=1)[1]


def find(servers: list[LabServer]) -> Place:
    """
    Raises:
        NotStruckError: nobody has it mounted now.
    """
    for server in servers:
        device = server.disk
        if device is None:
            continue
        for pid in users((device,)):
            for path in powercut.mounts(pid, frozenset((device,))):
                return Place(server.name, pid, device, path)
    raise NotStruckError("nobody has the spool mounted")


def fill(place: Place) -> None:
    """Leave no block, not even those that are kept for root.

    Raises:
        NotStruckError: it takes writes.
    """
    file = os.open(place.path / BALLAST, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _grow(file, os.fstat(file).st_size, os.statvfs(place.path))
    finally:
        os.close(file)
    if takes_writes(place):
        raise NotStruckError("there is room")


def _grow(file: int, end: int, room: os.statvfs_result) -> None:
    """By pieces that are halved until not even one block can be had. Some blocks that count as
    free nobody can have, because the file system keeps them for itself."""
    size = room.f_bfree * room.f_frsize
    while size >= room.f_frsize:
        try:
            os.posix_fallocate(file, end, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
        else:
            end += size


def empty(place: Place) -> None:
    """Make room again; does nothing if there is."""
    (place.path / BALLAST).unlink(missing_ok=True)


def fail(place: Place) -> None:
    """The way to the disk fails under this mount: everything is an error from now on.

    Raises:
        NotStruckError: it takes writes.
    """
    powercut.shut_down(place.path)
    if takes_writes(place):
        raise NotStruckError("the file system goes on")


def make_read_only(place: Place) -> None:
    """As the kernel does by itself after an error on the disk (`errors=remount-ro`, mount(8)).

    Raises:
        NotStruckError: it takes writes.
    """
    words = ("mount", "-o", "remount,errors=remount-ro", place.inside)
    run("nsenter", f"--target={place.pid}", "--mount", "--", *words)
    trigger = Path("/sys/fs/ext4", place.device.name, "trigger_fs_error")
    trigger.write_text("the soak's\n")
    if takes_writes(place):
        raise NotStruckError("the file system goes on")


def takes_writes(place: Place) -> bool:
    try:
        probe = os.open(place.path, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError:
        return False
    try:
        os.write(probe, b"x")
        os.fsync(probe)
    except OSError:
        return False
    finally:
        os.close(probe)
    return True


def still_mounted(place: Place) -> bool:
    """Whether this very mount is still there: what its file system has lost, only the next mount
    brings back."""
    there = powercut.mounts(place.pid, frozenset((place.device,)))
    return bool(there) and not takes_writes(place)
