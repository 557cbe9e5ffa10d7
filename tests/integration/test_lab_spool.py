"""The spool and the power cut, on real loop devices and a real ext4."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from mail_machines import Namespaces

from mininet_lab import powercut, spool
from mininet_lab.loop_device import LoopDevice, attached
from mininet_lab.spool import SpoolError

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]

Attach = Callable[[], Path]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "spool.img"
    spool.create(path, mebibytes=64)
    return path


@pytest.fixture
def attach(image: Path) -> Iterator[Attach]:
    """Attaches the image once more; detached at the end."""
    with ExitStack() as devices:
        yield lambda: devices.enter_context(LoopDevice.attach(image)).path


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


def test_each_server_gets_a_loop_device_of_its_own(image: Path, attach: Attach) -> None:
    first, second = attach(), attach()
    assert first != second
    assert set(attached(image)) == {first, second}
    assert set(attached(image.parent)) == {first, second}


ATTACH_AND_DETACH = """
import sys
from pathlib import Path
from mininet_lab.loop_device import LoopDevice

while True:
    with LoopDevice.attach(Path(sys.argv[1])):
        print("attached", flush=True)
"""


@pytest.mark.parametrize("times", range(1, 11))
def test_a_loop_device_goes_with_a_killed_process_wherever_that_was(
    image: Path, times: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ATTACH_AND_DETACH, str(image)], stdout=subprocess.PIPE, cwd=CHECKOUT
    ) as process:
        assert process.stdout is not None
        for _ in range(times):
            process.stdout.readline()
        process.kill()
    while attached(image):
        time.sleep(0.001)


def test_an_image_that_is_attached_is_not_made_anew(image: Path, attach: Attach) -> None:
    device = attach()
    with pytest.raises(SpoolError, match=f"attached to {device}; detach it first"):
        spool.create(image)


def test_a_mounted_device_is_in_use_in_whatever_namespace(
    attach: Attach, server: Namespaces, at: Path
) -> None:
    device = attach()
    assert not spool.in_use(device)
    mount_in(server, device, at)
    assert spool.in_use(device)
    server.run(["umount", str(at)])
    assert not spool.in_use(device)


def test_a_power_cut_keeps_what_was_synced_and_loses_what_was_not(
    attach: Attach, server: Namespaces, at: Path
) -> None:
    device = attach()
    mount_in(server, device, at)
    server.run(["dd", "if=/dev/zero", f"of={at}/synced", "bs=4k", "count=1", "conv=fsync"])
    server.run(["dd", "if=/dev/zero", f"of={at}/unsynced", "bs=4k", "count=1"])
    powercut.cut([server.init], [device])
    spool.mount(attach(), at, clear_guard=True)
    try:
        assert (at / "synced").stat().st_size == 4096
        assert not (at / "unsynced").exists()
    finally:
        spool.unmount(at)


def test_a_power_cut_leaves_the_mark_of_the_guard_against_a_second_mount(
    attach: Attach, server: Namespaces, at: Path
) -> None:
    device = attach()
    mount_in(server, device, at)
    assert not spool.guard_mark(device).is_clean
    powercut.cut([server.init], [device])
    other = attach()
    assert not spool.guard_mark(other).is_clean
    spool.mount(other, at, clear_guard=True)
    spool.unmount(at)
    assert spool.guard_mark(other).is_clean


def test_a_mere_kill_is_no_power_cut(attach: Attach, server: Namespaces, at: Path) -> None:
    device = attach()
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
    attach: Attach, server: Namespaces, at: Path
) -> None:
    device = attach()
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
    attach: Attach, server: Namespaces, at: Path
) -> None:
    device, outsider = attach(), Namespaces()
    mount_in(outsider, device, at)
    try:
        with pytest.raises(powercut.PowerCutError, match="still mounted"):
            powercut.cut([server.init], [device], timeout=0.1)
    finally:
        outsider.close()


def test_the_guard_refuses_a_second_mount_while_the_first_lives(
    attach: Attach, server: Namespaces, at: Path
) -> None:
    """Takes 22 s: the guard waits twice for a sign of life."""
    mount_in(server, attach(), at)
    with pytest.raises(SpoolError):
        spool.mount(attach(), at)


def test_a_cleared_guard_lets_the_next_server_mount_at_once(
    attach: Attach, server: Namespaces, at: Path
) -> None:
    device = attach()
    mount_in(server, device, at)
    powercut.cut([server.init], [device])
    begin = time.monotonic()
    spool.mount(attach(), at, clear_guard=True)
    spool.unmount(at)
    assert time.monotonic() - begin < 10  # half of what a guard that is not cleared takes


def test_a_server_sees_what_the_other_has_written_since(attach: Attach, at: Path) -> None:
    """Even if somebody kept its device open, and so its buffers in memory."""
    first, second = attach(), attach()
    with first.open("rb") as kept:
        for device, name in ((first, "one"), (second, "two"), (first, "three")):
            kept.seek(0)
            kept.read(16 * 2**20)
            spool.mount(device, at)
            (at / name).touch()
            seen = {path.name for path in at.iterdir()}
            spool.unmount(at)
    assert seen >= {"one", "two", "three"}


def test_a_fresh_spool_belongs_to_those_who_write_it(attach: Attach, at: Path) -> None:
    spool.mount(attach(), at)
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
