"""Is a role's resource really free on this server? Asked after its namespaces are gone."""

from __future__ import annotations

import asyncio
import errno
import os
import stat

from hactrl.agent.config import RoleConfig

RETRY = 0.01
"""Seconds between looks: the last unmount may follow the end of the last process."""


async def problems(role: RoleConfig) -> tuple[str, ...]:
    """What still stands against 'released', after `verify_timeout` at most; empty if nothing."""
    found: tuple[str, ...] = (f"no verdict after {role.verify_timeout} s",)
    try:
        async with asyncio.timeout(role.verify_timeout):
            while found := await _look(role):
                await asyncio.sleep(RETRY)
    except TimeoutError:
        return found
    return ()


async def _look(role: RoleConfig) -> tuple[str, ...]:
    found = [p for device in role.devices if (p := await asyncio.to_thread(in_use, device))]
    if not found and role.verify:
        found = await _command(role.verify)
    return tuple(found)


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
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    return [f"{command[0]} exited with {status}"] if status else []
