"""From intents and the live graph to what every switch should hold.

             ┌─► admit ──┐
             ├─► arp ────┤
    View ────┼─► policy ─┼──► RuleSet of one switch
             ├─► steer ──┤
             └─► forward ┘

A pure function: equal input gives equal rule sets, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable

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


def compile(
    network: Network, graph: LiveGraph, intents: Intents, routes: Routes = _NO_ROUTES
) -> dict[str, RuleSet]:
    """The rule set of every switch, by its name. `routes` are those of the backbones.

    Raises:
        flows.pipeline.PipelineError: a rule does what its table has not declared (a defect).
        ValueError: a protocol without ports, or two intents that contradict each other.
    """
    of = compiler(network, graph, intents, routes)
    return {name: of(name) for name in network.switches}


def compiler(
    network: Network, graph: LiveGraph, intents: Intents, routes: Routes = _NO_ROUTES
) -> Callable[[str], RuleSet]:
    """`compile` for one switch at a time, by its name, for who must not work long at a stretch."""
    ids, locators = all_ids(network, intents), Locators.of(network)
    return lambda name: compile_switch(
        View(network, graph, intents, ids, network.switches[name], routes, locators)
    )


def compile_switch(view: View) -> RuleSet:
    """The rule set of one switch."""
    if view.network.segments[view.segment].backbone:
        return _of_backbone(view)
    stages = (admit, arp, policy, steer, forward)
    return RuleSet.of(
        rules=(rule for stage in stages for rule in stage.rules(view)),
        groups=(*steer.groups(view), *steer.announce_groups(view), *forward.groups(view)),
        meters=(Meter(view.error_meter, ERROR_RATE, ERROR_BURST, f"errors on {view.segment}"),),
    )


def _of_backbone(view: View) -> RuleSet:
    forwarding, groups = backbone.compiled(view)
    meters = {"other ports": view.error_meter, "spoofs": view.spoof_meter}
    meters |= {f"port {port}": meter for port, meter in view.told_meters.items()}
    told = [Meter(n, TOLD_RATE, TOLD_BURST, f"what is told of {of}") for of, n in meters.items()]
    return RuleSet.of(rules=(*edge.rules(view), *forwarding), groups=groups, meters=told)
