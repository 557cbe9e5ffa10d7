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
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from hactrl.agent import init
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
    StartDrill,
)
from hactrl.agent.lease import Lease
from hactrl.agent.messages import LONGEST_LINE

STANDBY_GRACE = 0.2
"""Seconds from SIGTERM to SIGKILL for `standby`, which has nothing to lose."""

ENDED = (Phase.BROKEN, Phase.FAILED, Phase.RELEASING)


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

    async def watch(self, pidfile: str, ended: Callable[[str], None]) -> None:
        """Tell `ended` when that process ends. Raises CommandError if there is none."""
        answer, number = self._ask(lambda n: init.Watch(n, pidfile))
        match await answer:
            case init.Ended(explanation=explanation):
                raise CommandError(explanation)
            case init.Watching():
                self._ended[number] = ended

    def signal(self, number: int, which: signal.Signals) -> None:
        """To the process group of a command, if it still runs."""
        self._way.send(init.TO_INIT.encode(init.Signal(number, which)))

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
        answer = self._waiting.pop(message.number, None)
        if answer is not None and not answer.done():
            answer.set_result(message)
        if isinstance(message, init.Ended) and (ended := self._ended.pop(message.number, None)):
            ended(message.explanation)


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
        )
        self._phase = Phase.PREPARING
        self._epoch = 0
        self._leased = False
        self._taken = False
        self._explanation = ""
        self._standby: tuple[int, asyncio.Future[init.Ended]] | None = None
        self._agents: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._assuming: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Start the work."""
        self._spawn(self._prepare())

    async def serve_agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of an agent, until its end."""
        self._agents.add(writer)
        writer.write(FROM_GUARD.encode(self._state()))
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
            await self._inside.run(role.prepare, role.prepare_timeout, HACTRL_EPOCH="0")
            await self._start_daemons("prepare")
            await self._watch_daemons("prepare")
        except CommandError as failure:
            self._enter(Phase.BROKEN, str(failure))
            return
        if role.standby:
            self._standby = self._inside.keep(
                role.standby, lambda how: self._failed(f"standby: {how}"), HACTRL_EPOCH="0"
            )
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
            if order.leased:
                await self._take_lease(order.epoch)
            await self._stop_standby()
            self._taken = True
            await self._inside.run(role.assume, role.assume_timeout, **variables)
            await self._start_daemons("assume", **variables)
            await self._inside.run(role.ready, role.assume_timeout, **variables)
            await self._watch_daemons("assume")
        except CommandError as failure:
            self._failed(str(failure))
        if self._phase is Phase.ASSUMING:
            self._enter(Phase.HELD)
        self._tell(HoldAnswered(order.epoch, self._explanation))

    async def _take_lease(self, epoch: int) -> None:
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

    async def _watch_daemons(self, since: str) -> None:
        for daemon in self._role.daemons:
            if daemon.pidfile and daemon.since == since:
                await self._inside.watch(daemon.pidfile, self._end_of(daemon))

    def _end_of(self, daemon: Daemon) -> Callable[[str], None]:
        return lambda how: self._failed(f"daemon {daemon.name}: {how}")

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
        if self._taken:
            try:
                await self._inside.run(
                    self._role.release,
                    self._role.release_timeout,
                    HACTRL_EPOCH=str(self._epoch),
                )
            except CommandError as failure:
                # The end of the namespaces releases too, and the agent verifies either way.
                print(f"{self._role.name}: release: {failure}", file=sys.stderr, flush=True)
        self._end()

    def _denied(self) -> None:
        """Somebody else may own the role from now on: no time for a command. A release under
        way is one already; it is bounded by its timeout, and by the timer of the last grant."""
        if self._phase is Phase.RELEASING:
            return
        print(f"{self._role.name}: lease denied", file=sys.stderr, flush=True)
        self._end()

    def _end(self) -> None:
        """Kill all inside; `Inside` sees the end of the first process and ends this one."""
        os.kill(self._first_process, signal.SIGKILL)

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

    def _tell(self, message: GuardState | HoldAnswered | DrillEnded) -> None:
        for agent in self._agents:
            agent.write(FROM_GUARD.encode(message))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        """A defect here ends the guard, and with it what it guards: never one without the other."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            print(f"{self._role.name}: guard: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)


async def _serve(spec: GuardSpec, first_process: int, way: socket.socket, door: int) -> None:
    guard = Guard(spec, first_process, way)
    listener = socket.socket(fileno=door)
    await asyncio.start_unix_server(guard.serve_agent, sock=listener, limit=LONGEST_LINE)
    guard.prepare()
    await asyncio.get_running_loop().create_future()  # `Inside` ends the process


def main() -> None:
    """`python -m hactrl.agent.guard DOOR`: DOOR is the number of the inherited socket on which
    agents connect; standard input holds one line with the `GuardSpec`."""
    spec: GuardSpec = SPEC.decode(sys.stdin.buffer.readline())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    door = int(sys.argv[1])
    os.set_inheritable(door, False)
    first_process, way = init.start(spec.role.network_namespace, close=door)
    asyncio.run(_serve(spec, first_process, way, door))


if __name__ == "__main__":
    main()
