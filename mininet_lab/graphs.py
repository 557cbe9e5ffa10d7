"""Graphs that algorithms are tried on. Switches are nodes, by name; links cost one hop."""

from __future__ import annotations

import json
import random
from importlib import resources
from typing import TypeAlias

import networkx as nx

Graph: TypeAlias = "nx.Graph[str]"

#: Smaller networks say little about ways through them.
FEWEST_SWITCHES = 10


def zoo() -> dict[str, Graph]:
    """The connected graphs of the Internet Topology Zoo (Knight et al., IEEE JSAC 29(9), 2011)
    with at least `FEWEST_SWITCHES` nodes, by name, as the package topohub carries them."""
    found: dict[str, Graph] = {}
    folder = resources.files("topohub") / "data" / "topozoo"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".json"):
            continue
        read = nx.node_link_graph(json.loads(file.read_text(encoding="utf-8")), edges="edges")
        graph: Graph = nx.Graph()
        graph.add_nodes_from(map(str, read))
        graph.add_edges_from((str(a), str(b)) for a, b in read.edges() if a != b)
        if len(graph) >= FEWEST_SWITCHES and nx.is_connected(graph):
            found[file.name.removesuffix(".json")] = graph
    return found


def fat_tree(ports: int) -> Graph:
    """The switches of a fat-tree of switches with this many ports, an even number: 5/4 of its
    square (Al-Fares et al., SIGCOMM 2008)."""
    half = ports // 2
    graph: Graph = nx.Graph()
    for pod in range(ports):
        for upper in range(half):
            for lower in range(half):
                graph.add_edge(f"aggregation{pod}-{upper}", f"edge{pod}-{lower}")
            for core in range(half):
                graph.add_edge(f"aggregation{pod}-{upper}", f"core{upper}-{core}")
    return graph


def random_graph(switches: int, seed: int, degree: int = 4) -> Graph:
    """Connected: a random tree, and random links up to this mean degree."""
    generator = random.Random(seed)
    names = [f"s{number}" for number in range(switches)]
    graph: Graph = nx.Graph()
    for number, name in enumerate(names[1:], 1):
        graph.add_edge(name, names[generator.randrange(number)])
    while graph.number_of_edges() < switches * degree // 2:
        a, b = generator.sample(names, 2)
        graph.add_edge(a, b)
    return graph
