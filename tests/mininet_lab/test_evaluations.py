"""The graphs and the arithmetic of evaluations."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import pytest

from flows import planner
from flows.rules import Match, Output, Rule, RuleSet
from flows.walk.walker import Walker
from mininet_lab import evaluations, simulation
from mininet_lab.evaluations import engine, paths, repair, rules
from mininet_lab.graphs import fat_tree, random_graph, zoo
from topology.paths.spread import Load


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
    taken, compared = engine.event_times(engine.model(graph, 5, 1), sources, events=20, seed=1)
    assert len(taken) == 20
    assert compared == 20


def test_rules_are_counted_on_a_ring_of_four() -> None:
    ring = nx.relabel_nodes(nx.cycle_graph(4), {n: f"s{n}" for n in range(4)})
    counts = rules.Counts()
    rules.count(ring, counts, seed=1, failures=2)
    assert counts.own_rules == [rules.SERVERS + 4] * 4
    assert max(counts.own_groups) == 3  # every switch has a file server's interface
    assert counts.entries == 0
    assert len(counts.own_changes) == 2


def test_a_second_rule_stands_only_where_a_way_has_an_alternate() -> None:
    ring = nx.relabel_nodes(nx.cycle_graph(5), {n: f"s{n}" for n in range(5)})
    site = simulation.SimulatedSite(
        simulation.network_of(ring, rules.SERVERS, rules.INTERFACES, seed=1)
    )
    routes = simulation.Controller(site).planner.routes
    counts = rules.Counts()
    rules.count(ring, counts, seed=1, failures=1)
    for switch, found in zip(ring, counts.shared_rules, strict=True):
        ways = [hops[switch] for hops in routes.hops.values() if switch in hops]
        homes = sum(switch in site.homes(d) for d in routes.hops if d.kind == "file server")
        assert found == homes + sum(2 if way.alternates else 1 for way in ways)
    assert min(counts.shared_rules) > rules.SERVERS


def test_what_the_diff_sends_after_a_failure_is_counted() -> None:
    ring = nx.relabel_nodes(nx.cycle_graph(6), {n: f"s{n}" for n in range(6)})
    counts = rules.Counts()
    rules.count(ring, counts, seed=1, failures=3)
    assert min(counts.shared_rule_changes) > 0
    assert len(counts.shared_group_changes) == 3
    assert len(counts.graphs_covered) == 1


def watched_ring(switches: int, events: int) -> repair.RepairAccount:
    """What a ring of switches looked like while links came and went."""
    ring = nx.relabel_nodes(nx.cycle_graph(switches), {n: f"s{n}" for n in range(switches)})
    site = simulation.SimulatedSite(simulation.network_of(ring, 1, 2, seed=1))
    watcher = repair.Watcher(site, seed=1)
    watcher.begin()
    for before, after in pairwise(simulation.history(site.network.links, events, 2, seed=1)):
        (link,) = before ^ after
        watcher.event(link)
    watcher.all_pairs()
    return watcher.account


def test_a_ring_repairs_itself_as_the_walker_sees_it() -> None:
    account = watched_ring(6, 5)
    assert not any(account.faults.values())
    assert account.counted["covered"]
    assert account.counted["bare"] == account.counted["holes"] > 0
    assert len(account.sent["rounds"]) == 5


def test_links_that_turn_in_the_middle_of_a_repair_make_no_loop_and_all_is_right_at_last() -> None:
    part = repair.Part(12, seed=3, events=12, first=0, last=12, hurried=True)
    account = part.play()
    assert not any(account.faults.values())
    assert sum(account.sent["rounds"]) > 0
    assert any(rounds == 0 for rounds in account.sent["rounds"])


def test_without_rounds_a_repair_would_lose_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "rounds", lambda _graph, _old, new, _pause: (new,))
    faults = watched_ring(6, 5).faults
    assert faults["lost in rounds"]
    assert not faults["holes"]


def test_a_loop_and_rules_that_nobody_compiled_are_noticed() -> None:
    ring = nx.relabel_nodes(nx.cycle_graph(3), {n: f"s{n}" for n in range(3)})
    site = simulation.SimulatedSite(simulation.network_of(ring, 0, 0, seed=1))
    watcher = repair.Watcher(site, seed=1)
    watcher.begin()
    one, two = simulation.TRUNKS, simulation.TRUNKS + 1
    clockwise = {"s0": one, "s1": two, "s2": one}
    held = {s: RuleSet.of([Rule(0, 1, Match(), (Output(p),))]) for s, p in clockwise.items()}
    walker = Walker(held, site.network.links)
    watcher.world = replace(watcher.world, held=held, walker=walker)
    watcher.all_pairs()
    faults = watcher.account.faults
    assert faults["loops"]
    assert faults["holes"]
    assert len(faults["rules"]) == 3


def test_events_turn_one_link_each_and_few_are_down_at_once() -> None:
    links = simulation.network_of(random_graph(20, seed=1), 1, 1, seed=1).links
    downs = simulation.history(links, 100, 3, seed=1)
    assert [len(one ^ other) for one, other in pairwise(downs)] == [1] * 100
    assert max(map(len, downs)) == 3
