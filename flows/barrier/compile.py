"""What a barrier segment's switches should hold, stage by stage.

    Barrier (site file) ──► policy
                       ┌──► arp, steer     ◄── fenced
    Situation ─────────┼──► speak          ◄── fenced, speaking
      (of a moment)    ├──► admit, forward ◄── fenced, ground
                       ├──► announce       ◄── fenced, ground
                       └──► one group a role ◄ fenced, ground, the role's steer

`flows.stages` says how they are compiled again. So a change of placement costs, on each switch of
its segments, one group, and where its cards are the rules that let it speak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flows.barrier import admit, arp, forward, policy, speak, steer
from flows.barrier.segment import Barrier, Ground, Situation
from flows.ids import all_ids
from flows.intents import Intents, ServiceAddress
from flows.rules import Meter, RuleSet
from flows.stages import Stage, Stages, of_groups, of_rules, once
from topology.graph import LiveGraph
from topology.model import Network

#: ICMP errors a second that the servers on one switch hear, and how many at once.
ERROR_RATE = 100
ERROR_BURST = 100


def _forward(reads: forward.Reads) -> RuleSet:
    return RuleSet.of(forward.rules(reads), forward.groups(reads))


def _policy(barrier: Barrier) -> RuleSet:
    meter = Meter(barrier.error_meter, ERROR_RATE, ERROR_BURST, f"errors on {barrier.name}")
    return RuleSet.of(policy.rules(barrier), meters=(meter,))


STAGES: dict[str, Stage[Situation]] = {
    "admit": Stage(lambda s: (s.ground, s.fenced), admit.Reads.of, of_rules(admit.rules)),
    "speak": Stage(lambda s: (s.fenced, s.speaking), speak.Reads.of, of_rules(speak.rules)),
    "arp": Stage(lambda s: (s.fenced,), arp.Reads.of, of_rules(arp.rules)),
    "policy": Stage(lambda _: (), lambda situation, _: situation.barrier, _policy),
    "steer": Stage(lambda s: (s.fenced,), steer.Reads.of, of_rules(steer.rules)),
    "forward": Stage(lambda s: (s.ground, s.fenced), forward.Reads.of, _forward),
    "announce": Stage(
        lambda s: (s.ground, s.fenced), steer.AnnounceReads.of, of_groups(steer.announce_groups)
    ),
}


def _group_of(service: ServiceAddress) -> Stage[Situation]:
    """The group of one role."""
    return Stage(
        lambda s: (s.ground, s.fenced, s.steer(service)),
        partial(_read_group, service),
        of_groups(steer.group),
    )


def _read_group(service: ServiceAddress, situation: Situation, switch: str) -> steer.GroupReads:
    return steer.GroupReads.of(situation, switch, service)


def stages(barrier: Barrier) -> Stages[Situation]:
    """Those of one segment."""
    policies = replace(STAGES["policy"], part=once(_policy))  # the same on all switches
    named = STAGES | {"policy": policies}
    return Stages([*named.values(), *map(_group_of, barrier.addresses)])


class BarrierCompiler:
    """Compiles the switches of barrier segments, and remembers what it has compiled as long as the
    site is the same."""

    def __init__(self) -> None:
        self._fixed: tuple[object, ...] = ()
        self._segments: dict[Barrier, Stages[Situation]] = {}
        self._graph: LiveGraph | None = None
        self._grounds: dict[str, Ground] = {}

    def at(self, graph: LiveGraph, intents: Intents) -> Callable[[str], RuleSet]:
        """What each switch should hold, by its name.

        The function raises:
            flows.pipeline.PipelineError: a rule does what its table has not declared (a defect).
            ValueError: a protocol without ports, or two intents that contradict each other.
        """
        self._know(graph.network, intents)
        if graph != self._graph:
            self._graph = graph
            self._grounds = {barrier.name: Ground(barrier, graph) for barrier in self._segments}
        found = {}
        for barrier, compiled in self._segments.items():
            rules_of = compiled.at(Situation.of(self._grounds[barrier.name], intents))
            found.update(dict.fromkeys(barrier.switches, rules_of))
        return lambda switch: found[switch](switch)

    def _know(self, network: Network, intents: Intents) -> None:
        """Where the site is another one, all that was remembered is forgotten."""
        named = intents.addresses, intents.candidates, intents.probes
        fixed = network, *named, intents.permits, intents.connects
        if fixed == self._fixed:
            return
        ids = all_ids(network, intents)
        barriers = (
            Barrier.of(network, name, intents, ids)
            for name, segment in network.segments.items()
            if not segment.backbone
        )
        self._fixed, self._graph = fixed, None
        self._segments = {barrier: stages(barrier) for barrier in barriers}
