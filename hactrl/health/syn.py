"""Asks kernels, and no daemon: a SYN to every service, and a reset as soon as it is answered.

    we                      the server's kernel
    SYN ──────────────────►
       ◄────────────────── SYN, ACK: it lives, and somebody listens
       ◄────────────────── RST:      it lives, and nobody does
    RST ──────────────────►          so that no connection comes about, and no daemon hears of it

That costs a server nothing and writes no log, so it can be asked far more often than a daemon. That
nobody listens is an answer. Who has died is found by comparison with all who live (`comparison`),
card by card: one answer, of any service, proves that the kernel behind a card lives. So that what a
full queue has dropped does not look like death, who is late is asked twice more in the same breath.

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
from functools import partial
from itertools import cycle, islice

from hactrl.health.comparison import Breath, Misses
from hactrl.health.dialogues import DIALOGUES, IP_BIND_ADDRESS_NO_PORT
from hactrl.health.targets import ProbeRoute, Target
from hactrl.health.verdicts import Cause

SHARE = 0.0004
"""Seconds between two breaths for each SYN in them, at least: a quarter of a core at most goes into
asking, however large a site is. One costs a tenth of a millisecond."""

AGAIN = 2
"""SYNs to a card that is late, before it has missed a breath. Where a quarter of all packets is
lost, as under bulk transfers in both directions, one alone is lost four times in a row every
quarter of a minute; three are every two weeks."""

PORTION = 64
"""SYNs in one breath at most, unless two cards have more, so that asking holds up the prober's
other work for a few milliseconds. Candidates of one service follow each other."""

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
    """What those have in common who are asked together, and so compared: the prober's card,
    the address family, and how they are judged."""

    device_mac: str
    version: int
    interval: float
    fall: int
    lag: float

    def paused(self, number: int) -> float:
        """Seconds between two breaths, where so many SYNs are sent."""
        return max(self.interval, SHARE * number)

    def patience(self, number: int) -> float:
        """Seconds until a SYN is given up: who is silent has been condemned by then."""
        return min(LONGEST, self.fall * self.paused(number) + self.lag)


@dataclass(frozen=True)
class Card:
    """Who is judged: what answers through one interface, over one address family."""

    interface: str
    rhythm: Rhythm


Questions = dict[Card, list[Question]]


def rhythms(targets: Iterable[Target]) -> dict[Rhythm, Questions]:
    """Who is asked what, by rhythm: all services that are probed over TCP."""
    found: dict[Rhythm, Questions] = {}
    for target in targets:
        if target.kind not in DIALOGUES or target.syn_interval is None:
            continue
        for route in target.routes:
            settings = (target.syn_interval, target.syn_fall, target.syn_lag)
            rhythm = Rhythm(target.device_mac, route.source.version, *settings)
            card = Card(target.interface, rhythm)
            cards = found.setdefault(rhythm, {})
            cards.setdefault(card, []).append(Question(target, route))
    return found


def portions(questions: Questions) -> list[Questions]:
    """Of two cards at least, unless there is but one, since one alone is compared with nobody."""
    found: list[Questions] = []
    for card, own in questions.items():
        last = found[-1] if found else {}
        if len(last) < 2 or number_of(last) + len(own) <= PORTION:
            found[-1:] = [{**last, card: own}]
        else:
            found.append({card: own})
    if len(found) > 1 and len(found[-1]) < 2:
        found[-2:] = [found[-2] | found[-1]]
    return found


def number_of(questions: Questions) -> int:
    return sum(map(len, questions.values()))


class SynProber:
    """`told` hears of every refusal, and of whatever is behind a card that is silent while others
    answer (SILENT)."""

    def __init__(self, group: asyncio.TaskGroup, told: Told) -> None:
        self._group = group
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._misses: Misses[Card] = Misses()
        self._questions: Questions = {}
        self._tasks: list[asyncio.Task[None]] = []

    def replace(self, targets: Iterable[Target]) -> None:
        """Ask these, and no longer the ones before."""
        for task in self._tasks:
            task.cancel()
        found = rhythms(targets)
        self._questions = {card: own for cards in found.values() for card, own in cards.items()}
        self._misses.keep(self._questions)
        self._tasks = [
            self._group.create_task(self._ask_on(rhythm, questions))
            for rhythm, questions in found.items()
        ]

    async def _ask_on(self, rhythm: Rhythm, questions: Questions) -> None:
        """One portion after the other, all of them in one interval."""
        number, breaths = number_of(questions), portions(questions)
        pause, patience = rhythm.paused(number) / len(breaths), rhythm.patience(number)
        due = self._loop.time()
        for portion in cycle(breaths):
            await asyncio.sleep(due - self._loop.time())
            self._breathe(portion, patience)
            due = max(due + pause, self._loop.time())

    def _breathe(self, questions: Questions, patience: float) -> None:
        breath: Breath[Card] = Breath()
        for card, own in questions.items():
            self._ask(breath, card, own, patience)

    def _ask(self, breath: Breath[Card], card: Card, own: list[Question], patience: float) -> None:
        for question in own:
            connection = _unanswered(question)
            if connection is None:
                continue  # what cannot be sent is no question: ours is the fault
            breath.ask(card)
            hear = partial(self._hear, breath, card, question)
            self._loop.add_writer(connection.fileno(), hear, connection)
            self._loop.call_later(patience, self._forget, connection)

    def _hear(
        self, breath: Breath[Card], card: Card, question: Question, connection: socket.socket
    ) -> None:
        self._loop.remove_writer(connection.fileno())
        with connection:
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error not in (0, errno.ECONNREFUSED):
            return  # the network's word, not the server's
        self._misses.acquit(card)
        if error:
            self._told(question.target, question.route, Cause.REFUSED)
        if breath.answer(card):
            self._loop.call_later(card.rhythm.lag, self._ask_again, breath)

    def _ask_again(self, breath: Breath[Card]) -> None:
        """Who is late; nobody, as a rule."""
        late = breath.missing()
        for card in late:
            own = self._questions.get(card, [])
            again = list(islice(cycle(own), AGAIN))
            self._ask(breath, card, again, card.rhythm.patience(len(again)))
        if late:
            self._loop.call_later(late[0].rhythm.lag, self._judge, breath)

    def _judge(self, breath: Breath[Card]) -> None:
        for card in breath.missing():
            if self._misses.missed(card) >= card.rhythm.fall:
                for question in self._questions.get(card, ()):
                    self._told(question.target, question.route, Cause.SILENT)

    def _forget(self, connection: socket.socket) -> None:
        if connection.fileno() >= 0:  # not answered
            self._loop.remove_writer(connection.fileno())
            connection.close()


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
