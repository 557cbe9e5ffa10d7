"""A guard's lease: renewed over its own connections, enforced by a timer of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hactrl.agent import linux
from hactrl.agent.config import read_token
from hactrl.agent.connection import Send, keep_connected
from hactrl.agent.messages import ProtocolError
from hactrl.agent.pauses import Pauses
from hactrl.agent.protocol import VERSION, GuardHello, LeaseDenied, LeaseGranted, LeaseRenew
from hactrl.clock import boot_time

RENEWALS = 5
"""Renewals tried in one lease, so that some may be lost."""

FIRST_INTERVAL = 0.2
"""Seconds between requests until the first grant has told the duration."""


class Lease:
    """From `start` on this process dies at the end of the last lease granted. A grant counts
    from sending its request (law 4): what the way took is lost to the holder."""

    def __init__(
        self,
        server: str,
        role: str,
        controllers: tuple[str, ...],
        token_file: str,
        *,
        boot: str,
        denied: Callable[[], None],
        paused: Callable[[float], None],
    ) -> None:
        """`denied` is called when a controller denies the lease for the present epoch, `paused`
        when this machine was probably paused, and for how long. Both before anything else."""
        self._server = server
        self._role = role
        self._controllers = controllers
        self._token_file = token_file
        self._boot = boot
        self._denied = denied
        self._timer = linux.KillTimer()
        self._ends = 0.0
        self._interval = FIRST_INTERVAL
        self._epoch = 0
        self._number = 0
        self._asked: dict[int, tuple[int, float]] = {}  # request: epoch, when it was sent
        self._ways: list[Send] = []
        self._connecting: list[asyncio.Task[None]] = []
        self._renewing: asyncio.Task[None] | None = None
        self._granted: asyncio.Future[bool] | None = None
        self._anew: Callable[[], None] | None = None
        self._pauses = Pauses(paused)

    def connect(self) -> None:
        """Connect with the controllers, and ask for nothing yet: a takeover waits for less then."""
        for task in self._connecting:
            task.cancel()
        self._connecting = [
            asyncio.create_task(keep_connected(address, self)) for address in self._controllers
        ]

    async def first(self, epoch: int, timeout: float) -> bool:
        """Ask for the lease of an epoch and wait for the answer. Nothing kills before that.

        Raises TimeoutError if no controller answers.
        """
        self._epoch = epoch
        self._granted = asyncio.get_running_loop().create_future()
        self._pauses.forget()
        self._pauses.watch()
        if not self._ways:
            self.connect()  # at once, and not after the pause that follows a failure
        self._renewing = asyncio.create_task(self._keep_renewing())
        async with asyncio.timeout(timeout):
            return await self._granted

    def raise_epoch(self, epoch: int) -> None:
        """Renew with this epoch from now on; answers to older requests no longer count."""
        self._epoch = epoch
        self._asked.clear()
        self._renew()

    def ask_anew(self, granted: Callable[[], None]) -> None:
        """What was granted before proves nothing any more: `granted` is called at the next grant
        that is asked for from now on."""
        self._anew = granted
        self._asked.clear()
        self._renew()

    def hello(self) -> GuardHello:
        """See `connection.Peer`."""
        token = read_token(self._token_file)
        return GuardHello(VERSION, self._server, token, self._role, self._boot)

    def welcomed(self, send: Send) -> None:
        """See `connection.Peer`."""
        self._ways.append(send)
        if self._granted is not None:
            self._renew()

    def lost(self, send: Send) -> None:
        """See `connection.Peer`."""
        if send in self._ways:
            self._ways.remove(send)

    def received(self, message: Any, send: Send) -> None:  # noqa: ARG002 - see `connection.Peer`
        """See `connection.Peer`."""
        match message:
            case LeaseGranted(request, duration):
                if request in self._asked:
                    _, sent = self._asked[request]
                    self._grant(sent + duration, duration)
            case LeaseDenied(request):
                if request in self._asked:
                    self._deny()
            case _:
                raise ProtocolError(f"{type(message).__name__} is not for a guard")

    def _grant(self, ends: float, duration: float) -> None:
        self._interval = duration / RENEWALS
        if ends <= boot_time() or ends <= self._ends:
            return
        self._ends = ends
        self._timer.set(ends)
        if self._anew is not None:
            self._anew()
            self._anew = None
        if self._granted is not None and not self._granted.done():
            self._granted.set_result(True)

    def _deny(self) -> None:
        if self._granted is not None and not self._granted.done():
            self._granted.set_result(False)
        else:
            self._denied()

    def _renew(self) -> None:
        now = boot_time()
        for send in self._ways:
            self._number += 1
            self._asked[self._number] = (self._epoch, now)
            send(LeaseRenew(self._number, self._epoch))
        while len(self._asked) > 10 * RENEWALS:
            del self._asked[min(self._asked)]

    async def _keep_renewing(self) -> None:
        self._renew()
        while True:
            await asyncio.sleep(self._interval)
            self._pauses.look()
            self._renew()
