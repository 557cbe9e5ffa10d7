"""The guard of a role seen from the agent: started or found again, spoken to, and seen to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from asyncio import FIRST_COMPLETED
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hactrl.agent.changes import StartedWith
from hactrl.agent.config import AgentConfig, RoleConfig, read_boot_id
from hactrl.agent.control import FROM_GUARD, SPEC, TO_GUARD, GuardSpec, GuardState, Remark
from hactrl.agent.epochs import replace_file
from hactrl.agent.messages import LONGEST_LINE
from hactrl.agent.protocol import NoticeKind
from hactrl.agent.writing import MOST_UNREAD, write

LOG = logging.getLogger(__name__)

RECONNECT_PAUSE = 1.0
"""Seconds from the end of a connection to a guard until the next; the guard's own end, whose first
sign that may be, is known by then."""


class Guarded:
    """A guard and what it guards. `gone` is done when the kernel has ended both; the first
    process of a PID namespace ends only after every other process in it. `reading` is done when
    the connection to the guard has ended. `disk_full`: what the guard says of a full disk."""

    state: GuardState
    disk_full: str
    reading: asyncio.Task[None]

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        state: GuardState,
        received: Callable[[Any], None],
    ) -> None:
        self._received = received
        self._ends = [process_end(state.process), process_end(state.init)]
        self.gone: asyncio.Future[Any] = asyncio.gather(*self._ends)
        self._speak_by(reader, writer, state)

    def speak_again(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: GuardState
    ) -> None:
        """Over another connection, which tells this first."""
        self._speak_by(reader, writer, state)
        self._received(state)

    def _speak_by(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: GuardState
    ) -> None:
        self.state = state
        self.disk_full = ""  # a guard that has something to say of it says so next
        self._writer = writer
        self.reading = asyncio.create_task(self._read(reader, writer))

    def send(self, order: Any) -> None:
        """To the guard; lost if it has died, which `gone` tells, or has not read for long."""
        if not write(self._writer, TO_GUARD.encode(order)):
            said = "guard %d: disconnected, because it left %d bytes unread"
            LOG.error(said, self.state.process, MOST_UNREAD)

    def kill(self) -> None:
        """End it without any command. The guard's end kills what is inside."""
        if not self._ends[0].done():
            os.kill(self.state.process, signal.SIGKILL)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                message = FROM_GUARD.decode(line)
                self._note(message)
                self._received(message)
        except ConnectionError:
            pass  # it has died, or one of us has not read for long: `Nest.until_gone` finds out
        except ValueError as error:
            LOG.error("guard %d says what no guard says: %s", self.state.process, error)
        finally:
            writer.close()

    def _note(self, message: Any) -> None:
        match message:
            case GuardState():
                self.state = message
            case Remark(NoticeKind.DISK_FULL, text):
                self.disk_full = text
            case Remark(NoticeKind.DISK_MENDED):
                self.disk_full = ""


