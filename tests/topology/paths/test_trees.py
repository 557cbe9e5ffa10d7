"""Whatever happens to links and sources, the trees are what a computation from nothing gives."""

from __future__ import annotations

from collections.abc import Mapping, Set

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.paths.costs import Costs, places
from topology.paths.from_nothing import costs_of_all
from topology.paths.routes import Destination, Sources
from topology.paths.shortest import SAME_WEIGHT, Hops
from topology.paths.trees import Trees

NAMES = tuple("abcdefgh")
FILES = Destination.file_server("files")
SWITCHES = {Destination.switch(n): {n: 0} for n in NAMES}
EVERY: Sources = {FILES: {"a": 0, "b": 0}, **SWITCHES}
#: a's offset is larger than what a way to b may cost.
OFFSET: Sources = {FILES: {"a": 3, "b": 1}, **SWITCHES}

offsets = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4), max_size=4)

Link = tuple[str, str, int]


def network(links: list[Link]) -> nx.MultiGraph:
    """Parallel links are possible; the port at each end is the link's number, from 1 on."""
    graph = nx.MultiGraph()
    graph.add_nodes_from(NAMES)
    for number, (a, b, weight) in enumerate(links, 1):
        graph.add_edge(a, b, key=str(number), weight=weight, ports={a: number, b: number})
    return graph


@st.composite
def links(draw: st.DrawFn, heaviest: int = 3) -> list[Link]:
    name, weight = st.sampled_from(NAMES), st.integers(1, heaviest)
    found = draw(st.lists(st.tuples(name, name, weight), max_size=18))
    return [(a, b, weight) for a, b, weight in found if a != b]


def reference(graph: nx.MultiGraph, sources: Sources) -> dict[Destination, dict[str, int]]:
    """Each destination is a node that its sources are linked to, at the cost of their offsets."""
    found = {}
    for destination, there in sources.items():
        joined: nx.DiGraph[str] = nx.DiGraph()
        joined.add_node("")
        joined.add_weighted_edges_from(("", switch, offset) for switch, offset in there.items())
        for a, b, weight in graph.edges(data="weight"):
            for one, other in ((a, b), (b, a)):
                known = joined.get_edge_data(one, other, {"weight": weight})
                joined.add_edge(one, other, weight=min(weight, known["weight"]))
        costs = nx.single_source_dijkstra_path_length(joined, "", weight="weight")
        found[destination] = {switch: cost for switch, cost in costs.items() if switch}
    return found


def brute_hops(
    graph: nx.MultiGraph, costs: Mapping[str, int], sources: Set[str], switch: str
) -> Hops:
    """By the definitions alone."""
    equal, downstream, alternates = [], [], []
    back = nx.single_source_dijkstra_path_length(graph, switch, weight="weight")
    for _, neighbour, data in graph.edges(switch, data=True):
        if switch not in costs or neighbour not in costs or switch in sources:
            continue
        port = data["ports"][switch]
        if data["weight"] + costs[neighbour] == costs[switch]:
            equal.append(port)
        elif costs[neighbour] < costs[switch]:
            downstream.append(port)
        elif costs[neighbour] < back[neighbour] + costs[switch]:
            alternates.append(port)
    return Hops(tuple(sorted(equal)), tuple(sorted(downstream)), tuple(sorted(alternates)))


def check(trees: Trees) -> None:
    expected = reference(trees.graph, trees.sources)
    routes = trees.routes({})
    for destination, costs in expected.items():
        assert trees.costs(destination) == costs
        for switch in NAMES:
            hops = brute_hops(trees.graph, costs, trees.sources[destination].keys(), switch)
            assert trees.hops(destination, switch) == hops
            assert routes.of(destination, switch) == hops


def named(costs: Costs, sources: Sources) -> dict[Destination, dict[str, int]]:
    """By destination instead of by switch."""
    found: dict[Destination, dict[str, int]] = {destination: {} for destination in sources}
    for switch, at in costs.items():
        for cost, bits in at.items():
            assert bits
            for place in places(bits):
                there = found[list(sources)[place]]
                assert switch not in there
                there[switch] = cost
    return found


