"""The console script `hactrl-prober`: probes what it is told on stdin, tells on stdout.

Orders (`Targets`, `Eager`, `Anew`) come in and reports (`ProbeChanged`, `Beat`, `Note`) go out as
JSON lines; see `targets`. It ends when stdin does, because then the controller has died. A `Beat`
goes out every BEAT seconds: verdicts are told only when they change, and silence must not look
like health.

All servers of one service are asked in the same breath, every `interval`, so that who says nothing
while others speak is found out (`hanging`); each has one dialogue in it, through its cards and over
its address families by turns (`turns`). While somebody waits for a target (`Eager`), all ways to it
are probed every EAGER_INTERVAL, and one good finding is enough (`watch`).

Who is unhealthy for timeouts is also asked with more patience (`patience`): if that is answered,
the reason told is `slow`.

Their kernels are asked far more often, which no daemon hears (`syn`): who refuses there, or is
silent while others answer, is unhealthy at once.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Hashable

from hactrl.engine.events import ProbeChanged
from hactrl.health.hanging import HangingDaemons
from hactrl.health.syn import SynProber
from hactrl.health.targets import (
    BEAT,
    Anew,
    Beat,
    Eager,
    Note,
    Order,
    ProbeRoute,
    ProberReport,
    Target,
    Targets,
    decode_order,
    encode,
)
from hactrl.health.turns import Daemon, turns
from hactrl.health.verdicts import Cause
from hactrl.health.watch import Shared, StallWatch, TargetWatch, Tell

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, without what is before the point, are spread evenly between 0 and 1, however
many they are (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S)."""

PRIORITY = 20
"""Of SCHED_FIFO: above everything ordinary, below the kernel's own threads (50)."""

LINE_LIMIT = 1 << 24
"""Bytes of an order: a large site's targets in one line."""


class Prober:
    """All watches. A defect in one of them ends the group that they run in."""

    def __init__(self, group: asyncio.TaskGroup, report: Tell) -> None:
        self._group = group
        self._report = report
        stalls = StallWatch(report)
        self._syns = SynProber(group, self._hear_kernel)
        self._daemons = HangingDaemons(self._hear_nothing)
        self._shared = Shared(group, stalls, self._daemons, report)
        self._first: dict[tuple[str, str], float] = {}
        self._watches: dict[Target, tuple[TargetWatch, asyncio.Task[None]]] = {}
        self._loop = asyncio.get_running_loop()
        self._beat = self._loop.call_soon(self._tell_life)

    def order(self, order: Order) -> None:
        """Do what the controller says."""
        match order:
            case Targets(targets):
                self._replace(targets)
            case Eager(role, server, until):
                for target, (watch, _) in self._watches.items():
                    if (target.role, target.server) == (role, server):
                        watch.hurry(until)
            case Anew(interfaces, number):
                for target, (watch, _) in self._watches.items():
                    if target.interface in interfaces:
                        watch.judge_anew(number)

    def stop(self) -> None:
        """Probe nothing any longer."""
        self._replace(())
        self._shared.stalls.stop()
        self._beat.cancel()

    def _tell_life(self) -> None:
        late = [
            (target.role, target.service, target.interface)
            for target, (watch, _) in self._watches.items()
            if watch.late
        ]
        self._report(Beat(tuple(late)))
        self._beat = self._loop.call_later(BEAT, self._tell_life)

    def _hear_kernel(self, target: Target, route: ProbeRoute, cause: Cause) -> None:
        if target in self._watches:
            self._watches[target][0].hear_kernel(route, cause)

    def _hear_nothing(self, daemon: Daemon, cause: Cause) -> None:
        for target, (watch, _) in self._watches.items():
            if Daemon.behind(target) == daemon:
                watch.hear_nothing(cause)

    def _replace(self, targets: tuple[Target, ...]) -> None:
        """Watch these. What stays the same keeps its judgement."""
        self._syns.replace(targets)
        self._daemons.replace(targets)
        for target in self._watches.keys() - set(targets):
            _, task = self._watches.pop(target)
            task.cancel()
        for target in targets:
            if target not in self._watches:
                begun = self._begun(target)
                watch = TargetWatch(target, begun, self._shared)
                self._watches[target] = (watch, self._group.create_task(watch.run()))
        for target, its in turns(targets).items():
            self._watches[target][0].turns = its

    def _begun(self, target: Target) -> float:
        """The moment of the first breath of its service. They are spread over the interval, so
        that not all begin at once, however many will come."""
        service = target.role, target.service
        if service not in self._first:
            part = len(self._first) * GOLDEN % 1
            self._first[service] = self._loop.time() + part * target.interval
        return self._first[service]


def raise_priority() -> Note:
    """Run before everything ordinary, if we may: the prober's own waiting blurs what it sees."""
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))
    except PermissionError as error:
        return Note("scheduling", detail=f"ordinary: {error}")
    return Note("scheduling", detail=f"SCHED_FIFO {PRIORITY}")


def open_many_files() -> None:
    """As many as we may: each question that waits for its answer is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Reports:
    """What is found at the same moment is told in one go, so that the engine weighs it together: a
    server dies through all of its cards. Of one target the last that was found counts."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, ProberReport] = {}
        self._loop = asyncio.get_running_loop()

    def __call__(self, report: ProberReport) -> None:
        if not self._waiting:
            self._loop.call_soon(self._tell)
        key: Hashable = report
        if isinstance(report, ProbeChanged):
            key = (report.role, report.service, report.interface)
        self._waiting[key] = report

    def _tell(self) -> None:
        """Waits, and so probes nothing, while the pipe to the controller is full (64 KiB): nothing
        is heard of this prober then, and the controller starts another.

        Raises SystemExit if nobody listens any longer."""
        try:
            sys.stdout.buffer.write(b"".join(map(encode, self._waiting.values())))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.exit("hactrl-prober: the controller has gone")
        self._waiting.clear()


async def serve() -> None:
    """Do what stdin says until it ends."""
    report = Reports()
    report(raise_priority())
    orders = asyncio.StreamReader(limit=LINE_LIMIT)
    protocol = asyncio.StreamReaderProtocol(orders)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with asyncio.TaskGroup() as group:
        prober = Prober(group, report)
        while line := await orders.readline():
            prober.order(decode_order(line))
        prober.stop()


def main() -> int:
    # An interrupt on the terminal is for the controller, which then closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    open_many_files()
    asyncio.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
