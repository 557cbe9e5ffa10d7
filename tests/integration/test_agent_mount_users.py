"""Who still uses a role's disk after its release: named, and killed where the file says so."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_site import FakeController, FakeServer, loop_device

from hactrl.engine.events import AgentConnected, Noticed
from hactrl.site.model import Role
from hactrl.vocabulary import Holding, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.reported("B6")]

MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",))

ROLES = """
[roles.mail]
devices = ["DEVICE"]
kill_users = true
standby = ["sleep", "1000"]
assume = ["sh", "-ec", "mkdir -p DIR/spool; mount DEVICE DIR/spool"]
release = ["umount", "DIR/spool"]
"""

Shell = subprocess.Popen[bytes]


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL)
    yield controller
    controller.server.stop()


@contextlib.contextmanager
def serving(directory: Path, controller: FakeController, roles: str) -> Iterator[FakeServer]:
    with loop_device(directory) as device:
        server = FakeServer(directory, controller.server.port, roles.replace("DEVICE", device))
        server.start_agent()
        try:
            controller.next(AgentConnected)
            assert controller.assume("mail", 3).outcome is Outcome.DONE
            yield server
        finally:
            server.end()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController) -> Iterator[FakeServer]:
    with serving(tmp_path, controller, ROLES) as server:
        yield server


@contextlib.contextmanager
def shell(script: str, *enter: str) -> Iterator[Shell]:
    """One that has said `there`, and waits."""
    command = [*enter, "sh", "-ec", f"{script}; echo there; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            yield process
        finally:
            process.kill()


def root(server: FakeServer) -> str:
    return f"/proc/{server.first_process('mail')}/root"


def test_a_shell_that_stands_in_the_mount_is_named_and_killed(
    controller: FakeController, server: FakeServer
) -> None:
    with shell(f"cd {root(server)}{server.directory}/spool") as standing:
        assert controller.release("mail", 4).outcome is Outcome.DONE
        assert standing.wait(5) == -9
    (notice,) = (e for e in controller.events if isinstance(e, Noticed))
    assert (notice.kind, notice.role) == ("mount.users_killed", "mail")
    text = str(dict(notice.details)["text"])
    assert text == f"{server.device}: sleep ({standing.pid}, stands there)"
    assert f"killing what uses {text}" in server.log.read_text(encoding="utf-8")
    assert controller.assume("mail", 5).outcome is Outcome.DONE


def test_a_shell_in_the_mount_namespace_alone_is_killed(
    tmp_path: Path, controller: FakeController
) -> None:
    """It keeps the namespace alive, and with that what nobody has unmounted there."""
    roles = ROLES.replace('"umount", "DIR/spool"', '"true"')
    with serving(tmp_path, controller, roles) as server:
        enter = ("nsenter", "-t", str(server.first_process("mail")), "-m")
        with shell(":", *enter) as standing:
            assert controller.release("mail", 4).outcome is Outcome.DONE
            assert standing.wait(5) == -9


def test_a_mount_in_foreign_namespaces_is_ended_with_who_lives_there(
    controller: FakeController, server: FakeServer
) -> None:
    controller.release("mail", 4)
    script = f"mount {server.device} {server.directory}/spool"
    with shell(script, "unshare", "--mount") as standing:
        controller.assume("mail", 5)
        assert controller.release("mail", 6).outcome is Outcome.DONE
        assert standing.wait(5) == -9


def test_nobody_is_killed_without_the_option(tmp_path: Path, controller: FakeController) -> None:
    roles = ROLES.replace("kill_users = true", "verify_timeout = 0.5")
    with (
        serving(tmp_path, controller, roles) as server,
        shell(f"cd {root(server)}{server.directory}/spool") as standing,
    ):
        assert controller.release("mail", 4).outcome is Outcome.FAILED
        assert standing.poll() is None
        standing.kill()
        controller.next_holding(Holding.NOTHING)


def test_nobody_is_killed_for_what_the_machine_itself_has_mounted(
    tmp_path: Path, controller: FakeController
) -> None:
    """The machine is a mount namespace here, in which the agent is started."""
    (tmp_path / "host").mkdir()
    with (
        shell("mount --make-rprivate /", "unshare", "--mount") as host,
        loop_device(tmp_path) as device,
    ):
        enter = ("nsenter", "-t", str(host.pid), "-m")
        roles = ROLES.replace("kill_users = true", "kill_users = true\nverify_timeout = 0.5")
        server = FakeServer(tmp_path, controller.server.port, roles.replace("DEVICE", device))
        server.enter = enter
        server.start_agent()
        try:
            controller.next(AgentConnected)
            controller.assume("mail", 3)
            subprocess.run([*enter, "mount", device, str(tmp_path / "host")], check=True)
            assert controller.release("mail", 4).outcome is Outcome.FAILED
            assert host.poll() is None
            subprocess.run([*enter, "umount", str(tmp_path / "host")], check=True)
            controller.next_holding(Holding.NOTHING)
        finally:
            server.end()
