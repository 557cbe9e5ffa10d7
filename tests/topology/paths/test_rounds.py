"""Whatever mixture of old and new a round brings, no packet and no flood goes in circles."""

from __future__ import annotations

import random
from itertools import pairwise

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.paths.rounds import rounds, used
from topology.paths.routes import Destination, Routes
from topology.paths.shortest import Hops, flood_tree
from topology.paths.trees import Trees

FILES = Destination.file_server("files")


def network(edges: list[tuple[str, str]]) -> nx.MultiGraph:
    """Ports are numbered by link, from 1 on."""
    graph = nx.MultiGraph()
    for number, (a, b) in enumerate(edges, 1):
        graph.add_edge(a, b, key=str(number), weight=1, ports={a: number, b: number})
    return graph


def behind(graph: nx.MultiGraph, switch: str) -> dict[int, str]:
    return {data["ports"][switch]: other for _, other, data in graph.edges(switch, data=True)}


def mixture(graph: nx.MultiGraph, before: Routes, after: Routes, d: Destination) -> nx.DiGraph:
    """Where each switch may send while it holds either."""
    found: nx.DiGraph[str] = nx.DiGraph()
    for switch in graph:
        for routes in (before, after):
            for hop in used(routes.of(d, switch), behind(graph, switch)):
                found.add_edge(switch, hop)
    return found


def loops(graph: nx.MultiGraph, steps: list[Routes]) -> bool:
    return any(
        not nx.is_directed_acyclic_graph(mixture(graph, before, after, destination))
        for before, after in pairwise(steps)
        for destination in after.hops
    )


def flood_loops(graph: nx.MultiGraph, before: Routes, after: Routes) -> bool:
    """A broadcast crosses a link only if both ends have it on their trees."""
    crossing: nx.MultiGraph[str] = nx.MultiGraph()
    crossing.add_nodes_from(graph)
    for a, b, data in graph.edges(data=True):
        ends = data["ports"].items()
        if all(port in (*before.tree[s], *after.tree[s]) for s, port in ends):
            crossing.add_edge(a, b)
    return not nx.is_forest(nx.Graph(crossing)) or crossing.number_of_edges() != len(
        set(map(frozenset, crossing.edges()))
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Trees, random.Random]:
    size = draw(st.integers(4, 12))
    names = [f"s{number:02}" for number in range(size)]
    generator = random.Random(draw(st.integers(0, 10_000)))
    edges = [
        (name, generator.choice(names[:number])) for number, name in enumerate(names) if number
    ]
    edges += [tuple(generator.sample(names, 2)) for _ in range(size)]
    sources = {FILES: {name: generator.randint(0, 2) for name in generator.sample(names, 2)}}
    sources |= {Destination.switch(name): {name: 0} for name in names}
    return Trees(network(edges), sources), generator


def current(trees: Trees) -> Routes:
    return trees.routes(flood_tree(trees.graph))


@given(worlds(), st.sampled_from(("link down", "link up", "interface moves", "offset")))
@settings(max_examples=200)
def test_no_round_of_any_event_can_make_a_loop(
    world: tuple[Trees, random.Random], event: str
) -> None:
    trees, generator = world
    link = generator.choice(sorted(trees.graph.edges(keys=True)))
    data = dict(trees.graph.edges[link])
    if event == "link up":
        trees.remove_link(*link)
    old = current(trees)
    if event == "link up":
        trees.add_link(*link, data["weight"], data["ports"])
    elif event == "link down":
        trees.remove_link(*link)
    else:
        same = event == "offset"
        names = sorted(trees.sources[FILES] if same else trees.graph)
        trees.set_sources(FILES, {s: generator.randint(0, 2) for s in generator.sample(names, 2)})
    new = current(trees)
    steps = [old, *rounds(trees.graph, old, new)]
    assert steps[-1] == new
    assert not loops(trees.graph, steps)
    assert not any(flood_loops(trees.graph, *pair) for pair in pairwise(steps))
    assert len(steps) <= len(trees.graph) + 1


def test_equal_routes_need_no_round() -> None:
    trees = Trees(network([("a", "b")]), {FILES: {"a": 0}})
    assert rounds(trees.graph, current(trees), current(trees)) == ()


def square() -> tuple[nx.MultiGraph, Routes, Routes]:
    """A ring of five; the way from b to a is cut, so b and c must go round by d."""
    trees = Trees(
        network([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "a")]),
        {FILES: {"a": 0}},
    )
    old = current(trees)
    trees.remove_link("a", "b", "1")
    return trees.graph, old, current(trees)


def test_all_at_once_could_loop_where_an_order_is_needed() -> None:
    graph, old, new = square()
    assert loops(graph, [old, new])
    steps = [old, *rounds(graph, old, new)]
    assert len(steps) > 2
    assert not loops(graph, steps)


def test_the_switch_far_from_the_failure_goes_first() -> None:
    graph, old, new = square()
    first = rounds(graph, old, new)[0]
    assert first.of(FILES, "c") == new.of(FILES, "c")
    assert first.of(FILES, "b") == old.of(FILES, "b")


def test_what_comes_from_nothing_needs_one_round() -> None:
    graph, _, new = square()
    assert rounds(graph, Routes(), new) == (new,)


def test_a_flood_tree_is_left_before_another_is_entered() -> None:
    graph = network([("a", "b"), ("b", "c"), ("c", "a")])
    hops = {FILES: {"b": Hops((1,))}}
    old = Routes(hops, {"a": (1,), "b": (1, 2), "c": (2,)})
    new = Routes(hops, {"a": (1, 3), "b": (1,), "c": (3,)})
    first, last = rounds(graph, old, new)
    assert first.tree == {"a": (1,), "b": (1,), "c": ()}
    assert last == new


def test_a_dead_port_is_not_used_and_the_first_other_one_is() -> None:
    hops = Hops(equal=(1, 2), downstream=(3,), alternates=(4,))
    assert used(hops, {1: "a", 2: "b", 3: "c"}) == {"a", "b"}
    assert used(hops, {3: "c", 4: "d"}) == {"c"}
    assert used(hops, {4: "d"}) == {"d"}
    assert used(hops, {}) == frozenset()
