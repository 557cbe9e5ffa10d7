"""`hactrl-agent FILE`: speaks for one server with the controllers, see docs/agent.md."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hactrl.agent.aside import aside
from hactrl.agent.changes import end_strays
from hactrl.agent.config import AgentConfig, ConfigError, load, read_boot_id, read_token
from hactrl.agent.connection import Send, keep_connected
from hactrl.agent.epochs import EpochFile, replace_file
from hactrl.agent.messages import ProtocolError
from hactrl.agent.protocol import (
    VERSION,
    AgentHello,
    Answer,
    Assume,
    Drill,
    Notice,
    NoticeKind,
    Release,
    Report,
    Status,
    Verb,
)
from hactrl.agent.roles import Result, RoleKeeper
from hactrl.engine.events import Held
from hactrl.tokens import read_secret
from hactrl.vocabulary import Outcome

LOG = logging.getLogger(__name__)


ROOM = 4096
"""Bytes that must fit into each of the agent's directories: more than it ever writes at once."""

ROOM_TIMEOUT = 1.0
"""Seconds for that at the start."""


ROOM_PAUSE = 10.0
"""Seconds until the next try, if they did not."""


class Agent:
    """Use inside a running event loop."""

    def __init__(self, config: AgentConfig, epochs: EpochFile) -> None:
        self._config = config
        self._epochs = epochs
        self._ways: list[Send] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepers = {
            role.name: RoleKeeper(config, role, epochs, self._report, self._notice)
            for role in config.roles
        }
        self._no_room = ""

    async def run(self) -> None:
        """Serve for ever. Raises what a defect raises, in whichever task."""
        self._spawn(self._look_for_room())
        self._spawn(end_strays(self._config))
        for keeper in self._keepers.values():
            self._spawn(keeper.run())
        for address in self._config.controllers:
            self._spawn(keep_connected(address, self))
        await self._failed

    async def _look_for_room(self) -> None:
        """Say at the start what a later verb would fail for, until it would not."""
        while why := await self._without_room():
            if why != self._no_room:
                LOG.error("%s; until it can, roles are released and none assumed", why)
                self._no_room = why
                self._notice(NoticeKind.STATE_UNWRITABLE, "", why)
            await asyncio.sleep(ROOM_PAUSE)
        self._no_room = ""

    async def _without_room(self) -> str:
        """Which directory cannot be written and why; empty if all can."""
        for directory in (self._config.state_directory, self._config.run_directory):
            try:
                async with asyncio.timeout(ROOM_TIMEOUT):
                    await aside(_write_once, Path(directory) / "room")
            except TimeoutError:
                return f"{directory}: cannot be written: not done after {ROOM_TIMEOUT} s"
            except OSError as error:
                return f"{directory}: cannot be written: {error.strerror}"
        return ""

    def hello(self) -> AgentHello:
        """See `connection.Peer`."""
        return AgentHello(
            version=VERSION,
            server=self._config.server,
            token=read_token(self._config.token_file),
            boot=read_boot_id(self._config.boot_id_file),
            roles=tuple(keeper.held for keeper in self._keepers.values()),
        )

    def welcomed(self, send: Send) -> None:
        """See `connection.Peer`. What changed since the hello is said again."""
        self._ways.append(send)
        for keeper in self._keepers.values():
            send(Report(keeper.held, keeper.outdated))
        for role, keeper in self._keepers.items():
            if keeper.disk_full:
                send(Notice(NoticeKind.DISK_FULL, role, keeper.disk_full))
        if self._no_room:
            send(Notice(NoticeKind.STATE_UNWRITABLE, "", self._no_room))

    def lost(self, send: Send) -> None:
        """See `connection.Peer`."""
        if send in self._ways:
            self._ways.remove(send)

    def received(self, message: Any, send: Send) -> None:
        """See `connection.Peer`."""
        if not isinstance(message, Verb):
            raise ProtocolError(f"{type(message).__name__} is not for an agent")
        self._spawn(self._execute(message, send))

    async def _execute(self, verb: Verb, send: Send) -> None:
        keeper = self._keepers.get(verb.role)
        result: Result
        if keeper is None:
            result = Outcome.REFUSED, f"{self._config.server} has no role {verb.role!r}"
        else:
            try:
                result = await self._carry_out(verb, keeper, send)
            except OSError as error:
                result = Outcome.FAILED, str(error)
        outcome, explanation = result
        if send in self._ways:
            known = self._epochs.known(verb.role)
            send(Answer(verb.operation, verb.role, outcome, known, explanation))

    async def _carry_out(self, verb: Verb, keeper: RoleKeeper, send: Send) -> Result:
        match verb:
            case Assume():
                return await keeper.assume(verb.epoch, verb.proof, verb.leased)
            case Release():
                return await keeper.release(verb.epoch)
            case Status():
                if send in self._ways:
                    send(Report(keeper.held))
                return Outcome.DONE, ""
            case Drill():
                return await keeper.drill(verb.operation)

    def _report(self, held: Held, explanation: str) -> None:
        for send in self._ways:
            send(Report(held, explanation))

    def _notice(self, what: NoticeKind, role: str, text: str) -> None:
        for send in self._ways:
            send(Notice(what, role, text))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failed.done():
            self._failed.set_exception(error)


async def _serve(config: AgentConfig, epochs: EpochFile) -> None:
    serving = asyncio.ensure_future(Agent(config, epochs).run())
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        LOG.info("ended by a signal; the guards go on")


def _write_once(path: Path) -> None:
    """Raises OSError unless there is room for an epoch and more."""
    replace_file(path, bytes(ROOM))
    path.unlink()


def _lock(config: AgentConfig) -> int:
    """One agent for one run directory. Raises BlockingIOError if there is another."""
    path = Path(config.run_directory) / "agent.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1: the file is wrong, or another agent runs."""
    parser = argparse.ArgumentParser(prog="hactrl-agent", description=__doc__)
    parser.add_argument("file", type=Path, help="see docs/agent.md")
    parser.add_argument("--check", action="store_true", help="only check the file")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="hactrl-agent: %(levelname)s: %(message)s", level=logging.INFO)
    try:
        config = load(options.file)
        if options.check:
            return 0
        read_secret(Path(config.token_file))  # here alone: a guard must not end a role for a mode
        read_token(config.token_file)
        read_boot_id(config.boot_id_file)
        for directory in (config.state_directory, config.run_directory):
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        epochs = EpochFile(Path(config.state_directory) / "epochs.json")
        lock = _lock(config)
    except BlockingIOError:
        print(f"{config.run_directory}: another hactrl-agent runs here", file=sys.stderr)
        return 1
    except (ConfigError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        asyncio.run(_serve(config, epochs))
    finally:
        os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