@given(links(), offsets)
def test_costs_are_those_of_networkx(found: list[Link], there: dict[str, int]) -> None:
    graph = network(found)
    for sources in (EVERY, {**EVERY, FILES: there}):
        assert named(costs_of_all(graph, sources), sources) == reference(graph, sources)


def uniform(links: list[Link], weight: int) -> nx.MultiGraph:
    """Every link costs the same, and the graph says so."""
    graph = network([(a, b, weight) for a, b, _ in links])
    graph.graph[SAME_WEIGHT] = weight
    return graph


@given(links(), offsets, st.integers(1, 9))
def test_costs_are_those_of_networkx_where_every_link_costs_the_same(
    found: list[Link], there: dict[str, int], weight: int
) -> None:
    graph = uniform(found, weight)
    for sources in (EVERY, {**EVERY, FILES: there}):
        assert named(costs_of_all(graph, sources), sources) == reference(graph, sources)


@given(links(), st.integers(1, 9), st.data())
def test_many_destinations_at_once_cost_the_same(
    found: list[Link], weight: int, data: st.DataObject
) -> None:
    graph = uniform(found, weight)
    switches = st.frozensets(st.sampled_from(NAMES), max_size=3)
    many = data.draw(st.lists(switches, min_size=32, max_size=70))
    sources: Sources = {
        Destination.file_server(str(n)): dict.fromkeys(chosen, 0) for n, chosen in enumerate(many)
    }
    assert named(costs_of_all(graph, sources), sources) == reference(graph, sources)


def test_no_destinations_cost_nothing() -> None:
    graph = network([("s1", "s2", 1), ("s2", "s3", 2)])
    nothing: Costs = {switch: {} for switch in graph}
    assert costs_of_all(graph, {}) == nothing


@given(st.data(), links(), st.sampled_from((EVERY, OFFSET)))
@settings(max_examples=150)
def test_after_any_events_trees_and_hops_are_those_of_a_fresh_start(
    data: st.DataObject, found: list[Link], sources: Sources
) -> None:
    graph = network(found)
    trees = Trees(graph.copy(), sources)
    check(trees)
    away: list[tuple[str, str, str, int, dict[str, int]]] = []
    for _ in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from(("down", "up", "sources")))
        if kind == "down" and (edges := sorted(trees.graph.edges(keys=True))):
            a, b, key = data.draw(st.sampled_from(edges))
            attributes = trees.graph.edges[a, b, key]
            away.append((a, b, key, attributes["weight"], attributes["ports"]))
            trees.remove_link(a, b, key)
        elif kind == "up" and away:
            trees.add_link(*away.pop(data.draw(st.integers(0, len(away) - 1))))
        else:
            trees.set_sources(FILES, data.draw(offsets))
        check(trees)


@given(st.data(), links())
def test_who_is_not_named_as_changed_has_the_hops_that_it_had(
    data: st.DataObject, found: list[Link]
) -> None:
    trees = Trees(network(found), OFFSET)
    edges = sorted(trees.graph.edges(keys=True))
    for event in ("link", "sources"):
        before = {(d, s): trees.hops(d, s) for d in OFFSET for s in NAMES}
        if event == "sources":
            marked = trees.set_sources(FILES, data.draw(offsets))
        elif edges:
            marked = trees.remove_link(*data.draw(st.sampled_from(edges)))
        else:
            continue
        named = {(d, s) for s, bits in marked.items() for d in trees.destinations(bits)}
        for entry, hops in before.items():
            if entry not in named:
                assert trees.hops(*entry) == hops


def test_an_offset_moves_the_border_between_two_sources() -> None:
    """A line: c is nearer to b, and as near to a once b has an offset of one."""
    trees = Trees(network([("a", "d", 1), ("d", "c", 1), ("c", "b", 1)]), EVERY)
    assert trees.ends(FILES, "c") == {"b"}
    trees.set_sources(FILES, {"a": 0, "b": 1})
    assert trees.ends(FILES, "c") == {"a", "b"}
    assert trees.hops(FILES, "c").equal == (2, 3)
    assert trees.hops(FILES, "b") == Hops()
    trees.set_sources(FILES, {"a": 0, "b": 2})
    assert trees.ends(FILES, "c") == {"a"}


