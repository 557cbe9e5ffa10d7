"""How long a controller works after a link has failed, until all switches have their rules.

The plan: what the failure changes in the trees of all destinations, which are all switches and ten
file servers, the next hops, and the rounds. Then the rules of one changed switch after the other.
Others have their turn between two switches, and where the plan pauses: the longest stretch is what
they wait for at most. Beside it what it takes to compute all routes and compile all switches from
nothing, as whoever keeps nothing would. That messages are sent, and what switches do with them, is
not in it.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flows.backbone.compile import BackboneCompiler
from mininet_lab.graphs import Graph, fat_tree, random_graph
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.simulation import Controller, SimulatedSite, network_of
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Link

SERVERS, INTERFACES = 10, 4


class Stretches:
    """Seconds at which nobody else had a turn."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was, and begin the first one."""
        self.longest = 0.0
        self._since = time.perf_counter()

    def end(self) -> None:
        """One ends, and the next one begins."""
        self.longest = max(self.longest, time.perf_counter() - self._since)
        self._since = time.perf_counter()


@dataclass
class Times:
    """Seconds of one graph: of each failure, of its longest stretch, of each switch that is
    compiled (one failure after the other), and the number of those; `anew` of everything from
    nothing."""

    plans: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    compiled: list[float] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    anew: list[float] = field(default_factory=list)


def play(options: Options, story: Story) -> None:
    """Every graph."""
    results = Results("planning", options.seed)
    rows = []
    for name, graph, failures in graphs(options.seed):
        with story.working(name):
            times = measure(graph, options.seed, options.runs or failures)
        for case, system, values in (
            ("plan", "hactrl", times.plans),
            ("longest stretch", "hactrl", times.longest),
            ("compile one switch", "hactrl", times.compiled),
            ("all", "hactrl", times.whole),
            ("all", "from nothing", times.anew),
        ):
            results.add(f"{name}: {case}", system, "s", values)
        results.add(f"{name}: changed", "hactrl", "switches", times.switches)
        rows.append((name, *row(times)))
        whole, anew = statistics.median(times.whole), statistics.median(times.anew)
        story.expect(
            whole < anew,
            f"{name}: a failure takes less than everything from nothing",
            f"{whole * 1e3:,.0f} and {anew * 1e3:,.0f} ms",
        )
    measured = "plan", "stretch", "one switch", "switches", "all", "from nothing", "x"
    columns = ("ms: median / most", *measured)
    story.table("After a link has failed", columns, rows)
    story.tell(f"figures are in {results.write()}")


def graphs(seed: int) -> Iterator[tuple[str, Graph, int]]:
    """Names, graphs, and how many links fail in each."""
    yield "random, 100", random_graph(100, seed), 10
    yield "random, 300", random_graph(300, seed), 10
    yield "random, 1,000", random_graph(1000, seed), 1
    yield "fat-tree of 80", fat_tree(8), 10
    yield "fat-tree of 320", fat_tree(16), 10


def measure(graph: Graph, seed: int, failures: int) -> Times:
    """Random links fail, one at a time, and come back."""
    site, times = SimulatedSite(network_of(graph, SERVERS, INTERFACES, seed)), Times()
    stretches = Stretches()
    controller = Controller(site, pause=stretches.end)
    for switch in graph:
        controller.begun[-1].rules_of(switch)
    thresholds = gc.get_threshold()
    gc.freeze()  # as `hactrl.control.rulebook` does, and so often
    gc.set_threshold(700, 100, 10)
    for link in random.Random(seed).sample(site.network.links, failures):
        gc.collect()
        failed(controller, link, times, stretches)
        controller.turn(link)
    times.anew.append(from_nothing(site, link))
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    return times


def failed(controller: Controller, link: Link, times: Times, stretches: Stretches) -> None:
    """What is done, from the moment at which the failure is known."""
    begun = time.perf_counter()
    stretches.begin()
    steps = controller.turn(link)
    times.plans.append(time.perf_counter() - begun)
    for step in steps:
        for switch in step.changed or ():
            start = time.perf_counter()
            step.rules_of(switch)
            stretches.end()
            times.compiled.append(time.perf_counter() - start)
    times.whole.append(time.perf_counter() - begun)
    times.longest.append(stretches.longest)
    times.switches.append(sum(len(step.changed or ()) for step in steps))


def from_nothing(site: SimulatedSite, link: Link) -> float:
    """Seconds to compute and compile all with a link less; the rounds are not in it."""
    begun = time.perf_counter()
    graph = LiveGraph.of(site.network, {link.a, link.b})
    servers = site.network.file_servers.values()
    routes = backbones.routes(graph, {server.name: server.interfaces for server in servers})
    compiler = BackboneCompiler().at(site.graph, site.wishes, routes)
    for switch in site.network.switches:
        compiler(switch)
    return time.perf_counter() - begun


def row(times: Times) -> Sequence[str]:
    whole, anew = statistics.median(times.whole), statistics.median(times.anew)
    return (
        milliseconds(times.plans),
        milliseconds(times.longest),
        milliseconds(times.compiled),
        f"{statistics.median(times.switches):g} / {max(times.switches)}",
        milliseconds(times.whole),
        f"{anew * 1e3:,.0f}",
        f"{anew / whole:.1f}",
    )


def milliseconds(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:,.1f} / {max(seconds) * 1e3:,.1f}"
