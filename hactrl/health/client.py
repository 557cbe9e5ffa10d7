"""The controller's side of the prober: starts it, tells it its targets, passes on its verdicts.

                    ┌── orders ──► writer ──► stdin ┐
    ProberClient ───┤                               ├── hactrl-prober
                    └── post ◄──── reader ◄── stdout┘

Nothing here blocks the caller: orders are queued, and greenlets of their own do the waiting.
A prober that ends by itself is started again. What it has seen stays good until the new one has
had time to see for itself: a server that dies meanwhile must find somebody to take over. Then all
that the new one has said nothing about is UNKNOWN, for the reason `prober_lost`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import eventlet
from eventlet.event import Event as Occasion
from eventlet.green import subprocess
from eventlet.queue import LightQueue

from hactrl.engine.events import ProbeChanged, Verdict
from hactrl.health.targets import (
    Eager,
    Note,
    Target,
    Targets,
    decode_report,
    encode,
    judged_within,
    targets,
)
from hactrl.site.model import Site

LOG = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "hactrl.health.prober")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a prober that ended is started again; they double while it keeps ending."""

LONG_LIFE = 10.0
"""Seconds of life after which the pause is short again."""

STOP_TIMEOUT = 2.0
"""Seconds that the prober gets to end by itself when it is told to."""

START_UP = 3.0
"""Seconds from the end of a prober until the next one probes."""

PROBER_LOST = "prober_lost"
"""The reason of UNKNOWN verdicts while there is no prober."""

__all__ = ["ProberClient", "targets"]


class ProberClient:
    """Probes the site's services from `start` to `stop`; call it from one eventlet hub only.

    `post` gets every change of a verdict and must not block.
    """

    def __init__(
        self,
        site: Site,
        post: Callable[[ProbeChanged], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._targets = targets(site)
        self._post = post
        self._command = list(command)
        self._orders: LightQueue = LightQueue()
        self._eager: dict[tuple[str, str], Eager] = {}
        self._judged: set[tuple[str, str, str]] = set()  # by the prober that runs or ran last
        self._forgetting: Any = None
        self._process: Any = None
        self._running = False
        self._stop = Occasion()
        self._ended = Occasion()

    def start(self) -> None:
        """`run` in a greenlet of its own."""
        eventlet.spawn(self.run)

    def run(self) -> None:
        """Keep a prober running until `stop`. Any exception is a defect."""
        self._running = True
        pause = FIRST_PAUSE
        while not self._stop.ready():
            started = time.monotonic()
            code = self._run_once()
            if self._stop.ready():
                break
            if time.monotonic() - started > LONG_LIFE:
                pause = FIRST_PAUSE
            LOG.error("the prober ended, exit code %s; starting it again", code)
            self._judged.clear()
            if self._forgetting is None:
                patience = START_UP + judged_within(self._targets)
                self._forgetting = eventlet.spawn_after(patience, self._forget)
            with eventlet.Timeout(pause, False):
                self._stop.wait()
            pause = min(2 * pause, LONGEST_PAUSE)
        self._ended.send()

    def replace(self, site: Site) -> None:
        """Probe another site. What both have in common goes on undisturbed."""
        self._targets = targets(site)
        self._orders.put(Targets(self._targets))

    def probe_eagerly(self, role: str, server: str, seconds: float) -> None:
        """Probe this role on this server as fast as sensible for so long; somebody waits."""
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        self._eager[role, server] = Eager(role, server, until)
        self._orders.put(self._eager[role, server])

    def stop(self) -> None:
        """End the prober and wait until it has ended; it is killed after STOP_TIMEOUT."""
        if self._stop.ready():
            return
        self._stop.send()
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._orders.put(None)
        if self._running:
            killer = eventlet.spawn_after(STOP_TIMEOUT, self._kill)
            self._ended.wait()
            killer.cancel()

    def _kill(self) -> None:
        LOG.error("the prober (process %s) does not end; killing it", self._process.pid)
        self._process.kill()

    def _run_once(self) -> int:
        """One prober, from its start to its end. Returns its exit code."""
        self._orders = LightQueue()
        self._orders.put(Targets(self._targets))
        for eager in self._eager.values():
            self._orders.put(eager)
        self._process = process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        writer = eventlet.spawn(self._write, process.stdin, self._orders)
        for line in process.stdout:
            self._take(line)
        writer.kill()
        with suppress(BrokenPipeError):
            process.stdin.close()
        code: int = process.wait()
        return code

    def _write(self, pipe: Any, orders: LightQueue) -> None:
        # A broken pipe says that the prober has ended, as the reader learns too.
        with suppress(BrokenPipeError):
            while order := orders.get():
                pipe.write(encode(order))
                pipe.flush()
            pipe.close()

    def _take(self, line: bytes) -> None:
        report = decode_report(line)
        match report:
            case ProbeChanged(role, service, interface):
                self._judged.add((role, service, interface))
                self._post(report)
            case Note("stall", seconds):
                LOG.warning("the prober did not run for %.0f ms", seconds * 1000)
            case Note(kind, _, detail):
                LOG.info("prober: %s: %s", kind, detail)

    def _forget(self) -> None:
        """What only a prober that has ended has seen is no longer good."""
        self._forgetting = None
        for target in self._targets:
            if (target.role, target.service, target.interface) not in self._judged:
                self._post(_unknown(target))


def _unknown(target: Target) -> ProbeChanged:
    return ProbeChanged(target.role, target.service, target.interface, Verdict.UNKNOWN, PROBER_LOST)
