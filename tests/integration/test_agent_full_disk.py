"""What an agent does when its own directories are full: a real tmpfs without room."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import eventlet
import pytest
from agent_site import PATIENCE, TICKER, FakeController, FakeServer, now

from hactrl.agent.epochs import EpochFile
from hactrl.engine.events import AgentConnected, AgentLost, AgentReported, Held
from hactrl.site.model import Role
from hactrl.vocabulary import Holding, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.reported("B2")]

MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",))

LENT = Role("lent", ("one", "two"), (), (), owns=("spool",), lease=60.0)

ROLES = f"""
[roles.mail]
standby = ["sleep", "1000"]
assume = ["touch", "DIR/assumed"]

[roles.mail.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/ticks"]}}

[roles.lent]
standby = ["sleep", "1000"]
assume = ["true"]

[roles.lent.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/lent-ticks"]}}
"""


class SmallDisk:
    """Two small tmpfs in a mount namespace of their own, in which the agent is started."""

    def __init__(self, directory: Path) -> None:
        self.places = (directory / "state", directory / "run")
        for place in self.places:
            place.mkdir()
        script = 'for at in "$@"; do mount -t tmpfs -o size=64k none "$at"; done'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", f"{script}; echo mounted; exec sleep 1000", "sh"]
            + [str(place) for place in self.places],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self.enter = ("nsenter", "-t", str(self._holder.pid), "-m")

    def seen(self, path: Path) -> Path:
        """A path inside, from outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def fill(self, place: Path) -> None:
        with contextlib.suppress(OSError), self.seen(place / "ballast").open("wb", 0) as file:
            while file.write(bytes(4096)):
                pass

    def empty(self, place: Path) -> None:
        self.seen(place / "ballast").unlink()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path)
    yield disk
    disk.close()


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL, LENT)
    yield controller
    controller.server.stop()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController, disk: SmallDisk) -> Iterator[FakeServer]:
    (tmp_path / "ticker").write_text(TICKER, encoding="utf-8")
    server = FakeServer(tmp_path, controller.server.port, ROLES)
    server.enter = disk.enter
    server.start_agent()
    try:
        controller.next(AgentConnected)
        yield server
    finally:
        server.end()


def restart_agent(controller: FakeController, server: FakeServer) -> AgentConnected:
    server.kill_agent()
    controller.next(AgentLost)
    server.start_agent()
    return controller.next(AgentConnected)[1]


def await_log(server: FakeServer, text: str) -> None:
    end = now() + PATIENCE
    while text not in server.log.read_text(encoding="utf-8"):
        assert now() < end, server.log.read_text(encoding="utf-8")
        eventlet.sleep(0.02)


def test_a_release_is_carried_out_when_its_epoch_cannot_be_written(
    controller: FakeController, server: FakeServer, disk: SmallDisk
) -> None:
    controller.assume("mail", 3)
    server.await_tick("ticks", after=0)
    disk.fill(disk.places[0])
    answer = controller.release("mail", 4)
    assert (answer.outcome, answer.known_epoch) == (Outcome.DONE, 4)
    assert not server.inside_with("/ticks")
    await_log(server, "epochs.json: No space left on device")
    assert controller.assume("mail", 3).outcome is Outcome.REFUSED, "4 counts while it lives"


def test_after_a_restart_no_epoch_is_claimed_that_was_not_written(
    controller: FakeController, server: FakeServer, disk: SmallDisk
) -> None:
    controller.assume("mail", 3)
    disk.fill(disk.places[0])
    controller.release("mail", 4)
    connected = restart_agent(controller, server)
    assert {held.role: held.epoch for held in connected.roles}["mail"] == 3
    controller.next(AgentReported, held=Held("mail", Holding.NOTHING, 3))


def test_a_new_connection_is_told_no_epoch_that_was_not_written(
    controller: FakeController, server: FakeServer, disk: SmallDisk
) -> None:
    controller.assume("mail", 3)
    disk.fill(disk.places[0])
    controller.release("mail", 4)
    controller.server.stop()
    controller.restart()
    _, connected = controller.next(AgentConnected)
    assert Held("mail", Holding.NOTHING, 3) in connected.roles
    assert server.agent is not None
    assert server.agent.poll() is None


def test_a_restarted_agent_releases_though_its_disk_is_full(
    controller: FakeController, server: FakeServer, disk: SmallDisk
) -> None:
    controller.assume("mail", 3)
    for place in disk.places:
        disk.fill(place)
    restart_agent(controller, server)
    await_log(server, f"{disk.places[0]}: cannot be written: No space left on device")
    assert controller.release("mail", 4).outcome is Outcome.DONE


def test_nothing_is_assumed_before_its_epoch_is_written(
    controller: FakeController, server: FakeServer, disk: SmallDisk
) -> None:
    disk.fill(disk.places[0])
    assert controller.assume("mail", 3).outcome is Outcome.FAILED
    assert not (server.directory / "assumed").exists()
    disk.empty(disk.places[0])
    assert controller.assume("mail", 4).outcome is Outcome.DONE
    assert EpochFile(disk.seen(disk.places[0] / "epochs.json")).known("mail") == 4


def test_a_guard_that_cannot_be_started_is_an_answer_until_there_is_room(
    controller: FakeController, server: FakeServer, disk: SmallDisk
) -> None:
    end = now() + PATIENCE
    while not disk.seen(disk.places[1] / "mail.processes").exists():
        assert now() < end, "no guard"
        eventlet.sleep(0.01)
    disk.fill(disk.places[1])
    assert controller.assume("mail", 3).outcome is Outcome.DONE
    assert controller.release("mail", 4).outcome is Outcome.DONE
    began = now()
    assert controller.assume("mail", 5).outcome is Outcome.FAILED
    assert now() - began < PATIENCE
    await_log(server, "its guard cannot be started: [Errno 28] No space left on device")
    disk.empty(disk.places[1])
    assert controller.assume("mail", 7).outcome is Outcome.DONE


def test_a_denied_lease_kills_though_nothing_can_be_said(
    controller: FakeController, server: FakeServer
) -> None:
    server.log = Path("/dev/full")
    restart_agent(controller, server)
    controller.assume("lent", 3)  # by a guard of the first agent
    controller.release("lent", 4)
    assert controller.assume("lent", 5).outcome is Outcome.DONE
    server.await_tick("lent-ticks", after=0)
    controller.granting = False
    controller.next_holding(Holding.FAILED)
    server.await_end_of_ticks("lent-ticks")
