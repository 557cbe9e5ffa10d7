"""Routes follow the live graph, however they were computed before."""

from __future__ import annotations

from campus_network import campus, intents
from hypothesis import given, settings
from hypothesis import strategies as st

from hactrl.routing import Routing
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Network

NAMES = tuple("abcdef")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    name = st.sampled_from(NAMES)
    edges = draw(st.lists(st.tuples(name, name), min_size=1, max_size=10))
    homes = draw(st.lists(name, min_size=1, max_size=3, unique=True))
    return campus([("a", "b"), *((a, b) for a, b in edges if a != b)], homes)


@settings(deadline=None)
@given(networks(), st.data())
def test_routes_of_any_sequence_of_failures_are_those_from_nothing(
    network: Network, data: st.DataObject
) -> None:
    routing = Routing()
    links, cards = sorted(network.links, key=str), sorted(network.file_interfaces.values(), key=str)
    for _ in range(4):
        down = data.draw(st.sets(st.sampled_from(links), max_size=3))
        live = data.draw(st.sets(st.sampled_from(cards)))
        graph = LiveGraph.of(network, {link.a for link in down})
        by_order = sorted(live, key=lambda card: card.name)
        found = routing.routes(graph, intents(network, by_order))
        assert found == backbones.routes(graph, {"files": by_order})
