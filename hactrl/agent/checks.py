"""Does a role that is held still work? Asked now and then, by its own command and of its disk.

Daemons can be alive and greet everybody while their spool takes nothing any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hactrl.agent.config import RoleConfig
from hactrl.agent.inside import CommandError, Inside
from hactrl.agent.looks import DiskState
from hactrl.agent.protocol import NoticeKind


class ReadOnlyError(CommandError):
    """It will not change by itself."""


class Checks:
    """Of one role, from when it is held. Use inside a running event loop."""

    def __init__(
        self,
        role: RoleConfig,
        inside: Inside,
        failed: Callable[[str], None],
        remark: Callable[[NoticeKind, str], None],
    ) -> None:
        """`failed` is told once, when the role does not work any more. A full disk is only
        remarked: it would be as full on the next server."""
        self._role = role
        self._inside = inside
        self._failed = failed
        self._remark = remark
        self._full = ""

    @property
    def full(self) -> str:
        """Why the disk is full; empty if it is not, or has not been asked."""
        return self._full

    async def run(self, epoch: int) -> None:
        """Until one has failed."""
        role = self._role
        command = lambda: self._inside.run(  # noqa: E731
            role.check, role.check_timeout, HACTRL_EPOCH=str(epoch)
        )
        looks = [(role.check, command), (role.check_write, self._write)]
        async with asyncio.TaskGroup() as group:
            for wanted, look in looks:
                if wanted:
                    group.create_task(self._repeat(look))

    async def _repeat(self, look: Callable[[], Awaitable[None]]) -> None:
        failures, limit = 0, self._role.check_failures
        while True:
            try:
                await look()
            except CommandError as failure:
                failures = limit if isinstance(failure, ReadOnlyError) else failures + 1
                self._remark(NoticeKind.ROLE_CHECK_FAILED, f"{failure} ({failures} of {limit})")
                if failures == limit:
                    self._failed(f"check: {failure}")
                    return
            else:
                failures = 0
            await asyncio.sleep(self._role.check_interval)

    async def _write(self) -> None:
        directory = self._role.check_write
        tried = await self._inside.try_write(directory, self._role.check_timeout)
        match tried.state:
            case DiskState.READ_ONLY:
                raise ReadOnlyError(tried.explanation)
            case DiskState.FAILED:
                raise CommandError(tried.explanation)
        if tried.explanation and not self._full:
            self._remark(NoticeKind.DISK_FULL, tried.explanation)
        elif self._full and not tried.explanation:
            self._remark(NoticeKind.DISK_MENDED, directory)
        self._full = tried.explanation
