"""Alive and greeting is not working: a role's check, and its disk turned read-only, full, hung."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import eventlet
import pytest
from agent_site import PATIENCE, TICKER, FakeController, FakeServer, loop_device, now

from hactrl.engine.events import AgentConnected, AgentReported, Held, LeaseAsked, Noticed
from hactrl.site.model import Role
from hactrl.vocabulary import Holding, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.reported("B4")]

LEASE = 2.0
MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",), lease=LEASE)
DESK = Role("desk", ("one", "two"), (), (), owns=("spool",))

ROLES = f"""
[roles.mail]
devices = ["DEVICE"]
standby = ["sleep", "1000"]
assume = ["sh", "-ec", "mkdir -p DIR/spool; mount -o errors=remount-ro DEVICE DIR/spool"]
release = ["umount", "DIR/spool"]
check_write = "DIR/spool"
check_interval = 0.1
check_timeout = 0.5

[roles.mail.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/ticks"]}}

[roles.desk]
standby = ["sleep", "1000"]
assume = ["true"]
check = ["DIR/check"]
check_interval = 0.05
check_timeout = 0.5
check_failures = 3
"""

CHECK = """#!/bin/sh
echo "$HACTRL_ROLE $HACTRL_EPOCH" >> DIR/checked
test ! -e DIR/hang || exec sleep 1000
test ! -e DIR/broken
"""

FITHAW = 0xC0045878
"""_IOWR('X', 120, int), linux/fs.h."""


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL, DESK)
    yield controller
    controller.server.stop()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController) -> Iterator[FakeServer]:
    with loop_device(tmp_path) as device:
        (tmp_path / "ticker").write_text(TICKER, encoding="utf-8")
        (tmp_path / "check").write_text(CHECK.replace("DIR", str(tmp_path)), encoding="utf-8")
        (tmp_path / "check").chmod(0o755)
        server = FakeServer(tmp_path, controller.server.port, ROLES.replace("DEVICE", device))
        server.start_agent()
        try:
            controller.next(AgentConnected)
            yield server
        finally:
            server.end()


def checks(server: FakeServer) -> int:
    path = server.directory / "checked"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def await_checks(server: FakeServer, more: int) -> None:
    end, before = now() + PATIENCE, checks(server)
    while checks(server) < before + more:
        assert now() < end, f"{checks(server) - before} checks"
        eventlet.sleep(0.01)


def test_a_check_that_goes_on_failing_is_a_failure_of_the_role(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("desk", 3)
    await_checks(server, 2)
    (server.directory / "broken").touch()
    controller.next_holding(Holding.FAILED)
    assert "check: " in server.log.read_text(encoding="utf-8")


def test_one_failed_check_is_told_and_no_failure(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("desk", 3)
    (server.directory / "broken").touch()
    controller.next(Noticed, kind="role.check_failed")
    (server.directory / "broken").unlink()
    await_checks(server, 4)
    assert controller.assume("desk", 3).outcome is Outcome.DONE, "held all the time"


def test_a_check_that_hangs_has_failed(controller: FakeController, server: FakeServer) -> None:
    controller.assume("desk", 3)
    (server.directory / "hang").touch()
    controller.next_holding(Holding.FAILED)
    assert "check: not done after 0.5 s" in server.log.read_text(encoding="utf-8")


def test_nobody_checks_a_role_that_is_not_held(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("desk", 3)
    await_checks(server, 2)
    assert set((server.directory / "checked").read_text().splitlines()) == {"desk 3"}
    controller.release("desk", 4)
    done = checks(server)
    eventlet.sleep(0.3)
    assert checks(server) == done


def test_a_disk_that_turned_read_only_after_an_error_fails_the_role(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    device = Path(server.device).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test", encoding="ascii")
    controller.next(AgentReported, held=Held("mail", Holding.FAILED, 3))
    assert "spool: Read-only file system" in server.log.read_text(encoding="utf-8")
    assert controller.release("mail", 4).outcome is Outcome.DONE


def test_a_full_disk_is_told_once_and_moves_nothing(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    server.run_inside("mail", "sh", "-c", f"cat /dev/zero > {server.directory}/spool/fat || true")
    _, notice = controller.next(Noticed, kind="disk.full")
    assert (notice.role, dict(notice.details)["server"]) == ("mail", "one")
    controller.server.stop()
    controller.restart()
    controller.next(Noticed, kind="disk.full")  # whoever comes later is told too
    assert controller.assume("mail", 3).outcome is Outcome.DONE, "held all the time"
    server.run_inside("mail", "rm", f"{server.directory}/spool/fat")
    controller.next(Noticed, kind="disk.mended")
    assert server.log.read_text(encoding="utf-8").count("disk.full") == 1


def test_a_disk_that_hangs_fails_the_role_and_holds_up_nobody(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    with frozen(server):
        controller.next_holding(Holding.FAILED)
        began = now()
        while now() < began + 1.5 * LEASE:
            controller.next(LeaseAsked, role="mail", epoch=3)
        assert controller.assume("desk", 3).outcome is Outcome.DONE
        hung = [line for line in server.inside().values() if "guard mail" in line]
        assert len(hung) <= 2, "the first process, and one look that is waited for"
    assert "no answer from its disk after 0.5 s" in server.log.read_text(encoding="utf-8")
    assert controller.release("mail", 4).outcome is Outcome.DONE


@contextlib.contextmanager
def as_seen_inside(server: FakeServer) -> Iterator[int]:
    """The spool, held open as long as that lasts."""
    inside = f"/proc/{server.first_process('mail')}/root{server.directory}/spool"
    disk = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield disk
    finally:
        os.close(disk)


@contextlib.contextmanager
def frozen(server: FakeServer) -> Iterator[None]:
    """The spool under fsfreeze(8); thawed in any case, or its processes could not be killed."""
    with as_seen_inside(server) as disk:
        server.run_inside("mail", "fsfreeze", "-f", f"{server.directory}/spool")
        try:
            yield
        finally:
            fcntl.ioctl(disk, FITHAW, 0)
