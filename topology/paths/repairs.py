"""What switches do by themselves when ports die, before anybody tells them new routes.

Follows a packet for a file server, and the answer to it, over the routes that stand, as the rules
made of them do (`flows.tables.backbone`; a test compares the two):

    equal hops ─► hops that lead nearer ─► alternates, once ─► another interface, by its locator
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from enum import Enum

from topology.model import Attachment, Interface
from topology.paths.routes import Destination
from topology.paths.shortest import Hops
from topology.paths.ways import Ways

#: Instead of the port of a client, which does not matter: no port has this number.
_CLIENT = 0


class Means(Enum):
    """By what switches help themselves. LEFT_OVER: what is left of equal hops or interfaces."""

    LEFT_OVER = "left over"
    DOWNSTREAM = "downstream"
    ALTERNATE = "alternate"
    INTERFACE = "interface"


@dataclass(frozen=True)
class Found:
    """Whether every packet arrives and is answered, whichever equal hop each switch picks for it,
    and what helped on the way."""

    arrives: bool
    means: frozenset[Means]


@dataclass(frozen=True)
class _Packet:
    """At a switch, in by a port (None: from where it begins). `goal`: the only place that it goes
    to, the client or an interface; None while it may go to any interface. `detoured` once it took
    an alternate."""

    switch: str
    entered: int | None = None
    goal: Attachment | None = None
    detoured: bool = False


@dataclass(frozen=True)
class _Onward:
    """One thing that a switch may do with a packet. `packet` is as it leaves by `port`; None if
    it has arrived. `any_port`: it may leave where it came in."""

    port: int
    packet: _Packet | None
    means: Means | None = None
    any_port: bool = False


def found(ways: Ways, server: str, switch: str, dead: Set[Attachment]) -> Found:
    """What becomes of a client's packets at a switch, and of the answers to them, while these ports
    are dead and the routes still those of `ways`."""
    repairs = _Repairs(ways, server, dead)
    client = Attachment(switch, _CLIENT)
    todo, seen = [_Packet(switch)], {_Packet(switch)}
    means: set[Means] = set()
    arrives = True
    while todo:
        packet = todo.pop()
        onward = repairs.onward(packet)
        arrives = arrives and bool(onward)
        for one in onward:
            if one.means is not None:
                means.add(one.means)
            if one.packet is None:
                then = _Packet(packet.switch, goal=client)
                if then not in seen and packet.goal != client:
                    seen.add(then)
                    todo.append(then)
                continue
            into = ways.neighbours.get(Attachment(packet.switch, one.port))
            if into is None or (one.port == packet.entered and not one.any_port):
                arrives = False
                continue
            then = replace(one.packet, switch=into.switch, entered=into.port)
            if then not in seen:
                seen.add(then)
                todo.append(then)
    return Found(arrives, frozenset(means))


@dataclass(frozen=True)
class _Repairs:
    ways: Ways
    server: str
    dead: Set[Attachment]

    def onward(self, packet: _Packet) -> tuple[_Onward, ...]:
        """What the switch may do with it: one of these; nothing if it drops it."""
        if packet.goal is not None:
            return self._toward(packet, packet.goal)
        cards = self.ways.live.get(self.server, ())
        here = [c for c in cards if c.attachment.switch == packet.switch]
        others = [c for c in cards if c.attachment.switch != packet.switch]
        hops = self.ways.trees.hops(Destination.file_server(self.server), packet.switch)
        if here or hops == Hops():
            up = [c.attachment.port for c in here if self._up(c.attachment)]
            if up:
                means = None if len(up) == len(here) else Means.LEFT_OVER
                return tuple(_Onward(port, None, means) for port in up)
            return tuple(self._renamed(packet, others, frozenset()))[:1]
        ports = frozenset((*hops.nearer, *hops.alternates))
        more = self._renamed(packet, others, ports) if len(ports) == 1 else iter(())
        return self._by(hops, packet) or tuple(more)[:1]

    def _up(self, attachment: Attachment) -> bool:
        return attachment not in self.dead

    def _toward(self, packet: _Packet, goal: Attachment) -> tuple[_Onward, ...]:
        if goal.switch != packet.switch:
            hops = self.ways.trees.hops(Destination.switch(goal.switch), packet.switch)
            return self._by(hops, packet)
        return (_Onward(goal.port, None),) if self._up(goal) else ()

    def _by(self, hops: Hops, packet: _Packet) -> tuple[_Onward, ...]:
        """One of the equal hops that are alive, else the first of the others."""
        up = self._living(packet.switch, hops.equal)
        if up:
            means = None if len(up) == len(hops.equal) else Means.LEFT_OVER
            return tuple(_Onward(port, packet, means) for port in up)
        for port in self._living(packet.switch, hops.downstream):
            return (_Onward(port, packet, Means.DOWNSTREAM),)
        for port in () if packet.detoured else self._living(packet.switch, hops.alternates):
            return (_Onward(port, replace(packet, detoured=True), Means.ALTERNATE),)
        return ()

    def _living(self, switch: str, ports: tuple[int, ...]) -> list[int]:
        return [port for port in ports if self._up(Attachment(switch, port))]

    def _renamed(
        self, packet: _Packet, cards: list[Interface], avoid: Set[int]
    ) -> Iterator[_Onward]:
        """On to another interface, by each port that is alive and leads nearer to it."""
        for card in cards:
            toward = Destination.switch(card.attachment.switch)
            hops = self.ways.trees.hops(toward, packet.switch)
            for port in self._living(packet.switch, hops.nearer):
                if port not in avoid:
                    then = _Packet(packet.switch, goal=card.attachment)
                    yield _Onward(port, then, Means.INTERFACE, any_port=True)
