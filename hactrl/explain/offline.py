"""A site as it would be if every role were where it is preferred, and everything were up: for
looking at a site file without a controller."""

from __future__ import annotations

from collections.abc import Iterable

from flows.compile import compile as compile_rules
from flows.rules import RuleSet
from hactrl.control.wanted import intents
from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.decide import initial
from hactrl.engine.state import State
from hactrl.explain.questions import TraceQuestion, made_up, ports_asked
from hactrl.explain.tracing import Story, tell
from hactrl.site.model import Site
from topology.backbones import routes
from topology.graph import LiveGraph
from topology.model import Host


def rule_sets(site: Site) -> dict[str, RuleSet]:
    """What each switch should hold in normal state."""
    return rule_sets_of(_normal(site))


def told(site: Site, question: TraceQuestion) -> Story:
    """What happens to a packet in normal state. Hosts are taken to be at the ports that the
    question names; on backbones, where nobody is known then, they are made up.

    Raises:
        UnknownNameError, PacketError: see `hactrl.explain.tracing.tell`.
    """
    known = _normal(site)
    state = _normal(site, made_up(known, question))
    up = {name: set(ports) for name, ports in site.network.named_ports_of.items()}
    for port in ports_asked(known, question):
        up[port.switch].add(port.port)
    return tell(state, _compiled(state, LiveGraph.of(site.network, ports_up=up)), question)


def rule_sets_of(state: State) -> dict[str, RuleSet]:
    """What each switch should hold in this state."""
    network = network_now(state.site.network, state.outlook)
    return _compiled(state, LiveGraph.of(network, ports_up=state.outlook.ports_up))


def _normal(site: Site, hosts: Iterable[Host] = ()) -> State:
    preferred = {name: (role.servers[0], 1) for name, role in site.roles.items()}
    return initial(site, preferred, now=0.0, hosts=hosts)


def _compiled(state: State, graph: LiveGraph) -> dict[str, RuleSet]:
    wishes = intents(state.site, state.outlook)
    live = {nearest.server.name: nearest.live for nearest in wishes.nearest}
    return compile_rules(graph.network, graph, wishes, routes(graph, live))
