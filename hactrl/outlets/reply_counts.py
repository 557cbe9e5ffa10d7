"""What file servers answer by which interface: asked of their switches, told to the engine.

    switches ──► Counts ──► since the last time ──► short way or not ──► AnswersCounted

Each interval ends for each switch when its counters arrive. If the ways to any interface have
changed meanwhile, it says nothing about who chose which: both old and new ones were right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from flows.backbone.locators import Locators
from flows.openflow import Counts
from hactrl import hub
from hactrl.engine.events import AnswersCounted, AnswerWays, Event
from hactrl.engine.state import State
from topology.model import Attachment, Network

#: Seconds of an interval, and of them those that switches have to answer.
INTERVAL = 10.0
PATIENCE = 1.0

#: Bytes by interface and the switch that they were sent to.
Sent = Mapping[tuple[str, str], int]


class Switches(Protocol):
    """Those that are connected count; see `hactrl.switches.board`."""

    def count_answers(self, switch: str) -> None:
        """Ask for all its counters; `Answers.counted` gets the answer."""


class NearestInterfaces(Protocol):
    """See `flows.planner.Planner`."""

    changes: int

    def nearest(self, server: str, switch: str) -> frozenset[str]: ...


@dataclass
class AnswerCounter:
    """`current` gives the engine's state; `post` takes events and never blocks."""

    switches: Switches
    current: Callable[[], State]
    ways: NearestInterfaces
    post: Callable[[Event], None]
    _before: dict[str, tuple[int, Counts]] = field(default_factory=dict)
    _sent: dict[str, tuple[int, Sent]] = field(default_factory=dict)

    def run(self) -> None:
        """Ask and tell for ever."""
        while True:
            self.ask()
            hub.sleep(PATIENCE)
            self.tell()
            hub.sleep(INTERVAL - PATIENCE)

    def ask(self) -> None:
        """Ask every connected switch that has interfaces."""
        cards = self.current().site.network.file_interfaces.values()
        for name in sorted({card.attachment.switch for card in cards}):
            self.switches.count_answers(name)

    def counted(self, switch: str, counts: Counts) -> None:
        """A switch has answered."""
        changes = self.ways.changes
        before = self._before.get(switch)
        self._before[switch] = changes, counts
        if before is not None and before[0] == changes:
            network = self.current().site.network
            self._sent[switch] = changes, sent(network, switch, since(before[1], counts))

    def tell(self) -> None:
        """Tell the engine what has been sent since the last time, server by server."""
        counted, self._sent = self._sent, {}
        ways = self.ways
        told = [sent for changes, sent in counted.values() if changes == ways.changes]
        for server in self.current().site.network.file_servers.values():
            cards = {card.name for card in server.interfaces}
            own = {k: n for sent in told for k, n in sent.items() if n and k[0] in cards}
            if found := judged(own, partial(ways.nearest, server.name)):
                self.post(AnswersCounted(server.name, found))


def since(before: Counts, now: Counts) -> Counts:
    """What was counted in between. A rule that counted more before is a new one of the same
    match; one that is not known from before began in between."""
    return {
        key: count - before.get(key, 0) if count >= before.get(key, 0) else count
        for key, count in now.items()
    }


def sent(network: Network, switch: str, counts: Counts) -> Sent:
    """By names, what interfaces at a switch have sent; what is not known any more is left out."""
    locators = Locators.of(network)
    cards = {card.attachment: card.name for card in network.file_interfaces.values()}
    switches = {locators.prefix(name)[0]: name for name in locators.switches}
    return {
        (cards[Attachment(switch, port)], switches[target]): count
        for (port, target), count in counts.items()
        if Attachment(switch, port) in cards and target in switches
    }


def judged(sent: Sent, nearest: Callable[[str], frozenset[str]]) -> tuple[AnswerWays, ...]:
    """Of one server, by switches: what left by interfaces that are nearest to them, and by
    others. Nothing of switches that no interface is known to be near to."""
    found = []
    for switch in sorted({switch for _, switch in sent}):
        if not (short := nearest(switch)):
            continue
        by_card = {card: count for (card, to), count in sent.items() if to == switch}
        others = {card: count for card, count in by_card.items() if card not in short}
        most_first = sorted(others, key=lambda card: (-others[card], card))
        roundabout = sum(others.values())
        total = sum(by_card.values())
        found.append(AnswerWays(switch, total - roundabout, roundabout, tuple(most_first)))
    return tuple(found)
