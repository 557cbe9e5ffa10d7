"""The way from each switch of a backbone to a file server, and what it would be without several
interfaces: for people who ask. The rules come from `topology.backbones`, which this agrees with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, FileServer, Interface
from topology.paths.routes import Destination, Routes
from topology.paths.shortest import Hops
from topology.paths.trees import Trees

#: For each file server the interfaces that clients may be brought to.
Live = Mapping[str, tuple[Interface, ...]]


@dataclass(frozen=True)
class Crossing:
    """A link on a way: out of one switch, into the next."""

    out: Attachment
    into: Attachment


@dataclass(frozen=True)
class Way:
    """The shortest way to a file server.

    `cost` counts the `offset` of `interface` too. `interfaces` are all that are equally near;
    `crossings` lead to `interface`, the first of them that they reach, and are one of
    `equal_ways`. `hops`: the ports by which the first switch can send, see
    `topology.paths.shortest.Hops`.
    """

    cost: int
    offset: int
    interfaces: tuple[str, ...]
    interface: str
    crossings: tuple[Crossing, ...]
    equal_ways: int
    hops: Hops


@dataclass(frozen=True)
class Leg:
    """What the way to one interface would cost; None where there is none."""

    interface: str
    cost: int | None


@dataclass(frozen=True)
class Roundabout:
    """What clients are spared. `single_homed`: the way to the first of the file server's
    interfaces in the site file, the one that it would have alone. `farthest`: of the live ones."""

    single_homed: Leg
    farthest: Leg | None


@dataclass(frozen=True)
class Ways:
    """Those of one state of the network. Never changes: a new state, new ways."""

    graph: LiveGraph
    live: Live

    @cached_property
    def trees(self) -> Trees:
        return backbones.trees(self.graph, self.live)

    @cached_property
    def routes(self) -> Routes:
        """The hops that the switches' rules are made of."""
        return self.trees.routes({})

    def way(self, server: str, switch: str) -> Way | None:
        """The way from the switch to the file server; None where there is none."""
        destination = Destination.file_server(server)
        cost = self.trees.cost(destination, switch)
        if cost is None:
            return None
        crossings, end = self._one(destination, switch)
        cards = self.live.get(server, ())
        ends = self.trees.ends(destination, switch)
        near = [c for c in cards if c.attachment.switch in ends]
        interface = next(card for card in near if card.attachment.switch == end)
        return Way(
            cost,
            interface.offset,
            tuple(card.name for card in near),
            interface.name,
            crossings,
            self._counts[server].get(switch, 0),
            self.trees.hops(destination, switch),
        )

    def roundabout(self, server: FileServer, switch: str) -> Roundabout:
        """What the ways to the file server's single interfaces would cost."""
        first = server.interfaces[0]
        legs = [Leg(c.name, self._apart(switch, c)) for c in self.live.get(server.name, ())]
        reached = [(leg.cost, -n, leg) for n, leg in enumerate(legs) if leg.cost is not None]
        farthest = max(reached, key=lambda found: found[:2])[2] if reached else None
        return Roundabout(Leg(first.name, self._apart(switch, first)), farthest)

    def _apart(self, switch: str, card: Interface) -> int | None:
        """The cost from a switch to the one where the interface is plugged in."""
        return self.trees.cost(Destination.switch(card.attachment.switch), switch)

    def _one(self, destination: Destination, switch: str) -> tuple[tuple[Crossing, ...], str]:
        """The way by the lowest of the equal ports each time, and the switch where it ends."""
        crossings = []
        while equal := self.trees.hops(destination, switch).equal:
            out = Attachment(switch, equal[0])
            into = self.neighbours[out]
            crossings.append(Crossing(out, into))
            switch = into.switch
        return tuple(crossings), switch

    @cached_property
    def neighbours(self) -> Mapping[Attachment, Attachment]:
        """The other end of each link of the backbones that is up, from both ends."""
        found: dict[Attachment, Attachment] = {}
        for a, b, data in self.trees.graph.edges(data=True):
            one, other = Attachment(a, data["ports"][a]), Attachment(b, data["ports"][b])
            found |= {one: other, other: one}
        return found

    @cached_property
    def _counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many shortest ways there are to each file server, from each switch: those of the
        next switches together, the nearest first; at the end, the interfaces there."""
        found: dict[str, dict[str, int]] = {}
        for server, cards in self.live.items():
            destination = Destination.file_server(server)
            counts = found.setdefault(server, {})
            costs = self.trees.costs(destination)
            for switch in sorted(costs, key=costs.__getitem__):
                equal = self.trees.hops(destination, switch).equal
                next_ones = (self.neighbours[Attachment(switch, port)] for port in equal)
                here = sum(card.attachment.switch == switch for card in cards)
                counts[switch] = sum(counts[n.switch] for n in next_ones) if equal else here
        return found
