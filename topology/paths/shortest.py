"""Paths in a graph of switches: distances, next hops, alternates, and a tree for flooding.

The graphs are networkx multigraphs whose edges carry `weight` (the link's cost, at least 1) and
`ports` (for each of the two switches its port); `graph_of` makes them. All results are sorted:
equal graphs, equal results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import networkx as nx

from topology.model import Link
from topology.pauses import Pause, no_pause

Distances = Mapping[str, Mapping[str, int]]

#: The attribute of a graph that says what each of its links costs, where all cost the same. A
#: graph without it says nothing.
SAME_WEIGHT = "weight"


@dataclass(frozen=True)
class Hops:
    """The ports by which one switch can send toward another, each in ascending order.

    equal: on a shortest path (equal-cost multipath).
    downstream: not on one, but to a neighbour that is nearer to the target than we are
        (RFC 5286, inequality 3). Hop after hop over `equal` and `downstream` ports only, in any
        mixture and whatever else fails, comes nearer each time and so never loops.
    alternates: to a neighbour that is not nearer, but whose own shortest paths do not lead through
        us (the loop-free condition, RFC 5286, inequality 1). Safe once in a packet's life.
    """

    equal: tuple[int, ...] = ()
    downstream: tuple[int, ...] = ()
    alternates: tuple[int, ...] = ()

    @property
    def nearer(self) -> tuple[int, ...]:
        return self.equal + self.downstream


def graph_of(
    switches: Iterable[str], links: Iterable[Link], pause: Pause = no_pause
) -> nx.MultiGraph:
    """A graph whose edges have the links' names for keys."""
    graph = nx.MultiGraph()
    graph.add_nodes_from(switches)
    weights = set()
    for link in links:
        pause()
        a, b = link.a, link.b
        ports = {a.switch: a.port, b.switch: b.port}
        graph.add_edge(a.switch, b.switch, key=str(link), weight=link.cost, ports=ports)
        weights.add(link.cost)
    if len(weights) == 1:
        graph.graph[SAME_WEIGHT] = weights.pop()
    return graph


def distances(graph: nx.MultiGraph) -> Distances:
    """What the shortest path costs, from every switch to every one that it can reach (Dijkstra)."""
    return dict(nx.all_pairs_dijkstra_path_length(graph, weight="weight"))


def hops(graph: nx.MultiGraph, costs: Distances, source: str, target: str) -> Hops:
    """How `source` sends toward `target`; nothing if it is there already or cannot get there."""
    if source == target or target not in costs.get(source, {}):
        return Hops()
    own = costs[source][target]
    equal, downstream, alternates = [], [], []
    for _, neighbour, data in graph.edges(source, data=True):
        port = data["ports"][source]
        left = costs[neighbour][target]
        if data["weight"] + left == own:
            equal.append(port)
        elif left < own:
            downstream.append(port)
        elif left < costs[neighbour][source] + own:
            alternates.append(port)
    return Hops(tuple(sorted(equal)), tuple(sorted(downstream)), tuple(sorted(alternates)))


def flood_tree(graph: nx.MultiGraph, pause: Pause = no_pause) -> dict[str, tuple[int, ...]]:
    """For each switch its ports on a minimum spanning tree (of each part, if the graph is torn).

    Kruskal; of links with equal cost the one that was added to the graph first.
    """
    ports: dict[str, list[int]] = {switch: [] for switch in graph}
    for a, b, key in nx.minimum_spanning_edges(graph, weight="weight", keys=True, data=False):
        pause()
        for switch, port in graph.edges[a, b, key]["ports"].items():
            ports[switch].append(port)
    return {switch: tuple(sorted(found)) for switch, found in ports.items()}
