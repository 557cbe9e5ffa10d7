"""How long next hops take to compute, from nothing and after one event, against networkx.

The same graphs, sources and results for all: what it costs every switch to reach the nearest
interface of each file server. networkx gets the graph as hactrl keeps it, a multigraph with
weights, and as a plain graph without, which it is faster on. Incremental results are compared
with those from nothing.

Fifty times networkx is reached where the search that carries all file servers at once has many to
carry, and a large graph to carry them over; there it matters. With ten it is not, and not on the
small graphs of the zoo, which take a fraction of a millisecond. How much was there to be had?
`floor` only walks the graph once and copies the finished answer, which no search can do without
that begins and ends with dictionaries: with ten file servers it is itself but 44 to 82 times as
fast as networkx on the zoo and on random graphs.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from mininet_lab.graphs import Graph, fat_tree, random_graph, zoo
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from topology.paths.costs import Costs
from topology.paths.from_nothing import costs_of_all
from topology.paths.routes import Destination, Sources
from topology.paths.shortest import SAME_WEIGHT
from topology.paths.trees import Trees

INTERFACES = 4
SERVERS = (10, 100)
HEAVIEST = 10

#: Random events on each graph, each a link that goes or one that comes back, and how many of them
#: are followed by a comparison with a computation from nothing: all on graphs that are not `LARGE`.
EVENTS, COMPARED, LARGE = 200, 20, 1000

#: Every system's runs, unless it takes more than `PATIENCE`.
RUNS = 5

#: Seconds after which nothing is measured once more.
PATIENCE = 2.0

#: Goals: by the number of file servers, times as fast as networkx on unit weights, on the zoo's
#: small graphs too; on other weights; seconds for an event with ten file servers.
UNIT_GOALS, WEIGHTED_GOAL, EVENT_GOAL = {10: 4.0, 100: 20.0}, 1.4, 1e-3


@dataclass(frozen=True)
class Timing:
    """Of one group of graphs and one number of file servers: by system the seconds of each run,
    over all graphs of the group; of each event those it took."""

    group: str
    servers: int
    runs: Mapping[str, list[float]]
    events: Mapping[str, list[float]]
    compared: int

    def median(self, system: str) -> float:
        return statistics.median(self.runs[system])

    def ratio(self, slow: str, fast: str) -> float:
        return self.median(slow) / self.median(fast)

    def event(self, kind: str) -> float:
        return statistics.mean(self.events[kind])


def play(options: Options, story: Story) -> None:
    """Every group of graphs, with ten and with a hundred file servers."""
    results = Results("engine", options.seed)
    timings = []
    for group, graphs in groups(options.seed):
        for servers in SERVERS:
            name = f"{group}, {servers} file servers"
            with story.working(name):
                timing = measure(group, graphs, servers, options)
            timings.append(timing)
            for system, seconds in timing.runs.items():
                results.add(name, system, "s", seconds)
            for kind in timing.events:
                results.add(name, f"{kind}: event, mean", "s", [timing.event(kind)])
    show(story, timings)
    judge(story, timings)
    played = sum(len(times) for timing in timings for times in timing.events.values())
    compared = sum(timing.compared for timing in timings)
    story.expect(
        compared >= 1000,
        f"{played:,} random events; incremental results equal those from nothing after each of the"
        f" {compared:,} of them that were compared",
    )
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
    found = nx.MultiGraph(**{SAME_WEIGHT: 1} if heaviest == 1 else {})
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


def measure(group: str, graphs: list[Graph], servers: int, options: Options) -> Timing:
    """All systems on all graphs of a group, and random events."""
    seed = options.seed
    placed = [placements(graph, servers, seed + number) for number, graph in enumerate(graphs)]
    unit = [model(graph, 1, seed) for graph in graphs]
    weighted = [model(graph, HEAVIEST, seed) for graph in graphs]
    both = list(zip(unit, placed, strict=True))
    answers = [(graph, costs_of_all(graph, sources)) for graph, sources in both]
    systems: dict[str, tuple[Callable[[Any, Sources], Any], list[Any]]] = {
        "unit: hactrl": (costs_of_all, unit),
        "unit: networkx": (by_networkx, unit),
        "unit: networkx, plain graph": (by_networkx_without_weights, graphs),
        "unit: floor": (floor, answers),
        "weighted: hactrl": (costs_of_all, weighted),
        "weighted: networkx": (by_networkx, weighted),
    }
    runs = {
        system: times_of(work, list(zip(those, placed, strict=True)), options.runs or RUNS)
        for system, (work, those) in systems.items()
    }
    count = EVENTS if len(graphs) == 1 else EVENTS // 20
    events: dict[str, list[float]] = {"unit": [], "weighted": []}
    compared = 0
    for kind, those in (("unit", unit), ("weighted", weighted)):
        for graph, sources in zip(those, placed, strict=True):
            taken, checked = event_times(graph, sources, count, seed)
            events[kind] += taken
            compared += checked
    return Timing(group, servers, runs, events, compared)


def floor(problem: tuple[nx.MultiGraph, Costs], _: Sources) -> Costs:
    """Walk the graph once and copy the answer: what is left of a search that finds nothing out."""
    graph, answer = problem
    for _switch, neighbours in graph.adjacency():
        for _neighbour in neighbours:
            pass
    return {switch: at.copy() for switch, at in answer.items()}


def by_networkx(
    graph: Graph, sources: Sources, weight: str | None = "weight"
) -> dict[Destination, Any]:
    """As its users do: once for each file server."""
    return {
        destination: nx.multi_source_dijkstra_path_length(graph, switches, weight=weight)
        for destination, switches in sources.items()
    }


def by_networkx_without_weights(graph: Graph, sources: Sources) -> dict[Destination, Any]:
    return by_networkx(graph, sources, None)


def times_of(
    work: Callable[[Any, Sources], Any], problems: list[tuple[Any, Sources]], runs: int
) -> list[float]:
    """Seconds of each run, over all problems. What takes longer than `PATIENCE` is not repeated."""
    taken: list[float] = []
    while len(taken) < runs and max(taken, default=0) < PATIENCE:
        gc.collect()
        begun = time.perf_counter()
        for graph, sources in problems:
            work(graph, sources)
        taken.append(time.perf_counter() - begun)
    return taken


def event_times(
    graph: nx.MultiGraph, sources: Sources, events: int, seed: int
) -> tuple[list[float], int]:
    """Seconds of each event, a random link that goes or comes back; and how many results were
    compared with those from nothing.

    Raises:
        AssertionError: one differed.
    """
    generator = random.Random(seed)
    trees = Trees(graph.copy(), sources)
    links = sorted(trees.graph.edges(keys=True))
    away: list[tuple[str, str, str, int, dict[str, int]]] = []
    taken: list[float] = []
    compared = 0
    gap = events // min(events, COMPARED) if len(graph) > LARGE else 1
    gc.collect()
    while len(taken) < events:
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
        taken.append(time.perf_counter() - begun)
        if len(taken) % gap == 0:
            assert trees.by_switch == costs_of_all(trees.graph, sources)
            compared += 1
    return taken, compared


def show(story: Story, timings: list[Timing]) -> None:
    """Two tables: unit weights, and others."""
    rows: list[tuple[str, ...]] = [
        (
            timing.group,
            str(timing.servers),
            *milliseconds(timing, "unit: hactrl", "unit: networkx"),
            *milliseconds(timing, "unit: networkx, plain graph", "unit: floor"),
            f"{timing.ratio('unit: networkx', 'unit: hactrl'):.1f}",
            f"{timing.ratio('unit: networkx', 'unit: floor'):.1f}",
            f"{timing.event('unit') * 1e3:.3f}",
        )
        for timing in timings
    ]
    systems = "hactrl", "networkx", "plain", "floor"
    columns: tuple[str, ...] = ("ms", "servers", *systems, "x hactrl", "x floor", "event")
    story.table("Every link costs the same", columns, rows)
    weighted: list[tuple[str, ...]] = [
        (
            timing.group,
            str(timing.servers),
            *milliseconds(timing, "weighted: hactrl", "weighted: networkx"),
            f"{timing.ratio('weighted: networkx', 'weighted: hactrl'):.1f}",
            f"{timing.event('weighted') * 1e3:.3f}",
        )
        for timing in timings
    ]
    columns = ("ms", "servers", "hactrl", "networkx", "x hactrl", "event")
    story.table("Links cost 1 to 10", columns, weighted)
    story.tell(
        "hactrl: what Trees begins with; plain: networkx on a graph without weights; floor: the"
        " graph walked once and the answer copied"
    )


def milliseconds(timing: Timing, *systems: str) -> list[str]:
    return [f"{timing.median(system) * 1e3:,.1f}" for system in systems]


def judge(story: Story, timings: list[Timing]) -> None:
    """The goals, each by its worst graph."""
    for servers in SERVERS:
        those = [timing for timing in timings if timing.servers == servers]
        for what, slow, fast, goal in (
            ("unit weights", "unit: networkx", "unit: hactrl", UNIT_GOALS[servers]),
            ("weights", "weighted: networkx", "weighted: hactrl", WEIGHTED_GOAL),
        ):
            worst = min(those, key=lambda timing: timing.ratio(slow, fast))
            story.expect(
                worst.ratio(slow, fast) >= goal,
                f"{servers} file servers, {what}: at least {goal:g} times as fast as networkx",
                f"{worst.ratio(slow, fast):.1f} times on {worst.group}",
            )
    few = [timing for timing in timings if timing.servers == SERVERS[0]]
    for kind in ("unit", "weighted"):
        mean, group = max((timing.event(kind), timing.group) for timing in few)
        story.expect(
            mean < EVENT_GOAL,
            f"an event takes less than {EVENT_GOAL * 1e3:g} ms in the mean ({kind}, 10 servers)",
            f"{mean * 1e3:.2f} ms on {group}",
        )
