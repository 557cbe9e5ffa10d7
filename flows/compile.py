"""From intents and the live graph to what every switch should hold.

             ┌─► admit ──┐
             ├─► arp ────┤
    View ────┼─► policy ─┼──► RuleSet of one switch
             ├─► steer ──┤
             └─► forward ┘

A pure function: equal input gives equal rule sets, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain

from flows.intents import Intents
from flows.locators import Locators
from flows.rules import Meter, RuleSet
from flows.tables import admit, arp, backbone, edge, forward, policy, steer
from flows.tables.view import View, all_ids
from topology.graph import LiveGraph
from topology.model import Network
from topology.routes import Routes

#: ICMP errors a second that the servers on one switch hear, and how many at once.
ERROR_RATE = 100
ERROR_BURST = 100

#: Packets of unknown hosts a second that a switch of a backbone tells the controller of, port by
#: port. Once is for all hosts that a port can have, and a few packets of each.
TOLD_RATE = 50
TOLD_BURST = 200

_NO_ROUTES = Routes()


@dataclass(frozen=True)
class Compiler:
    """Compiles one switch at a time, by its name, for who must not work long at a stretch.

    What of a backbone's switch does not depend on routes is remembered, because routes change by
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
    _entries: dict[str, backbone.Entries] = field(default_factory=dict)

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
        if not self.network.segments[view.segment].backbone:
            return _of_segment(view)
        if switch not in self._edges:
            self._edges[switch] = self._of_edge(view)
        forwarding, self._entries[switch] = backbone.compiled(view, self._entries.get(switch, {}))
        # The two have no rule in common: they are of different tables.
        edges = self._edges[switch]
        return RuleSet({**edges.rules, **forwarding.rules}, forwarding.groups, edges.meters)

    def _of_edge(self, view: View) -> RuleSet:
        """All of a backbone's switch but table `forward`."""
        own = _of_edge(view)
        if not view.has_neighbours:
            return own
        if view.segment not in self._to_hosts:
            self._to_hosts[view.segment] = _to_hosts(view)
        # No rule of these is one of those: they have priorities of their own.
        return RuleSet({**self._to_hosts[view.segment].rules, **own.rules}, meters=own.meters)


def compile(
    network: Network, graph: LiveGraph, intents: Intents, routes: Routes = _NO_ROUTES
) -> dict[str, RuleSet]:
    """The rule set of every switch, by its name; see `Compiler`."""
    compiler = Compiler.of(network, graph, intents, routes)
    return {name: compiler(name) for name in network.switches}


def _of_segment(view: View) -> RuleSet:
    stages = (admit, arp, policy, steer, forward)
    return RuleSet.of(
        rules=(rule for stage in stages for rule in stage.rules(view)),
        groups=(*steer.groups(view), *steer.announce_groups(view), *forward.groups(view)),
        meters=(Meter(view.error_meter, ERROR_RATE, ERROR_BURST, f"errors on {view.segment}"),),
    )


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
