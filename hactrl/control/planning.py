"""Which switches are kept right together, and how the rules that they should hold are planned: the
planner and the compiler of `flows`, asked with what the engine says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from flows.barrier.compile import BarrierCompiler
from flows.planner import Planner, PlanStep
from hactrl.control.rulebook import Plan
from hactrl.control.wanted import intents
from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.state import State
from topology.backbones import backbone_switches
from topology.graph import LiveGraph
from topology.model import Network
from topology.paths.routes import Routes


def plans(network: Network, planner: Planner) -> Iterator[tuple[tuple[str, ...], Plan]]:
    """The switches that are kept right together, and how."""
    switches = backbone_switches(network)
    others = tuple(name for name in network.switches if name not in switches)
    yield others, partial(barrier_plan, BarrierCompiler())
    yield tuple(sorted(switches)), partial(backbone_plan, planner)


def backbone_plan(planner: Planner, state: State, standing: Routes | None) -> Sequence[PlanStep]:
    """How the switches of backbones get from the routes that stand to what the state asks for."""
    site, view = state.site, state.outlook
    graph = LiveGraph.of(network_now(site.network, view), ports_up=view.ports_up)
    return planner.plan(graph, intents(site, view), standing)


def barrier_plan(
    compiler: BarrierCompiler, state: State, _standing: Routes | None
) -> Sequence[PlanStep]:
    """What the switches of barrier segments should hold: a function of the outlook alone (law 2),
    however much of it the compiler remembers."""
    site, view = state.site, state.outlook
    graph = LiveGraph.of(site.network, ports_up=view.ports_up)
    return (PlanStep(compiler.at(graph, intents(site, view))),)