async def _first_state(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> GuardState | None:
    """What a guard says to whoever connects; None, and closed, if it ends."""
    try:
        line = await reader.readline()
        state: GuardState | None = FROM_GUARD.decode(line) if line else None
    except ConnectionError:
        state = None
    except ValueError:
        writer.close()
        raise
    if state is None:
        writer.close()
    return state


def process_end(process: int) -> asyncio.Future[None]:
    """Done when the process has ended; reaps it if it is a child of ours."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        end.set_result(None)
        return end

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):  # a child of the guard or of an older agent
            os.waitpid(process, os.WNOHANG)
        if not end.done():
            end.set_result(None)

    loop.add_reader(descriptor, ended)
    return end


class Nest:
    """Where the guard of a role is found by later agents, in the run directory."""

    def __init__(self, config: AgentConfig, role: RoleConfig) -> None:
        directory = Path(config.run_directory)
        self._socket = directory / f"{role.name}.socket"
        self._record = directory / f"{role.name}.processes"
        self._started_with = StartedWith(directory / f"{role.name}.spec")
        self._config = config
        self._role = role

    async def find(self, received: Callable[[Any], None]) -> Guarded | None:
        """The guard that an agent before this one has left behind, if it is alive."""
        try:
            streams = await self._connect()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return await self._greet(*streams, received)

    async def until_gone(self, guarded: Guarded) -> None:
        """Until the kernel has ended it. Where only the connection ends, because one of the two has
        not read for long, it makes another."""
        said = ""
        while not guarded.gone.done():
            await asyncio.wait([guarded.gone, guarded.reading], return_when=FIRST_COMPLETED)
            await asyncio.wait([guarded.gone], timeout=RECONNECT_PAUSE)
            if not guarded.gone.done():
                found = await self._speak_again(guarded)
                if found != said:
                    LOG.warning("%s: the connection to its guard ended: %s", self._role.name, found)
                said = found

    async def _speak_again(self, guarded: Guarded) -> str:
        """What has come of it, for the log. Where a guard takes no connection, it has ended, and
        what it guarded hangs in the kernel."""
        try:
            reader, writer = await self._connect()
            state = await _first_state(reader, writer)
        except (OSError, ValueError) as error:
            return f"no other is to be had: {error}"
        if state is None:
            return "another one ended at once"
        guarded.speak_again(reader, writer, state)
        return "it has another one"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self._socket), limit=LONGEST_LINE)

    async def start(self, received: Callable[[Any], None]) -> Guarded | None:
        """A new guard, in a session of its own; None if it ended before it said anything.

        Raises OSError if there is no room for its files or no process to be had.
        """
        self._socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(self._socket))
            self._socket.chmod(0o600)
            door.listen()
            child = subprocess.Popen(
                [sys.executable, "-m", "hactrl.agent.guard", self._role.name, str(door.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[door.fileno()],
                start_new_session=True,
            )
        assert child.stdin is not None
        child.returncode = 0  # `process_end` reaps it, not `subprocess`
        spec = self._spec
        try:
            self._started_with.write(spec)
            child.stdin.write(SPEC.encode(spec))
            child.stdin.close()
            guarded = await self._greet(*await self._connect(), received)
        except OSError:
            os.kill(child.pid, signal.SIGKILL)  # it holds nothing yet
            await process_end(child.pid)
            raise
        if guarded is None:
            await process_end(child.pid)
        return guarded

    async def _greet(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        received: Callable[[Any], None],
    ) -> Guarded | None:
        state = await _first_state(reader, writer)
        if state is None:
            return None
        try:
            self._write_down(state.init)
        except OSError:
            writer.close()
            raise
        return Guarded(reader, writer, state, received)

    def _write_down(self, first_process: int) -> None:
        """An agent that comes back to a full disk finds the record of before."""
        record = f"{first_process} {_started(first_process)}\n".encode()
        if not self._record.exists() or self._record.read_bytes() != record:
            replace_file(self._record, record)

    def changes(self) -> tuple[str, ...]:
        """What the file says otherwise now than when the last guard was started, by its keys.

        Raises OSError if that cannot be known.
        """
        return self._started_with.changes(self._spec)

    @property
    def _spec(self) -> GuardSpec:
        config = self._config
        try:
            boot = read_boot_id(config.boot_id_file)
        except (OSError, ValueError) as error:
            # The agent cannot connect without it, and tells so; the guard can do its work.
            LOG.error("%s: the guard will not say which boot it is of: %s", self._role.name, error)
            boot = ""
        return GuardSpec(config.server, config.controllers, config.token_file, self._role, boot)

    def left_behind(self) -> asyncio.Future[None]:
        """Done when the first process that was recorded last has ended, if it still lives: its
        guard may be dead, and a process that hangs in the kernel not yet.

        Raises ValueError for a record that no agent has written.
        """
        try:
            number, started = (int(n) for n in self._record.read_text(encoding="ascii").split())
        except FileNotFoundError:
            number, started = 0, 0
        except ValueError:
            raise ValueError(
                f"{self._record}: not a record of a process; remove it once no process of the "
                "role is left"
            ) from None
        if number and _started(number) == started:
            return process_end(number)
        nobody: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nobody.set_result(None)
        return nobody


def _started(process: int) -> int:
    """When a process was started (ticks since boot), 0 if there is none; field 22 of proc(5)'s
    stat. With the number it names a process for good."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])
