"""How many rules, groups and messages a backbone needs: by pair, by destination, shared groups.

Ten file servers with four interfaces each, ten clients at every switch, requests and answers. By
pair: a rule for each client and file server, each way, on every switch of its path. By
destination: a rule for each file server and each client switch, and a group for each of them.
Shared, which is hactrl: one group for all destinations with the same next hops, and a second rule
for packets after a detour where there is an alternate; counted in what the compiler makes and the
diff sends. Then links fail, one at a time: what has to be sent, what the switches had already
repaired by themselves, and in how many rounds the change is free of loops.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from flows.backbone.locators import DETOUR
from flows.diff import diff
from flows.pipeline import FORWARD
from flows.rules import Rule, RuleSet
from mininet_lab.evaluations.repair import kind
from mininet_lab.graphs import Graph, fat_tree, random_graph, zoo
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.simulation import Controller, SimulatedSite, changes, groups_of, network_of
from topology.model import Link
from topology.paths.rounds import order, port_neighbours
from topology.paths.routes import Destination, Routes
from topology.paths.shortest import Hops
from topology.paths.trees import Trees

SERVERS, INTERFACES = 10, 4
FAILURES = 20

#: Of each switch. Only rules by pair are more where they are more.
CLIENTS = 10

#: What an independent calculation gave on the zoo, for file servers with four homes.
COVERED, COVERED_BY_INTERFACES, ANY_ORDER, ROUNDS = 0.87, 0.99, 0.84, 2


@dataclass
class Counts:
    """Of one group of graphs: by switch and graph, by failure, or by graph (the shares)."""

    pair_rules: list[int] = field(default_factory=list)
    own_rules: list[int] = field(default_factory=list)
    own_groups: list[int] = field(default_factory=list)
    shared_rules: list[int] = field(default_factory=list)
    shared_groups: list[int] = field(default_factory=list)
    pair_changes: list[int] = field(default_factory=list)
    own_changes: list[int] = field(default_factory=list)
    shared_rule_changes: list[int] = field(default_factory=list)
    shared_group_changes: list[int] = field(default_factory=list)
    entries: int = 0
    covered: int = 0
    covered_by_interfaces: int = 0
    graphs_covered: list[float] = field(default_factory=list)
    graphs_covered_by_interfaces: list[float] = field(default_factory=list)
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
    for group, graphs, failures in groups(options.seed):
        every[group] = counts = Counts()
        with story.working(group):
            for graph in graphs:
                count(graph, counts, options.seed, options.runs or failures)
    show(story, results, every)
    story.tell(f"figures are in {results.write()}")


def groups(seed: int) -> Iterator[tuple[str, list[Graph], int]]:
    """Names, graphs, and how many links fail in each. Every switch is a destination, so that
    what is compiled grows with the square of the switches: 1,000 take minutes for each failure.
    """
    yield "zoo (177 graphs)", list(zoo().values()), FAILURES
    yield "fat-tree of 80", [fat_tree(8)], FAILURES
    yield "fat-tree of 320", [fat_tree(16)], FAILURES // 2
    yield "random, 100", [random_graph(100, seed)], FAILURES
    yield "random, 300", [random_graph(300, seed)], FAILURES // 2


def count(graph: Graph, counts: Counts, seed: int, failures: int) -> None:
    """One graph: at rest, and after each of some links."""
    site = SimulatedSite(network_of(graph, SERVERS, INTERFACES, seed))
    controller = Controller(site)
    planner, before = controller.planner, controller.planner.routes
    paths = pair_paths(planner.trees, site)
    held = {switch: controller.begun[-1].rules_of(switch) for switch in graph}
    at_rest(counts, before, paths, held, site)
    entries, covered, by_interfaces = counts.entries, counts.covered, counts.covered_by_interfaces
    generator = random.Random(seed)
    links = site.network.links
    for link in generator.sample(links, min(failures, len(links))):
        rules_of = controller.turn(link)[-1].rules_of
        after = planner.routes
        protected(counts, planner.trees, before, site, link)
        counts.pair_changes.append(pair_changes(paths, pair_paths(planner.trees, site)))
        messages(counts, rules_of, held, before, after)
        ordered(counts, planner.trees, before, after)
        controller.turn(link)
    if seen := counts.entries - entries:
        counts.graphs_covered.append((counts.covered - covered) / seen)
        share = (counts.covered_by_interfaces - by_interfaces) / seen
        counts.graphs_covered_by_interfaces.append(share)


def aims(rule: Rule) -> set[int]:
    """What a rule of table `forward` matches as destination, detoured or not."""
    if rule.table != FORWARD.number:
        return set()
    return {field.value & ~DETOUR for field in rule.match if field.name == "eth_dst"}


def pair_paths(trees: Trees, site: SimulatedSite) -> dict[tuple[str, str], list[str]]:
    """For each client switch and file server the switches of one shortest path."""
    behind = port_neighbours(trees.graph)
    found = {}
    for name in site.network.file_servers:
        server = Destination.file_server(name)
        for client in trees.graph:
            path = [client]
            while (hops := trees.hops(server, path[-1])) != Hops():
                path.append(behind[path[-1]][hops.equal[0]])
            found[client, name] = path
    return found


def at_rest(
    counts: Counts,
    routes: Routes,
    paths: Mapping[tuple[str, str], list[str]],
    held: Mapping[str, RuleSet],
    site: SimulatedSite,
) -> None:
    """What each switch holds."""
    by_pair = dict.fromkeys(held, 0)
    for path in paths.values():
        for switch in path:
            by_pair[switch] += 2 * CLIENTS
    counts.pair_rules += by_pair.values()
    for switch, rules in held.items():
        ways = [routes.of(destination, switch) for destination in routes.hops]
        counts.own_rules.append(len(ways))
        counts.own_groups.append(sum(hops != Hops() for hops in ways))
        toward = [rule for rule in rules.rules.values() if aims(rule) & site.numbers.keys()]
        counts.shared_rules.append(len(toward))
        counts.shared_groups.append(len(groups_of(toward, rules.groups)))


def protected(
    counts: Counts, trees: Trees, routes: Routes, site: SimulatedSite, link: Link
) -> None:
    """How many entries toward file servers at the ends of a link had another hop, and how many
    if a packet may also be sent on to another interface of the same server; of those from which
    any way is left at all. `trees` are those after the failure, `routes` those before."""
    for name in site.network.file_servers:
        server = Destination.file_server(name)
        for end in (link.a, link.b):
            switch, port = end.switch, end.port
            hops = routes.of(server, switch)
            if port not in hops.equal or trees.cost(server, switch) is None:
                continue
            counts.entries += 1
            others = {*hops.equal, *hops.downstream, *hops.alternates} - {port}
            counts.covered += bool(others)
            onward = (routes.of(Destination.switch(at), switch) for at in site.homes(server))
            ways = {p for h in onward for p in (*h.equal, *h.downstream, *h.alternates)} - {port}
            counts.covered_by_interfaces += bool(others or ways)


def pair_changes(
    old_paths: Mapping[tuple[str, str], list[str]], new_paths: Mapping[tuple[str, str], list[str]]
) -> int:
    """Rules by pair that have to be sent."""
    found = 0
    for pair, old in old_paths.items():
        changed = set(pairwise(old)) ^ set(pairwise(new_paths[pair]))
        found += 2 * CLIENTS * len({switch for switch, _ in changed})
    return found


def messages(
    counts: Counts,
    rules_of: Callable[[str], RuleSet],
    held: Mapping[str, RuleSet],
    before: Routes,
    after: Routes,
) -> None:
    """What has to be sent after a failure: groups by destination; shared, what the diff gives."""
    own = 0
    kinds: Counter[str] = Counter()
    for switch, destinations in changes(before, after).items():
        own += len(destinations)
        kinds.update(map(kind, chain.from_iterable(diff(held[switch], rules_of(switch)))))
    counts.own_changes.append(own)
    counts.shared_rule_changes.append(kinds["rules"])
    counts.shared_group_changes.append(kinds["groups"])


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
    titles: list[str] = []
    rows = []
    for group, counts in every.items():
        kinds = {
            "rules, by pair": counts.pair_rules,
            "rules, by destination": counts.own_rules,
            "groups, by destination": counts.own_groups,
            "rules, shared groups": counts.shared_rules,
            "groups, shared groups": counts.shared_groups,
        }
        cells = []
        for title, values in kinds.items():
            results.add(f"{group}: {title}, per switch", "median", "entries", [median(values)])
            results.add(f"{group}: {title}, per switch", "most", "entries", [max(values)])
            cells.append(f"{median(values):g} / {max(values)}")
        titles = [title.replace(", ", " ") for title in kinds]
        rows.append((group, *cells))
    story.table("What a switch holds", ("median / most", *titles), rows)
    show_messages(story, results, every)
    show_repairs(story, results, every)


def show_messages(story: Story, results: Results, every: Mapping[str, Counts]) -> None:
    rows = []
    for group, counts in every.items():
        cells = []
        for title, values in (
            ("flow-mods by pair", counts.pair_changes),
            ("group-mods by destination", counts.own_changes),
            ("flow-mods, shared groups", counts.shared_rule_changes),
            ("group-mods, shared groups", counts.shared_group_changes),
        ):
            results.add(f"{group}: changes after a link failed", title, "messages", values)
            tail = statistics.quantiles(values, n=20, method="inclusive")[-1]
            cells.append(f"{median(values):g} / {tail:g} / {max(values)}")
        rows.append((group, *cells))
    columns = (
        "median / 95 % / most",
        "flow-mods by pair",
        "group-mods by destination",
        "flow-mods shared",
        "group-mods shared",
    )
    story.table("What is sent after one link failed, to all switches", columns, rows)


def show_repairs(story: Story, results: Results, every: Mapping[str, Counts]) -> None:
    rows = []
    for group, counts in every.items():
        shares = {
            "covered": counts.covered / counts.entries,
            "covered, other interfaces too": counts.covered_by_interfaces / counts.entries,
            "file servers, safe in any order": counts.any_order / counts.updates,
            "clients, safe in any order": counts.single_any_order / counts.single_updates,
        }
        for title, share in shares.items():
            results.add(f"{group}: {title}", "hactrl", "share", [share])
        by_graph = {
            "covered, by graph": counts.graphs_covered,
            "covered, other interfaces too, by graph": counts.graphs_covered_by_interfaces,
        }
        for title, values in by_graph.items():
            results.add(f"{group}: {title}", "hactrl", "share", values)
        cells = [f"{share:.1%}" for share in shares.values()]
        cells[2:2] = [f"{median(values):.1%}" for values in by_graph.values()]
        for title, needed in (("servers", counts.rounds), ("clients", counts.single_rounds)):
            results.add(f"{group}: rounds of the others, {title}", "hactrl", "rounds", needed)
            cells.append(f"{median(needed):g} / {max(needed)}" if needed else "none")
        rows.append((group, *cells))
    columns = (
        "",
        "entries covered",
        "with interfaces",
        "median graph",
        "with interfaces",
        "servers: any order",
        "clients: any order",
        "servers: rounds else",
        "clients: rounds else",
    )
    story.table("What switches repair alone, and how changes follow", columns, rows)
    story.tell(
        f"an independent calculation gave on the zoo {COVERED:.0%} and {COVERED_BY_INTERFACES:.0%}"
        f" covered, {ANY_ORDER:.0%} of updates safe in any order, else {ROUNDS} rounds. So it is in"
        " the median graph; all entries together are covered less, because in a few large rings"
        " hardly any has another hop"
    )


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
