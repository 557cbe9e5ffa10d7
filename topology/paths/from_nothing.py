"""Shortest paths to many destinations from nothing, three ways that give the same.

- Where every link costs the same, one breadth-first search carries all destinations at once.
- Else the switches are settled in order of cost, again for all destinations at once.
- scipy's, if it is installed (the extra `fast`), where links cost differently and the graph is
  large (`topology.paths.by_scipy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import networkx as nx

from topology.paths.by_scipy import costs_by_scipy, have_scipy
from topology.paths.costs import Bits, Costs, Queue, put, union
from topology.paths.routes import Sources
from topology.paths.shortest import SAME_WEIGHT
from topology.pauses import Pause, no_pause

#: By switch and neighbour, the links between them: networkx's own dictionaries, which are several
#: times faster to walk than its views.
Adjacency = Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]

#: By switch, the destinations whose wave is there.
Wave = dict[str, Bits]

#: On fewer switches, turning the graph into scipy's takes longer than it saves.
WORTH_CONVERTING = 250


def costs_of_all(graph: nx.MultiGraph, sources: Sources, scipy: bool = True) -> Costs:
    """What ways cost to the destinations, whose bits are in the order of `sources`: the least,
    over its sources, which are all in the graph, of the offset there and the shortest path. With
    `scipy`, if it is installed."""
    weight = graph.graph.get(SAME_WEIGHT)
    if weight is not None and (wave := first_wave(sources)) is not None:
        return breadth_first(graph, wave, (1 << len(sources)) - 1, weight)
    if scipy and len(graph) >= WORTH_CONVERTING and have_scipy():
        return costs_by_scipy(graph, sources)
    return in_order_of_cost(graph, beginnings(sources))


def beginnings(sources: Sources) -> Costs:
    """Where ways begin, and at which offsets."""
    found: Costs = {}
    for place, offsets in enumerate(sources.values()):
        bit = 1 << place
        for switch, offset in offsets.items():
            put(found, switch, offset, bit)
    return found


def first_wave(sources: Sources) -> Wave | None:
    """Where ways begin; None if any begins at an offset."""
    wave: Wave = {}
    for place, offsets in enumerate(sources.values()):
        bit = 1 << place
        for switch, offset in offsets.items():
            if offset:
                return None
            wave[switch] = wave.get(switch, 0) | bit
    return wave


def breadth_first(graph: nx.MultiGraph, wave: Wave, every: Bits, weight: int) -> Costs:
    """The costs of ways over links that each cost `weight`.

    Args:
        wave: where ways begin.
        every: all destinations.
    """
    costs: Costs = {switch: {} for switch in graph}
    missing = dict.fromkeys(graph, every)
    neighbours: Adjacency = dict(graph.adjacency())
    cost = 0
    while wave:
        for switch, bits in wave.items():
            costs[switch][cost] = bits
            if left := missing[switch] ^ bits:
                missing[switch] = left
            else:
                del missing[switch]
        # From the side where there is less to do. A step of `_pulled` takes half as long.
        step = _pulled if len(missing) < 2 * len(wave) else _pushed
        wave = step(neighbours, wave, missing) if missing else {}
        cost += weight
    return costs


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
            seen |= wave.get(neighbour, 0)
        if news := seen & wanted:
            reached[switch] = news
    return reached


def in_order_of_cost(graph: nx.MultiGraph, begins: Costs) -> Costs:
    """The costs of ways over links of any positive weights."""
    costs: Costs = {switch: {} for switch in graph}
    near = {
        switch: [(other, least_weight(links)) for other, links in adjacent.items()]
        for switch, adjacent in graph.adjacency()
    }
    queue = Queue()
    for switch, at in begins.items():
        for offset, bits in at.items():
            queue.add(offset, switch, bits)
    every = union(bits for at in begins.values() for bits in at.values())
    settle(costs, queue, dict.fromkeys(graph, every), near.__getitem__)
    return costs


def settle(
    costs: Costs,
    queue: Queue,
    missing: Wave,
    near: Callable[[str], Iterable[tuple[str, int]]],
    pause: Pause = no_pause,
) -> None:
    """Dijkstra's algorithm, for all destinations at once: the least costs for those who miss
    some, who are then struck out of `missing`.

    Args:
        queue: costs that they may have.
        near: gives the neighbours of a switch, each with the weight of the link to it.
    """
    for cost, reached in queue:
        pause()
        for switch, bits in reached.items():
            news = bits & missing[switch]
            if not news:
                continue
            missing[switch] ^= news
            put(costs, switch, cost, news)
            for other, weight in near(switch):
                if onward := news & missing.get(other, 0):
                    queue.add(cost + weight, other, onward)


def least_weight(links: Mapping[str, Mapping[str, int]]) -> int:
    """Of the weights of the links between two switches."""
    if len(links) == 1:
        (data,) = links.values()
        return data["weight"]
    return min(data["weight"] for data in links.values())
