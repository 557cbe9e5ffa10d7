"""What a backbone's switches should hold, stage by stage.

    Backbone (site file) ──► steer
                         ┌──► admit                 ◄── trunk ports, host ports, hosts
    Situation ───────────┼──► arp, source, deliver  ◄── hosts
      (of a moment)      ├──► count                 ◄── which switches have hosts
                         ├──► find, in parts        ◄── hosts
                         ├──► forward               ◄── hops, live interfaces
                         └──► flood                 ◄── trunk ports, host ports, flood tree

`flows.stages` says how they are compiled again. So a host that comes costs the rules of its own
switch, and on all others one part of those that find hosts, the same object on all of them; a link
that fails, what leads to the destinations whose ways have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flows.backbone import admit, arp, count, deliver, find, flood, forward, source, steer
from flows.backbone.locators import Locators
from flows.backbone.segment import Backbone, Ground, Plugged, Situation
from flows.ids import all_ids
from flows.intents import Intents
from flows.rules import RuleSet
from flows.stages import Stage, Stages, of_rules, once
from topology.graph import LiveGraph
from topology.model import Network
from topology.paths.routes import Routes


def _admit(reads: admit.Reads) -> RuleSet:
    return RuleSet.of(admit.rules(reads), meters=admit.meters(reads))


def _flood(reads: flood.Reads) -> RuleSet:
    return RuleSet.of(flood.rules(reads), flood.groups(reads))


STAGES: dict[str, Stage[Situation]] = {
    "admit": Stage(
        lambda s: (s.ground.trunk_ports, s.ground.host_ports, s.hosts), admit.Reads.of, _admit
    ),
    "arp": Stage(lambda s: (s.hosts,), Plugged.of, of_rules(arp.rules)),
    "count": Stage(lambda s: (tuple(s.hosts),), count.Reads.of, of_rules(count.rules)),
    "source": Stage(lambda s: (s.hosts,), Plugged.of, of_rules(source.rules)),
    "steer": Stage(lambda _: (), lambda situation, _: situation.backbone, of_rules(steer.rules)),
    "deliver": Stage(lambda s: (s.hosts,), Plugged.of, of_rules(deliver.rules)),
    "forward": Stage(lambda s: (s.routes.hops, s.nearest), forward.Reads.of, forward.part),
    "find": Stage(lambda s: (s.hosts,), partial(find.Reads.of, 0), of_rules(find.rules)),
    "flood": Stage(
        lambda s: (s.ground.trunk_ports, s.ground.host_ports, s.routes.tree), flood.Reads.of, _flood
    ),
}


def stages() -> Stages[Situation]:
    """Those of one backbone, with what they remember among its switches."""
    steers = replace(STAGES["steer"], part=once(STAGES["steer"].part))
    forwards = replace(STAGES["forward"], part=forward.Forwarding())
    single = STAGES | {"steer": steers, "forward": forwards}
    finding = single.pop("find")
    parts = (
        replace(
            finding, reads=partial(find.Reads.of, part), part=_unless_nobody(once(finding.part))
        )
        for part in range(find.PARTS)
    )
    return Stages([*single.values(), *parts])


def _unless_nobody(
    part: Callable[[find.Reads], RuleSet],
) -> Callable[[find.Reads], RuleSet]:
    """Switches that look for nobody leave alone what the others share."""
    return lambda reads: part(reads) if reads.hosts else RuleSet()


class BackboneCompiler:
    """Compiles the switches of backbones, and remembers what it has compiled as long as the site is
    the same, whatever links are found or lost."""

    def __init__(self) -> None:
        self._fixed: tuple[object, ...] = ()
        self._segments: dict[Backbone, Stages[Situation]] = {}
        self._graph: LiveGraph | None = None
        self._grounds: dict[str, Ground] = {}

    def at(self, graph: LiveGraph, intents: Intents, routes: Routes) -> Callable[[str], RuleSet]:
        """What each switch should hold, by its name. `routes` are those of all backbones.

        The function raises:
            flows.pipeline.PipelineError: a rule does what its table has not declared (a defect).
            ValueError: two intents that contradict each other.
        """
        self._know(graph.network, intents)
        if graph is not self._graph:
            self._graph = graph
            self._grounds = {each.name: Ground.of(each, graph) for each in self._segments}
        found = {}
        for backbone, compiled in self._segments.items():
            rules_of = compiled.at(Situation.of(self._grounds[backbone.name], intents, routes))
            found.update(dict.fromkeys(backbone.switches, rules_of))
        return lambda switch: found[switch](switch)

    def _know(self, network: Network, intents: Intents) -> None:
        """Where the site is another one, all that was remembered is forgotten."""
        named = intents.addresses, intents.interface_probes
        fixed = network.segments, network.switches, network.file_servers, *named
        if fixed == self._fixed:
            return
        ids, locators = all_ids(network, intents), Locators.of(network)
        backbones = (
            Backbone.of(network, name, intents, ids, locators)
            for name, segment in network.segments.items()
            if segment.backbone
        )
        self._fixed, self._graph = fixed, None
        self._segments = {each: stages() for each in backbones}
