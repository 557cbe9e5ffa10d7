"""One multi-source shortest-path tree for each destination, kept up to date.

The graph is networkx's, the only copy of it, and read as it is: at an event nothing is converted.
What an event costs follows what it changes, not the size of the network (G. Ramalingam and
T. Reps, "An incremental algorithm for a generalization of the shortest-path problem", Journal of
Algorithms 21, 1996):

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

from collections.abc import Iterable, Mapping, Set
from heapq import heappop, heappush

import networkx as nx

from topology.full import costs_of_all, least_weight
from topology.paths import Hops
from topology.routes import Destination, Routes, Sources

#: For each destination the switches whose `Hops` toward it may differ from before.
Changed = Mapping[Destination, frozenset[str]]

Costs = dict[str, int]


class Trees:
    """Shortest-path trees over `graph`, which nobody else may change.

    Args:
        graph: of switches; edges carry `weight` (positive) and `ports` ({switch: its port}).
        sources: for each destination the switches at which it is reached, with their offsets.
    """

    def __init__(self, graph: nx.MultiGraph, sources: Sources) -> None:
        self.graph = graph
        self.sources = {destination: dict(offsets) for destination, offsets in sources.items()}
        self._costs: dict[Destination, Costs] = costs_of_all(graph, self.sources)
        self._hops: dict[Destination, Mapping[str, Hops]] = {}
        self._stale: dict[Destination, set[str] | None] = dict.fromkeys(self.sources)

    def cost(self, destination: Destination, switch: str) -> int | None:
        """What the way from `switch` costs; None where there is none."""
        return self._costs[destination].get(switch)

    def costs(self, destination: Destination) -> Mapping[str, int]:
        """What the way costs from every switch that has one."""
        return self._costs[destination]

    def ends(self, destination: Destination, switch: str) -> frozenset[str]:
        """The sources that no other is nearer to the switch than, offsets included. The switch is
        a destination itself."""
        costs = self._costs[destination]
        there = self._costs[Destination.switch(switch)]
        own = costs.get(switch)
        return frozenset(
            source
            for source in self.sources[destination]
            if source in there and there[source] + costs[source] == own
        )

    def hops(self, destination: Destination, switch: str) -> Hops:
        """By which ports `switch` can send toward the destination.

        Whether an alternate's own ways lead through `switch` is known only if that switch is
        itself a destination; otherwise there are no alternates.
        """
        costs = self._costs[destination]
        own = costs.get(switch)
        if own is None or switch in self.sources[destination]:
            return Hops()
        back = self._costs.get(Destination.switch(switch), {})
        equal, downstream, alternates = [], [], []
        for neighbour, links in self.graph.adj[switch].items():
            left = costs.get(neighbour)
            if left is None:
                continue
            loop_free = neighbour in back and left < back[neighbour] + own
            for data in links.values():
                if data["weight"] + left == own:
                    equal.append(data["ports"][switch])
                elif left < own:
                    downstream.append(data["ports"][switch])
                elif loop_free:
                    alternates.append(data["ports"][switch])
        return Hops(tuple(sorted(equal)), tuple(sorted(downstream)), tuple(sorted(alternates)))

    def routes(self, tree: Mapping[str, tuple[int, ...]]) -> Routes:
        """All hops. Mappings of destinations that have not changed since the last call are the
        same objects as then."""
        for destination, stale in self._stale.items():
            switches = self._costs[destination] if stale is None else stale
            hops = {} if stale is None else dict(self._hops[destination])
            for switch in switches:
                found = self.hops(destination, switch)
                if found == Hops():
                    hops.pop(switch, None)
                else:
                    hops[switch] = found
            self._hops[destination] = hops
        self._stale = {}
        return Routes(dict(self._hops), tree)

    # Events.

    def remove_link(self, a: str, b: str, key: str) -> Changed:
        """The link has failed, or is no longer there."""
        weight = self.graph.edges[a, b, key]["weight"]
        self.graph.remove_edge(a, b, key)
        moved: dict[Destination, set[str]] = {}
        for destination, costs in self._costs.items():
            far = _farther(costs, a, b, weight)
            if far is not None:
                moved[destination] = self._raise(destination, [far])
        return self._note(moved, (a, b))

    def add_link(self, a: str, b: str, key: str, weight: int, ports: Mapping[str, int]) -> Changed:
        """There is a link more. Switches that are new come with it.

        Raises:
            ValueError: its weight is not positive.
        """
        if weight <= 0:
            raise ValueError(f"link {key} costs {weight}; a cost is positive")
        self.graph.add_edge(a, b, key=key, weight=weight, ports=dict(ports))
        moved: dict[Destination, set[str]] = {}
        for destination, costs in self._costs.items():
            better: Costs = {}
            for one, other in ((a, b), (b, a)):
                if one in costs and costs[one] + weight < costs.get(other, costs[one] + weight + 1):
                    better[other] = costs[one] + weight
            if better:
                moved[destination] = self._lower(costs, better)
        return self._note(moved, (a, b))

    def set_sources(self, destination: Destination, sources: Mapping[str, int]) -> Changed:
        """The destination is reached at these switches now, with these offsets; it may be a new
        one."""
        former = self.sources.setdefault(destination, {})
        costs = self._costs.setdefault(destination, {})
        if sources == former:
            return {}
        now = self.sources[destination] = dict(sources)
        differ = {s for s in {**former, **now} if former.get(s) != now.get(s)}
        dearer = {s for s in differ if s in former and (s not in now or now[s] > former[s])}
        moved = self._raise(destination, dearer)
        moved |= self._lower(costs, {s: now[s] for s in differ - dearer})
        return self._note({destination: moved}, (), differ)

    def forget(self, destination: Destination) -> None:
        """There is no such destination any more."""
        for known in (self.sources, self._costs, self._hops, self._stale):
            known.pop(destination, None)

    # How costs change.

    def _lower(self, costs: Costs, better: Mapping[str, int]) -> set[str]:
        """Take over what is better, and what follows from it (Dijkstra)."""
        heap = [(cost, switch) for switch, cost in better.items()]
        heap.sort()
        adjacent = self.graph.adj
        moved: set[str] = set()
        while heap:
            cost, switch = heappop(heap)
            if costs.get(switch, cost + 1) <= cost:
                continue
            costs[switch] = cost
            moved.add(switch)
            for neighbour, links in adjacent[switch].items():
                way = cost + least_weight(links)
                if costs.get(neighbour, way + 1) > way:
                    heappush(heap, (way, neighbour))
        return moved

    def _raise(self, destination: Destination, suspects: Iterable[str]) -> set[str]:
        """New costs for those of `suspects` that have lost all their ways, and for all who have
        lost theirs with them."""
        costs, sources = self._costs[destination], self.sources[destination]
        lost = self._lost(costs, sources, suspects)
        for switch in lost:
            del costs[switch]
        return lost | self._lower(costs, self._rescued(costs, sources, lost))

    def _lost(self, costs: Costs, sources: Mapping[str, int], suspects: Iterable[str]) -> set[str]:
        adjacent = self.graph.adj
        heap = [(costs[switch], switch) for switch in suspects if switch in costs]
        heap.sort()
        lost: set[str] = set()
        while heap:
            cost, switch = heappop(heap)
            if switch in lost or sources.get(switch) == cost:
                continue
            behind = []
            for neighbour, links in adjacent[switch].items():
                theirs, weight = costs.get(neighbour), least_weight(links)
                if theirs is None:
                    continue
                if theirs + weight == cost and neighbour not in lost:
                    break  # a way of the old cost is left
                if cost + weight == theirs:
                    behind.append((theirs, neighbour))
            else:
                lost.add(switch)
                for entry in behind:
                    heappush(heap, entry)
        return lost

    def _rescued(self, costs: Costs, sources: Mapping[str, int], lost: Set[str]) -> Costs:
        """The best way of each of `lost` over a neighbour that has lost nothing, or its own."""
        rescued: Costs = {}
        for switch in lost:
            ways = [
                costs[neighbour] + least_weight(links)
                for neighbour, links in self.graph.adj[switch].items()
                if neighbour in costs
            ]
            if switch in sources:
                ways.append(sources[switch])
            if ways:
                rescued[switch] = min(ways)
        return rescued

    def _note(
        self,
        moved: Mapping[Destination, Set[str]],
        everywhere: Iterable[str],
        here: Iterable[str] = (),
    ) -> Changed:
        """Whose `Hops` may differ: those whose costs have moved and their neighbours, and toward
        every destination those at the ends of the link (`everywhere`) and those to whom a
        neighbour's way has moved, which alternates depend on."""
        adjacent = self.graph.adj
        anywhere = set(everywhere)
        for destination, switches in moved.items():
            name = destination.name
            if destination == Destination.switch(name) and name in adjacent:
                anywhere |= {name} & {n for switch in switches for n in adjacent[switch]}
        changed: dict[Destination, frozenset[str]] = {}
        for destination in self._costs:
            theirs = set(moved.get(destination, ()))
            near = {n for switch in theirs if switch in adjacent for n in adjacent[switch]}
            found = frozenset(theirs | near | anywhere)
            if destination in moved:
                found |= frozenset(here)
            if found:
                changed[destination] = found
                stale = self._stale.setdefault(destination, set())
                if stale is not None:
                    stale |= found
        return changed


def _farther(costs: Costs, a: str, b: str, weight: int) -> str | None:
    """The end of a link whose ways may have led over it."""
    if a in costs and b in costs:
        if costs[a] + weight == costs[b]:
            return b
        if costs[b] + weight == costs[a]:
            return a
    return None
