"""How much of a backbone a file server's traffic crosses: nearest interface, or one, or in turn.

On every connected graph of the Internet Topology Zoo with at least 10 switches, at random
placements of a file server with four interfaces, every switch's clients ask for as much.
Four ways to choose the interface: one (the usual single-homed way: any of the four), the best
single one, in turn (round robin), and the nearest; and the nearest with offsets that spread
clients where that loads the busiest link less. Equal-cost hops share evenly, and each direction of
a link counts by itself.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import networkx as nx

from mininet_lab.graphs import Graph, zoo
from mininet_lab.plot import plot_ratios
from mininet_lab.report import Story
from mininet_lab.results import Results, directory
from mininet_lab.scenarios import Options
from topology.paths.spread import Load, load, spread

INTERFACES = 4
PLACEMENTS = 100

ONE, BEST, IN_TURN, NEAREST, SPREAD = "one", "best single", "round robin", "nearest", "spread"
WAYS = (ONE, BEST, IN_TURN, NEAREST, SPREAD)

#: The same without the clients of the switches that the file server itself is at.
ONE_ELSEWHERE, NEAREST_ELSEWHERE = "one, clients elsewhere", "nearest, clients elsewhere"

#: What an independent calculation gave for nearest over one.
INDEPENDENT = {"crossings": 0.55, "most loaded link": 0.34}


@dataclass(frozen=True)
class Measured:
    """Of one way in one placement."""

    crossings: float
    heaviest: float


ByWay = Mapping[str, Measured]


def play(options: Options, story: Story) -> None:
    """Every graph, many placements."""
    results = Results("paths", options.seed)
    found: dict[str, list[ByWay]] = {}
    graphs = zoo()
    with story.working(f"{len(graphs)} graphs, {options.runs or PLACEMENTS} placements each"):
        for name, graph in graphs.items():
            generator = random.Random(f"{options.seed} {name}")
            lengths = dict(nx.all_pairs_shortest_path_length(graph))
            found[name] = [
                place(graph, lengths, generator) for _ in range(options.runs or PLACEMENTS)
            ]
    every = [placement for placements in found.values() for placement in placements]
    tell_ratios(story, results, found)
    tell_worse(story, results, every)
    ratios = {way: per_graph(found, way, "crossings") for way in WAYS[1:]}
    heaviest = {way: per_graph(found, way, "heaviest") for way in WAYS[1:]}
    file = plot_ratios(
        directory() / "paths.svg", {"crossings": ratios, "most loaded link": heaviest}
    )
    story.tell(f"figures are in {results.write()}, and drawn in {file}")


def place(
    graph: Graph, lengths: Mapping[str, Mapping[str, int]], generator: random.Random
) -> ByWay:
    """One random placement: what every way crosses, and its most loaded link."""
    switches = sorted(graph)
    interfaces = tuple(generator.sample(switches, INTERFACES))
    demand = dict.fromkeys(switches, 1.0)
    elsewhere = {switch: amount for switch, amount in demand.items() if switch not in interfaces}
    best = min(interfaces, key=lambda at: sum(lengths[at].values()))
    loads = {
        ONE: load(graph, {interfaces[0]: 0}, demand),
        BEST: load(graph, {best: 0}, demand),
        IN_TURN: together(
            load(graph, {at: 0}, dict.fromkeys(switches[number::INTERFACES], 1.0))
            for number, at in enumerate(interfaces)
        ),
        NEAREST: load(graph, dict.fromkeys(interfaces, 0), demand),
        SPREAD: load(graph, spread(graph, interfaces, demand), demand),
        ONE_ELSEWHERE: load(graph, {interfaces[0]: 0}, elsewhere),
        NEAREST_ELSEWHERE: load(graph, dict.fromkeys(interfaces, 0), elsewhere),
    }
    return {way: Measured(found.crossings, found.heaviest) for way, found in loads.items()}


def together(loads: Iterable[Load]) -> Load:
    """What the links carry of all of them."""
    links: dict[tuple[str, str], float] = {}
    for found in loads:
        for direction, amount in found.links.items():
            links[direction] = links.get(direction, 0.0) + amount
    return Load(links)


def per_graph(
    found: Mapping[str, list[ByWay]], way: str, measure: str, one: str = ONE
) -> list[float]:
    """For each graph the mean of the way over the mean of one interface."""
    return [
        statistics.fmean(getattr(placement[way], measure) for placement in placements)
        / statistics.fmean(getattr(placement[one], measure) for placement in placements)
        for placements in found.values()
    ]


def per_placement(found: Mapping[str, list[ByWay]], way: str, measure: str) -> list[float]:
    """For each placement of all graphs the way over one interface."""
    return [
        getattr(placement[way], measure) / getattr(placement[ONE], measure)
        for placements in found.values()
        for placement in placements
    ]


def tell_ratios(story: Story, results: Results, found: Mapping[str, list[ByWay]]) -> None:
    """A table for each measure, and what differs from the independent calculation."""
    for title, measure in (("crossings", "crossings"), ("most loaded link", "heaviest")):
        rows = []
        for way in WAYS[1:]:
            graphs, placements = (of(found, way, measure) for of in (per_graph, per_placement))
            results.add(f"{title} over one interface, by graph", way, "ratio", graphs)
            tenths = statistics.quantiles(placements, n=10)
            rows.append(
                (
                    way,
                    f"{statistics.fmean(graphs):.3f}",
                    f"{statistics.median(graphs):.3f}",
                    f"{min(graphs):.2f} to {max(graphs):.2f}",
                    f"{statistics.fmean(placements):.3f}",
                    f"{tenths[0]:.2f} to {tenths[-1]:.2f}",
                )
            )
        columns = ("over one", "mean", "median", "graphs", "placements", "10 % to 90 %")
        story.table(title, columns, rows)
    for title, measure in (("crossings", "crossings"), ("most loaded link", "heaviest")):
        mean = statistics.fmean(per_graph(found, NEAREST, measure))
        each = statistics.fmean(per_placement(found, NEAREST, measure))
        away = statistics.fmean(per_graph(found, NEAREST_ELSEWHERE, measure, ONE_ELSEWHERE))
        story.tell(
            f"{title}, nearest over one: {mean:.3f} as the mean of graphs, {each:.3f} of"
            f" placements; an independent calculation gave {INDEPENDENT[title]}; without the"
            f" clients of the file server's own switches it is {away:.3f}"
        )
        results.add(f"{title} over one, clients elsewhere only", NEAREST, "ratio", [away])


def tell_worse(story: Story, results: Results, every: list[ByWay]) -> None:
    """Where the nearest interface loads the busiest link more than another way would."""
    rows = []
    for way in (NEAREST, SPREAD):
        for other in (ONE, BEST, IN_TURN):
            more = [
                placement[way].heaviest / placement[other].heaviest
                for placement in every
                if placement[way].heaviest > placement[other].heaviest + 1e-6
            ]
            share = len(more) / len(every)
            results.add(f"most loaded link heavier than with {other}", way, "share", [share])
            worst = f"{max(more):.2f} times" if more else "never"
            middle = f"{statistics.median(more):.2f} times" if more else "never"
            rows.append((f"{way} than {other}", f"{share:.1%}", middle, worst))
    columns = ("heavier on its most loaded link", "placements", "median", "at most")
    story.table(f"Where {NEAREST} is worse, of {len(every):,} placements", columns, rows)
    changed = [p for p in every if p[SPREAD].heaviest < p[NEAREST].heaviest - 1e-6]
    paid = statistics.fmean(p[SPREAD].crossings / p[NEAREST].crossings for p in changed)
    saved = statistics.fmean(p[SPREAD].heaviest / p[NEAREST].heaviest for p in changed)
    story.tell(
        f"offsets help in {len(changed) / len(every):.0%} of the placements: there the most loaded"
        f" link carries {saved:.2f} of what it did, for {paid:.2f} of the crossings"
    )
    results.add("most loaded link, spread over nearest, where it helps", SPREAD, "ratio", [saved])
    results.add("crossings, spread over nearest, where it helps", SPREAD, "ratio", [paid])
    story.expect(
        all(p[SPREAD].heaviest <= p[NEAREST].heaviest + 1e-6 for p in every),
        "spreading never loads the most loaded link more than the nearest interface does",
    )
