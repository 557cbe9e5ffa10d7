"""Shortest paths to many destinations from nothing, three ways that give the same.

- Where every link costs the same, one breadth-first search carries all destinations at once: for
  each switch one big integer, with a bit for each destination that its wave has reached.
- Else Dijkstra's algorithm with a heap, for each destination.
- scipy's, if it is installed, for large graphs with weights: the sources of each destination are
  joined to a node of their own by links that cost nothing (the extra `fast`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from importlib.util import find_spec
from itertools import chain
from operator import itemgetter

import networkx as nx

from topology.routes import Destination, Sources

Costs = dict[str, int]

#: By switch and neighbour, the links between them: networkx's own dictionaries, which are several
#: times faster to walk than its views.
Adjacency = Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]

#: By switch, a bit for each destination.
Wave = dict[str, int]

#: From the digits of a binary number to octets 0 and 1.
_SPREAD = bytes(int(octet == ord("1")) for octet in range(256))
_OCTET = 256

#: So many destinations make the way by columns the faster one.
_WORTH_COLUMNS = 32

#: Below this product of destinations and links, turning the graph into scipy's takes longer than
#: it saves.
WORTH_CONVERTING = 300


def costs_of_all(
    graph: nx.MultiGraph, sources: Sources, scipy: bool = True
) -> dict[Destination, Costs]:
    """For each destination what the way from each switch costs that has one: the least, over its
    sources, of the offset there and the shortest path. With `scipy`, if it is installed."""
    plain = not any(any(offsets.values()) for offsets in sources.values())
    weights = _weights(dict(graph.adjacency()))
    unit = next(weights, 1)
    if plain and not any(map(unit.__ne__, weights)):
        return unit_costs(graph, sources, unit)
    worth = len(sources) * graph.number_of_edges() >= WORTH_CONVERTING
    if scipy and worth and have_scipy():
        return scipy_costs(graph, sources)
    return weighted_costs(graph, sources)


def _weights(adjacency: Adjacency) -> Iterator[int]:
    """Of all links, from both ends, in the adjacency's order."""
    links = chain.from_iterable(near.values() for near in adjacency.values())
    return map(itemgetter("weight"), chain.from_iterable(each.values() for each in links))


def waves(graph: nx.MultiGraph, sources: Sources) -> list[Wave]:
    """For each distance in links, from 0 on, which switches are reached just then: by name, with
    bit i set for the i-th destination of `sources`. Offsets are left out of account."""
    wave: Wave = {}
    for bit, switches in enumerate(sources.values()):
        for switch in switches:
            if switch in graph:
                wave[switch] = wave.get(switch, 0) | 1 << bit
    missing = dict.fromkeys(graph, (1 << len(sources)) - 1)
    neighbours = dict(graph.adjacency())
    found = []
    while wave:
        found.append(wave)
        for switch, bits in wave.items():
            missing[switch] ^= bits
            if not missing[switch]:
                del missing[switch]
        # From whichever side there are fewer switches to look at.
        step = _pulled if len(missing) < len(wave) else _pushed
        wave = step(neighbours, wave, missing) if missing else {}
    return found


def _pushed(neighbours: Adjacency, wave: Wave, missing: Wave) -> Wave:
    """The next wave, looking from those whom the last one has reached."""
    reached: Wave = {}
    for switch, bits in wave.items():
        for neighbour in neighbours[switch]:
            if neighbour in missing and (news := bits & missing[neighbour]):
                reached[neighbour] = reached.get(neighbour, 0) | news
    return reached


def _pulled(neighbours: Adjacency, wave: Wave, missing: Wave) -> Wave:
    """The next wave, looking from those whom something is missing to."""
    reached: Wave = {}
    for switch, wanted in missing.items():
        seen = 0
        for neighbour in neighbours[switch]:
            if neighbour in wave:
                seen |= wave[neighbour]
        if news := seen & wanted:
            reached[switch] = news
    return reached


def unit_costs(graph: nx.MultiGraph, sources: Sources, unit: int = 1) -> dict[Destination, Costs]:
    """`costs_of_all` where every link costs `unit` and every offset is zero."""
    found = waves(graph, sources)
    by_columns = len(sources) >= _WORTH_COLUMNS and len(found) <= _OCTET
    costs = (_by_columns if by_columns else _bit_by_bit)(graph, len(sources), found)
    if unit != 1:
        costs = [{switch: links * unit for switch, links in each.items()} for each in costs]
    return dict(zip(sources, costs, strict=True))


