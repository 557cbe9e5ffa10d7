"""Loop devices that go with whoever attached them, also when that one is killed.

losetup(8) leaves a device attached until somebody detaches it. Here the kernel is told in the very
call that attaches (LOOP_CONFIGURE with LO_FLAGS_AUTOCLEAR; loop(4)) to take the device away with
its last user, and who attached it is a user. So no moment is left in which a killed run leaves one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_CONTROL = Path("/dev/loop-control")
_BLOCK_DEVICES = Path("/sys/block")

# Linux, include/uapi/linux/loop.h: ioctls, and where lo_flags lies in struct loop_config.
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_CONFIGURATION_SIZE = 304
_FLAGS_OFFSET = 8 + 52
_LO_FLAGS_AUTOCLEAR = 4

#: How often a free device is asked for that somebody else then takes, and the seconds between.
_TRIES, _PAUSE = 100, 0.01


@dataclass
class LoopDevice:
    """An attached device. As a context it is detached at the end."""

    path: Path
    _handle: int | None

    @classmethod
    def attach(cls, image: Path) -> Self:
        """A device of its own on the image.

        Raises:
            OSError: the image cannot be opened, or no device can be had.
        """
        backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(_TRIES):
                path = _free_device()
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    _configure(handle, backing)
                except OSError as error:
                    os.close(handle)
                    if error.errno != errno.EBUSY:
                        raise
                else:
                    return cls(path, handle)
                time.sleep(_PAUSE)  # somebody took it since we asked, or keeps it open
            raise OSError(errno.EBUSY, f"somebody else always has the free device {path}")
        finally:
            os.close(backing)

    def detach(self) -> None:
        """Use it no more: it goes now, or if it is mounted, with the last mount. A second call
        does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()


def attached(image: Path, block_devices: Path = _BLOCK_DEVICES) -> tuple[Path, ...]:
    """The loop devices whose file is, or was until it was deleted, this image, or lies below it,
    if it is a directory."""
    wanted = image.resolve()
    found = []
    for entry in sorted(block_devices.glob("loop*/loop/backing_file")):
        try:
            backing = Path(entry.read_text().rstrip("\n").removesuffix(" (deleted)"))
        except OSError:  # detached since we looked
            continue
        if backing.is_relative_to(wanted):
            found.append(Path("/dev") / entry.parts[-3])
    return tuple(found)


def _free_device() -> Path:
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        return Path(f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}")
    finally:
        os.close(control)


def _configure(device: int, backing: int) -> None:
    configuration = bytearray(_CONFIGURATION_SIZE)
    struct.pack_into("I", configuration, 0, backing)
    struct.pack_into("I", configuration, _FLAGS_OFFSET, _LO_FLAGS_AUTOCLEAR)
    fcntl.ioctl(device, _LOOP_CONFIGURE, bytes(configuration))
