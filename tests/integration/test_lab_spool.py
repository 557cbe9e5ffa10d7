"""The spool and the power cut, on real loop devices and a real ext4."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mail_machines import Namespaces

from mininet_lab import powercut, spool
from mininet_lab.spool import SpoolError

pytestmark = pytest.mark.integration


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "spool.img"
    spool.create(path, mebibytes=64)
    yield path
    for device in spool.attached(path):
        spool.detach(device)


@pytest.fixture
def server() -> Iterator[Namespaces]:
    machine = Namespaces()
    yield machine
    machine.close()


@pytest.fixture
def at(tmp_path: Path) -> Path:
    (tmp_path / "at").mkdir()
    return tmp_path / "at"


def mount_in(server: Namespaces, device: Path, at: Path) -> None:
    server.run(["mount", "-t", "ext4", str(device), str(at)])


def test_each_server_gets_a_loop_device_of_its_own(image: Path) -> None:
    first, second = spool.attach(image), spool.attach(image)
    assert first != second
    assert set(spool.attached(image)) == {first, second}
    assert set(spool.attached(image.parent)) == {first, second}


def test_an_image_that_is_attached_is_not_made_anew(image: Path) -> None:
    device = spool.attach(image)
    with pytest.raises(SpoolError, match=f"attached to {device}; detach it first"):
        spool.create(image)


def test_a_mounted_device_is_in_use_in_whatever_namespace(
    image: Path, server: Namespaces, at: Path
) -> None:
    device = spool.attach(image)
    assert not spool.in_use(device)
    mount_in(server, device, at)
    assert spool.in_use(device)
    server.run(["umount", str(at)])
    assert not spool.in_use(device)


def test_a_power_cut_keeps_what_was_synced_and_loses_what_was_not(
    image: Path, server: Namespaces, at: Path
) -> None:
    device = spool.attach(image)
    mount_in(server, device, at)
    server.run(["dd", "if=/dev/zero", f"of={at}/synced", "bs=4k", "count=1", "conv=fsync"])
    server.run(["dd", "if=/dev/zero", f"of={at}/unsynced", "bs=4k", "count=1"])
    powercut.cut([server.init], [device])
    spool.mount(spool.attach(image), at, clear_guard=True)
    try:
        assert (at / "synced").stat().st_size == 4096
        assert not (at / "unsynced").exists()
    finally:
        spool.unmount(at)


def test_a_power_cut_leaves_the_mark_of_the_guard_against_a_second_mount(
    image: Path, server: Namespaces, at: Path
) -> None:
    device = spool.attach(image)
    mount_in(server, device, at)
    assert not spool.guard_mark(device).is_clean
    powercut.cut([server.init], [device])
    other = spool.attach(image)
    assert not spool.guard_mark(other).is_clean
    spool.mount(other, at, clear_guard=True)
    spool.unmount(at)
    assert spool.guard_mark(other).is_clean


def test_a_mere_kill_is_no_power_cut(image: Path, server: Namespaces, at: Path) -> None:
    device = spool.attach(image)
    mount_in(server, device, at)
    server.run(["dd", "if=/dev/zero", f"of={at}/unsynced", "bs=4k", "count=1"])
    powercut.cut([server.init], [])
    while spool.in_use(device):
        time.sleep(0.001)
    spool.mount(device, at)
    try:
        assert (at / "unsynced").stat().st_size == 4096
    finally:
        spool.unmount(at)


def test_after_the_cut_processes_and_mount_are_gone(
    image: Path, server: Namespaces, at: Path
) -> None:
    device = spool.attach(image)
    mount_in(server, device, at)
    daemon = server.start(["sleep", "infinity"])
    powercut.cut([server.init], [device])
    assert not Path(f"/proc/{server.init}/status").exists()
    assert daemon.wait(1) != 0
    assert not spool.in_use(device)


def test_cutting_a_server_that_is_off_is_no_error(server: Namespaces) -> None:
    powercut.cut([server.init], [])
    powercut.cut([server.init], [])


def test_a_cut_that_leaves_a_user_of_the_disk_proves_nothing(
    image: Path, server: Namespaces, at: Path
) -> None:
    device, outsider = spool.attach(image), Namespaces()
    mount_in(outsider, device, at)
    try:
        with pytest.raises(powercut.PowerCutError, match="still mounted"):
            powercut.cut([server.init], [device], timeout=0.1)
    finally:
        outsider.close()


def test_the_guard_refuses_a_second_mount_while_the_first_lives(
    image: Path, server: Namespaces, at: Path
) -> None:
    """Takes 22 s: the guard waits twice for a sign of life."""
    mount_in(server, spool.attach(image), at)
    with pytest.raises(SpoolError):
        spool.mount(spool.attach(image), at)


def test_a_cleared_guard_lets_the_next_server_mount_at_once(
    image: Path, server: Namespaces, at: Path
) -> None:
    device = spool.attach(image)
    mount_in(server, device, at)
    powercut.cut([server.init], [device])
    begin = time.monotonic()
    spool.mount(spool.attach(image), at, clear_guard=True)
    spool.unmount(at)
    assert time.monotonic() - begin < 2


def test_a_server_sees_what_the_other_has_written_since(image: Path, at: Path) -> None:
    """Even if somebody kept its device open, and so its buffers in memory."""
    first, second = spool.attach(image), spool.attach(image)
    with first.open("rb") as kept:
        for device, name in ((first, "one"), (second, "two"), (first, "three")):
            kept.seek(0)
            kept.read(16 * 2**20)
            spool.mount(device, at)
            (at / name).touch()
            seen = {path.name for path in at.iterdir()}
            spool.unmount(at)
    assert seen >= {"one", "two", "three"}


def test_a_fresh_spool_belongs_to_those_who_write_it(image: Path, at: Path) -> None:
    spool.mount(spool.attach(image), at)
    try:
        shown = subprocess.run(
            ["stat", "-c", "%n %U %a", "queue", "queue/incoming", "queue/maildrop", "mail"],
            cwd=at,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")[:4]
        assert shown == [
            "queue root 755",
            "queue/incoming postfix 700",
            "queue/maildrop postfix 730",
            "mail UNKNOWN 700",
        ]
    finally:
        spool.unmount(at)
