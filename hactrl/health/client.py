"""The controller's side of the prober: starts it, tells it its targets, passes on its verdicts.

                    ┌── orders ──► writer ──► stdin ┐
    ProberClient ───┤                               ├── hactrl-prober
                    └── post ◄──── reader ◄── stdout┘

Nothing here blocks the caller: orders are queued, and greenlets of their own do the waiting.
A prober that ends by itself is started again, and one that is silent is killed. Both are told as
`ProberSight`: what its verdicts are worth meanwhile, the engine decides.

Silence is counted in looks at what has been read, not in seconds: a controller that was stopped
itself has looked once and not read at all, and must not take its own absence for the prober's.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hactrl import hub
from hactrl.clock import boot_time
from hactrl.engine.effects import JudgeAnew
from hactrl.engine.events import ProbeChanged, ProberSight, ProbesChanged
from hactrl.health.targets import (
    BEAT,
    Anew,
    Beat,
    Eager,
    Note,
    Order,
    ProberReport,
    Targets,
    decode_report,
    encode,
    targets,
)
from hactrl.hub import Event as Occasion
from hactrl.hub import LightQueue, subprocess
from hactrl.site.model import Site

LOG = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "hactrl.health.prober")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a prober that ended is started again; they double while it keeps ending."""

LONG_LIFE = 10.0
"""Seconds of life after which the pause is short again."""

STOP_TIMEOUT = 2.0
"""Seconds that the prober gets to end by itself when it is told to."""

LOOK = BEAT / 2
"""Seconds between two looks whether the prober has said anything."""

SILENT_LOOKS, KILL_LOOKS = 4, 8
"""Looks in a row without a word after which it is silent (two beats), and is killed. The second
is later, so that a machine that is busy for a second does not lose its prober too."""

STARTING_LOOKS = 60
"""Looks that a new prober gets for its first word: on a busy machine Python starts slowly."""

__all__ = ["ProberClient", "targets"]


class _Orders:
    """What one prober has yet to be told: of what is said about the same thing the latest only. So
    they are never more than the site has segments, and roles at servers, however slowly it reads;
    and nobody who gives one waits."""

    def __init__(self) -> None:
        self._latest: dict[object, Order | None] = {}
        self._things = LightQueue()  # the keys of `_latest`

    def put(self, thing: object, order: Order | None) -> None:
        """`order`: None for the last one."""
        if thing not in self._latest:
            self._things.put(thing)
        self._latest[thing] = order

    def get(self) -> Order | None:
        """The one that has waited longest; waits for one."""
        return self._latest.pop(self._things.get())


class ProberClient:
    """Probes the site's services from `start` to `stop`; call it from one hub only.

    `post` gets every change of a verdict, and of whether anybody judges; it must not block.
    """

    def __init__(
        self,
        site: Site,
        post: Callable[[ProbesChanged | ProberSight], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._site = site
        self._post = post
        self._command = list(command)
        self._orders = _Orders()
        self._eager: dict[tuple[str, str], Eager] = {}
        self._anew: dict[str, Anew] = {}  # by segment
        self._sight = ProberSight(silent=False)
        self._quiet = 0  # looks since its last word
        self._spoken = False
        self._process: Any = None
        self._running = False
        self._stop = Occasion()
        self._ended = Occasion()

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        return int(self._process.pid)

    def start(self) -> None:
        """`run` in a greenlet of its own."""
        hub.spawn(self.run)

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
            self._see(ProberSight(silent=True))
            with hub.Timeout(pause, False):
                self._stop.wait()
            pause = min(2 * pause, LONGEST_PAUSE)
        self._ended.send()

    def replace(self, site: Site) -> None:
        """Probe another site. What both have in common goes on undisturbed."""
        self._site = site
        self._orders.put(Targets, Targets(targets(site)))

    def probe_eagerly(self, role: str, server: str, seconds: float) -> None:
        """Probe this role on this server as fast as sensible for so long; somebody waits."""
        until = boot_time() + seconds
        self._eager[role, server] = Eager(role, server, until)
        self._orders.put((role, server), self._eager[role, server])

    def judge_anew(self, effect: JudgeAnew) -> None:
        """Have everything on a segment judged anew, by this prober or the next."""
        probed = self._site.probed.get(effect.segment, ())
        cards = tuple(dict.fromkeys(each.card for each in probed))
        self._anew[effect.segment] = Anew(cards, effect.round)
        self._orders.put(effect.segment, self._anew[effect.segment])

    def stop(self) -> None:
        """End the prober and wait until it has ended; it is killed after STOP_TIMEOUT."""
        if self._stop.ready():
            return
        self._stop.send()
        self._orders.put(None, None)
        if self._running:
            killer = hub.spawn_after(STOP_TIMEOUT, self._kill)
            self._ended.wait()
            killer.cancel()

    def _kill(self) -> None:
        LOG.error("the prober (process %s) does not end; killing it", self._process.pid)
        self._process.kill()

    def _run_once(self) -> int:
        """One prober, from its start to its end. Returns its exit code."""
        self._orders = _Orders()
        self._orders.put(Targets, Targets(targets(self._site)))
        for segment, anew in self._anew.items():
            self._orders.put(segment, anew)
        for who, eager in self._eager.items():
            self._orders.put(who, eager)
        self._quiet, self._spoken = 0, False
        self._process = process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        writer = hub.spawn(self._write, process.stdin, self._orders)
        watcher = hub.spawn(self._watch, process)
        begun = b""
        for chunk in hub.chunks(process.stdout.fileno()):
            self._quiet, self._spoken = 0, True
            *lines, begun = (begun + chunk).split(b"\n")
            self._take([decode_report(line) for line in lines])
        watcher.kill()
        writer.kill()
        with suppress(BrokenPipeError):
            process.stdin.close()
        code: int = process.wait()
        return code

    def _write(self, pipe: Any, orders: _Orders) -> None:
        # A broken pipe says that the prober has ended, as the reader learns too.
        with suppress(BrokenPipeError):
            while order := orders.get():
                pipe.write(encode(order))
                pipe.flush()
            pipe.close()

    def _watch(self, process: Any) -> None:
        """Tell when the prober is silent, and end it if it stays so."""
        while True:
            hub.sleep(LOOK)
            self._quiet += 1
            if self._spoken and self._quiet == SILENT_LOOKS:
                LOG.warning("nothing is heard of the prober (process %s)", process.pid)
                self._see(ProberSight(silent=True))
            if self._quiet >= (KILL_LOOKS if self._spoken else STARTING_LOOKS):
                LOG.error("the prober (process %s) stays silent; killing it", process.pid)
                process.kill()
                return

    def _take(self, reports: list[ProberReport]) -> None:
        """In order. Verdicts that were told at once are posted at once, and so weighed together."""
        changes: list[ProbeChanged] = []
        for report in reports:
            if isinstance(report, ProbeChanged):
                changes.append(report)
                continue
            self._post_all(changes)
            changes = []
            self._hear(report)
        self._post_all(changes)

    def _post_all(self, changes: list[ProbeChanged]) -> None:
        if changes:
            self._post(ProbesChanged(tuple(changes)))

    def _hear(self, report: Beat | Note) -> None:
        match report:
            case Beat(late):
                self._see(ProberSight(silent=False, late=frozenset(late)))
            case Note("stall", seconds):
                LOG.warning("the prober did not run for %.0f ms", seconds * 1000)
            case Note(kind, _, detail):
                LOG.info("prober: %s: %s", kind, detail)

    def _see(self, sight: ProberSight) -> None:
        """Post it if it is news."""
        if sight != self._sight:
            self._sight = sight
            self._post(sight)
