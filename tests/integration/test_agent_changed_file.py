"""An agent that starts with another file than the one before, while its guards go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import eventlet
import pytest
from agent_site import PATIENCE, TICKER, FakeController, FakeServer, now

from hactrl.engine.events import AgentConnected, AgentLost, Held, Noticed
from hactrl.site.model import Role
from hactrl.vocabulary import Holding, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.reported("B7")]

MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",))
WEB = Role("web", ("one", "two"), (), ())

ROLES = f"""
[roles.mail]
standby = ["sleep", "1001"]
assume = ["true"]

[roles.web]
always = true

[roles.web.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/web-ticks"]}}
"""


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL, WEB)
    yield controller
    controller.server.stop()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController) -> Iterator[FakeServer]:
    (tmp_path / "ticker").write_text(TICKER, encoding="utf-8")
    server = FakeServer(tmp_path, controller.server.port, ROLES)
    server.start_agent()
    try:
        controller.next(AgentConnected)
        await_inside(server, "sleep 1001")
        yield server
    finally:
        server.end()


def await_inside(server: FakeServer, text: str, number: int = 1) -> None:
    end = now() + PATIENCE
    while len(server.inside_with(text)) != number:
        assert now() < end, server.inside()
        eventlet.sleep(0.01)


def restart(controller: FakeController, server: FakeServer, old: str, new: str) -> AgentConnected:
    """The agent, with this changed in its file."""
    text = server.file.read_text(encoding="utf-8")
    assert old in text
    server.file.write_text(text.replace(old, new), encoding="utf-8")
    server.kill_agent()
    controller.next(AgentLost)
    server.start_agent()
    return controller.next(AgentConnected)[1]


def test_an_idle_role_is_prepared_anew(controller: FakeController, server: FakeServer) -> None:
    restart(controller, server, "1001", "1002")
    await_inside(server, "sleep 1002")
    assert not server.inside_with("sleep 1001")
    assert "mail: prepared anew, because of what has changed: standby" in server.log.read_text()
    assert controller.assume("mail", 3).outcome is Outcome.DONE


def test_an_idle_role_is_left_alone_when_nothing_has_changed(
    controller: FakeController, server: FakeServer
) -> None:
    before = server.inside_with("sleep 1001")
    restart(controller, server, "1001", "1001")
    controller.ask_status("mail")
    assert server.inside_with("sleep 1001") == before


def test_a_role_that_is_held_says_what_it_goes_on_with_until_its_release(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    restart(controller, server, "1001", "1002")
    _, notice = controller.next(Noticed, kind="agent.explained", role="mail")
    assert dict(notice.details)["text"] == (
        "goes on as it was started until its next release, although this has changed: standby"
    )
    controller.release("mail", 4)
    await_inside(server, "sleep 1002")


def test_a_role_that_runs_always_names_the_process_whose_end_renews_it(
    controller: FakeController, server: FakeServer
) -> None:
    server.await_tick("web-ticks", after=0)
    restart(controller, server, "web-ticks", "new-ticks")
    _, notice = controller.next(Noticed, kind="agent.explained", role="web")
    guard = server.guard("web")
    assert f"until its guard, process {guard}, is ended" in str(dict(notice.details)["text"])
    os.kill(guard, 9)
    server.await_tick("new-ticks", after=0)


def test_the_idle_guard_of_a_role_that_is_gone_is_ended(
    controller: FakeController, server: FakeServer
) -> None:
    connected = restart(controller, server, "[roles.mail]", "[roles.post]")
    assert {held.role for held in connected.roles} == {"web"}
    await_inside(server, "sleep 1001")
    assert "mail: not in the file any more: its guard is ended" in server.log.read_text()


def test_the_guard_of_a_role_that_is_gone_and_held_is_named(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    guard = server.guard("mail")
    restart(controller, server, "[roles.mail]", "[roles.post]")
    await_inside(server, "sleep 1001")
    text = f"mail: held, and not in the file any more: put it back, or end process {guard}"
    assert text in server.log.read_text()
    restart(controller, server, "[roles.post]", "[roles.mail]")
    assert server.guard("mail") == guard


def test_guards_and_first_processes_name_their_role(server: FakeServer) -> None:
    for number, name in ((server.guard("mail"), "guard"), (server.first_process("mail"), "init")):
        assert Path(f"/proc/{number}/comm").read_text() == f"{name} mail\n"
        assert b"hactrl.agent.guard\0mail\0" in Path(f"/proc/{number}/cmdline").read_bytes()


def test_what_is_held_is_told_with_its_epoch_after_the_change(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    restart(controller, server, "1001", "1002")
    assert controller.ask_status("mail") == Held("mail", Holding.HELD, 3)
