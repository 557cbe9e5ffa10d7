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
    connection makes it unhealthy at once.
    """

    kind: str  # tcp, smtp, submission, pop3, imap, http, icmp, arp
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
class Connection:
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
    connects: tuple[Connection, ...] = ()
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
class PowerFence:
    """A command that cuts a server's power; exit 0 means that it is proven off."""

    command: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class Timers:
    """Deadlines and intervals, in seconds. See the README for what each does."""

    probe_interval: float = 0.25
    probe_timeout: float = 1.0
    probe_rise: int = 2
    probe_fall: int = 3
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

    def cards(self, role: Role, server: str, segment: str) -> tuple[Interface, ...]:
        """The server's cards that can carry the role on a segment, the best first.

        Best is the card that is primary for the role (it stands in for nobody, and the server
        is the role's first), or that is redundant for such a card; then the others, as written.
        """
        return self._cards[role.name, server, segment]

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
