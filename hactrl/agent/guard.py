"""The guard of one role on one server: outside of the role's namespaces, and their life line.

It forks the first process of the namespaces, has it run the role's commands, and keeps the lease.
When the guard dies, by the kill timer of the lease or by anything else, the kernel kills that
first process and with it all that runs inside. The agent that started it may die meanwhile.

    PREPARING ──► STANDBY ──Hold──► ASSUMING ──► HELD ──► FAILED     (a daemon ended)
        │            │                  │          │         │
        └► BROKEN ◄──┘                  └──────────┴─GiveUp──┴──► RELEASING ──► exit
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from hactrl.agent import init, linux
from hactrl.agent.checks import Checks
from hactrl.agent.config import Daemon
from hactrl.agent.control import (
    FROM_GUARD,
    SPEC,
    TO_GUARD,
    DrillEnded,
    GiveUp,
    GuardSpec,
    GuardState,
    Hold,
    HoldAnswered,
    Phase,
    Remark,
    StartDrill,
)
from hactrl.agent.followed import Followed
from hactrl.agent.inside import CommandError, Inside
from hactrl.agent.lease import Lease
from hactrl.agent.messages import LONGEST_LINE
from hactrl.agent.protocol import NoticeKind
from hactrl.agent.writing import MOST_UNREAD, write
from hactrl.clock import boot_time

STANDBY_GRACE = 0.2
"""Seconds from SIGTERM to SIGKILL for `standby`, which has nothing to lose."""

ENDED = (Phase.BROKEN, Phase.FAILED, Phase.RELEASING)

Message = GuardState | HoldAnswered | DrillEnded | Remark


class Guard:
    """Use inside a running event loop."""

    def __init__(self, spec: GuardSpec, first_process: int, way: socket.socket) -> None:
        self._role = spec.role
        self._first_process = first_process
        self._inside = Inside(way, {"HACTRL_SERVER": spec.server, "HACTRL_ROLE": spec.role.name})
        self._lease = Lease(
            spec.server,
            spec.role.name,
            spec.controllers,
            spec.token_file,
            boot=spec.boot,
            denied=self._denied,
            paused=self._paused,
        )
        self._frozen = False
        self._phase = Phase.PREPARING
        self._epoch = 0
        self._leased = False
        self._taken = False
        self._explanation = ""
        self._checks = Checks(spec.role, self._inside, self._failed, self._remark)
        self._standby: tuple[int, asyncio.Future[init.Ended]] | None = None
        self._agents: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._assuming: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Start the work."""
        self._spawn(self._prepare())

    async def serve_agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of an agent, until its end."""
        self._agents.add(writer)
        self._write(writer, self._state())
        if self._checks.full:
            self._write(writer, Remark(NoticeKind.DISK_FULL, self._checks.full))
        try:
            while line := await reader.readline():
                self._obey(TO_GUARD.decode(line))
        except ConnectionError:
            pass  # an agent may die; the next one connects anew
        finally:
            self._agents.discard(writer)
            writer.close()

    def _obey(self, order: Hold | GiveUp | StartDrill) -> None:
        match order:
            case Hold():
                self._hold(order)
            case GiveUp():
                self._give_up(order)
            case StartDrill():
                self._spawn(self._drill(order))

    async def _prepare(self) -> None:
        role = self._role
        try:
            began = boot_time()
            await self._inside.run(role.prepare, role.prepare_timeout, HACTRL_EPOCH="0")
            await self._start_daemons("prepare")
            await self._watch_daemons("prepare", began, role.prepare_timeout)
        except CommandError as failure:
            self._enter(Phase.BROKEN, str(failure))
            return
        if role.standby:
            self._standby = self._inside.keep(
                role.standby, lambda how: self._failed(f"standby: {how}"), HACTRL_EPOCH="0"
            )
        if not role.always:
            self._lease.connect()
        if self._phase is Phase.PREPARING:
            self._enter(Phase.STANDBY)

    def _hold(self, order: Hold) -> None:
        if order.epoch < self._epoch:
            self._tell(HoldAnswered(order.epoch, f"epoch {self._epoch} is known"))
        elif self._phase is Phase.STANDBY:
            self._epoch, self._leased = order.epoch, order.leased
            self._enter(Phase.ASSUMING)
            self._assuming = self._spawn(self._assume(order))
        elif self._phase is Phase.HELD and (self._leased or not order.leased):
            if order.epoch > self._epoch:
                self._epoch = order.epoch
                if self._leased:
                    self._lease.raise_epoch(order.epoch)
                self._enter(Phase.HELD)
            self._tell(HoldAnswered(order.epoch, ""))
        elif self._phase is not Phase.ASSUMING or order.epoch != self._epoch:
            self._tell(HoldAnswered(order.epoch, f"the role is {self._phase.value}"))

    async def _assume(self, order: Hold) -> None:
        role = self._role
        variables = {
            "HACTRL_EPOCH": str(order.epoch),
            "HACTRL_PROOF": order.proof.value if order.proof else "",
        }
        try:
            await asyncio.gather(self._take_lease(order), self._stop_standby())
            self._taken = True
            began = boot_time()
            await self._inside.run(role.assume, role.assume_timeout, **variables)
            await self._start_daemons("assume", **variables)
            await self._inside.run(role.ready, role.assume_timeout, **variables)
            await self._watch_daemons("assume", began, role.assume_timeout)
        except CommandError as failure:
            self._failed(str(failure))
        if self._phase is Phase.ASSUMING:
            self._enter(Phase.HELD)
            self._checking = self._spawn(self._checks.run(order.epoch))
        self._tell(HoldAnswered(order.epoch, self._explanation))

    async def _take_lease(self, order: Hold) -> None:
        if not order.leased:
            return
        epoch = order.epoch
        try:
            granted = await self._lease.first(epoch, self._role.assume_timeout)
        except TimeoutError:
            raise CommandError("no controller answered the request for a lease") from None
        if not granted:
            raise CommandError(f"the controller denies a lease for epoch {epoch}")

    async def _stop_standby(self) -> None:
        if self._standby is None:
            return
        number, ended = self._standby
        self._inside.forget(number)
        self._inside.signal(number, signal.SIGTERM)
        await asyncio.wait([ended], timeout=STANDBY_GRACE)
        self._inside.signal(number, signal.SIGKILL)
        await ended
        self._standby = None

    async def _start_daemons(self, since: str, **variables: str) -> None:
        for daemon in self._role.daemons:
            if daemon.command and daemon.since == since:
                self._inside.keep(daemon.command, self._end_of(daemon), **variables)

    async def _watch_daemons(self, since: str, began: float, timeout: float) -> None:
        """`began`: when the command began that has started them, and has `timeout`. The agent
        stops waiting then, so that the reason must be told before."""
        end = began + 0.9 * timeout
        for daemon in self._role.daemons:
            if daemon.pidfile and daemon.since == since:
                followed = Followed(self._inside, daemon.pidfile, began, self._end_of(daemon))
                await followed.find(end - boot_time())
                self._spawn(followed.follow())

    def _end_of(self, daemon: Daemon) -> Callable[[str], None]:
        return lambda how: self._failed(f"daemon {daemon.name}: {how}")

    def _remark(self, what: NoticeKind, text: str) -> None:
        self._tell(Remark(what, text))

    def _failed(self, explanation: str) -> None:
        if self._phase in ENDED:
            return
        self._enter(Phase.FAILED if self._taken else Phase.BROKEN, explanation)

    def _give_up(self, order: GiveUp) -> None:
        if self._phase is not Phase.RELEASING:
            self._epoch = max(self._epoch, order.epoch)
            self._enter(Phase.RELEASING)
            self._spawn(self._release())

    async def _release(self) -> None:
        if self._assuming is not None:
            self._assuming.cancel()
        failed = ""
        if self._taken and not self._frozen:
            try:
                await self._inside.run(
                    self._role.release,
                    self._role.release_timeout,
                    HACTRL_EPOCH=str(self._epoch),
                )
            except CommandError as failure:
                # The end of the namespaces releases too, and the agent verifies either way.
                failed = f"release: {failure}"
        self._end(failed)

    def _denied(self) -> None:
        """Somebody else may own the role from now on: no time for a command. A release under
        way is one already; it is bounded by its timeout, and by the timer of the last grant."""
        if self._phase is Phase.RELEASING:
            return
        self._end("lease denied")

    def _paused(self, seconds: float) -> None:
        """The lease may have ended long ago by everybody else's clocks. So nothing inside runs on
        before a controller has granted it anew; it may as well have been a clock that was set."""
        if not self._leased:
            return
        if self._phase is Phase.RELEASING:
            self._end("paused during a release")
            return
        try:
            self._inside.freeze(True)
        except OSError as error:
            self._end(f"paused, and not to be stopped: {error.strerror}")
            return
        self._frozen = True
        self._lease.ask_anew(self._go_on)
        text = f"a clock jumped by {seconds:.1f} s; {self._role.name} stands still until its lease"
        self._remark(NoticeKind.PAUSE_SEEN, f"{text} is granted anew")

    def _go_on(self) -> None:
        self._inside.freeze(False)
        self._frozen = False

    def _end(self, why: str) -> None:
        """Kill all inside, and only then say why if there is something to say; `Inside` sees the
        end of the first process and ends this one."""
        os.kill(self._first_process, signal.SIGKILL)
        if why:
            say(f"{self._role.name}: {why}")

    async def _drill(self, order: StartDrill) -> None:
        try:
            await self._inside.run(
                self._role.drill, self._role.assume_timeout, HACTRL_EPOCH=str(self._epoch)
            )
        except CommandError as failure:
            self._tell(DrillEnded(order.number, str(failure)))
        else:
            self._tell(DrillEnded(order.number, ""))

    def _enter(self, phase: Phase, explanation: str = "") -> None:
        self._phase = phase
        self._explanation = explanation
        if phase in ENDED and self._checking is not None:
            self._checking.cancel()
        self._tell(self._state())

    def _state(self) -> GuardState:
        return GuardState(
            self._phase,
            self._epoch,
            self._leased,
            os.getpid(),
            self._first_process,
            self._explanation,
        )

    def _tell(self, message: Message) -> None:
        for agent in self._agents:
            self._write(agent, message)

    def _write(self, agent: asyncio.StreamWriter, message: Message) -> None:
        """An agent that stands still must not fill the memory of what it guards; it connects anew
        when it goes on."""
        if not write(agent, FROM_GUARD.encode(message)):
            why = f"because it left {MOST_UNREAD} bytes unread"
            say(f"{self._role.name}: agent disconnected, {why}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        """A defect here ends the guard, and with it what it guards: never one without the other."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(f"guard: {error!r}")
            os._exit(1)


def say(text: str) -> None:
    """To standard error, if it takes the line at once: a full disk, or a reader that stands
    still, must not hold up what comes next."""
    with contextlib.suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="replace"))


async def _serve(spec: GuardSpec, first_process: int, way: socket.socket, door: int) -> None:
    guard = Guard(spec, first_process, way)
    listener = socket.socket(fileno=door)
    await asyncio.start_unix_server(guard.serve_agent, sock=listener, limit=LONGEST_LINE)
    guard.prepare()
    await asyncio.get_running_loop().create_future()  # `Inside` ends the process


def main() -> None:
    """`python -m hactrl.agent.guard ROLE DOOR`: ROLE is for who looks at the processes, DOOR the
    number of the inherited socket on which agents connect; standard input holds one line with the
    `GuardSpec`. Agents of before name no role."""
    spec: GuardSpec = SPEC.decode(sys.stdin.buffer.readline())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    door = int(sys.argv[-1])
    os.set_inheritable(door, False)
    linux.name_process(f"guard {spec.role.name}")
    first_process, way = init.start(spec.role.name, spec.role.network_namespace, close=door)
    asyncio.run(_serve(spec, first_process, way, door))


if __name__ == "__main__":
    main()
