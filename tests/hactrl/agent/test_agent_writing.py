"""A peer that is there and does not read is disconnected, before what waits for it fills memory."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import socketpair
from typing import Any

import pytest
from agent_peers import HELLO

from hactrl.agent import guard_client
from hactrl.agent.config import AgentConfig, RoleConfig
from hactrl.agent.connection import Send, keep_connected
from hactrl.agent.control import (
    FROM_GUARD,
    GuardSpec,
    GuardState,
    Hold,
    HoldAnswered,
    Phase,
    Remark,
)
from hactrl.agent.guard import Guard
from hactrl.agent.guard_client import Nest
from hactrl.agent.protocol import FROM_CONTROLLER, Heartbeat, Notice, NoticeKind, Welcome
from hactrl.agent.writing import MOST_UNREAD, write

PATIENCE = 20.0
LONG = "x" * 2000
NO_COMMANDS: dict[str, Any] = dict.fromkeys(
    ("prepare", "standby", "assume", "ready", "release", "verify", "drill"), ()
)
NO_TIMEOUTS: dict[str, Any] = dict.fromkeys(
    ("prepare_timeout", "assume_timeout", "release_timeout", "verify_timeout"), 1.0
)
MAIL = RoleConfig("mail", False, "", (), daemons=(), **NO_COMMANDS, **NO_TIMEOUTS)


def test_who_reads_late_is_told_all() -> None:
    line = b"x" * 999 + b"\n"

    async def play() -> int:
        ours, theirs = socketpair()
        _, writer = await asyncio.open_connection(sock=ours)
        for _ in range(MOST_UNREAD // len(line)):
            assert write(writer, line)
        with theirs:
            theirs.setblocking(False)
            heard, loop = 0, asyncio.get_running_loop()
            while heard < MOST_UNREAD:
                heard += len(await loop.sock_recv(theirs, 1 << 16))
        writer.transport.abort()
        return heard

    assert asyncio.run(play()) == MOST_UNREAD


class Talker:
    """An agent that says as much as it can."""

    def __init__(self) -> None:
        self.lost_ = 0
        self._talking: asyncio.Task[None]

    def hello(self) -> Any:
        return HELLO

    def welcomed(self, send: Send) -> None:
        self._talking = asyncio.create_task(self._talk(send))

    async def _talk(self, send: Send) -> None:
        while True:
            send(Notice(NoticeKind.DISK_FULL, "mail", LONG))
            await asyncio.sleep(0)

    def received(self, message: Any, send: Send) -> None:
        pass

    def lost(self, send: Send) -> None:  # noqa: ARG002 - a `Peer`
        self.lost_ += 1
        self._talking.cancel()


def test_a_controller_that_beats_and_reads_nothing_is_left_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connected = asyncio.Queue[None]()

    async def beat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        connected.put_nowait(None)
        writer.write(FROM_CONTROLLER.encode(Welcome(0.05, 60.0)))
        with suppress(ConnectionError):
            while True:
                writer.write(FROM_CONTROLLER.encode(Heartbeat()))
                await writer.drain()
                await asyncio.sleep(0.05)

    async def both() -> None:
        server = await asyncio.start_server(beat, "127.0.0.1", 0)
        talker = Talker()
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connection = asyncio.create_task(keep_connected(address, talker))
        async with asyncio.timeout(PATIENCE):
            await connected.get()
            await connected.get()
        assert talker.lost_ == 1
        connection.cancel()
        server.close()

    asyncio.run(both())
    assert f"connection lost: it left {MOST_UNREAD} bytes unread" in caplog.text


@pytest.fixture
def process() -> Iterator[int]:
    """What passes for a guard, and for the first process inside."""
    sleeper = subprocess.Popen(["sleep", "infinity"])
    yield sleeper.pid
    sleeper.kill()
    sleeper.wait()


@asynccontextmanager
async def guard_of(process: int, path: Path) -> AsyncIterator[Guard]:
    """A real guard of nothing, which agents find there."""
    way, inside = socketpair()
    guard = Guard(GuardSpec("one", (), "", MAIL), process, way)
    server = await asyncio.start_unix_server(guard.serve_agent, path)
    yield guard
    server.close()
    asyncio.get_running_loop().remove_reader(way)
    way.close()
    inside.close()


def test_an_agent_that_stands_still_is_disconnected_by_its_guard(
    process: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def both() -> None:
        async with guard_of(process, tmp_path / "mail.socket") as guard:
            still, writer = await asyncio.open_unix_connection(tmp_path / "mail.socket")
            await still.readline()
            async with asyncio.timeout(PATIENCE):
                while guard._agents:
                    guard._tell(Remark(NoticeKind.DISK_FULL, LONG))
                    await asyncio.sleep(0)
            writer.close()

    asyncio.run(both())
    said = f"mail: agent disconnected, because it left {MOST_UNREAD} bytes unread\n"
    assert said in capfd.readouterr().err


def nest_in(directory: Path) -> Nest:
    return Nest(AgentConfig("one", (), "", "", str(directory), "", (MAIL,)), MAIL)


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_client, "RECONNECT_PAUSE", 0.0)


@pytest.mark.usefixtures("_at_once")
def test_an_agent_whose_guard_lives_and_has_disconnected_it_connects_again(
    process: int, tmp_path: Path
) -> None:
    async def both() -> None:
        heard = asyncio.Queue[Any]()
        async with guard_of(process, tmp_path / "mail.socket") as guard:
            guarded = await nest_in(tmp_path).find(heard.put_nowait)
            assert guarded is not None
            guarded.disk_full = "it was mended while nobody heard"
            following = asyncio.create_task(nest_in(tmp_path).until_gone(guarded))
            (agent,) = guard._agents
            agent.transport.abort()
            async with asyncio.timeout(PATIENCE):
                assert isinstance(await heard.get(), GuardState)
                guard._tell(HoldAnswered(3, ""))
                assert await heard.get() == HoldAnswered(3, "")
                assert not guarded.disk_full
            following.cancel()

    asyncio.run(both())


@pytest.mark.usefixtures("_at_once")
def test_a_guard_that_stands_still_is_disconnected_and_connected_to_again(
    process: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = GuardState(Phase.STANDBY, 0, False, process, process, "")

    async def stand_still(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(FROM_GUARD.encode(state))
        await asyncio.Future()

    async def both() -> None:
        heard = asyncio.Queue[Any]()
        server = await asyncio.start_unix_server(stand_still, tmp_path / "mail.socket")
        guarded = await nest_in(tmp_path).find(heard.put_nowait)
        assert guarded is not None
        following = asyncio.create_task(nest_in(tmp_path).until_gone(guarded))
        async with asyncio.timeout(PATIENCE):
            while heard.empty():
                guarded.send(Hold(3, None, False))
                await asyncio.sleep(0)
        assert heard.get_nowait() == state
        following.cancel()
        server.close()

    caplog.set_level(logging.WARNING)
    asyncio.run(both())
    assert f"disconnected, because it left {MOST_UNREAD} bytes unread" in caplog.text
    assert "it has another one" in caplog.text
