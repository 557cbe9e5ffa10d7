"""How long next hops take to compute, from nothing and after one event, against networkx, scipy.

The same graphs, sources and results for all: what it costs every switch to reach the nearest
interface of each file server. networkx gets the graph as hactrl keeps it, a multigraph with
weights, and as a plain graph without, which it is faster on. Incremental results are compared
with those from nothing.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import networkx as nx

from mininet_lab.graphs import Graph, fat_tree, random_graph, zoo
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from topology.full import costs_of_all, scipy_costs, unit_costs, waves, weighted_costs
from topology.routes import Destination, Sources
from topology.trees import Trees

INTERFACES = 4
SERVERS = (10, 100)
HEAVIEST = 10

#: Random events, each a link that goes and one that comes, on each graph; and how many of them
#: are followed by a comparison with a computation from nothing.
EVENTS, COMPARED = 200, 20

#: Seconds after which nothing is measured once more.
PATIENCE = 2.0

#: Goals: times as fast as networkx on unit weights and on others, without scipy and with it;
#: seconds for an event with ten file servers.
UNIT_GOAL, WEIGHTED_GOAL, SCIPY_GOAL, EVENT_GOAL = 50.0, 1.4, 9.0, 1e-3


@dataclass(frozen=True)
class Timing:
    """Of one group of graphs and one number of file servers: medians in seconds, summed over the
    graphs of the group; `event` is the mean."""

    group: str
    servers: int
    times: Mapping[str, float]

    def ratio(self, slow: str, fast: str) -> float:
        return self.times[slow] / self.times[fast]


def play(options: Options, story: Story) -> None:
    """Every group of graphs, with ten and with a hundred file servers."""
    results = Results("engine", options.seed)
    timings = []
    compared = 0
    for group, graphs in groups(options.seed):
        for servers in SERVERS:
            with story.working(f"{group}, {servers} file servers"):
                timing, checked = measure(group, graphs, servers, options)
            timings.append(timing)
            compared += checked
            for system, seconds in timing.times.items():
                results.add(f"{group}, {servers} file servers", system, "s", [seconds])
    show(story, timings)
    judge(story, timings)
    story.expect(compared > 0, f"{compared} incremental results equal those from nothing")
    story.tell(f"figures are in {results.write()}")


def groups(seed: int) -> Iterator[tuple[str, list[Graph]]]:
    """Names, and graphs."""
    yield "zoo (177 graphs)", list(zoo().values())
    for ports in (16, 32, 48):
        graph = fat_tree(ports)
        yield f"fat-tree of {len(graph):,}", [graph]
    for switches in (1000, 3000, 10_000):
        yield f"random, {switches:,}", [random_graph(switches, seed)]


def model(graph: Graph, heaviest: int, seed: int) -> nx.MultiGraph:
    """The graph as hactrl keeps it, with random weights up to `heaviest`."""
    generator = random.Random(seed)
    found = nx.MultiGraph()
    found.add_nodes_from(graph)
    for a, b in graph.edges():
        weight = generator.randint(1, heaviest)
        found.add_edge(a, b, key=f"{a}-{b}", weight=weight, ports={a: 1, b: 1})
    return found


def placements(graph: Graph, servers: int, seed: int) -> Sources:
    """Each file server's interfaces on different switches."""
    generator, names = random.Random(seed), sorted(graph)
    return {
        Destination.file_server(str(number)): dict.fromkeys(generator.sample(names, INTERFACES), 0)
        for number in range(servers)
    }


def measure(group: str, graphs: list[Graph], servers: int, options: Options) -> tuple[Timing, int]:
    """All systems on all graphs of a group; and how many incremental results were compared."""
    times: dict[str, float] = {}
    compared = 0
    for number, graph in enumerate(graphs):
        sources = placements(graph, servers, options.seed + number)
        unit = model(graph, 1, options.seed)
        weighted = model(graph, HEAVIEST, options.seed)
        systems: dict[str, Callable[[], Any]] = {
            "unit: hactrl, waves": partial(waves, unit, sources),
            "unit: hactrl, costs": partial(unit_costs, unit, sources),
            "unit: networkx": partial(by_networkx, unit, sources, "weight"),
            "unit: networkx, plain graph": partial(by_networkx, graph, sources, ""),
            "unit: scipy": partial(scipy_costs, unit, sources),
            "weighted: hactrl": partial(weighted_costs, weighted, sources),
            "weighted: networkx": partial(by_networkx, weighted, sources, "weight"),
            "weighted: hactrl with scipy": partial(scipy_costs, weighted, sources),
        }
        for system, work in systems.items():
            times[system] = times.get(system, 0.0) + median_time(work, options.runs or 3)
        events = EVENTS if len(graphs) == 1 else EVENTS // 20
        for name, live in (("unit: event", unit), ("weighted: event", weighted)):
            mean, checked = event_time(live, sources, events, options.seed)
            times[name] = times.get(name, 0.0) + mean / len(graphs)
            compared += checked
    return Timing(group, servers, times), compared


