"""Routes follow the live graph, however they were computed before."""

from __future__ import annotations

from dataclasses import replace

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


def test_the_nearest_interfaces_are_those_of_least_cost_that_are_live() -> None:
    network = campus([("a", "b"), ("b", "c"), ("c", "d")], ["a", "a", "c"])
    at_a, other_at_a, at_c = network.file_servers["files"].interfaces
    graph, routing = LiveGraph.of(network), Routing()
    assert routing.nearest("files", "a") == frozenset()
    routing.routes(graph, intents(network, (at_a, other_at_a, at_c)))
    assert routing.nearest("files", "a") == {at_a.name, other_at_a.name}
    assert routing.nearest("files", "b") == {at_a.name, other_at_a.name, at_c.name}
    assert routing.nearest("files", "d") == {at_c.name}
    routing.routes(graph, intents(network, (at_a,)))
    assert routing.nearest("files", "d") == {at_a.name}
    routing.routes(LiveGraph.of(network, {network.links[2].a}), intents(network, (at_a,)))
    assert routing.nearest("files", "d") == frozenset()


def test_changes_of_ways_and_of_live_interfaces_are_counted_and_nothing_else() -> None:
    network = campus([("a", "b"), ("b", "c")], ["a", "a", "c"])
    cards = network.file_servers["files"].interfaces
    everything, graph, routing = intents(network, cards), LiveGraph.of(network), Routing()
    routing.routes(graph, everything)
    before = routing.changes
    routing.routes(LiveGraph.of(network), replace(everything, hosts=()))
    assert routing.changes == before
    routing.routes(graph, intents(network, cards[1:]))
    assert routing.changes == before + 1
    routing.routes(LiveGraph.of(network, {network.links[0].a}), intents(network, cards[1:]))
    assert routing.changes == before + 2
