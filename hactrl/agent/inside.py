"""The processes in a role's namespaces, as its guard speaks of them to the first of them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from hactrl.agent import init
from hactrl.agent.messages import LONGEST_LINE


class CommandError(Exception):
    """What failed and how, for people."""


class Inside:
    """The first process inside, seen from the guard."""

    def __init__(self, way: socket.socket, base: dict[str, str]) -> None:
        way.setblocking(False)
        self._way = way
        self._base = base
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._ended: dict[int, Callable[[str], None]] = {}
        self._looks: dict[str, tuple[asyncio.Future[Any], int]] = {}  # the last one at each path
        self._watching: dict[int, Callable[[int, str], None]] = {}  # once there is a process
        asyncio.get_running_loop().add_reader(way, self._read)

    async def run(self, command: tuple[str, ...], timeout: float, **variables: str) -> None:
        """Run to the end. Raises CommandError unless it exits 0 in time; then it is killed."""
        if not command:
            return
        answer, number = self._ask(lambda n: init.Run(n, command, self._environment(variables)))
        try:
            async with asyncio.timeout(timeout):
                ended: init.Ended = await answer
        except TimeoutError:
            self.signal(number, signal.SIGKILL)
            raise CommandError(f"{command[0]}: not done after {timeout} s") from None
        if ended.status != 0:
            raise CommandError(f"{command[0]}: {ended.explanation}")

    def keep(
        self, command: tuple[str, ...], ended: Callable[[str], None], **variables: str
    ) -> tuple[int, asyncio.Future[init.Ended]]:
        """Start a command that should not end, and tell `ended` how it did."""
        answer, number = self._ask(lambda n: init.Run(n, command, self._environment(variables)))
        self._ended[number] = ended
        return number, answer

    async def watch(
        self,
        pidfile: str,
        since: float,
        known: int,
        timeout: float,
        ended: Callable[[int, str], None],
    ) -> int:
        """The number inside of the process that the file names, from now on watched: `ended` is
        told this number when it ends, and how. `known` is watched already.

        Raises CommandError if the file is older than `since` (a moment of `boot_time`),
        names no process inside, or cannot be read in time.
        """
        order = lambda n: init.Watch(n, pidfile, since, known)  # noqa: E731
        found = await self._look(pidfile, order, timeout, ended)
        if isinstance(found, init.Watching):
            return found.process
        raise CommandError(found.explanation)

    async def try_write(self, directory: str, timeout: float) -> init.Tried:
        """Write, sync and read a file there. Raises CommandError if that takes too long."""
        found = await self._look(directory, lambda n: init.TryWrite(n, directory), timeout)
        if isinstance(found, init.Tried):
            return found
        raise CommandError(found.explanation)

    async def _look(
        self,
        path: str,
        order: Callable[[int], Any],
        timeout: float,
        ended: Callable[[int, str], None] | None = None,
    ) -> Any:
        """One look at a path at a time: where one hangs, more would only hang too."""
        answer, number = self._looks.get(path, (None, 0))
        if answer is None or answer.done():
            answer, number = self._looks[path] = self._ask(order)
            if ended is not None:
                self._watching[number] = ended
        await asyncio.wait([answer], timeout=timeout)
        if not answer.done():
            self.signal(number, signal.SIGKILL)  # it obeys unless it hangs in the kernel
            raise CommandError(f"{path}: no answer from its disk after {timeout:g} s")
        return answer.result()

    def signal(self, number: int, which: signal.Signals) -> None:
        """To the process group of a command, if it still runs."""
        self._way.send(init.TO_INIT.encode(init.Signal(number, which)))

    def freeze(self, frozen: bool) -> None:
        """Stop everything but the first process, or let it go on."""
        self._way.send(init.TO_INIT.encode(init.Freeze(0, frozen)))

    def forget(self, number: int) -> None:
        """Tell nobody how this one ends."""
        self._ended.pop(number, None)

    def _environment(self, variables: dict[str, str]) -> tuple[str, ...]:
        return tuple(f"{name}={value}" for name, value in (self._base | variables).items())

    def _ask(self, order: Callable[[int], Any]) -> tuple[asyncio.Future[Any], int]:
        self._numbers += 1
        answer = asyncio.get_running_loop().create_future()
        self._waiting[self._numbers] = answer
        self._way.send(init.TO_INIT.encode(order(self._numbers)))
        return answer, self._numbers

    def _read(self) -> None:
        packet = self._way.recv(LONGEST_LINE)
        if not packet:
            os._exit(1)  # the first process is gone, and all inside with it
        message = init.FROM_INIT.decode(packet)
        watching = self._watching.pop(message.number, None)
        if watching is not None and isinstance(message, init.Watching):
            self._ended[message.number] = partial(watching, message.process)
        answer = self._waiting.pop(message.number, None)
        if answer is not None and not answer.done():
            answer.set_result(message)
        if isinstance(message, init.Ended) and (ended := self._ended.pop(message.number, None)):
            ended(message.explanation)
