"""The spool: an ext4 image with multiple-mount protection, wired to several servers.

Each server has a loop device of its own on the one image, as it would have a port of its own
on a shared disk. (`mount -o loop` would give both servers the same device, and the guard
against a second mount would not see the second.) A device is attached while its server has
power (loop_device). All functions need root.
"""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.loop_device import LoopDevice, attached
from mininet_lab.mail.description import MAIL_UID
from mininet_lab.mail.files import Directory, install, queue_directories

# Linux, fs/ext4/ext4.h: offsets in struct ext4_super_block, and a value of mmp_seq, which is the
# second word of struct mmp_struct. The kernel writes that block past the page cache of others.
_LOG_BLOCK_SIZE = 0x18
_MMP_BLOCK = 0x168
_SEQUENCE_CLEAN = 0xFF4D4D50


class SpoolError(Exception):
    """A tool refused; the message holds its words."""


def create(image: Path, mebibytes: int = 256) -> None:
    """Make a fresh spool with an empty queue and no mailboxes. An old image is replaced.

    Raises:
        SpoolError: the image is attached somewhere, or cannot be formatted.
        OSError: there is no loop device to be had.
    """
    if users := attached(image):
        raise SpoolError(f"{image} is attached to {', '.join(map(str, users))}; detach it first")
    image.unlink(missing_ok=True)
    image.parent.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(mebibytes * 2**20)
    # After a crash a mount waits for twice 2 × 5 + 1 s; with the default interval for twice 21 s.
    options = "lazy_itable_init=0,lazy_journal_init=0,mmp_update_interval=1"
    _run("mkfs.ext4", "-q", "-O", "mmp", "-E", options, image)
    with LoopDevice.attach(image) as device:
        _lay_out(device.path)


def in_use(device: Path) -> bool:
    """Whether anything mounts the device, in whatever namespace: the kernel then refuses to
    open it exclusively (open(2), O_EXCL on a block device).

    Raises:
        OSError: it cannot be opened for another reason.
    """
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def mount(device: Path, at: Path, clear_guard: bool = False) -> None:
    """Mount in the caller's mount namespace.

    `clear_guard` says that the last user is proven to write no more: after a crash its mark
    otherwise delays the mount by 22 s, and while it lives refuses it after 11 s.

    Raises:
        SpoolError: refused.
    """
    # What is remembered of the disk is old if another server has written since.
    _run("blockdev", "--flushbufs", device)
    if clear_guard:
        _run("tune2fs", "-f", "-E", "clear_mmp", device)
    _run("mount", "-t", "ext4", "-o", "noatime,nodev,nosuid,noexec", device, at)


def unmount(at: Path) -> None:
    """Write everything out and unmount.

    Raises:
        SpoolError: not mounted, or in use.
    """
    _run("umount", at)


@dataclass(frozen=True)
class GuardMark:
    """The multiple-mount guard's block: where it lies on the device, and what stands in it."""

    offset: int
    content: bytes

    @property
    def is_clean(self) -> bool:
        """Nobody uses the file system, or who did has unmounted it."""
        (sequence,) = struct.unpack_from("<I", self.content, 4)
        return bool(sequence == _SEQUENCE_CLEAN)


def guard_mark(device: Path) -> GuardMark:
    """Read it; the spool's file system has one.

    Raises:
        OSError: it cannot be read.
    """
    with device.open("rb", buffering=0) as disk:
        superblock = os.pread(disk.fileno(), 1024, 1024)
        (size,) = struct.unpack_from("<I", superblock, _LOG_BLOCK_SIZE)
        (block,) = struct.unpack_from("<Q", superblock, _MMP_BLOCK)
        offset = block * (1024 << size)
        return GuardMark(offset, os.pread(disk.fileno(), 1024, offset))


def put_guard_mark(device: Path, mark: GuardMark) -> None:
    """Put it back, unless somebody has mounted meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    if guard_mark(device).is_clean:
        with device.open("r+b", buffering=0) as disk:
            os.pwrite(disk.fileno(), mark.content, mark.offset)
            os.fsync(disk.fileno())


def _lay_out(device: Path) -> None:
    mine = Directory(MAIL_UID, MAIL_UID, 0o700)
    with tempfile.TemporaryDirectory(prefix="hactrl-lab-") as name:
        root = Path(name)
        mount(device, root)
        try:
            boxes = {root / "mail": mine, root / "delivered": mine, root: Directory()}
            install({**boxes, **queue_directories(root / "queue")}, {})
        finally:
            unmount(root)


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise SpoolError(f"{' '.join(map(str, command))}: {words or done.returncode}")
    return done.stdout
