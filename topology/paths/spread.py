"""What clients' traffic to a file server loads the links with, and how to load the busiest less.

Every client by the nearest interface crosses the fewest links, but one interface may be the
nearest to most clients, and its links the busiest. An offset, a cost added to the ways to an
interface, moves the border between it and the others; with offsets the rules stay what they were,
one for each destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import networkx as nx

from topology.model import SPREAD, FileServer, Network

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
    graph: nx.Graph[str], interfaces: tuple[str, ...], demand: Mapping[str, float]
) -> Mapping[str, int]:
    """Offsets with which the most loaded link carries the least, of those that a search finds
    that begins with none and changes one at a time by the cost of the cheapest link, as long as
    it gets better. Never worse than without; of equals the one with fewer crossings.

    An offset is less than what the way to any other interface costs, that one's offset included:
    a switch that has an interface sends to it.
    """
    best = dict.fromkeys(interfaces, 0)
    unit = min((data.get("weight", 1) for _, _, data in graph.edges(data=True)), default=1)
    apart = {one: _costs(graph, {one: 0})[0] for one in interfaces}
    value = _value(load(graph, best, demand))
    while True:
        tried = [
            offsets
            for interface in interfaces
            for step in (unit, -unit)
            if _is_own_nearest(apart, offsets := best | {interface: best[interface] + step})
        ]
        values = [_value(load(graph, offsets, demand)) for offsets in tried]
        least = min(values, default=value)
        if least >= value:
            return best
        best, value = tried[values.index(least)], least


def spread_out(network: Network, server: FileServer) -> FileServer:
    """The file server with offsets for its interfaces, if that is its policy. They follow from
    the declared network alone: what fails does not move clients that it does not concern."""
    if server.policy != SPREAD:
        return server
    switches = network.switches_of(server.segment)
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(switch.name for switch in switches)
    for link in sorted(network.links, key=lambda link: link.cost, reverse=True):
        if link.a.switch in graph:
            graph.add_edge(link.a.switch, link.b.switch, weight=link.cost)  # the cheapest is last
    homes = tuple(dict.fromkeys(card.attachment.switch for card in server.interfaces))
    offsets = spread(graph, homes, {switch.name: float(switch.clients) for switch in switches})
    cards = (replace(card, offset=offsets[card.attachment.switch]) for card in server.interfaces)
    return replace(server, interfaces=tuple(cards))


def _is_own_nearest(apart: Mapping[str, Mapping[str, int]], offsets: Mapping[str, int]) -> bool:
    return all(
        offset >= 0 and (one == other or offset < apart[one].get(other, offset + 1) + theirs)
        for one, offset in offsets.items()
        for other, theirs in offsets.items()
    )


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
