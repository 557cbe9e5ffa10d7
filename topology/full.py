"""Shortest paths to many destinations from nothing, three ways that give the same.

- Where every link costs the same, one breadth-first search carries all destinations at once: for
  each switch one big integer, with a bit for each destination that its wave has reached.
- Else Dijkstra's algorithm with a heap, for each destination.
- scipy's, if it is installed, for large graphs with weights: the sources of each destination are
  joined to a node of their own by links that cost nothing (the extra `fast`).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from heapq import heappop, heappush
from importlib.util import find_spec

import networkx as nx

from topology.routes import Destination

Costs = dict[str, int]

#: Below this product of destinations and links, turning the graph into scipy's takes longer than
#: it saves.
WORTH_CONVERTING = 10_000


def costs_of_all(
    graph: nx.MultiGraph, sources: Mapping[Destination, Set[str]]
) -> dict[Destination, Costs]:
    """For each destination what the way from each switch costs that has one."""
    weights = {data["weight"] for _, _, data in graph.edges(data=True)}
    if len(weights) <= 1:
        return unit_costs(graph, sources, unit=max(weights, default=1))
    if len(sources) * graph.number_of_edges() >= WORTH_CONVERTING and have_scipy():
        return scipy_costs(graph, sources)
    return weighted_costs(graph, sources)


def waves(graph: nx.MultiGraph, sources: Mapping[Destination, Set[str]]) -> list[dict[str, int]]:
    """For each distance in links, from 0 on, which switches are reached just then: by name, with
    bit i set for the i-th destination of `sources`."""
    wave: dict[str, int] = {}
    for bit, switches in enumerate(sources.values()):
        for switch in switches:
            if switch in graph:
                wave[switch] = wave.get(switch, 0) | 1 << bit
    missing = dict.fromkeys(graph, (1 << len(sources)) - 1)
    neighbours = {switch: tuple(links) for switch, links in graph.adj.items()}
    found = []
    while wave:
        found.append(wave)
        for switch, bits in wave.items():
            missing[switch] &= ~bits
        reached: dict[str, int] = {}
        for switch, bits in wave.items():
            for neighbour in neighbours[switch]:
                if news := bits & missing[neighbour]:
                    reached[neighbour] = reached.get(neighbour, 0) | news
        wave = reached
    return found


def unit_costs(
    graph: nx.MultiGraph, sources: Mapping[Destination, Set[str]], unit: int = 1
) -> dict[Destination, Costs]:
    """`costs_of_all` where every link costs `unit`."""
    every: list[Costs] = [{} for _ in sources]
    for distance, wave in enumerate(waves(graph, sources)):
        cost = distance * unit
        for switch, bits in wave.items():
            left = bits
            while left:
                lowest = left & -left
                every[lowest.bit_length() - 1][switch] = cost
                left ^= lowest
    return dict(zip(sources, every, strict=True))


def weighted_costs(
    graph: nx.MultiGraph, sources: Mapping[Destination, Set[str]]
) -> dict[Destination, Costs]:
    """`costs_of_all` with any positive weights: Dijkstra's algorithm, one destination after the
    other."""
    neighbours = {
        switch: [
            (other, min(data["weight"] for data in links.values()))
            for other, links in adjacent.items()
        ]
        for switch, adjacent in graph.adj.items()
    }
    return {
        destination: _dijkstra(neighbours, [s for s in switches if s in graph])
        for destination, switches in sources.items()
    }


def have_scipy() -> bool:
    """Is the extra `fast` installed?"""
    return find_spec("scipy") is not None


def scipy_costs(
    graph: nx.MultiGraph, sources: Mapping[Destination, Set[str]]
) -> dict[Destination, Costs]:
    """`costs_of_all` with any positive weights, by scipy's `csgraph.dijkstra`.

    Each destination is a node that leads to its sources at a cost of one, taken off again: scipy
    takes a zero for no link.

    Raises:
        ImportError: scipy is not installed.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    names = list(graph)
    numbers = {name: number for number, name in enumerate(names)}
    heads, tails, weights = [], [], []
    for name, adjacent in graph.adj.items():
        for other, links in adjacent.items():
            heads.append(numbers[name])
            tails.append(numbers[other])
            weights.append(min(data["weight"] for data in links.values()))
    for place, switches in enumerate(sources.values(), len(names)):
        for switch in switches & numbers.keys():
            heads.append(place)
            tails.append(numbers[switch])
            weights.append(1)
    size = len(names) + len(sources)
    matrix = csr_array((weights, (heads, tails)), shape=(size, size), dtype=float)
    rows = dijkstra(matrix, indices=range(len(names), size))[:, : len(names)]
    found: dict[Destination, Costs] = {}
    for destination, row in zip(sources, rows, strict=True):
        reached = (row < float("inf")).nonzero()[0].tolist()
        whole = (row[reached] - 1).astype(int).tolist()
        found[destination] = dict(zip((names[place] for place in reached), whole, strict=True))
    return found


def _dijkstra(neighbours: Mapping[str, list[tuple[str, int]]], sources: list[str]) -> Costs:
    costs: Costs = dict.fromkeys(sources, 0)
    heap = [(0, source) for source in sources]
    while heap:
        cost, switch = heappop(heap)
        if cost > costs[switch]:
            continue
        for other, weight in neighbours[switch]:
            way = cost + weight
            if way < costs.get(other, way + 1):
                costs[other] = way
                heappush(heap, (way, other))
    return costs
