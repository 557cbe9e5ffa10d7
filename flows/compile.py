"""From intents and the live graph to what every switch should hold.

    barrier segments   Situation ──► stages of `flows.barrier.compile` ──┐
                                                                         ├──► RuleSet of one switch
    backbones          View ──► `flows.backbone`: edge, forward ─────────┘

Pure functions: equal input gives equal rule sets, in the same order. What is remembered makes them
faster, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain

from flows.backbone import edge, forward
from flows.backbone.locators import Locators
from flows.backbone.view import View
from flows.barrier.compile import Segment
from flows.barrier.segment import Barrier, Ground, Situation
from flows.ids import all_ids
from flows.intents import Intents
from flows.rules import Meter, RuleSet
from topology.backbones import backbone_switches
from topology.graph import LiveGraph
from topology.model import Network
from topology.paths.routes import Routes

#: Packets of unknown hosts a second that a switch of a backbone tells the controller of, port by
#: port. Once is for all hosts that a port can have, and a few packets of each.
TOLD_RATE = 50
TOLD_BURST = 200

_NO_ROUTES = Routes()


@dataclass(frozen=True)
class Compiler:
    """Compiles one switch of a backbone at a time, by its name, for who must not work long at a
    stretch.

    What of a switch does not depend on routes is remembered, because routes change by
    themselves (`with_routes`), and so are its entries toward each destination, because few of
    them change at a time. What is the same on all of them, how to find the known hosts of the
    segment, is made once.
    """

    network: Network
    graph: LiveGraph
    intents: Intents
    routes: Routes
    ids: dict[str, int]
    locators: Locators
    _edges: dict[str, RuleSet] = field(default_factory=dict)
    _to_hosts: dict[str, RuleSet] = field(default_factory=dict)
    _entries: dict[str, forward.Entries] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        network: Network,
        graph: LiveGraph,
        intents: Intents,
        routes: Routes = _NO_ROUTES,
        former: Compiler | None = None,
    ) -> Compiler:
        """`routes` are those of the backbones. What `former` remembers is taken over as far as it
        holds."""
        ids = all_ids(network, intents)
        if former is None or (former.network, former.ids) != (network, ids):
            return cls(network, graph, intents, routes, ids, Locators.of(network))
        return cls(network, graph, intents, routes, ids, former.locators, _entries=former._entries)

    def with_routes(self, routes: Routes) -> Compiler:
        """The same, after a change of routes."""
        return replace(self, routes=routes)

    def __call__(self, switch: str) -> RuleSet:
        """The rule set of one switch.

        Raises:
            flows.pipeline.PipelineError: a rule does what its table has not declared (a defect).
            ValueError: a protocol without ports, or two intents that contradict each other.
        """
        view = View(
            self.network,
            self.graph,
            self.intents,
            self.ids,
            self.network.switches[switch],
            self.routes,
            self.locators,
        )
        if switch not in self._edges:
            self._edges[switch] = self._of_edge(view)
        forwarding, self._entries[switch] = forward.compiled(view, self._entries.get(switch, {}))
        # The two have no rule in common: they are of different tables.
        edges = self._edges[switch]
        return RuleSet({**edges.rules, **forwarding.rules}, forwarding.groups, edges.meters)

    def _of_edge(self, view: View) -> RuleSet:
        """All of a switch but table `forward`."""
        own = _of_edge(view)
        if not view.has_neighbours:
            return own
        if view.segment not in self._to_hosts:
            self._to_hosts[view.segment] = _to_hosts(view)
        # No rule of these is one of those: they have priorities of their own.
        return RuleSet({**self._to_hosts[view.segment].rules, **own.rules}, meters=own.meters)


class BarrierCompiler:
    """Compiles the switches of barrier segments, and remembers what it has compiled
    (`flows.barrier.compile`) as long as the site is the same."""

    def __init__(self) -> None:
        self._fixed: tuple[object, ...] = ()
        self._segments: tuple[Segment, ...] = ()
        self._graph: LiveGraph | None = None
        self._grounds: dict[str, Ground] = {}

    def at(self, graph: LiveGraph, intents: Intents) -> Callable[[str], RuleSet]:
        """What each switch should hold, by its name."""
        self._know(graph.network, intents)
        if graph != self._graph:
            self._graph = graph
            self._grounds = {
                segment.barrier.name: Ground(segment.barrier, graph) for segment in self._segments
            }
        found = {}
        for segment in self._segments:
            barrier = segment.barrier
            rules_of = segment.at(Situation.of(self._grounds[barrier.name], intents))
            found.update(dict.fromkeys(barrier.switches, rules_of))
        return lambda switch: found[switch](switch)

    def _know(self, network: Network, intents: Intents) -> None:
        """Where the site is another one, all that was remembered is forgotten."""
        named = intents.addresses, intents.candidates, intents.probes
        fixed = network, *named, intents.permits, intents.connects
        if fixed == self._fixed:
            return
        ids = all_ids(network, intents)
        self._fixed, self._graph = fixed, None
        self._segments = tuple(
            Segment(Barrier.of(network, name, intents, ids))
            for name, segment in network.segments.items()
            if not segment.backbone
        )


def compile(
    network: Network, graph: LiveGraph, intents: Intents, routes: Routes = _NO_ROUTES
) -> dict[str, RuleSet]:
    """The rule set of every switch, by its name, from nothing."""
    on_backbones = backbone_switches(network)
    barrier = BarrierCompiler().at(replace(graph, network=network), intents)
    backbone = Compiler.of(network, graph, intents, routes)
    return {
        name: backbone(name) if name in on_backbones else barrier(name) for name in network.switches
    }


def _of_edge(view: View) -> RuleSet:
    """What a switch holds for those who are plugged into it."""
    meters = {"other ports": view.error_meter, "spoofs": view.spoof_meter}
    meters |= {f"port {port}": meter for port, meter in view.told_meters.items()}
    told = [Meter(n, TOLD_RATE, TOLD_BURST, f"what is told of {of}") for of, n in meters.items()]
    return RuleSet.of(rules=edge.rules(view), meters=told)


def _to_hosts(view: View) -> RuleSet:
    """How to find the known hosts of the view's segment."""
    hosts = chain.from_iterable(map(view.intents.hosts_at.__getitem__, view.switches_with_hosts))
    locator = view.locators.host
    return RuleSet.of(rule for host in hosts for rule in edge.to_hosts(host, locator(host)))
