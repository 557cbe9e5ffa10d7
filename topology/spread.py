"""What clients' traffic to a file server loads the links with, and how to load the busiest less.

Every client by the nearest interface crosses the fewest links, but one interface may be the
nearest to most clients, and its links the busiest. An offset, a cost added to the ways to an
interface, moves the border between it and the others; with offsets the rules stay what they were,
one for each destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

import networkx as nx

Direction = tuple[str, str]


@dataclass(frozen=True)
class Load:
    """Of each link in each direction that carries any; in the unit of the demand."""

    links: Mapping[Direction, float]

    @property
    def crossings(self) -> float:
        """All links together: how often traffic crosses one."""
        return sum(self.links.values())

    @property
    def heaviest(self) -> float:
        """Of the most loaded link."""
        return max(self.links.values(), default=0.0)


def load(graph: nx.Graph[str], interfaces: Mapping[str, int], demand: Mapping[str, float]) -> Load:
    """What the links carry when every switch sends to the nearest interface, and each switch on
    the way shares evenly among its equal-cost next hops.

    Args:
        graph: edges may carry `weight`, else a link costs 1.
        interfaces: the switches that they are at, with the offset of each.
        demand: what the clients of each switch ask for.
    """
    costs, order = _costs(graph, interfaces)
    passing = dict(demand)
    links: dict[Direction, float] = {}
    for switch in reversed(order):
        amount = passing.get(switch, 0.0)
        if not amount:
            continue
        own = costs[switch]
        if interfaces.get(switch) == own:
            continue
        onward = [
            neighbour
            for neighbour, data in graph.adj[switch].items()
            if costs.get(neighbour, own) + data.get("weight", 1) == own
        ]
        share = amount / len(onward)
        for neighbour in onward:
            links[switch, neighbour] = share
            passing[neighbour] = passing.get(neighbour, 0.0) + share
    return Load(links)


def spread(
    graph: nx.Graph[str],
    interfaces: tuple[str, ...],
    demand: Mapping[str, float],
    largest: int = 4,
) -> Mapping[str, int]:
    """Offsets with which the most loaded link carries the least, of those that a search finds
    that begins with none and changes one at a time by one, as long as it gets better. Never worse
    than without; of equals the one with fewer crossings.
    """
    best = dict.fromkeys(interfaces, 0)
    value = _value(load(graph, best, demand))
    while True:
        tried = [
            best | {interface: best[interface] + step}
            for interface in interfaces
            for step in (1, -1)
            if 0 <= best[interface] + step <= largest
        ]
        values = [_value(load(graph, offsets, demand)) for offsets in tried]
        least = min(values, default=value)
        if least >= value:
            return best
        best, value = tried[values.index(least)], least


def _value(found: Load) -> tuple[float, float]:
    """Rounded, because sums of shares differ in their last bits."""
    return round(found.heaviest, 9), round(found.crossings, 9)


def _costs(graph: nx.Graph[str], interfaces: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """What each switch's way costs, offset included, and the switches in that order."""
    costs: dict[str, int] = {}
    heap = [(offset, switch) for switch, offset in interfaces.items()]
    heap.sort()
    while heap:
        cost, switch = heappop(heap)
        if switch in costs:
            continue
        costs[switch] = cost
        for neighbour, data in graph.adj[switch].items():
            if neighbour not in costs:
                heappush(heap, (cost + data.get("weight", 1), neighbour))
    return costs, list(costs)
