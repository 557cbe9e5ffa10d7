"""Who takes connections and says nothing, while others speak: its daemon hangs.

    we                      a server whose daemon was stopped
    SYN ──────────────────►
       ◄────────────────── SYN, ACK: its kernel, which takes connections for the daemon
                           nothing, ever

All servers of one service are asked in the same breath, and compared (`comparison`). A dialogue
counts once its connection stands: that it does not stand is the network's or the kernel's matter,
which SYNs tell sooner (`syn`). One word through any card, over any family, acquits the daemon, so
that what is lost on one card's way does not look like its end.

Where nobody can be compared with it, only a clock is left: whose dialogues do not end within the
probe's timeout, as many in a row, through whatever cards, is as good as silent (TIMEOUT).

Daemons are slow in their own ways, by what they look up before they greet. So a word is late only
if it also takes longer than any of that daemon's lately did, and who gets slower bit by bit is let
be for as long as a probe waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from hactrl.health.comparison import Breath, Misses
from hactrl.health.dialogues import DIALOGUES
from hactrl.health.targets import Target
from hactrl.health.turns import Daemon
from hactrl.health.verdicts import Cause

LATELY = 32
"""Answers of a daemon that say how long it usually takes."""

SPEAKS = frozenset(
    {
        Cause.NONE,
        Cause.TEMPORARY,
        Cause.RESET,
        Cause.CLOSED,
        Cause.BAD_GREETING,
        Cause.BAD_ANSWER,
    }
)
"""What a dialogue can end with that only a daemon that runs brings about."""


class Part:
    """One dialogue's part in the breath in which it began."""

    def __init__(self, daemons: HangingDaemons, daemon: Daemon, breath: Breath[Daemon]) -> None:
        self._daemons = daemons
        self._daemon = daemon
        self._breath = breath
        self._stood = False
        self._connected: float | None = None

    def connected(self) -> None:
        """The connection stands; what follows is up to the daemon."""
        self._stood = True
        self._connected = self._daemons.now()
        self._daemons.ask(self._breath, self._daemon)

    def spoke(self) -> None:
        """The daemon has said something, whatever that was."""
        if self._connected is not None:
            took = self._daemons.now() - self._connected
            self._daemons.hear(self._breath, self._daemon, took)
            self._connected = None  # only its first words count

    def ended(self, cause: Cause) -> bool:
        """The dialogue is over, and no stall of our own was to blame for that. Has the daemon
        heard of it?"""
        if cause in SPEAKS:
            self.spoke()
            self._daemons.finish(self._daemon)
        elif self._stood and cause is Cause.TIMEOUT:
            self._daemons.leave_unfinished(self._daemon)
        return self._stood


class HangingDaemons:
    """`told` hears of every daemon that misses as many breaths in a row as `Target.fall` says
    (HANGS), or leaves as many dialogues unfinished (TIMEOUT)."""

    def __init__(self, told: Callable[[Daemon, Cause], None]) -> None:
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._known: dict[Daemon, Target] = {}
        self._newest: dict[tuple[str, str], tuple[int, Breath[Daemon]]] = {}
        self._misses: Misses[Daemon] = Misses()
        self._unfinished: Misses[Daemon] = Misses()
        self._took: dict[Daemon, deque[float]] = {}

    def now(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    def replace(self, targets: Iterable[Target]) -> None:
        """Listen to these, and no longer to the ones before."""
        self._known = {
            Daemon.behind(target): target for target in targets if DIALOGUES.get(target.kind)
        }
        self._misses.keep(self._known)
        self._unfinished.keep(self._known)
        self._took = {each: took for each, took in self._took.items() if each in self._known}

    def part(self, target: Target, number: int) -> Part | None:
        """Of a dialogue that begins with the service's breath of this number. None where nothing is
        said."""
        daemon = Daemon.behind(target)
        if daemon not in self._known:
            return None
        service = target.role, target.service
        newest = self._newest.get(service)
        if newest is None or newest[0] != number:
            newest = self._newest[service] = number, Breath()
        return Part(self, daemon, newest[1])

    def ask(self, breath: Breath[Daemon], daemon: Daemon) -> None:
        """It has to say something from now on."""
        breath.ask(daemon)
        if breath.answered:
            self._give_time(breath, daemon)

    def hear(self, breath: Breath[Daemon], daemon: Daemon, took: float) -> None:
        """It has said something, so long after the connection stood, in seconds."""
        self._misses.acquit(daemon)
        self._took.setdefault(daemon, deque(maxlen=LATELY)).append(took)
        if breath.answer(daemon):
            for other in breath.missing():
                self._give_time(breath, other)

    def finish(self, daemon: Daemon) -> None:
        """A dialogue with it has come to an end."""
        self._unfinished.acquit(daemon)

    def leave_unfinished(self, daemon: Daemon) -> None:
        """A dialogue with it has not come to an end in time."""
        target = self._known.get(daemon)
        if target is not None and self._unfinished.missed(daemon) >= target.fall:
            self._told(daemon, Cause.TIMEOUT)

    def _give_time(self, breath: Breath[Daemon], daemon: Daemon) -> None:
        if (target := self._known.get(daemon)) is not None and target.lag is not None:
            usual = max(self._took.get(daemon, ()), default=0.0)
            self._judge_at(self.now() + max(target.lag, usual), target, breath, daemon)

    def _judge_at(self, due: float, target: Target, breath: Breath[Daemon], daemon: Daemon) -> None:
        self._loop.call_at(due, self._judge, due, target, breath, daemon)

    def _judge(self, due: float, target: Target, breath: Breath[Daemon], daemon: Daemon) -> None:
        lag = target.lag or 0.0
        if self.now() > due + lag / 2:  # we stood still: what came meanwhile is read first
            self._judge_at(self.now() + lag, target, breath, daemon)
        elif breath.miss(daemon) and self._misses.missed(daemon) >= target.fall:
            self._told(daemon, Cause.HANGS)
