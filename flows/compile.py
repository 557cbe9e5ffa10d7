"""From intents and the live graph to what every switch should hold, from nothing.

    barrier segments   flows.barrier    intents, live graph            ──┐
                                                                         ├──► RuleSet of one switch
    backbones          flows.backbone   intents, live graph, routes    ──┘

Pure: equal input gives equal rule sets. `BarrierCompiler` and `BackboneCompiler` remember what they
have compiled, which makes them faster and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from flows.backbone.compile import BackboneCompiler
from flows.barrier.compile import BarrierCompiler
from flows.intents import Intents
from flows.rules import RuleSet
from topology.backbones import backbone_switches
from topology.graph import LiveGraph
from topology.model import Network
from topology.paths.routes import Routes

_NO_ROUTES = Routes()


def compile(
    network: Network, graph: LiveGraph, intents: Intents, routes: Routes = _NO_ROUTES
) -> dict[str, RuleSet]:
    """The rule set of every switch, by its name; `routes` are those of the backbones.

    Raises:
        flows.pipeline.PipelineError: a rule does what its table has not declared (a defect).
        ValueError: a protocol without ports, or two intents that contradict each other.
    """
    live, on_backbones = replace(graph, network=network), backbone_switches(network)
    barrier = BarrierCompiler().at(live, intents)
    backbone = BackboneCompiler().at(live, intents, routes)
    return {
        name: backbone(name) if name in on_backbones else barrier(name) for name in network.switches
    }
