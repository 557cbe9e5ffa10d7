"""Is a role's resource really free on this server? Asked after its namespaces are gone."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable

from hactrl.agent.aside import aside
from hactrl.agent.config import RoleConfig
from hactrl.agent.users import User, end, users

RETRY = 0.01
"""Seconds between looks: the last unmount may follow the end of the last process."""

RETRY_KILLING = 0.2
"""The same where every process of the machine is looked at in between."""


class Verification:
    """Of one role. Use inside a running event loop."""

    def __init__(self, role: RoleConfig, killing: Callable[[str], None]) -> None:
        """`killing` is told whom `kill_users` is about to end."""
        self._role = role
        self._killing = killing
        self._looks: dict[str, asyncio.Future[str]] = {}  # by device

    async def problems(self) -> tuple[str, ...]:
        """What still stands against 'released', after `verify_timeout` at most; empty if
        nothing."""
        timeout = self._role.verify_timeout
        found: tuple[str, ...] = (f"no verdict after {timeout} s",)
        try:
            async with asyncio.timeout(timeout):
                while found := await self._look():
                    if self._role.kill_users:
                        await self._kill_users()
                    await asyncio.sleep(RETRY_KILLING if self._role.kill_users else RETRY)
        except TimeoutError:
            return found
        return ()

    async def _look(self) -> tuple[str, ...]:
        found = [p for device in self._role.devices if (p := await self._in_use(device))]
        if not found and self._role.verify:
            found = await _command(self._role.verify)
        return tuple(found)

    async def _in_use(self, device: str) -> str:
        """One look at a device at a time: one that hangs must not be joined by more and more."""
        look = self._looks.get(device)
        if look is None or look.done():  # what was seen while nobody waited is old
            look = self._looks[device] = aside(in_use, device)
        await asyncio.wait([look])
        return look.result()

    async def _kill_users(self) -> None:
        """Nobody of the role lives any more, so whoever uses what it owned is a stranger."""
        for device in self._role.devices:
            found: list[User] = await aside(users, device)
            if found:
                self._killing(f"{device}: {', '.join(map(str, found))}")
            for user in found:
                end(user)


def in_use(device: str) -> str:
    """Why a block device is not known to be free; empty if it is.

    An exclusive open (O_EXCL without O_CREAT, open(2)) fails while any mount or other exclusive
    user holds the device. What is still in its cache is written before this says free.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return ""  # a loop device without a file: nobody can use it
        if error.errno == errno.EBUSY:
            return f"{device} is in use"
        return f"{device}: {error.strerror}"
    try:
        if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
            return f"{device} is no block device, so nothing tells who uses it"
        os.fsync(descriptor)
    except OSError as error:
        return f"{device}: not all could be written: {error.strerror}"
    finally:
        os.close(descriptor)
    return ""


async def _command(command: tuple[str, ...]) -> list[str]:
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    except OSError as error:
        return [f"{command[0]}: {error.strerror}"]
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    return [f"{command[0]} exited with {status}"] if status else []