def _bit_by_bit(_graph: nx.MultiGraph, count: int, found: list[Wave]) -> list[Costs]:
    costs: list[Costs] = [{} for _ in range(count)]
    for distance, wave in enumerate(found):
        for switch, bits in wave.items():
            for place in _places(bits):
                costs[place][switch] = distance
    return costs


def _by_columns(graph: nx.MultiGraph, count: int, found: list[Wave]) -> list[Costs]:
    """A switch's row has an octet for each destination, so that a wave's bits, spread to octets,
    are added as one number; the columns of all rows are the costs."""
    rows, reached = dict.fromkeys(graph, 0), dict.fromkeys(graph, 0)
    for distance, wave in enumerate(found):
        for switch, bits in wave.items():
            reached[switch] |= bits
            rows[switch] += distance * int.from_bytes(f"{bits:b}".encode().translate(_SPREAD))
    octets = b"".join(row.to_bytes(count, "little") for row in rows.values())
    costs: list[Costs] = [
        dict(zip(rows, octets[place::count], strict=True)) for place in range(count)
    ]
    every = (1 << count) - 1
    for switch, bits in reached.items():
        for place in _places(every ^ bits):
            del costs[place][switch]
    return costs


def _places(bits: int) -> Iterator[int]:
    """Of the bits that are set, from the lowest on."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def weighted_costs(graph: nx.MultiGraph, sources: Sources) -> dict[Destination, Costs]:
    """`costs_of_all` with any positive weights: Dijkstra's algorithm, one destination after the
    other."""
    neighbours = {
        switch: [(other, least_weight(links)) for other, links in adjacent.items()]
        for switch, adjacent in graph.adjacency()
    }
    return {
        destination: _dijkstra(neighbours, {s: n for s, n in offsets.items() if s in graph})
        for destination, offsets in sources.items()
    }


def least_weight(links: Mapping[str, Mapping[str, int]]) -> int:
    """Of the weights of the links between two switches."""
    if len(links) == 1:
        (data,) = links.values()
        return data["weight"]
    return min(data["weight"] for data in links.values())


def have_scipy() -> bool:
    """Is the extra `fast` installed?"""
    return find_spec("scipy") is not None


def scipy_costs(graph: nx.MultiGraph, sources: Sources) -> dict[Destination, Costs]:
    """`costs_of_all` with any positive weights, by scipy's `csgraph.dijkstra`.

    Each destination is a node that leads to its sources at the cost of their offsets and one,
    taken off again: scipy takes a zero for no link.

    Raises:
        ImportError: scipy is not installed.
    """
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    adjacency = dict(graph.adjacency())
    names = list(adjacency)
    numbers = {name: number for number, name in enumerate(names)}
    joined = [
        {numbers[switch]: offset + 1 for switch, offset in offsets.items() if switch in numbers}
        for offsets in sources.values()
    ]
    tails = chain(
        map(numbers.__getitem__, chain.from_iterable(adjacency.values())),
        chain.from_iterable(joined),
    )
    parallel = np.fromiter(
        map(len, chain.from_iterable(near.values() for near in adjacency.values())), np.intp
    )
    weights = np.fromiter(_weights(adjacency), float)
    if len(weights) > len(parallel):
        weights = np.minimum.reduceat(weights, parallel.cumsum() - parallel)
    offsets = np.fromiter(chain.from_iterable(each.values() for each in joined), float)
    ends = np.cumsum([0, *map(len, adjacency.values()), *map(len, joined)])
    size = len(names) + len(sources)
    matrix = csr_array(
        (np.concatenate((weights, offsets)), np.fromiter(tails, np.int32), ends.astype(np.int32)),
        shape=(size, size),
    )
    rows = dijkstra(matrix, indices=range(len(names), size))[:, : len(names)] - 1
    found: dict[Destination, Costs] = {}
    for destination, row in zip(sources, rows, strict=True):
        (reached,) = np.isfinite(row).nonzero()
        there = names if len(reached) == len(names) else [names[place] for place in reached]
        found[destination] = dict(zip(there, row[reached].astype(int).tolist(), strict=True))
    return found


def _dijkstra(neighbours: Mapping[str, list[tuple[str, int]]], sources: Mapping[str, int]) -> Costs:
    costs: Costs = dict(sources)
    heap = sorted((offset, source) for source, offset in sources.items())
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
