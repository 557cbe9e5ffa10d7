"""The site's network as plain values.

Names are the site file's names. A `Network` is checked when the site file is read, so the
functions that use it assume that every name in it resolves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network


@dataclass(frozen=True, order=True)
class Attachment:
    """A switch, by name, and one of its OpenFlow port numbers."""

    switch: str
    port: int

    def __str__(self) -> str:
        return f"{self.switch}:{self.port}"


@dataclass(frozen=True)
class Switch:
    """An OpenFlow switch; `datapath_id` is the 64-bit number that it announces. `clients`: how
    much the hosts there ask of file servers, compared with those of other switches."""

    name: str
    datapath_id: int
    segment: str
    clients: int = 1


@dataclass(frozen=True)
class Link:
    """A cable between two switches of one segment; `cost` is what a path pays to cross it."""

    a: Attachment
    b: Attachment
    cost: int = 1

    def __str__(self) -> str:
        return f"{self.a}-{self.b}"


@dataclass(frozen=True)
class Prober:
    """Where the prober is plugged into a segment, its MAC, and its source address pool.

    `sources` gives, for each interface of the segment by name, the prober's source addresses
    (at most one of each family) that mean "steer this probe to that interface".
    """

    segment: str
    attachment: Attachment
    mac: str
    sources: dict[str, tuple[Address, ...]]


@dataclass(frozen=True)
class Segment:
    """A layer-2 domain of one or more switches.

    A `backbone` carries file servers and their clients, a segment that is none carries roles.
    `discover`: links of a backbone that are seen and not declared are used too.
    """

    name: str
    networks: tuple[Subnet, ...]
    prober: Prober | None = None
    backbone: bool = False
    discover: bool = False


@dataclass(frozen=True)
class Interface:
    """A server's network card. Names are unique in the site.

    `redundant_for` names the peer's primary interface that this one stands in for, or is None
    for a primary interface. `offset`, of a file server's interface, counts with the costs of the
    links on a way to it, and spreads clients; see `topology.paths.spread`.
    """

    name: str
    server: str
    segment: str
    attachment: Attachment
    mac: str
    redundant_for: str | None = None
    offset: int = 0

    def role_mac(self, role: str) -> str:
        """The MAC of the role's own virtual interface (macvlan) on this card.

        Derived, so that servers and controller agree without being told: a locally
        administered unicast address (IEEE 802, U/L bit set) from a digest of card and role.
        """
        return derived_mac(f"card {self.mac} role {role}")


@dataclass(frozen=True)
class Server:
    name: str
    interfaces: tuple[Interface, ...]

    def on_segment(self, segment: str) -> tuple[Interface, ...]:
        return tuple(i for i in self.interfaces if i.segment == segment)


#: How it is chosen which interface of a file server serves a switch (`topology.paths.spread`).
POLICIES = NEAREST, SPREAD = "nearest", "spread"


@dataclass(frozen=True)
class FileServer:
    """A server that clients reach by the nearest of its interfaces, all of which carry the same
    service addresses. `mac` is the virtual MAC that users see; the interfaces' own MACs are
    seen by nobody but the switches that they are plugged into. `policy` is 'nearest', or 'spread'
    where interfaces have offsets so that the most loaded link carries less."""

    name: str
    segment: str
    mac: str
    addresses: tuple[Address, ...]
    interfaces: tuple[Interface, ...]
    policy: str = NEAREST


@dataclass(frozen=True, order=True)
class Host:
    """A host of a backbone, where it was learnt. `number` is its own among the locators of its
    switch (24 bits), and stays the same as long as the host stays there."""

    mac: str
    attachment: Attachment
    number: int
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Network:
    """All that is plugged together, by name. `interfaces` are those of servers that play roles."""

    segments: dict[str, Segment]
    switches: dict[str, Switch]
    links: tuple[Link, ...]
    servers: dict[str, Server] = field(default_factory=dict)
    file_servers: dict[str, FileServer] = field(default_factory=dict)

    @cached_property
    def interfaces(self) -> dict[str, Interface]:
        return {i.name: i for s in self.servers.values() for i in s.interfaces}

    @cached_property
    def file_interfaces(self) -> dict[str, Interface]:
        """The file servers' interfaces; no name is also one of `interfaces`."""
        return {i.name: i for s in self.file_servers.values() for i in s.interfaces}

    @cached_property
    def trunk_ports(self) -> frozenset[Attachment]:
        """The ports that join two switches; every other port is an edge port."""
        return frozenset(end for link in self.links for end in (link.a, link.b))

    @cached_property
    def trunk_ports_of(self) -> dict[str, frozenset[int]]:
        """Their numbers by switch."""
        return _by_switch(self.switches, self.trunk_ports)

    @cached_property
    def named_ports_of(self) -> dict[str, frozenset[int]]:
        """By switch, where switches, servers and probers are plugged in, up or down."""
        cards = (*self.interfaces.values(), *self.file_interfaces.values())
        ports = {*self.trunk_ports, *(card.attachment for card in cards)}
        ports |= {s.prober.attachment for s in self.segments.values() if s.prober}
        return _by_switch(self.switches, ports)

    @cached_property
    def links_of(self) -> dict[str, tuple[Link, ...]]:
        """The links by the segment of their first end."""
        found: dict[str, list[Link]] = {}
        for link in self.links:
            found.setdefault(self.switches[link.a.switch].segment, []).append(link)
        return {segment: tuple(links) for segment, links in found.items()}

    def switches_of(self, segment: str) -> tuple[Switch, ...]:
        return tuple(s for s in self.switches.values() if s.segment == segment)


def _by_switch(switches: Iterable[str], ports: Iterable[Attachment]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {switch: set() for switch in switches}
    for port in ports:
        found[port.switch].add(port.port)
    return {switch: frozenset(numbers) for switch, numbers in found.items()}


def derived_mac(text: str) -> str:
    """A stable, locally administered unicast MAC from a digest of `text`."""
    octets = bytes([0x02]) + sha256(text.encode()).digest()[:5]
    return ":".join(f"{octet:02x}" for octet in octets)
