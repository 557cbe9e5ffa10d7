"""The routes of a site's backbones, from nothing: what `topology.paths.trees` then keeps up to
date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from topology.graph import LiveGraph, in_order
from topology.model import Attachment, Interface, Link, Network
from topology.paths.routes import Destination, Routes, Sources
from topology.paths.shortest import flood_tree as spanning_tree
from topology.paths.shortest import graph_of
from topology.paths.trees import Trees
from topology.pauses import Pause, no_pause


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


def members(graph: LiveGraph) -> frozenset[str]:
    """The switches of all backbones that are there, by name."""
    return backbone_switches(graph.network) - graph.absent


def links(graph: LiveGraph) -> dict[Attachment, Link]:
    """The links of all backbones that are up, by their first ends."""
    there = members(graph)
    return {link.a: link for link in graph.links if link.a.switch in there}


def trees(
    graph: LiveGraph, live: Mapping[str, Iterable[Interface]], pause: Pause = no_pause
) -> Trees:
    """The trees of all destinations."""
    switches = graph_of(sorted(members(graph)), links(graph).values(), pause)
    return Trees(switches, sources(graph.network, live), pause)


def routes(graph: LiveGraph, live: Mapping[str, Iterable[Interface]]) -> Routes:
    """The routes of all destinations, and the flood tree."""
    return trees(graph, live).routes(flood_tree(graph))


def flood_tree(graph: LiveGraph, pause: Pause = no_pause) -> dict[str, tuple[int, ...]]:
    """Of each backbone, by switch."""
    switches = sorted(backbone_switches(graph.network))
    ordered = in_order(links(graph).values())
    there = graph_of((name for name in switches if name not in graph.absent), ordered, pause)
    found = spanning_tree(there, pause)
    return {name: found.get(name, ()) for name in switches}