def test_what_has_not_changed_is_the_same_object_as_before() -> None:
    trees = Trees(network([("a", "b", 1), ("c", "d", 1), ("d", "e", 1)]), EVERY)
    before = trees.routes({})
    trees.set_sources(FILES, {"c": 0})
    after = trees.routes({})
    kept = {d for d in EVERY if after.hops[d] is before.hops[d]}
    assert kept == EVERY.keys() - {FILES}


def test_an_event_looks_only_at_what_it_changes() -> None:
    """A ring of many switches: a link far from the only source moves its far end alone."""
    ring = nx.MultiGraph()
    names = [f"s{number:03}" for number in range(201)]
    for a, b in zip(names, [*names[1:], names[0]], strict=True):
        ring.add_edge(a, b, key=f"{a}-{b}", weight=1, ports={a: 1, b: 2})
    trees = Trees(ring, {FILES: {"s000": 0}})
    assert len(trees.remove_link("s099", "s100", "s099-s100")) <= 4


def test_hops_that_an_event_leaves_alone_are_the_same_objects_as_before() -> None:
    trees = Trees(network([("a", "b", 1), ("b", "c", 1), ("c", "d", 1)]), EVERY)
    before = trees.routes({})
    trees.remove_link("c", "d", "3")
    after = trees.routes({})
    c = Destination.switch("c")
    assert after.of(c, "d") == Hops()
    assert after.of(c, "a") is before.of(c, "a")


def test_a_link_that_costs_otherwise_is_remembered_as_such() -> None:
    """A graph in which all links cost the same says so; from then on it no longer does."""
    trees = Trees(uniform([("a", "b", 1), ("b", "c", 1)], 1), EVERY)
    trees.add_link("a", "c", "dear", 5, {"a": 9, "c": 9})
    fresh = Trees(trees.graph, EVERY)
    fresh.remove_link("a", "b", "1")
    assert fresh.cost(Destination.switch("a"), "c") == 5
    assert Trees(fresh.graph, EVERY).cost(Destination.switch("a"), "c") == 5


def test_an_alternate_follows_the_way_back_of_the_neighbour_that_it_leads_to() -> None:
    """a may send d's packets by b if b does not send them back; it does as long as c joins them
    at a low cost. No way from a or b to d changes when that link goes."""
    trees = Trees(
        network([("a", "b", 3), ("a", "c", 1), ("c", "b", 1), ("a", "d", 1), ("b", "d", 3)]), EVERY
    )
    d = Destination.switch("d")
    assert trees.routes({}).of(d, "a") == Hops(equal=(4,))
    trees.remove_link("c", "b", "3")
    assert trees.routes({}).of(d, "a") == Hops(equal=(4,), alternates=(1,))


def test_a_switch_may_come_with_a_link() -> None:
    trees = Trees(network([("a", "b", 1)]), EVERY)
    trees.add_link("b", "new", "9", 2, {"b": 9, "new": 1})
    trees.add_link("new", "newer", "10", 2, {"new": 2, "newer": 1})
    a, new = Destination.switch("a"), Destination.switch("new")
    trees.set_sources(new, {"new": 0})
    assert (trees.cost(a, "newer"), trees.cost(new, "a")) == (5, 3)
    assert trees.routes({}).of(new, "newer") == Hops(equal=(1,))
    trees.remove_link("b", "new", "9")
    assert (trees.cost(a, "newer"), trees.cost(new, "a"), trees.cost(new, "newer")) == (
        None,
        None,
        2,
    )


def test_no_way_begins_at_a_switch_that_is_not_there() -> None:
    trees = Trees(network([("a", "b", 1)]), {FILES: {"elsewhere": 0}})
    assert trees.costs(FILES) == {}
    trees.set_sources(FILES, {"elsewhere": 0, "b": 0})
    assert trees.costs(FILES) == {"b": 0, "a": 1}


def test_a_link_that_costs_nothing_is_refused() -> None:
    trees = Trees(network([]), EVERY)
    with pytest.raises(ValueError, match="positive"):
        trees.add_link("a", "b", "x", 0, {"a": 1, "b": 1})


def test_a_destination_may_come_later() -> None:
    trees = Trees(network([("a", "b", 1)]), EVERY)
    new = Destination.file_server("new")
    trees.set_sources(new, {"b": 0})
    assert trees.hops(new, "a") == trees.routes({}).of(new, "a") == Hops(equal=(1,))
