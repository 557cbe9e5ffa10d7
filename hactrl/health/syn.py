"""Asks kernels, and no daemon: a SYN to every service, and a reset as soon as it is answered.

    we                      the server's kernel
    SYN ──────────────────►
       ◄────────────────── SYN, ACK: it lives, and somebody listens
       ◄────────────────── RST:      it lives, and nobody does
    RST ──────────────────►          so that no connection comes about, and no daemon hears of it

That costs a server nothing and writes no log, so it can be asked far more often than a daemon. Who
has died is found by comparison with all who live (`comparison`); that nobody listens is an answer.

The acknowledgement that would complete the connection is put off by the kernel (TCP_QUICKACK off;
tcp(7)), and a socket that is closed with SO_LINGER of 0 seconds sends a reset instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hactrl.health.comparison import Breath, Misses
from hactrl.health.dialogues import DIALOGUES, IP_BIND_ADDRESS_NO_PORT
from hactrl.health.targets import ProbeRoute, Target
from hactrl.health.verdicts import Cause

SHARE = 0.0005
"""Seconds between two breaths for each question in them, at least: a fifth of a core at most goes
into asking, however large a site is. One question costs a tenth of a millisecond."""

LONGEST = 0.5
"""Seconds that an answer is waited for at most; Linux sends a SYN again after 1 (RFC 6298)."""

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 s

Told = Callable[[Target, ProbeRoute, Cause], None]


@dataclass(frozen=True)
class Question:
    """A SYN to one service, over one route."""

    target: Target
    route: ProbeRoute


@dataclass(frozen=True)
class Rhythm:
    """What those have in common who are asked in one breath, and so compared: the prober's card,
    the address family, and how they are judged."""

    device_mac: str
    version: int
    interval: float
    fall: int
    lag: float

    def paused(self, questions: int) -> float:
        """Seconds between two breaths with so many questions."""
        return max(self.interval, SHARE * questions)

    def patience(self, questions: int) -> float:
        """Seconds until a question is given up: who is silent has been condemned by then."""
        return min(LONGEST, self.fall * self.paused(questions) + self.lag)


def rhythms(targets: Iterable[Target]) -> dict[Rhythm, list[Question]]:
    """Who is asked, by rhythm: all services that are probed over TCP."""
    found: dict[Rhythm, list[Question]] = {}
    for target in targets:
        if target.kind not in DIALOGUES or target.syn_interval is None:
            continue
        for route in target.routes:
            version = route.source.version
            settings = (target.syn_interval, target.syn_fall, target.syn_lag)
            rhythm = Rhythm(target.device_mac, version, *settings)
            found.setdefault(rhythm, []).append(Question(target, route))
    return found


class SynProber:
    """`told` hears of every refusal, and of who is silent while others answer (SILENT)."""

    def __init__(self, group: asyncio.TaskGroup, told: Told) -> None:
        self._group = group
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._misses: Misses[Question] = Misses()
        self._tasks: list[asyncio.Task[None]] = []

    def replace(self, targets: Iterable[Target]) -> None:
        """Ask these, and no longer the ones before."""
        for task in self._tasks:
            task.cancel()
        found = rhythms(targets)
        self._misses.keep(question for questions in found.values() for question in questions)
        self._tasks = [
            self._group.create_task(self._ask_on(rhythm, questions))
            for rhythm, questions in found.items()
        ]

    async def _ask_on(self, rhythm: Rhythm, questions: list[Question]) -> None:
        interval, due = rhythm.paused(len(questions)), self._loop.time()
        while True:
            self._ask(rhythm, questions)
            due = max(due + interval, self._loop.time())
            await asyncio.sleep(due - self._loop.time())

    def _ask(self, rhythm: Rhythm, questions: list[Question]) -> None:
        breath = Breath({question: question.target.interface for question in questions})
        waiting: dict[int, socket.socket] = {}
        for question in questions:
            connection = _unanswered(question)
            if connection is None:
                continue  # ours is the fault, so it is no question
            number = connection.fileno()
            waiting[number] = connection
            self._loop.add_writer(number, self._hear, rhythm, breath, question, waiting, number)
        self._loop.call_later(rhythm.patience(len(questions)), self._forget, waiting)

    def _hear(
        self,
        rhythm: Rhythm,
        breath: Breath[Question],
        question: Question,
        waiting: dict[int, socket.socket],
        number: int,
    ) -> None:
        self._loop.remove_writer(number)
        with waiting.pop(number) as connection:
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error not in (0, errno.ECONNREFUSED):
            return  # the network's word, not the server's
        self._misses.acquit(question)
        if error:
            self._told(question.target, question.route, Cause.REFUSED)
        now = self._loop.time()
        if breath.answer(question, question.target.interface, now):
            self._loop.call_later(rhythm.lag, self._look, rhythm, breath, now)

    def _look(self, rhythm: Rhythm, breath: Breath[Question], answered: float) -> None:
        for question in breath.missing(answered):
            if self._misses.missed(question) >= rhythm.fall:
                self._told(question.target, question.route, Cause.SILENT)

    def _forget(self, waiting: dict[int, socket.socket]) -> None:
        for number, connection in waiting.items():
            self._loop.remove_writer(number)
            connection.close()
        waiting.clear()


def _unanswered(question: Question) -> socket.socket | None:
    """Send the SYN; None if it cannot be sent."""
    route = question.route
    family = socket.AF_INET6 if route.source.version == 6 else socket.AF_INET
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((str(route.source), 0))
            code = connection.connect_ex((str(route.destination), question.target.port))
        except OSError:
            return None  # the ordinary probes say so: their finding is a local fault
        if code in (0, errno.EINPROGRESS):
            stack.pop_all()
            return connection
    return None
