"""The soak's witness, on real loop devices and a real ext4: does it see what must never be?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mininet_lab import spool
from mininet_lab.loop_device import LoopDevice
from mininet_lab.soak import witness
from mininet_lab.soak.witness import Seen, Witness

pytestmark = pytest.mark.integration

Mount = Callable[[], Path]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "spool.img"
    spool.create(path, mebibytes=64)
    return path


@pytest.fixture
def mount(image: Path, tmp_path: Path) -> Iterator[Mount]:
    """Mounts the image once more, by a device of its own, as careless hands would: the guard
    against a second mount is cleared. Unmounted at the end."""
    with ExitStack() as stack:
        places: list[Path] = []

        def mount_again() -> Path:
            device = stack.enter_context(LoopDevice.attach(image)).path
            place = tmp_path / f"place{len(places)}"
            place.mkdir()
            spool.mount(device, place, clear_guard=True)
            stack.callback(lambda: spool.unmount(place) if place.is_mount() else None)
            places.append(place)
            return place

        yield mount_again


def told(log: Path, holds: Callable[[Seen], bool]) -> Seen:
    """Once it holds: a line is written within 20 ms of what it tells."""
    while not holds(found := witness.read(log)):
        time.sleep(0.005)
    return found


def has_it(found: Seen) -> bool:
    return found.changes != () and found.changes[-1].devices != ()


def nobody_has_it(found: Seen) -> bool:
    return found.changes != () and found.changes[-1].devices == ()


def test_a_second_mount_is_seen(image: Path, tmp_path: Path, mount: Mount) -> None:
    log = tmp_path / "witness.jsonl"
    with Witness(image, log):
        mount()
        assert not told(log, has_it).doubles
        second = mount()
        told(log, lambda found: found.doubles != ())
        spool.unmount(second)
        told(log, lambda found: len(found.changes[-1].devices) == 1)
    assert len(witness.read(log).doubles) == 1


def test_one_mount_after_the_other_is_no_double(image: Path, tmp_path: Path, mount: Mount) -> None:
    log = tmp_path / "witness.jsonl"
    with Witness(image, log):
        for _ in range(3):
            told(log, nobody_has_it)
            place = mount()
            told(log, has_it)
            spool.unmount(place)
            told(log, nobody_has_it)
    found = witness.read(log)
    assert (found.doubles, len(found.changes)) == ((), 7)