def by_networkx(graph: Graph, sources: Sources, weight: str) -> dict[Destination, Any]:
    """As its users do: once for each file server."""
    return {
        destination: nx.multi_source_dijkstra_path_length(graph, switches, weight=weight or None)
        for destination, switches in sources.items()
    }


def median_time(work: Callable[[], Any], runs: int) -> float:
    """Seconds. What takes longer than `PATIENCE` is not repeated."""
    taken: list[float] = []
    while len(taken) < runs and sum(taken) < PATIENCE:
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def event_time(graph: nx.MultiGraph, sources: Sources, events: int, seed: int) -> tuple[float, int]:
    """Mean seconds of a random link that goes, or comes back; and how many results were compared
    with those from nothing.

    Raises:
        AssertionError: one differed.
    """
    generator = random.Random(seed)
    trees = Trees(graph.copy(), sources)
    links = sorted(trees.graph.edges(keys=True))
    away: list[tuple[str, str, str, int, dict[str, int]]] = []
    taken = 0.0
    for number in range(events):
        if away and generator.random() < 0.5:
            link = away.pop(generator.randrange(len(away)))
            begun = time.perf_counter()
            trees.add_link(*link)
        else:
            a, b, key = generator.choice(links)
            if not trees.graph.has_edge(a, b, key):
                continue
            data = trees.graph.edges[a, b, key]
            away.append((a, b, key, data["weight"], data["ports"]))
            begun = time.perf_counter()
            trees.remove_link(a, b, key)
        taken += time.perf_counter() - begun
        if number % (events // min(events, COMPARED)) == 0:
            fresh = costs_of_all(trees.graph, sources)
            assert all(trees.costs(d) == costs for d, costs in fresh.items()), (a, b)
    return taken / events, min(events, COMPARED)


def show(story: Story, timings: list[Timing]) -> None:
    """Two tables: unit weights, and others."""
    rows = [
        (
            timing.group,
            str(timing.servers),
            *milliseconds(timing, "unit: hactrl, waves", "unit: hactrl, costs"),
            *milliseconds(timing, "unit: networkx", "unit: networkx, plain graph", "unit: scipy"),
            f"{timing.ratio('unit: networkx', 'unit: hactrl, waves'):.0f}",
            f"{timing.ratio('unit: networkx', 'unit: hactrl, costs'):.0f}",
            f"{timing.times['unit: event'] * 1e3:.3f}",
        )
        for timing in timings
    ]
    ours = ("waves", "costs")
    theirs = ("networkx", "plain", "scipy")
    columns = ("ms", "servers", *ours, *theirs, "x waves", "x costs", "event")
    story.table("Every link costs the same", columns, rows)
    weighted = [
        (
            timing.group,
            str(timing.servers),
            *milliseconds(timing, "weighted: hactrl", "weighted: hactrl with scipy"),
            *milliseconds(timing, "weighted: networkx"),
            f"{timing.ratio('weighted: networkx', 'weighted: hactrl'):.1f}",
            f"{timing.ratio('weighted: networkx', 'weighted: hactrl with scipy'):.1f}",
            f"{timing.times['weighted: event'] * 1e3:.3f}",
        )
        for timing in timings
    ]
    heading = ("ms", "servers", "heap", "scipy", "networkx", "x heap", "x scipy", "event")
    story.table("Links cost 1 to 10", heading, weighted)
    story.tell(
        "waves: for each switch a bit for each file server at each distance, all that next hops"
        " need; costs: the same as numbers, as networkx gives them"
    )


def milliseconds(timing: Timing, *systems: str) -> list[str]:
    return [f"{timing.times[system] * 1e3:,.1f}" for system in systems]


def judge(story: Story, timings: list[Timing]) -> None:
    """The goals, each by its worst graph."""
    for servers in SERVERS:
        those = [timing for timing in timings if timing.servers == servers]
        for what, slow, fast, goal in (
            ("unit weights", "unit: networkx", "unit: hactrl, waves", UNIT_GOAL),
            ("weights", "weighted: networkx", "weighted: hactrl", WEIGHTED_GOAL),
            ("weights, scipy", "weighted: networkx", "weighted: hactrl with scipy", SCIPY_GOAL),
        ):
            worst = min(those, key=lambda timing: timing.ratio(slow, fast))
            story.expect(
                worst.ratio(slow, fast) >= goal,
                f"{servers} file servers, {what}: at least {goal:g} times as fast as networkx",
                f"{worst.ratio(slow, fast):.1f} times on {worst.group}",
            )
    for kind in ("unit", "weighted"):
        slowest = max(
            (timing for timing in timings if timing.servers == SERVERS[0]),
            key=lambda timing: timing.times[f"{kind}: event"],
        )
        mean = slowest.times[f"{kind}: event"]
        story.expect(
            mean < EVENT_GOAL,
            f"an event takes less than {EVENT_GOAL * 1e3:g} ms in the mean ({kind}, 10 servers)",
            f"{mean * 1e3:.2f} ms on {slowest.group}",
        )
