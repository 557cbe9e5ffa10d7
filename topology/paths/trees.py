"""One multi-source shortest-path tree for each destination, kept up to date.

The graph is networkx's, the only copy of it, and read as it is: at an event nothing is converted.
What an event costs follows what it changes, not the size of the network (G. Ramalingam and
T. Reps, "An incremental algorithm for a generalization of the shortest-path problem", Journal of
Algorithms 21, 1996), and hardly the number of destinations: those that change in the same way go
together, as bits (`topology.paths.costs`).

- When a link comes, costs can only fall. Its better end is tried as a new way for the other one,
  and whoever's cost falls is tried as a new way for its neighbours, the cheapest first.
- When a link goes, costs can only rise. First, in the order of their old costs, the switches are
  found that have lost all their ways of that cost; a switch's ways lead to cheaper ones, so
  those are already known to be lost or not. Then these alone get new costs (Dijkstra), from the
  neighbours that have lost nothing.

Weights are positive, so that both orders exist.

A way may begin with an offset, a cost of its own for each source, as if the destination were a
switch more that is joined to its sources by links of that cost. A switch that is a source has the
destination at hand and sends to nobody, even if a way to another source costs less than its offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import networkx as nx

from topology.paths.costs import Bits, Costs, Queue, between, places, put, take, union
from topology.paths.from_nothing import beginnings, costs_of_all, least_weight, near_of, settle
from topology.paths.next_hops import next_hops
from topology.paths.routes import Destination, Routes, Sources
from topology.paths.shortest import SAME_WEIGHT, Hops
from topology.pauses import Pause, no_pause

#: By switch, destinations, which `Trees.destinations` names.
Marked = Mapping[str, Bits]


class Trees:
    """Shortest-path trees over `graph`, which nobody else may change.

    Args:
        graph: of switches; edges carry `weight` (positive) and `ports` ({switch: its port}).
        sources: for each destination the switches at which it is reached, with their offsets.
            Those that are not in the graph are left out.
        pause: called while an event, or `routes`, is worked on; no other event may come then, and
            costs are half old, half new.

    Events return whose `Hops` may differ from before, and toward which destinations.
    """

    def __init__(self, graph: nx.MultiGraph, sources: Sources, pause: Pause = no_pause) -> None:
        self.graph = graph
        self._pause = pause
        self.sources = {destination: self._there(at) for destination, at in sources.items()}
        self._places = list(self.sources)
        self._bits = {destination: 1 << place for place, destination in enumerate(self._places)}
        self._own = {
            d.name: bit for d, bit in self._bits.items() if d == Destination.switch(d.name)
        }
        self._adjacency = dict(graph.adjacency())
        self._begins = beginnings(self.sources)
        self._costs = costs_of_all(graph, self.sources)
        self._hops: dict[Destination, Mapping[str, Hops]] = {d: {} for d in self.sources}
        self._stale = dict.fromkeys(graph, self._every)

    def _there(self, offsets: Mapping[str, int]) -> dict[str, int]:
        return {switch: offset for switch, offset in offsets.items() if switch in self.graph}

    @property
    def _every(self) -> Bits:
        return (1 << len(self._places)) - 1

    def destinations(self, bits: Bits) -> Iterator[Destination]:
        """Those whose bits these are."""
        return (self._places[place] for place in places(bits))

    def cost(self, destination: Destination, switch: str) -> int | None:
        """What the way from `switch` costs; None where there is none."""
        return _cost(self._costs.get(switch, {}), self._bits[destination])

    def costs(self, destination: Destination) -> dict[str, int]:
        """What the way costs from every switch that has one."""
        found = ((switch, self.cost(destination, switch)) for switch in self._costs)
        return {switch: cost for switch, cost in found if cost is not None}

    @property
    def by_switch(self) -> Costs:
        """What all ways cost; bits are in the order in which the destinations came."""
        return self._costs

    def ends(self, destination: Destination, switch: str) -> frozenset[str]:
        """The sources that no other is nearer to the switch than, offsets included. The switch is
        a destination itself."""
        own, here = self.cost(destination, switch), Destination.switch(switch)
        return frozenset(
            source
            for source in self.sources[destination]
            if (there := self.cost(here, source)) is not None
            and (left := self.cost(destination, source)) is not None
            and there + left == own
        )

    def hops(self, destination: Destination, switch: str) -> Hops:
        """By which ports `switch` can send toward the destination.

        Whether an alternate's own ways lead through `switch` is known only if that switch is
        itself a destination; otherwise there are no alternates.
        """
        return next(iter(self._next_hops(switch, self._bits[destination])), Hops())

    def _next_hops(self, switch: str, bits: Bits) -> dict[Hops, Bits]:
        adjacent, own = self._adjacency[switch], self._own.get(switch, 0)
        found = ((neighbour, _cost(self._costs[neighbour], own)) for neighbour in adjacent)
        back = {neighbour: cost for neighbour, cost in found if cost is not None}
        at_hand = union(self._begins.get(switch, {}).values())
        return next_hops(switch, adjacent, self._costs, back, bits & ~at_hand)

    def routes(self, tree: Mapping[str, tuple[int, ...]]) -> Routes:
        """All hops. What has not changed since the last call, `Hops` and mappings of
        destinations, is the same object as then."""
        fresh: dict[Destination, dict[str, Hops]] = {}
        for switch, destination, hops in self._anew():
            if fresh.get(destination, self._hops[destination]).get(switch) != hops:
                if destination not in fresh:
                    self._pause()
                    fresh[destination] = dict(self._hops[destination])
                _set(fresh[destination], switch, hops)
        self._hops |= fresh
        self._stale = {}
        return Routes(dict(self._hops), tree)

    def _anew(self) -> Iterator[tuple[str, Destination, Hops | None]]:
        """The hops of all that is stale; None: it has none."""
        for switch, bits in self._stale.items():
            self._pause()
            found = self._next_hops(switch, bits)
            none = None, bits & ~union(found.values())
            for hops, those in (*found.items(), none):
                for destination in self.destinations(those):
                    yield switch, destination, hops

    # Events.

    def remove_link(self, a: str, b: str, key: str) -> Marked:
        """The link has failed, or is no longer there."""
        weight = self.graph.edges[a, b, key]["weight"]
        self.graph.remove_edge(a, b, key)
        suspects = Queue()
        for near, far in ((a, b), (b, a)):
            for cost, bits in self._costs[near].items():
                if over_it := bits & self._costs[far].get(cost + weight, 0):
                    suspects.add(cost + weight, far, over_it)
        return self._note(self._raise(suspects), dict.fromkeys((a, b), self._every))

    def add_link(self, a: str, b: str, key: str, weight: int, ports: Mapping[str, int]) -> Marked:
        """There is a link more. Switches that are new come with it.

        Raises:
            ValueError: its weight is not positive.
        """
        if weight <= 0:
            raise ValueError(f"link {key} costs {weight}; a cost is positive")
        if self.graph.graph.get(SAME_WEIGHT) != weight:
            self.graph.graph.pop(SAME_WEIGHT, None)
        self.graph.add_edge(a, b, key=key, weight=weight, ports=dict(ports))
        if not {a, b} <= self._adjacency.keys():
            self._adjacency = dict(self.graph.adjacency())
        better = Queue()
        for near, far in ((a, b), (b, a)):
            theirs, ours = self._costs.setdefault(near, {}), self._costs.setdefault(far, {})
            for cost, bits in _improved(ours, theirs, weight):
                better.add(cost, far, bits)
        return self._note(self._lower(better), dict.fromkeys((a, b), self._every))

    def set_sources(self, destination: Destination, sources: Mapping[str, int]) -> Marked:
        """The destination is reached at these switches now, with these offsets; it may be a new
        one."""
        if destination not in self._bits:
            self._bits[destination] = 1 << len(self._places)
            if destination == Destination.switch(destination.name):
                self._own[destination.name] = self._bits[destination]
            self._places.append(destination)
            self._hops[destination] = {}
        bit = self._bits[destination]
        former, now = self.sources.get(destination, {}), self._there(sources)
        self.sources[destination] = now
        if former == now:
            return {}
        gone, come = former.items() - now.items(), now.items() - former.items()
        suspects, better = Queue(), Queue()
        for switch, offset in gone:
            take(self._begins, switch, offset, bit)
            if (cost := self.cost(destination, switch)) is not None:
                suspects.add(cost, switch, bit)
        moved = self._raise(suspects)
        for switch, offset in come:
            put(self._begins, switch, offset, bit)
            for cost, _ in _improved(self._costs[switch], {offset: bit}, 0):
                better.add(cost, switch, bit)
        moved |= self._lower(better)
        return self._note(moved, {switch: bit for switch, _ in gone | come})

    # How costs change.

    def _near(self, switch: str) -> Iterator[tuple[str, int]]:
        """The neighbours, each with the weight of the link to it."""
        adjacent = self._adjacency[switch].items()
        return ((neighbour, least_weight(links)) for neighbour, links in adjacent)

    def _lower(self, better: Queue) -> dict[str, Bits]:
        """Take over what costs less than before, and what follows from it (Dijkstra): whose costs
        it moves."""
        costs = self._costs
        moved: dict[str, Bits] = {}
        for cost, reached in better.ascending():
            for switch, bits in reached.items():
                news = bits & ~moved.get(switch, 0)
                if not news:
                    continue
                self._pause()
                moved[switch] = moved.get(switch, 0) | news
                for dearer in [former for former, those in costs[switch].items() if those & news]:
                    take(costs, switch, dearer, news)
                put(costs, switch, cost, news)
                for neighbour, weight in self._near(switch):
                    # If theirs cost still less, ours would have cost less than this before.
                    known = between(costs[neighbour], cost - weight, cost + weight)
                    if onward := news & ~union(those for _, those in known):
                        better.add(cost + weight, neighbour, onward)
        return moved

    def _raise(self, suspects: Queue) -> dict[str, Bits]:
        """New costs for those of `suspects` that have lost all their ways, and for all who have
        lost theirs with them: whose costs it moves."""
        lost = self._lost(suspects)
        moved = {switch: union(at.values()) for switch, at in lost.items()}
        near = {switch: near_of(self._adjacency[switch]) for switch in lost}
        settle(self._costs, self._offers(lost), dict(moved), near, self._pause)
        return moved

    def _lost(self, suspects: Queue) -> Costs:
        """Strike out, and return, what no way costs any longer."""
        costs = self._costs
        lost: Costs = {}
        for cost, reached in suspects.ascending():
            for switch, bits in reached.items():
                self._pause()
                near = list(self._near(switch))
                without = bits & ~self._begins.get(switch, {}).get(cost, 0)
                for neighbour, weight in near:
                    without &= ~costs[neighbour].get(cost - weight, 0)
                if not without:
                    continue
                take(costs, switch, cost, without)
                put(lost, switch, cost, without)
                for neighbour, weight in near:
                    if over_it := without & costs[neighbour].get(cost + weight, 0):
                        suspects.add(cost + weight, neighbour, over_it)
        return lost

    def _offers(self, lost: Costs) -> Queue:
        """What ways cost for those who have lost theirs, over neighbours that have lost nothing,
        or from there on. What a neighbour's ways cost differs by no more than the link's weight
        from what theirs did."""
        found = Queue()
        for switch, at in lost.items():
            self._pause()
            begins = self._begins.get(switch, {}).items()
            near = list(self._near(switch))
            for former, bits in at.items():
                for neighbour, weight in near:
                    there = between(self._costs[neighbour], former - weight, former + weight)
                    for cost, those in there:
                        if offered := bits & those:
                            found.add(cost + weight, switch, offered)
                for offset, those in begins:
                    if offered := bits & those:
                        found.add(offset, switch, offered)
        return found

    def _note(self, moved: Marked, here: Marked) -> Marked:
        """Whose `Hops` may differ: those of `here`, those whose costs have moved and their
        neighbours, and toward every destination those to whom a neighbour's way has moved, which
        alternates depend on."""
        every = self._every
        marks = [*moved.items(), *here.items()]
        for switch, bits in moved.items():
            self._pause()
            for neighbour in self._adjacency[switch]:
                anywhere = bits & self._own.get(neighbour, 0)
                marks.append((neighbour, every if anywhere else bits))
        found: dict[str, Bits] = {}
        for switch, bits in marks:
            found[switch] = found.get(switch, 0) | bits
            self._stale[switch] = self._stale.get(switch, 0) | bits
        return found


def _improved(
    ours: Mapping[int, Bits], theirs: Mapping[int, Bits], weight: int
) -> Iterator[tuple[int, Bits]]:
    """What costs less by a link of this weight than what it does."""
    known, left = 0, sorted(ours, reverse=True)
    for cost in sorted(theirs):
        while left and left[-1] <= cost + weight:
            known |= ours[left.pop()]
        if better := theirs[cost] & ~known:
            yield cost + weight, better


def _cost(costs: Mapping[int, Bits], bit: Bits) -> int | None:
    return next((cost for cost, bits in costs.items() if bits & bit), None)


def _set(hops_of: dict[str, Hops], switch: str, hops: Hops | None) -> None:
    """None: the switch has none."""
    if hops is None:
        del hops_of[switch]
    else:
        hops_of[switch] = hops
