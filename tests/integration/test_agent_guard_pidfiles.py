"""Daemons that name themselves in a file: late, not at all, by a stale number, or anew."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_site import FakeController, FakeServer

from hactrl.engine.events import AgentConnected
from hactrl.site.model import Role
from hactrl.vocabulary import Holding, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.reported("B3")]

MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",))

ROLES = """
[roles.mail]
standby = ["sleep", "1000"]
prepare = ["sh", "-c", "sleep 2000 & echo $! > DIR/bystander; cat DIR/bystander > DIR/daemon.pid"]
assume = ["sh", "DIR/assume"]
assume_timeout = 3.0

[roles.mail.daemons]
daemon = {pidfile = "DIR/daemon.pid"}
"""


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL)
    yield controller
    controller.server.stop()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController) -> Iterator[FakeServer]:
    server = FakeServer(tmp_path, controller.server.port, ROLES)
    server.start_agent()
    try:
        controller.next(AgentConnected)
        yield server
    finally:
        server.end()


def assume(controller: FakeController, server: FakeServer, script: str) -> Outcome:
    """Let the role's `assume` be this script, in the role's directory, and the file that is
    there be a minute old."""
    old = 'touch -d "1 minute ago" daemon.pid\n'
    text = f"cd {server.directory}\n{old}{script}\n"
    (server.directory / "assume").write_text(text, encoding="utf-8")
    return controller.assume("mail", 3).outcome


def kill(server: FakeServer, text: str) -> None:
    (number,) = server.inside_with(text)
    os.kill(number, signal.SIGKILL)


LATE = "(sleep 3000 & sleep 0.3; : > daemon.pid; sleep 0.3; echo $! > daemon.pid) &"


def test_a_late_and_for_a_while_empty_file_is_waited_for(
    controller: FakeController, server: FakeServer
) -> None:
    assert assume(controller, server, f"rm daemon.pid; {LATE}") is Outcome.DONE


def test_a_stale_number_that_lives_is_not_taken_for_the_daemon(
    controller: FakeController, server: FakeServer
) -> None:
    assert assume(controller, server, LATE) is Outcome.DONE
    kill(server, "sleep 3000")
    controller.next_holding(Holding.FAILED)
    assert "daemon daemon: ended" in server.log.read_text(encoding="utf-8")


def test_a_file_of_another_life_alone_is_a_failure_that_names_it(
    controller: FakeController, server: FakeServer
) -> None:
    assert assume(controller, server, ":") is Outcome.FAILED
    log = server.log.read_text(encoding="utf-8")
    assert f"{server.directory}/daemon.pid: older than the command" in log


def test_a_number_of_no_process_inside_is_a_failure(
    controller: FakeController, server: FakeServer
) -> None:
    """The test's own number is that of a process, but outside."""
    assert assume(controller, server, f"echo {os.getpid()} > daemon.pid") is Outcome.FAILED
    assert "inside: No such process" in server.log.read_text(encoding="utf-8")


def test_a_daemon_that_is_replaced_and_says_so_is_still_held(
    controller: FakeController, server: FakeServer
) -> None:
    assert assume(controller, server, "sleep 3000 & echo $! > daemon.pid") is Outcome.DONE
    second = server.run_inside("mail", "sh", "-c", "sleep 4000 > /dev/null & echo $!")
    (server.directory / "daemon.pid").write_text(second, encoding="ascii")
    kill(server, "sleep 3000")
    assert controller.assume("mail", 3).outcome is Outcome.DONE, "it is held all the time"
    kill(server, "sleep 4000")
    controller.next_holding(Holding.FAILED)
