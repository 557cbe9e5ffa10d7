"""Shortest paths to many destinations from nothing: in waves, one for each cost that ways have,
which carry all destinations that cost so much from there across the links (Dijkstra's algorithm).
Where every link costs the same, that is a breadth-first search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx

from topology.paths.costs import Bits, Costs, Queue, put
from topology.paths.routes import Sources
from topology.paths.shortest import SAME_WEIGHT
from topology.pauses import Pause, no_pause

#: By weight, the neighbours of a switch to whom the cheapest link weighs so much.
Near = Iterable[tuple[int, Iterable[str]]]

#: By neighbour, the links to it, as networkx keeps them.
Adjacent = Mapping[str, Mapping[str, Mapping[str, int]]]

#: By switch, the destinations whose wave is there.
Wave = dict[str, Bits]


def costs_of_all(graph: nx.MultiGraph, sources: Sources) -> Costs:
    """What ways cost to the destinations, whose bits are in the order of `sources`: the least,
    over its sources, which are all in the graph, of the offset there and the shortest path."""
    costs: Costs = {switch: {} for switch in graph}
    queue = Queue()
    for place, offsets in enumerate(sources.values()):
        bit = 1 << place
        for switch, offset in offsets.items():
            queue.add(offset, switch, bit)
    same: int | None = graph.graph.get(SAME_WEIGHT)
    near = {switch: near_of(adjacent, same) for switch, adjacent in graph.adjacency()}
    settle(costs, queue, dict.fromkeys(graph, (1 << len(sources)) - 1), near)
    return costs


def beginnings(sources: Sources) -> Costs:
    """Where ways begin, and at which offsets."""
    found: Costs = {}
    for place, offsets in enumerate(sources.values()):
        bit = 1 << place
        for switch, offset in offsets.items():
            put(found, switch, offset, bit)
    return found


def settle(
    costs: Costs,
    queue: Queue,
    missing: Wave,
    near: Mapping[str, Near],
    pause: Pause = no_pause,
) -> None:
    """The least costs for those who miss some, who are then struck out of `missing`.

    Args:
        queue: costs that they may have.
        near: the neighbours of each of them.
        pause: called between waves.
    """
    for cost, reached in queue.ascending():
        pause()
        wave: Wave = {}
        for switch, bits in reached.items():
            if switch in missing and (news := bits & missing[switch]):
                wave[switch] = news
                at = costs[switch]
                at[cost] = at.get(cost, 0) | news
                if left := missing[switch] ^ news:
                    missing[switch] = left
                else:
                    del missing[switch]
        if not missing:
            return
        # From the side where there is less to do. A step of `_pull` takes half as long.
        step = _pull if len(missing) < 2 * len(wave) else _push
        step(queue, cost, wave, missing, near)


def _push(queue: Queue, cost: int, wave: Wave, missing: Wave, near: Mapping[str, Near]) -> None:
    """Queue whom the wave reaches, looking from where it is."""
    for switch, bits in wave.items():
        for weight, neighbours in near[switch]:
            onward = cost + weight
            for neighbour in neighbours:
                if neighbour in missing and (news := bits & missing[neighbour]):
                    reached = queue[onward]
                    reached[neighbour] = reached.get(neighbour, 0) | news


def _pull(queue: Queue, cost: int, wave: Wave, missing: Wave, near: Mapping[str, Near]) -> None:
    """Queue whom the wave reaches, looking from those who miss something."""
    for switch, wanted in missing.items():
        for weight, neighbours in near[switch]:
            seen = 0
            for neighbour in neighbours:
                seen |= wave.get(neighbour, 0)
            if news := seen & wanted:
                reached = queue[cost + weight]
                reached[switch] = reached.get(switch, 0) | news


def near_of(adjacent: Adjacent, same: int | None = None) -> Near:
    """The neighbours of a switch by weight; `same` is that of all links, if they have the same."""
    if same is not None:
        return ((same, adjacent),)
    found: dict[int, list[str]] = {}
    for neighbour, links in adjacent.items():
        found.setdefault(least_weight(links), []).append(neighbour)
    return found.items()


def least_weight(links: Mapping[str, Mapping[str, int]]) -> int:
    """Of the weights of the links between two switches."""
    if len(links) == 1:
        (data,) = links.values()
        return data["weight"]
    return min(data["weight"] for data in links.values())
