"""Cut a server's power: what was not synced is lost, and every process is gone at once.

Killing processes is no power cut: the kernel goes on and writes everything out when the last
mount goes. So the file system is shut down first, its journal unflushed (FS_IOC_SHUTDOWN with
NOLOGFLUSH; Linux, fs/ext4/ioctl.c), and what had not reached the disk never will. The kernel
that goes on also takes back the mark of ext4's multiple-mount guard, which a real power cut leaves
on the disk, and so does this one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from mininet_lab import spool

#: _IOR('X', 125, __u32), and the flag for 'without flushing the journal'.
_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


class PowerCutError(Exception):
    """The server could not be proven off; the message says what still lives."""


def cut(inits: Iterable[int], devices: Iterable[Path], timeout: float = 5.0) -> None:
    """Shut down every mount of `devices`, kill every PID namespace, and wait until both are
    gone: on return the server is proven off.

    Args:
        inits: process 1 of each of the server's PID namespaces, as numbered here. Killing it
            kills all in the namespace (pid_namespaces(7)). Guards and agents go with theirs or
            are named too.
        devices: the server's own block devices.
        timeout: seconds.

    Raises:
        PowerCutError: something was still alive or mounted after `timeout`.
    """
    deadline = time.monotonic() + timeout
    victims = [(pid, handle) for pid in inits if (handle := _handle(pid)) is not None]
    wanted = frozenset(devices)
    marks = {device: spool.guard_mark(device) for device in wanted if spool.in_use(device)}
    try:
        for pid, _ in victims:
            for mount_point in mounts(pid, wanted):
                shut_down(mount_point)
        for _, handle in victims:
            _kill(handle)
        for pid, handle in victims:
            _await_end(pid, handle, deadline)
    finally:
        for _, handle in victims:
            os.close(handle)
    for device in wanted:
        _await_free(device, deadline)
    for device, mark in marks.items():
        spool.put_guard_mark(device, mark)


def shut_down(mount_point: Path) -> None:
    """Make the file system forget what it has not written, and refuse everything from now on.

    Raises:
        OSError: it is no ext4 (or xfs, f2fs), or we may not.
    """
    directory = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(directory, _FS_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(directory)


def mounts(pid: int, devices: frozenset[Path]) -> list[Path]:
    """Where a process sees the devices mounted, as paths that work from here (proc(5), root)."""
    try:
        mounts = Path(f"/proc/{pid}/mounts").read_text()
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # it has ended, and all mounts with it
            return []
        raise
    found = []
    for line in mounts.splitlines():
        source, mount_point, *_ = line.split(" ")
        if Path(source) in devices:
            path = mount_point.encode().decode("unicode_escape").lstrip("/")
            found.append(Path(f"/proc/{pid}/root") / path)
    return found


def _handle(pid: int) -> int | None:
    """A descriptor that stays this very process's; None if it has ended already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _kill(handle: int) -> None:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended since we looked, which is all we want


def _await_end(pid: int, handle: int, deadline: float) -> None:
    remaining = max(0.0, deadline - time.monotonic())
    if not select.select([handle], [], [], remaining)[0]:
        raise PowerCutError(f"process {pid} still lives; it may hang in an uninterruptible call")


def _await_free(device: Path, deadline: float) -> None:
    """Mount namespaces are torn down a moment after their last process; no event tells."""
    while spool.in_use(device):
        if time.monotonic() > deadline:
            raise PowerCutError(f"{device} is still mounted by a process outside the server")
        time.sleep(0.001)
