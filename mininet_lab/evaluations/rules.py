"""How many rules, groups and messages a backbone needs: by pair, by destination, shared groups.

Ten file servers with four interfaces each, ten clients at every switch, requests and answers. By
pair: a rule for each client and file server, each way, on every switch of its path. By
destination: a rule for each file server and each client switch, and a group for each of them.
Shared: the same rules, and one group for all destinations with the same next hops. Then links
fail, one at a time: what has to be sent, what the switches had already repaired by themselves, and
in how many rounds the change is free of loops.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import networkx as nx

from mininet_lab.evaluations.engine import model, placements
from mininet_lab.graphs import Graph, fat_tree, random_graph, zoo
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from topology.paths import Hops
from topology.rounds import order, port_neighbours
from topology.routes import Destination, Routes
from topology.trees import Trees

SERVERS = 10
FAILURES = 20

#: Of each switch. Only rules by pair are more where they are more.
CLIENTS = 10

#: What an independent calculation gave on the zoo, for file servers with four homes.
COVERED, COVERED_BY_INTERFACES, ANY_ORDER, ROUNDS = 0.87, 0.99, 0.84, 2


@dataclass
class Counts:
    """Of one group of graphs: by switch and graph, or by failure."""

    pair_rules: list[int] = field(default_factory=list)
    rules: list[int] = field(default_factory=list)
    own_groups: list[int] = field(default_factory=list)
    shared_groups: list[int] = field(default_factory=list)
    pair_changes: list[int] = field(default_factory=list)
    own_changes: list[int] = field(default_factory=list)
    shared_changes: list[int] = field(default_factory=list)
    entries: int = 0
    covered: int = 0
    covered_by_interfaces: int = 0
    updates: int = 0
    any_order: int = 0
    rounds: list[int] = field(default_factory=list)
    single_updates: int = 0
    single_any_order: int = 0
    single_rounds: list[int] = field(default_factory=list)


def play(options: Options, story: Story) -> None:
    """Every group of graphs."""
    results = Results("rules", options.seed)
    every: dict[str, Counts] = {}
    for group, graphs in groups(options.seed):
        every[group] = counts = Counts()
        with story.working(group):
            for graph in graphs:
                count(graph, counts, options.seed, options.runs or FAILURES)
    show(story, results, every)
    story.tell(f"figures are in {results.write()}")


def groups(seed: int) -> Iterator[tuple[str, list[Graph]]]:
    """Names, and graphs."""
    yield "zoo (177 graphs)", list(zoo().values())
    yield "fat-tree of 80", [fat_tree(8)]
    yield "fat-tree of 320", [fat_tree(16)]
    yield "random, 100", [random_graph(100, seed)]
    yield "random, 300", [random_graph(300, seed)]


def ported(graph: Graph, seed: int) -> nx.MultiGraph:
    """The graph as hactrl keeps it; each switch numbers its ports from 1 on."""
    found = model(graph, 1, seed)
    used = dict.fromkeys(found, 0)
    for a, b, data in found.edges(data=True):
        for switch in (a, b):
            used[switch] += 1
        data["ports"] = {a: used[a], b: used[b]}
    return found


def count(graph: Graph, counts: Counts, seed: int, failures: int) -> None:
    """One graph: at rest, and after each of some links."""
    servers = placements(graph, SERVERS, seed)
    sources = {**servers, **{Destination.switch(s): frozenset({s}) for s in graph}}
    trees = Trees(ported(graph, seed), sources)
    before = trees.routes({})
    paths = pair_paths(trees, servers)
    at_rest(counts, before, paths, graph)
    links = sorted(trees.graph.edges(keys=True))
    generator = random.Random(seed)
    for link in generator.sample(links, min(failures, len(links))):
        a, b, key = link
        data = trees.graph.edges[link]
        weight, ports = data["weight"], data["ports"]
        trees.remove_link(a, b, key)
        after = trees.routes({})
        protected(counts, trees, before, servers, ports)
        messages(counts, before, after, paths, pair_paths(trees, servers))
        ordered(counts, trees, before, after)
        trees.add_link(a, b, key, weight, ports)
        trees.routes({})


def pair_paths(trees: Trees, servers: Iterable[Destination]) -> dict[tuple[str, str], list[str]]:
    """For each client switch and file server the switches of one shortest path."""
    behind = port_neighbours(trees.graph)
    found = {}
    for server in servers:
        for client in trees.graph:
            path = [client]
            while (hops := trees.hops(server, path[-1])) != Hops():
                path.append(behind[path[-1]][hops.equal[0]])
            found[client, server.name] = path
    return found


def at_rest(
    counts: Counts, routes: Routes, paths: Mapping[tuple[str, str], list[str]], graph: Graph
) -> None:
    """What each switch holds."""
    by_pair = dict.fromkeys(graph, 0)
    for path in paths.values():
        for switch in path:
            by_pair[switch] += 2 * CLIENTS
    counts.pair_rules += by_pair.values()
    for switch in graph:
        entries = [routes.of(destination, switch) for destination in routes.hops]
        counts.rules.append(len(entries))
        counts.own_groups.append(sum(hops != Hops() for hops in entries))
        counts.shared_groups.append(len({hops for hops in entries if hops != Hops()}))


def protected(
    counts: Counts,
    trees: Trees,
    routes: Routes,
    servers: Iterable[Destination],
    ports: Mapping[str, int],
) -> None:
    """How many entries toward file servers at the ends of a link had another hop, and how many
    if a packet may also be sent on to another interface of the same server; of those from which
    any way is left at all. `trees` are those after the failure, `routes` those before."""
    for server in servers:
        for switch, port in ports.items():
            hops = routes.of(server, switch)
            if port not in hops.equal or trees.cost(server, switch) is None:
                continue
            counts.entries += 1
            others = {*hops.equal, *hops.downstream, *hops.alternates} - {port}
            counts.covered += bool(others)
            onward = (routes.of(Destination.switch(at), switch) for at in trees.sources[server])
            ways = {p for h in onward for p in (*h.equal, *h.downstream, *h.alternates)} - {port}
            counts.covered_by_interfaces += bool(others or ways)


def messages(
    counts: Counts,
    before: Routes,
    after: Routes,
    old_paths: Mapping[tuple[str, str], list[str]],
    new_paths: Mapping[tuple[str, str], list[str]],
) -> None:
    """What has to be sent after a failure: rules by pair; groups by destination; shared, rules
    that point elsewhere, and groups that come or go."""
    by_pair = 0
    for pair, old in old_paths.items():
        new = new_paths[pair]
        changed = set(pairwise(old)) ^ set(pairwise(new))
        by_pair += 2 * CLIENTS * len({switch for switch, _ in changed})
    counts.pair_changes.append(by_pair)
    changed_entries = [
        (destination, switch)
        for destination, hops in after.hops.items()
        if hops is not before.hops[destination]
        for switch in {*hops, *before.hops[destination]}
        if before.of(destination, switch) != after.of(destination, switch)
    ]
    counts.own_changes.append(len(changed_entries))
    switches = {switch for _, switch in changed_entries}
    contents = sum(len(held(before, switch) ^ held(after, switch)) for switch in switches)
    counts.shared_changes.append(len(changed_entries) + contents)


def held(routes: Routes, switch: str) -> set[Hops]:
    """The groups of a switch, by content."""
    return {routes.of(destination, switch) for destination in routes.hops} - {Hops()}


def ordered(counts: Counts, trees: Trees, before: Routes, after: Routes) -> None:
    """Which updates could loop in some order, and how many rounds those need. An update is what
    one failure changes for one destination."""
    behind = port_neighbours(trees.graph)
    for destination, hops in after.hops.items():
        if hops is before.hops[destination]:
            continue
        found = order(behind, before.hops[destination], hops)
        if not found:
            continue
        at_once = len(found) == 1
        if len(trees.sources[destination]) > 1:
            counts.updates += 1
            counts.any_order += at_once
            counts.rounds += [] if at_once else [len(found)]
        else:
            counts.single_updates += 1
            counts.single_any_order += at_once
            counts.single_rounds += [] if at_once else [len(found)]


def show(story: Story, results: Results, every: Mapping[str, Counts]) -> None:
    """Three tables."""
    rows: list[tuple[str, ...]] = []
    for group, counts in every.items():
        cells = []
        for title, values in (
            ("rules, by pair", counts.pair_rules),
            ("rules, by destination", counts.rules),
            ("groups, own", counts.own_groups),
            ("groups, shared", counts.shared_groups),
        ):
            results.add(f"{group}: {title}, per switch", "median", "entries", [median(values)])
            results.add(f"{group}: {title}, per switch", "most", "entries", [max(values)])
            cells.append(f"{median(values):g} / {max(values)}")
        rows.append((group, *cells))
    columns = ("median / most", "rules by pair", "by destination", "own groups", "shared groups")
    story.table("What a switch holds", columns, rows)
    rows.clear()
    for group, counts in every.items():
        cells = []
        for title, values in (
            ("by pair", counts.pair_changes),
            ("by destination", counts.own_changes),
            ("shared groups", counts.shared_changes),
        ):
            results.add(f"{group}: changes after a link failed", title, "messages", values)
            tail = statistics.quantiles(values, n=20)[-1]
            cells.append(f"{median(values):g} / {tail:g} / {max(values)}")
        rows.append((group, *cells))
    titles = ("median / 95 % / most", "by pair", "by destination", "shared groups")
    story.table("What is sent after one link failed, to all switches", titles, rows)
    rows.clear()
    for group, counts in every.items():
        shares = {
            "covered": counts.covered / counts.entries,
            "covered, other interfaces too": counts.covered_by_interfaces / counts.entries,
            "file servers, safe in any order": counts.any_order / counts.updates,
            "clients, safe in any order": counts.single_any_order / counts.single_updates,
        }
        for title, share in shares.items():
            results.add(f"{group}: {title}", "hactrl", "share", [share])
        cells = [f"{share:.1%}" for share in shares.values()]
        for title, needed in (("servers", counts.rounds), ("clients", counts.single_rounds)):
            results.add(f"{group}: rounds of the others, {title}", "hactrl", "rounds", needed)
            cells.append(f"{median(needed):g} / {max(needed)}" if needed else "none")
        rows.append((group, *cells))
    heading = (
        "",
        "entries covered",
        "with interfaces",
        "servers: any order",
        "clients: any order",
        "servers: rounds else",
        "clients: rounds else",
    )
    story.table("What switches repair alone, and how changes follow", heading, rows)
    story.tell(
        f"an independent calculation gave on the zoo {COVERED:.0%} and {COVERED_BY_INTERFACES:.0%}"
        f" covered, {ANY_ORDER:.0%} of updates safe in any order, else {ROUNDS} rounds"
    )


def median(values: list[int]) -> float:
    return statistics.median(values)
