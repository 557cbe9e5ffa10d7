"""The routes of a site's backbones, from nothing: what `topology.trees` then keeps up to date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx

from topology.graph import LiveGraph
from topology.model import Interface, Network
from topology.routes import Destination, Routes, Sources
from topology.trees import Trees


def backbone_switches(network: Network) -> frozenset[str]:
    """The switches of all backbones, by name."""
    segments = network.segments
    return frozenset(s.name for s in network.switches.values() if segments[s.segment].backbone)


def sources(network: Network, live: Mapping[str, Iterable[Interface]]) -> Sources:
    """Where each destination is reached, with the offset that the way there begins with: each
    backbone switch at itself, each file server at the switches of its `live` interfaces."""
    found: dict[Destination, dict[str, int]] = {
        Destination.switch(name): {name: 0} for name in backbone_switches(network)
    }
    for server in network.file_servers:
        offsets: dict[str, int] = {}
        for card in live.get(server, ()):
            switch = card.attachment.switch
            offsets[switch] = min(card.offset, offsets.get(switch, card.offset))
        found[Destination.file_server(server)] = offsets
    return found


def backbone_graph(graph: LiveGraph) -> nx.MultiGraph:
    """A copy of the live graph with nothing but the backbones."""
    members = backbone_switches(graph.network) & set(graph.switches)
    return nx.MultiGraph(graph.switches.subgraph(members))


def trees(graph: LiveGraph, live: Mapping[str, Iterable[Interface]]) -> Trees:
    """The trees of all destinations. A switch that is gone is no source."""
    found = backbone_graph(graph)
    there = {
        destination: {switch: offset for switch, offset in offsets.items() if switch in found}
        for destination, offsets in sources(graph.network, live).items()
    }
    return Trees(found, there)


def routes(graph: LiveGraph, live: Mapping[str, Iterable[Interface]]) -> Routes:
    """The routes of all destinations, and the flood tree."""
    members = backbone_switches(graph.network)
    return trees(graph, live).routes({name: graph.tree_ports(name) for name in sorted(members)})
