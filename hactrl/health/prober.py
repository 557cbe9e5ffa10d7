"""The console script `hactrl-prober`: probes what it is told on stdin, tells on stdout.

Orders (`Targets`, `Eager`, `Anew`) come in and reports (`ProbeChanged`, `Beat`, `Note`) go out as
JSON lines; see `targets`. It ends when stdin does, because then the controller has died. A `Beat`
goes out every BEAT seconds: verdicts are told only when they change, and silence must not look
like health.

Probes of one target begin every `interval` and may overlap, so that a silent target costs
timeout + (fall - 1) * interval to be found out, and not fall * timeout. All targets of one service
are probed in the same breath, so that who says nothing while others speak is found out sooner
(`hanging`). While somebody waits for a target (`Eager`) its probes begin every EAGER_INTERVAL, and
one good finding is enough.

Who is unhealthy for timeouts is also asked with more patience (`patience`): if that is answered,
the reason told is `slow`.

Their kernels are asked far more often, which no daemon hears (`syn`): who refuses there, or is
silent while others answer, is unhealthy at once.

A process that did not get to run is no evidence against the network: a timeout that overlaps a
stall of our own longer than the interval is not counted, and neither is what a patient dialogue
found then.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hactrl.clock import boot_time
from hactrl.engine.events import ProbeChanged
from hactrl.health.dialogues import AbandonedError, converse
from hactrl.health.hanging import SPEAKS, Daemon, HangingDaemons, Part
from hactrl.health.patience import can_be_slow, keep_waiting
from hactrl.health.raw import echo, resolve
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
    judged_within,
)
from hactrl.health.verdicts import Cause, Finding, Judgement, combine, judge, waited
from hactrl.vocabulary import ProbeKind, Verdict

EAGER_INTERVAL = 0.05
"""Seconds between probes that somebody waits for: a role's services take longer to start, and
four of them on two cards, over two families, make 320 connections a second of it."""

EAGER_PATIENCE = 0.1
"""Seconds that an eager probe gives a connection before it tries another: the network answers a
SYN within a few, and Linux sends a lost one again after 1 (RFC 6298)."""

OVERLAP_LIMIT = 10
"""Probes of one target under way at once: far below what servers allow one client (Postfix's
smtpd_client_connection_count_limit is 50)."""

GRACE = 0.01
"""Seconds that the other family gets after one has failed, to be named in the reason."""

TICK = 0.02
"""Seconds between looks at our own clock."""

STALL = 0.1
"""Seconds of not running from which it is told."""

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, without what is before the point, are spread evenly between 0 and 1, however
many they are (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S)."""

PRIORITY = 20
"""Of SCHED_FIFO: above everything ordinary, below the kernel's own threads (50)."""

LINE_LIMIT = 1 << 24
"""Bytes of an order: a large site's targets in one line."""

Tell = Callable[[ProberReport], None]


