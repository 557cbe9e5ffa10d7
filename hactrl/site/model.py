"""A site as plain values: what the site file says, checked, with defaults filled in.

Durations are seconds, as floats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from topology.model import Address, Interface, Network, Subnet


@dataclass(frozen=True)
class ProbeSettings:
    """How a service or address is probed.

    `rise` good answers in a row make it healthy, `fall` bad ones unhealthy; a refused
    connection makes it unhealthy at once. `kind` is a `hactrl.vocabulary.ProbeKind`.
    """

    kind: str
    interval: float
    timeout: float
    rise: int
    fall: int


@dataclass(frozen=True)
class Service:
    """`sources`: 'anyone', role names and networks, as written in the file's `from`."""

    name: str
    segment: str
    protocol: str
    port: int
    anyone: bool
    roles: tuple[str, ...]
    networks: tuple[Subnet, ...]
    probe: ProbeSettings


@dataclass(frozen=True)
class AllowedConnection:
    """What a role may open itself, as written in the file's `connects`."""

    segment: str
    protocol: str
    port: int
    anyone: bool
    roles: tuple[str, ...]
    networks: tuple[Subnet, ...]


@dataclass(frozen=True)
class RoleAddress:
    """A role's service addresses on one segment, with the virtual MAC."""

    segment: str
    mac: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True)
class Role:
    """`servers` in order of preference. `owns` names resources that only one server may use at
    a time. `lease` is None where nobody must renew anything to go on serving.
    `failback` is 'manual' or 'automatic'."""

    name: str
    servers: tuple[str, ...]
    addresses: tuple[RoleAddress, ...]
    services: tuple[Service, ...]
    connects: tuple[AllowedConnection, ...] = ()
    owns: tuple[str, ...] = ()
    lease: float | None = None
    failback: str = "manual"

    @property
    def needs_fence(self) -> bool:
        return bool(self.owns)

    @cached_property
    def segments(self) -> tuple[str, ...]:
        return tuple(a.segment for a in self.addresses)


@dataclass(frozen=True)
class Probed:
    """A role's or file server's service through one card, which a prober should judge. `asked`:
    the prober has an address to ask from; `within`: seconds that a verdict takes at most."""

    role: str
    service: str
    server: str
    card: str
    asked: bool
    within: float

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.role, self.service, self.card)


@dataclass(frozen=True)
class PowerFence:
    """A command that cuts a server's power; exit 0 means that it is proven off."""

    command: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class Timers:
    """Deadlines and intervals, in seconds; docs/site-file.md says what each does."""

    probe_interval: float = 0.25
    probe_timeout: float = 1.0
    probe_rise: int = 2
    probe_fall: int = 3
    probe_lag: float | None = 0.05
    syn_interval: float | None = 0.05
    syn_fall: int = 4
    syn_lag: float = 0.02
    agent_heartbeat: float = 0.2
    agent_timeout: float = 1.0
    lease_margin: float = 0.5
    release_deadline: float = 3.0
    fence_deadline: float = 5.0
    assume_deadline: float = 30.0
    serve_deadline: float = 10.0
    steer_deadline: float = 1.0
    retry_pause: float = 2.0
    failback_hold: float = 30.0
    startup_patience: float = 15.0


@dataclass(frozen=True)
class Listen:
    host: str
    port: int


@dataclass(frozen=True)
class Controller:
    openflow: Listen
    agents: Listen
    rest: Listen
    agent_tokens: str
    operator_token: str
    store: str
    rest_hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """`file_services` by file server: what is probed on each of its interfaces."""

    name: str
    network: Network
    roles: dict[str, Role]
    resources: tuple[str, ...]
    power_fences: dict[str, PowerFence]
    timers: Timers
    controller: Controller
    file_services: dict[str, tuple[Service, ...]] = field(default_factory=dict)
    path: str = field(default="", compare=False)

    def has_fence(self, server: str) -> bool:
        """Whether something can prove it off although it does not answer, and has no lease."""
        return server in self.power_fences

    def cards(self, role: Role, server: str, segment: str) -> tuple[Interface, ...]:
        """The server's cards that can carry the role on a segment, the best first.

        Best is the card that is primary for the role (it stands in for nobody, and the server
        is the role's first), or that is redundant for such a card; then the others, as written.
        """
        return self._cards[role.name, server, segment]

    def segment_of(self, card: str) -> str:
        """The segment of a server's or file server's card; empty if there is no such card."""
        network = self.network
        found = network.interfaces.get(card) or network.file_interfaces.get(card)
        return found.segment if found else ""

    @cached_property
    def probed(self) -> dict[str, tuple[Probed, ...]]:
        """All that is to be judged, by segment; a segment without a prober has nothing judged."""
        found: dict[str, list[Probed]] = {}
        for role in self.roles.values():
            at = {on.segment: on.addresses for on in role.addresses}
            for service in role.services:
                for server in role.servers:
                    for card in self.cards(role, server, service.segment):
                        own = at.get(service.segment, ())
                        found.setdefault(service.segment, []).append(
                            self._probed(role.name, own, service, card)
                        )
        for file_server in self.network.file_servers.values():
            for service in self.file_services.get(file_server.name, ()):
                found.setdefault(service.segment, []).extend(
                    self._probed(file_server.name, file_server.addresses, service, card)
                    for card in file_server.interfaces
                )
        probers = {name for name, s in self.network.segments.items() if s.prober is not None}
        return {segment: tuple(all_) for segment, all_ in found.items() if segment in probers}

    def probed_through(self, role: str, service: str, server: str) -> tuple[Probed, ...]:
        """Of `probed`, a role's service through each card of a server."""
        return self._probed_through.get((role, service, server), ())

    @cached_property
    def _probed_through(self) -> dict[tuple[str, str, str], tuple[Probed, ...]]:
        """Asked for many times with every event."""
        found: dict[tuple[str, str, str], list[Probed]] = {}
        for all_ in self.probed.values():
            for each in all_:
                found.setdefault((each.role, each.service, each.server), []).append(each)
        return {key: tuple(own) for key, own in found.items()}

    def _probed(
        self, role: str, addresses: tuple[Address, ...], service: Service, card: Interface
    ) -> Probed:
        prober = self.network.segments[service.segment].prober
        sources = () if prober is None else prober.sources.get(card.name, ())
        asked = {a.version for a in addresses} & {s.version for s in sources}
        probe = service.probe
        within = probe.timeout + max(probe.rise, probe.fall) * probe.interval
        return Probed(role, service.name, card.server, card.name, bool(asked), within)

    @cached_property
    def _cards(self) -> dict[tuple[str, str, str], tuple[Interface, ...]]:
        """`cards` of every role: asked for many times with every event."""
        return {
            (role.name, server, segment): self._sorted_cards(role, server, segment)
            for role in self.roles.values()
            for server in role.servers
            for segment in self.network.segments
        }

    def _sorted_cards(self, role: Role, server: str, segment: str) -> tuple[Interface, ...]:
        cards = self.network.servers[server].on_segment(segment)
        preferred = {
            card.name
            for card in self.network.servers[role.servers[0]].on_segment(segment)
            if card.redundant_for is None
        }
        return tuple(
            sorted(cards, key=lambda c: not (c.name in preferred or c.redundant_for in preferred))
        )
