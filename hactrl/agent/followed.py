"""A daemon that names itself in a pid file: found, watched, and found again when it is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hactrl.agent.inside import CommandError, Inside

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.1
"""Seconds between looks at a file that does not yet name the daemon."""

NEXT_LOOK = 5.0
"""Seconds between looks at a file whose daemon is watched: it may have started anew."""

LOOK_TIMEOUT = 1.0
"""Seconds for one look, once the daemon is found."""


class Followed:
    """Use inside a running event loop."""

    def __init__(
        self, inside: Inside, pidfile: str, began: float, ended: Callable[[str], None]
    ) -> None:
        """`began`: when the command began that starts it (`boot_time`). What the file said
        before is of another life. `ended` is told once there is no such process any more."""
        self._inside = inside
        self._pidfile = pidfile
        self._began = began
        self._ended = ended
        self._process = 0
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ends: dict[int, str] = {}

    async def find(self, timeout: float) -> None:
        """Wait until the file names a process. Raises CommandError if it does not in time, but
        not before it was looked at."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        pause = FIRST_PAUSE
        while True:
            try:
                await self._look(max(LOOK_TIMEOUT, end - loop.time()))
            except CommandError:
                if loop.time() + pause >= end:
                    raise
            else:
                return
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def follow(self) -> None:
        """Until it has ended. While it lives, a file that is gone or unreadable says nothing."""
        while True:
            await asyncio.wait([self._gone], timeout=NEXT_LOOK)
            how = self._gone.result() if self._gone.done() else ""
            if how:
                self._process = 0
            try:
                await self._look(LOOK_TIMEOUT)
            except CommandError:
                if how:
                    self._ended(how)
                    return

    async def _look(self, timeout: float) -> None:
        self._ends.clear()
        process = await self._inside.watch(
            self._pidfile, self._began, self._process, timeout, self._heard
        )
        if process != self._process:
            self._process = process
            self._gone = asyncio.get_running_loop().create_future()
            if process in self._ends:
                self._gone.set_result(self._ends[process])

    def _heard(self, process: int, how: str) -> None:
        """Perhaps before `_look` goes on."""
        self._ends[process] = how
        if process == self._process and not self._gone.done():
            self._gone.set_result(how)
