"""Loads of links, and offsets that lighten the heaviest."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import backbones
from topology.graph import LiveGraph
from topology.model import (
    Attachment,
    FileServer,
    Interface,
    Link,
    Network,
    Segment,
    Switch,
    derived_mac,
)
from topology.paths.routes import Destination
from topology.paths.spread import load, spread, spread_out


@st.composite
def cases(draw: st.DrawFn) -> tuple[nx.Graph[str], tuple[str, ...], dict[str, float]]:
    """A connected graph, some interfaces, and what its switches' clients ask for."""
    size = draw(st.integers(4, 12))
    names = [f"s{number}" for number in range(size)]
    graph: nx.Graph[str] = nx.Graph()
    for number, name in enumerate(names[1:], 1):
        graph.add_edge(name, names[draw(st.integers(0, number - 1))])
    for a, b in draw(st.lists(st.tuples(*[st.sampled_from(names)] * 2), max_size=8)):
        if a != b:
            graph.add_edge(a, b)
    interfaces = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    demand = {name: float(draw(st.integers(0, 3))) for name in names}
    return graph, tuple(interfaces), demand


@given(cases())
def test_traffic_crosses_as_many_links_as_the_nearest_interface_is_away(
    case: tuple[nx.Graph[str], tuple[str, ...], dict[str, float]],
) -> None:
    graph, interfaces, demand = case
    away = nx.multi_source_dijkstra_path_length(graph, set(interfaces), weight=None)
    expected = sum(demand[name] * away[name] for name in graph)
    assert load(graph, dict.fromkeys(interfaces, 0), demand).crossings == pytest.approx(expected)


@given(cases())
def test_spreading_never_loads_the_heaviest_link_more(
    case: tuple[nx.Graph[str], tuple[str, ...], dict[str, float]],
) -> None:
    graph, interfaces, demand = case
    before = load(graph, dict.fromkeys(interfaces, 0), demand)
    after = load(graph, spread(graph, interfaces, demand), demand)
    assert after.heaviest <= before.heaviest + 1e-6


@given(cases())
@settings(max_examples=300)
def test_no_other_interface_is_nearer_to_a_switch_than_its_own(
    case: tuple[nx.Graph[str], tuple[str, ...], dict[str, float]],
) -> None:
    graph, interfaces, demand = case
    offsets = spread(graph, interfaces, demand)
    for one in interfaces:
        apart = nx.single_source_shortest_path_length(graph, one)
        others = (other for other in interfaces if other != one)
        assert all(0 <= offsets[one] < apart[other] + offsets[other] for other in others)


def lopsided() -> Network:
    """All clients, those of `b` and `c`, are nearer to the interface at `a` than to that at `z`,
    behind a slow link."""
    links = [("a", "b"), ("b", "c"), ("c", "z")]
    names = "abcz"
    switches = {
        name: Switch(name, n, "campus", clients=10 if name in "bc" else 0)
        for n, name in enumerate(names, 1)
    }
    ends = [(Attachment(a, 11), Attachment(b, 12)) for a, b in links]
    cards = tuple(
        Interface(f"{at}-2", "files", "campus", Attachment(at, 2), derived_mac(at)) for at in "az"
    )
    files = FileServer("files", "campus", derived_mac("files"), (), cards)
    segment = Segment("campus", (), backbone=True)
    wires = (Link(*ends[0]), Link(*ends[1]), Link(*ends[2], 3))
    return Network({"campus": segment}, switches, wires, file_servers={"files": files})


def test_a_file_server_that_spreads_has_offsets_and_one_that_does_not_has_none() -> None:
    network = lopsided()
    (nearest,) = network.file_servers.values()
    assert spread_out(network, nearest) == nearest
    spreading = spread_out(network, replace(nearest, policy="spread"))
    offsets = {card.name: card.offset for card in spreading.interfaces}
    assert offsets["a-2"] > 0
    assert offsets["z-2"] == 0


def test_with_its_offsets_clients_are_divided_between_the_interfaces() -> None:
    network = lopsided()
    (nearest,) = network.file_servers.values()
    for policy, ends in (("nearest", "aa"), ("spread", "az")):
        server = spread_out(network, replace(nearest, policy=policy))
        found = backbones.trees(LiveGraph.of(network), {"files": server.interfaces})
        destination = Destination.file_server("files")
        assert [found.ends(destination, switch) for switch in "bc"] == [{end} for end in ends]


def test_a_switch_without_clients_gives_no_reason_to_spread() -> None:
    network = lopsided()
    (nearest,) = network.file_servers.values()
    idle = {name: replace(switch, clients=0) for name, switch in network.switches.items()}
    server = spread_out(replace(network, switches=idle), replace(nearest, policy="spread"))
    assert [card.offset for card in server.interfaces] == [0, 0]


def test_equal_next_hops_share_evenly_and_directions_are_apart() -> None:
    square: nx.Graph[str] = nx.cycle_graph(4)
    square = nx.relabel_nodes(square, str)
    found = load(square, {"0": 0}, {"2": 1.0, "1": 1.0})
    assert found.links == {("2", "1"): 0.5, ("2", "3"): 0.5, ("1", "0"): 1.5, ("3", "0"): 0.5}
    assert (found.crossings, found.heaviest) == (3.0, 1.5)


def test_an_offset_sends_clients_to_an_interface_farther_away() -> None:
    """Five clients hang at one end of a line, at the interface a, and b is two links off."""
    line: nx.Graph[str] = nx.path_graph(["b", "x", "m", "a"], nx.Graph())
    line.add_edge("m", "n")
    demand = {"m": 2.0, "n": 2.0, "x": 0.0}
    assert load(line, {"a": 0, "b": 0}, demand).links["m", "a"] == 4.0
    offsets = spread(line, ("a", "b"), demand)
    assert offsets == {"a": 1, "b": 0}
    assert load(line, offsets, demand).heaviest == 2.0


def test_what_no_interface_reaches_loads_nothing() -> None:
    torn: nx.Graph[str] = nx.Graph([("a", "b"), ("c", "d")])
    assert load(torn, {"a": 0}, {"b": 1.0, "c": 1.0}).links == {("b", "a"): 1.0}
