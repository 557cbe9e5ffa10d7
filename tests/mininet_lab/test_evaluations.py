"""The graphs and the arithmetic of evaluations."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from mininet_lab import evaluations
from mininet_lab.evaluations import engine, paths, rules
from mininet_lab.graphs import fat_tree, random_graph, zoo
from topology.spread import Load


def test_every_evaluation_says_what_it_compares() -> None:
    for name in evaluations.names():
        found = evaluations.find(name)
        assert found.summary.endswith(".")
        assert callable(found.play)


def test_an_unknown_evaluation_is_refused_by_name() -> None:
    with pytest.raises(evaluations.UnknownEvaluationError, match="engine, paths"):
        evaluations.find("speed")


def test_the_zoo_has_its_connected_graphs_of_ten_switches_and_more() -> None:
    graphs = zoo()
    assert len(graphs) == 177
    assert all(len(graph) >= 10 and nx.is_connected(graph) for graph in graphs.values())


@pytest.mark.parametrize(("ports", "switches"), [(4, 20), (16, 320)])
def test_a_fat_tree_has_its_switches_and_each_its_ports(ports: int, switches: int) -> None:
    graph = fat_tree(ports)
    assert len(graph) == switches
    to_switches = {degree for _, degree in graph.degree}
    assert to_switches == {ports, ports // 2}


def test_a_random_graph_is_connected_and_the_same_for_the_same_seed() -> None:
    graph = random_graph(50, seed=3)
    assert nx.is_connected(graph)
    assert set(graph.edges) == set(random_graph(50, seed=3).edges)


def test_loads_of_several_are_added_by_direction() -> None:
    both = paths.together([Load({("a", "b"): 1.0}), Load({("a", "b"): 2.0, ("b", "a"): 1.0})])
    assert both.links == {("a", "b"): 3.0, ("b", "a"): 1.0}


def test_in_a_placement_the_nearest_crosses_least_and_spreading_loads_least() -> None:
    graph = random_graph(30, seed=1)
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    found = paths.place(graph, lengths, random.Random(1))
    assert found[paths.NEAREST].crossings == min(found[way].crossings for way in paths.WAYS)
    assert found[paths.SPREAD].heaviest <= found[paths.NEAREST].heaviest
    assert found[paths.BEST].crossings <= found[paths.ONE].crossings


def test_incremental_results_are_compared_with_those_from_nothing() -> None:
    graph = random_graph(40, seed=1)
    sources = engine.placements(graph, 3, seed=1)
    taken, compared = engine.event_time(engine.model(graph, 5, 1), sources, events=20, seed=1)
    assert taken > 0
    assert compared == 20


def test_rules_are_counted_on_a_ring_of_four() -> None:
    ring = nx.relabel_nodes(nx.cycle_graph(4), {n: f"s{n}" for n in range(4)})
    counts = rules.Counts()
    rules.count(ring, counts, seed=1, failures=2)
    assert counts.rules == [rules.SERVERS + 4] * 4
    assert max(counts.own_groups) == 3  # every switch has a file server's interface
    assert counts.shared_groups == [3] * 4
    assert counts.entries == 0
    assert len(counts.own_changes) == 2