class StallWatch:
    """Knows when this process did not run, from a timer that fires late."""

    def __init__(self, report: Tell) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        # Until, seconds. Of more the oldest are forgotten, 256 ticks (5 s) of stalls later.
        self._stalls: deque[tuple[float, float]] = deque(maxlen=256)
        self._due = self._loop.time()
        self._timer = self._loop.call_soon(self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def longest_since(self, moment: float) -> float:
        """The longest stall that ended after `moment` (the loop's clock), in seconds."""
        return max((seconds for until, seconds in self._stalls if until > moment), default=0.0)

    def _look(self) -> None:
        now = self._loop.time()
        late = now - self._due
        if late > TICK:
            self._stalls.append((now, late))
        if late > STALL:
            self._report(Note("stall", seconds=round(late, 3)))
        self._due = now + TICK
        self._timer = self._loop.call_at(self._due, self._look)


async def probe(
    target: Target, route: ProbeRoute, patience: float | None, part: Part | None = None
) -> Finding:
    """Probe one route of the target once; `part` hears when words are waited for, and come."""
    match target.kind:
        case ProbeKind.ICMP:
            found = Finding(await echo(route, target.timeout))
        case ProbeKind.ARP:
            found = Finding(await resolve(route, target.timeout, target.device_mac))
        case kind if part is None:
            found = await converse(kind, route, target.port, target.timeout, patience)
        case kind:
            found = await converse(
                *(kind, route, target.port, target.timeout, patience),
                connected=part.connected,
                heard=part.spoke,
            )
            if found.cause in SPEAKS:
                part.spoke()
    return replace(found, family=f"ipv{route.source.version}")


class TargetWatch:
    """One target's probes and the judgement on it. `begun`: the loop's time from which on those of
    its service are counted."""

    def __init__(
        self,
        target: Target,
        begun: float,
        stalls: StallWatch,
        daemons: HangingDaemons,
        report: Tell,
    ) -> None:
        self.target = target
        self._begun = begun
        self._stalls = stalls
        self._daemons = daemons
        self._report = report
        self._judgement = Judgement()
        self._number = 0
        self._round = 0
        self._breath: int | None = None
        self._eager_until = 0.0
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._judged_at = self._loop.time()
        self._patient: asyncio.Task[None] | None = None

    def hurry(self, until: float) -> None:
        """Probe eagerly until then (CLOCK_BOOTTIME), or until it is healthy."""
        self._eager_until = until
        self._woken.set()

    def judge_anew(self, number: int) -> None:
        """Forget every finding, also of the probes that have begun."""
        self._round = number
        self._judgement = Judgement(newest=self._number)
        self._end_patience()

    @property
    def eager(self) -> bool:
        return boot_time() < self._eager_until

    @property
    def late(self) -> bool:
        """Has no probe said anything for longer than a verdict may take?"""
        return self._loop.time() - self._judged_at > judged_within([self.target]) + BEAT

    async def run(self) -> None:
        """Probe until cancelled, all targets of one service at the same moments."""
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            while True:
                breath = await self._next_breath()
                if len(running) < OVERLAP_LIMIT:
                    self._number += 1
                    task = group.create_task(self._probe_once(self._number, breath, group))
                    running.add(task)
                    task.add_done_callback(running.discard)

    async def _next_breath(self) -> int:
        """Until the next probe is due, or somebody is in a hurry."""
        interval = EAGER_INTERVAL if self.eager else self.target.interval
        now = self._loop.time()
        # Rounded, because a timer may ring a little early; the first breath may be under way.
        nearest = round((now - self._begun) / interval)
        self._breath = nearest if self._breath is None else nearest + 1
        with suppress(TimeoutError):
            due = self._begun + self._breath * interval
            await asyncio.wait_for(self._woken.wait(), due - now)
        self._woken.clear()
        return self._breath

    async def _probe_once(self, number: int, breath: int, group: asyncio.TaskGroup) -> None:
        started = self._loop.time()
        finding = await self._find(breath)
        if finding is None:
            return
        if finding.cause is Cause.TIMEOUT and self._stalled_since(started):
            return
        self._judged_at = self._loop.time()
        rise = 1 if self.eager else self.target.rise
        self._conclude(judge(self._judgement, finding, number, rise, self.target.fall), group)

    def hear_kernel(self, route: ProbeRoute, cause: Cause, group: asyncio.TaskGroup) -> None:
        """What its kernel has said, or not said while others did."""
        family = f"ipv{route.source.version}" if len(self.target.routes) > 1 else ""
        self.condemn(Finding(cause, family), group)

    def condemn(self, finding: Finding, group: asyncio.TaskGroup) -> None:
        """What has been found by comparison needs no second finding. It condemns only: that a
        daemon is well its own words must say."""
        if self._judgement.verdict not in (Verdict.HEALTHY, Verdict.READY):
            return
        self._number += 1  # what was asked before is out of date
        rise = self.target.rise
        self._conclude(judge(self._judgement, finding, self._number, rise, 1), group)

    def _conclude(self, after: Judgement, group: asyncio.TaskGroup) -> None:
        self._change(after)
        if self._judgement.verdict is Verdict.HEALTHY:
            self._eager_until = 0.0  # what was waited for is here; load helps nobody now
        if not self._judgement.silent:
            self._end_patience()
        elif self._patient is None and can_be_slow(self.target):
            self._patient = group.create_task(keep_waiting(self.target, self._wait_ended))

    def _wait_ended(self, finding: Finding, begun: float) -> None:
        if not self._stalled_since(begun):
            self._change(waited(self._judgement, finding))

    def _end_patience(self) -> None:
        if self._patient is not None:
            self._patient.cancel()
            self._patient = None

    def _stalled_since(self, moment: float) -> bool:
        return self._stalls.longest_since(moment) > self.target.interval

    def _change(self, after: Judgement) -> None:
        """Judge so from now on, and tell it if it is news."""
        before, self._judgement = self._judgement, after
        if after.told != before.told:
            self._report(
                ProbeChanged(
                    role=self.target.role,
                    service=self.target.service,
                    interface=self.target.interface,
                    verdict=after.verdict,
                    reason=after.reason_told,
                    round=self._round,
                    said=after.said,
                )
            )

    async def _find(self, breath: int) -> Finding | None:
        """Probe every route once, in this breath; None if one was given up before it could fail."""
        patience = EAGER_PATIENCE if self.eager else None
        part = None if self.eager else self._daemons.part(self.target, breath)
        probes = {
            asyncio.ensure_future(probe(self.target, route, patience, part))
            for route in self.target.routes
        }
        findings: list[Finding] = []
        abandoned = failed = False
        pending = set(probes)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending,
                    timeout=GRACE if failed else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    break
                for task in done:
                    try:
                        findings.append(task.result())
                    except AbandonedError:
                        abandoned = True
                failed = any(finding.verdict is Verdict.UNHEALTHY for finding in findings)
        finally:
            for task in pending:
                task.cancel()
        return None if abandoned and not failed else combine(findings, len(probes))


class Prober:
    """All watches. A defect in one of them ends the group that they run in."""

    def __init__(self, group: asyncio.TaskGroup, report: Tell) -> None:
        self._group = group
        self._report = report
        self._stalls = StallWatch(report)
        self._syns = SynProber(group, self._hear_kernel)
        self._daemons = HangingDaemons(self._hear_nothing)
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
        self._stalls.stop()
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
            self._watches[target][0].hear_kernel(route, cause, self._group)

    def _hear_nothing(self, daemon: Daemon) -> None:
        for target, (watch, _) in self._watches.items():
            if Daemon.behind(target) == daemon:
                watch.condemn(Finding(Cause.HANGS), self._group)

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
                watch = TargetWatch(target, begun, self._stalls, self._daemons, self._report)
                self._watches[target] = (watch, self._group.create_task(watch.run()))

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
    server dies through all of its cards."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def __call__(self, report: ProberReport) -> None:
        if not self._lines:
            self._loop.call_soon(self._tell)
        self._lines.append(encode(report))

    def _tell(self) -> None:
        """Waits, and so probes nothing, while the pipe to the controller is full (64 KiB): nothing
        is heard of this prober then, and the controller starts another.

        Raises SystemExit if nobody listens any longer."""
        try:
            sys.stdout.buffer.write(b"".join(self._lines))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.exit("hactrl-prober: the controller has gone")
        self._lines.clear()


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
