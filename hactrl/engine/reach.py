"""Which switches of a backbone are joined, as far as the state knows."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx

from hactrl.engine.state import State
from topology.discovery import Judgement
from topology.graph import LiveGraph
from topology.model import Network


def network_now(network: Network, cabling: Judgement) -> Network:
    """The network with the links that may be used: without those that lead elsewhere, and with
    those that were discovered."""
    misled, discovered = cabling.misled, cabling.discovered
    if not misled and not discovered:
        return network
    kept = tuple(link for link in network.links if str(link) not in misled)
    return replace(network, links=kept + discovered)


def joined(state: State, switch: str) -> frozenset[str]:
    """The switches that links which are up join with this one, and itself."""
    network = network_now(state.site.network, state.cabling)
    ports_up = {name: told.ports_up for name, told in state.switches.items()}
    graph = LiveGraph.of(network, ports_up=ports_up).switches
    return frozenset(nx.node_connected_component(graph, switch))
