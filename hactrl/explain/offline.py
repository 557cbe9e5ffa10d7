"""The rules of a site as they would be if every role were where it is preferred, and everything
were up: for looking at a site file without a controller."""

from __future__ import annotations

from flows.compile import compile as compile_rules
from flows.rules import RuleSet
from hactrl.control.wanted import intents
from hactrl.engine.decide import initial
from hactrl.site.model import Site
from topology.backbones import routes
from topology.graph import LiveGraph


def rule_sets(site: Site) -> dict[str, RuleSet]:
    """What each switch should hold in normal state."""
    preferred = {name: (role.servers[0], 1) for name, role in site.roles.items()}
    state = initial(site, preferred, now=0.0)
    graph, wishes = LiveGraph.of(site.network), intents(site, state.outlook)
    live = {nearest.server.name: nearest.live for nearest in wishes.nearest}
    return compile_rules(site.network, graph, wishes, routes(graph, live))
