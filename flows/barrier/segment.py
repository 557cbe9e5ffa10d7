"""What the rules of a barrier segment's switches are compiled from.

site file ──► Barrier     what never changes while the controller runs
live graph ──► Ground     how its switches reach each other now
intents ──► Situation     both, and who is where: fenced cards, who may speak, who is steered to
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from flows.intents import Candidate, Connect, Intents, Permit, Probe, ServiceAddress, Steer
from flows.numbers import learnt_cookie
from topology.graph import LiveGraph
from topology.model import Address, Attachment, Interface, Network, Prober
from topology.paths.shortest import Hops

Thing = TypeVar("Thing", Candidate, Interface)


@dataclass(frozen=True, eq=False)
class Barrier:
    """One barrier segment. `ids` are those of all groups and meters, by name."""

    name: str
    network: Network
    prober: Prober | None
    addresses: tuple[ServiceAddress, ...]
    candidates: tuple[Candidate, ...]
    probes: tuple[Probe, ...]
    permits: tuple[Permit, ...]
    connects: tuple[Connect, ...]
    ids: Mapping[str, int]

    @classmethod
    def of(
        cls, network: Network, segment: str, intents: Intents, ids: Mapping[str, int]
    ) -> Barrier:
        return cls(
            segment,
            network,
            network.segments[segment].prober,
            tuple(a for a in intents.addresses if a.segment == segment),
            tuple(c for c in intents.candidates if c.segment == segment),
            tuple(p for p in intents.probes if p.candidate.segment == segment),
            tuple(p for p in intents.permits if p.address.segment == segment),
            tuple(c for c in intents.connects if c.address.segment == segment),
            ids,
        )

    @cached_property
    def switches(self) -> tuple[str, ...]:
        return tuple(switch.name for switch in self.network.switches_of(self.name))

    @cached_property
    def service_addresses(self) -> tuple[tuple[ServiceAddress, Address], ...]:
        return tuple((service, a) for service in self.addresses for a in service.addresses)

    @cached_property
    def prober_addresses(self) -> tuple[Address, ...]:
        sources = self.prober.sources if self.prober else {}
        return tuple(dict.fromkeys(a for addresses in sources.values() for a in addresses))

    @cached_property
    def asked(self) -> tuple[tuple[Probe, Address], ...]:
        """The probes, each with every service address of its family that it asks."""
        return tuple(
            (probe, target)
            for probe in self.probes
            for target in self.service(probe.candidate).addresses
            if target.version == probe.source.version
        )

    def service(self, candidate: Candidate) -> ServiceAddress:
        return self._services[candidate.role]

    @cached_property
    def _services(self) -> dict[str, ServiceAddress]:
        return {address.role: address for address in self.addresses}

    def cards_at(self, switch: str) -> tuple[Interface, ...]:
        """The servers' cards that are plugged into a switch."""
        return self._cards.get(switch, ())

    @cached_property
    def _cards(self) -> dict[str, tuple[Interface, ...]]:
        return _by_switch(self.network.interfaces.values())

    def others(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """The candidates that may have what was meant for this one, if its card is dead: those of
        the same server, and behind them other servers' where the role is shared."""
        role = [c for c in self.candidates if c.role == candidate.role and c != candidate]
        own = [c for c in role if c.server == candidate.server]
        shared = self.service(candidate).shared
        return (*own, *(c for c in role if shared and c.server != candidate.server))

    def candidates_at(self, switch: str) -> tuple[Candidate, ...]:
        return self._candidates.get(switch, ())

    @cached_property
    def _candidates(self) -> dict[str, tuple[Candidate, ...]]:
        return _by_switch(self.candidates)

    # Ids of groups and meters, by name.

    def steer_group(self, service: ServiceAddress) -> int:
        return self.ids[f"steer {service.role} on {service.segment}"]

    def announce_group(self, service: ServiceAddress) -> int:
        return self.ids[f"announce to {service.role} on {service.segment}"]

    def divert_group(self, candidate: Candidate) -> int:
        return self.ids[f"divert {candidate.role} to {candidate.interface}"]

    def toward_group(self, switch: str) -> int:
        return self.ids[f"toward {switch}"]

    def spread_group(self, switch: str) -> int:
        return self.ids[f"spread toward {switch}"]

    @cached_property
    def flood_group(self) -> int:
        return self.ids[f"flood {self.name}"]

    @cached_property
    def unicast_flood_group(self) -> int:
        return self.ids[f"unicast flood {self.name}"]

    @cached_property
    def error_meter(self) -> int:
        return self.ids[f"errors on {self.name}"]


@dataclass(frozen=True)
class Connectivity:
    """How one switch reaches the others of its segment: its trunk ports, up or down; those of them
    on which it floods; the ports at which hosts may be; the next hops toward each other switch."""

    switch: str
    trunk_ports: tuple[int, ...]
    tree_ports: tuple[int, ...]
    host_ports: tuple[int, ...]
    hops: Mapping[str, Hops]


@dataclass(frozen=True, eq=False)
class Ground:
    """A barrier segment's part of the live graph."""

    barrier: Barrier
    graph: LiveGraph
    _ways: dict[str, Connectivity] = field(default_factory=dict)

    @cached_property
    def learnt_cookie(self) -> int:
        return learnt_cookie(self.graph.links_up(self.barrier.name))

    def ways(self, switch: str) -> Connectivity:
        if switch not in self._ways:
            graph, others = self.graph, self.barrier.switches
            self._ways[switch] = Connectivity(
                switch,
                graph.trunk_ports(switch),
                graph.tree_ports(switch),
                graph.host_ports(switch),
                {other: graph.hops(switch, other) for other in others if other != switch},
            )
        return self._ways[switch]

    def alive(self, switch: str, attachment: Attachment) -> bool:
        """Is the port up, and does a way lead there from this switch?"""
        return self.graph.port_up(attachment) and self.graph.reaches(switch, attachment.switch)


@dataclass(frozen=True, eq=False)
class Situation:
    """Of one moment. `fenced` are cards, by name; `steers` by role."""

    barrier: Barrier
    ground: Ground
    fenced: frozenset[str]
    speaking: frozenset[Candidate]
    steers: Mapping[str, Steer]

    @classmethod
    def of(cls, ground: Ground, intents: Intents) -> Situation:
        name = ground.barrier.name
        speaks = (speak.candidate for speak in intents.speaks)
        steers = (steer for steer in intents.steers if steer.address.segment == name)
        return cls(
            ground.barrier,
            ground,
            frozenset(fence.interface for fence in intents.fences),
            frozenset(candidate for candidate in speaks if candidate.segment == name),
            {steer.address.role: steer for steer in steers},
        )

    def steer(self, service: ServiceAddress) -> Steer:
        """Where a role's packets go; nowhere, if nothing is wanted."""
        return self.steers.get(service.role) or Steer(service, ())

    def open_at(self, switch: str) -> tuple[Candidate, ...]:
        """The candidates at a switch that no fence closes."""
        here = self.barrier.candidates_at(switch)
        return tuple(c for c in here if c.interface not in self.fenced)


def _by_switch(things: Iterable[Thing]) -> dict[str, tuple[Thing, ...]]:
    found: dict[str, list[Thing]] = {}
    for thing in things:
        found.setdefault(thing.attachment.switch, []).append(thing)
    return {switch: tuple(here) for switch, here in found.items()}
