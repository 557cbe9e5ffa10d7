"""Watches one target: its probes, what each way to it is found to be, and what is told of it.

Probes may overlap, so that a silent target costs timeout + (fall - 1) * interval to be found out,
and not fall * timeout.

A process that did not get to run is no evidence against the network: a timeout that overlaps a
stall of our own longer than the interval is not counted, and neither is what a patient dialogue
found then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from hactrl.clock import boot_time
from hactrl.engine.events import ProbeChanged
from hactrl.health.dialogues import AbandonedError, converse
from hactrl.health.hanging import HangingDaemons, Part
from hactrl.health.patience import can_be_slow, keep_waiting
from hactrl.health.raw import echo, resolve
from hactrl.health.targets import BEAT, Note, ProbeRoute, ProberReport, Target, judged_within
from hactrl.health.turns import Turns
from hactrl.health.verdicts import Cause, Conclusion, Finding, Judgement, conclude, judge, waited
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

TICK = 0.02
"""Seconds between looks at our own clock."""

STALL = 0.1
"""Seconds of not running from which it is told."""

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
    """Probe one route of the target once; `part` hears when words are waited for, and come.

    Raises:
        AbandonedError: no connection within `patience` seconds.
    """
    match target.kind:
        case ProbeKind.ICMP:
            return Finding(await echo(route, target.timeout))
        case ProbeKind.ARP:
            return Finding(await resolve(route, target.timeout, target.device_mac))
        case kind if part is None:
            return await converse(kind, route, target.port, target.timeout, patience)
        case kind:
            return await converse(
                *(kind, route, target.port, target.timeout, patience),
                connected=part.connected,
                heard=part.spoke,
            )


@dataclass(frozen=True)
class Shared:
    """What all watches have in common. `group` ends with a defect in one of them."""

    group: asyncio.TaskGroup
    stalls: StallWatch
    daemons: HangingDaemons
    report: Tell


class TargetWatch:
    """One target's probes and the judgement on each way to it. `begun`: the loop's time from which
    on the breaths of its service are counted."""

    def __init__(self, target: Target, begun: float, shared: Shared) -> None:
        self.target = target
        self.turns = Turns()
        self._begun = begun
        self._shared = shared
        self._judgements = dict.fromkeys(target.routes, Judgement())
        self._heard: set[ProbeRoute] = set()  # whose last probe a daemon has heard of
        self._told = Conclusion()
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
        self._judgements = dict.fromkeys(self.target.routes, Judgement(newest=self._number))
        self._told = Conclusion()
        self._end_patience()

    @property
    def eager(self) -> bool:
        return boot_time() < self._eager_until

    @property
    def late(self) -> bool:
        """Has no probe said anything for longer than a verdict may take?"""
        within = judged_within([replace(self.target, interval=self._cycle)])
        return self._loop.time() - self._judged_at > within + BEAT

    @property
    def _cycle(self) -> float:
        """Seconds in which every way has its turn."""
        return self.target.interval * self.turns.of

    async def run(self) -> None:
        """Probe until cancelled, all targets of one service at the same moments."""
        running: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    breath = await self._next_breath()
                    for route in self._due(breath):
                        if len(running) < OVERLAP_LIMIT * len(self.target.routes):
                            self._number += 1
                            probing = self._probe_once(route, self._number, breath)
                            task = group.create_task(probing)
                            running.add(task)
                            task.add_done_callback(running.discard)
        finally:
            self._end_patience()

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

    def _due(self, breath: int) -> list[ProbeRoute]:
        """The ways that are asked in this breath: whose turn it is, and those that no daemon hears
        of or that another good answer makes well; all while somebody waits."""
        eager = self.eager
        return [
            route
            for number, route in enumerate(self.target.routes)
            if eager or self._is_pressing(route) or self.turns.has(number, breath)
        ]

    def _is_pressing(self, route: ProbeRoute) -> bool:
        judgement = self._judgements[route]
        lost = judgement.verdict is Verdict.UNHEALTHY and route not in self._heard
        return judgement.verdict is Verdict.UNKNOWN or judgement.better > 0 or lost

    async def _probe_once(self, route: ProbeRoute, number: int, breath: int) -> None:
        started, eager = self._loop.time(), self.eager
        part = None if eager else self._shared.daemons.part(self.target, breath)
        try:
            finding = await probe(self.target, route, EAGER_PATIENCE if eager else None, part)
        except AbandonedError:
            return
        if finding.cause is Cause.TIMEOUT and self._stalled_since(started):
            return
        self._judged_at = self._loop.time()
        rise = 1 if self.eager else self.target.rise
        self._judge(route, finding, number, rise, self.target.fall)
        self._conclude()
        self._heard.discard(route)
        if part is not None and part.ended(finding.cause):
            self._heard.add(route)

    def hear_kernel(self, route: ProbeRoute, cause: Cause) -> None:
        """What its kernel has said over this route, or not said while others did."""
        self.condemn(cause, [route])

    def hear_nothing(self, cause: Cause) -> None:
        """Its daemon says nothing, whatever way it is asked."""
        self.condemn(cause, self.target.routes)

    def condemn(self, cause: Cause, routes: Iterable[ProbeRoute]) -> None:
        """What has been found without its probes needs no second finding. It condemns only: that a
        daemon is well its own words must say."""
        self._number += 1  # what was asked before is out of date
        for route in routes:
            if self._judgements[route].verdict in (Verdict.HEALTHY, Verdict.READY):
                self._judge(route, Finding(cause), self._number, self.target.rise, 1)
        self._conclude()

    def _judge(
        self, route: ProbeRoute, finding: Finding, number: int, rise: int, fall: int
    ) -> None:
        self._judgements[route] = judge(self._judgements[route], finding, number, rise, fall)

    def _conclude(self) -> None:
        """Tell what is news, and ask with more patience who is silent."""
        self._tell()
        if self._told.verdict is Verdict.HEALTHY:
            self._eager_until = 0.0  # what was waited for is here; load helps nobody now
        if not any(judgement.silent for judgement in self._judgements.values()):
            self._end_patience()
        elif self._patient is None and can_be_slow(self.target):
            self._patient = self._shared.group.create_task(
                keep_waiting(self.target, self._wait_ended)
            )

    def _wait_ended(self, finding: Finding, begun: float) -> None:
        if not self._stalled_since(begun):
            for route, judgement in self._judgements.items():
                self._judgements[route] = waited(judgement, finding)
            self._tell()

    def _end_patience(self) -> None:
        if self._patient is not None:
            self._patient.cancel()
            self._patient = None

    def _stalled_since(self, moment: float) -> bool:
        return self._shared.stalls.longest_since(moment) > self.target.interval

    def _tell(self) -> None:
        ways = [(f"ipv{route.source.version}", found) for route, found in self._judgements.items()]
        before, self._told = self._told, conclude(ways)
        if self._told.news != before.news:
            self._shared.report(
                ProbeChanged(
                    role=self.target.role,
                    service=self.target.service,
                    interface=self.target.interface,
                    verdict=self._told.verdict,
                    reason=self._told.reason,
                    round=self._round,
                    said=self._told.said,
                )
            )
