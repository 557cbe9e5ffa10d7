"""The soak's faults of the spool, on a real loop device and a real ext4: do they strike?"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mininet_lab import powercut, spool
from mininet_lab.loop_device import LoopDevice
from mininet_lab.soak import spool_faults
from mininet_lab.soak.spool_faults import Place

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A spool as the lab makes it, mounted."""
    image, root = tmp_path / "spool.img", tmp_path / "root"
    spool.create(image)
    root.mkdir()
    with LoopDevice.attach(image) as device:
        spool.mount(device.path, root)
        (seen,) = powercut.mounts(os.getpid(), frozenset((device.path,)))
        yield Place("smtp_pop", os.getpid(), device.path, seen)
        spool.unmount(root)


def mount_again(place: Place) -> None:
    spool.unmount(Path(place.inside))
    spool.mount(place.device, Path(place.inside), clear_guard=True)


def test_a_full_spool_takes_not_even_a_small_mail_until_it_has_room_again(place: Place) -> None:
    spool_faults.fill(place)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (place.path / "letter").write_bytes(b"x" * 2048)
    spool_faults.empty(place)
    (place.path / "letter").write_bytes(b"x" * 2048)


@pytest.mark.parametrize("strike", [spool_faults.fail, spool_faults.make_read_only])
def test_a_failed_spool_takes_nothing_until_it_is_mounted_again(
    place: Place, strike: Callable[[Place], None]
) -> None:
    assert spool_faults.takes_writes(place)
    strike(place)
    assert not spool_faults.takes_writes(place)
    assert spool_faults.still_mounted(place)
    mount_again(place)
    assert spool_faults.takes_writes(place)
    assert not spool_faults.still_mounted(place)
