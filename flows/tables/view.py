"""What the tables of one switch are compiled from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from flows.intents import (
    Candidate,
    Connect,
    Fence,
    Intents,
    InterfaceProbe,
    Nearest,
    Permit,
    Probe,
    ServiceAddress,
    Steer,
)
from flows.locators import Locators
from flows.numbers import learnt_cookie, own_ids
from topology.graph import LiveGraph
from topology.model import Address, Attachment, FileServer, Host, Interface, Network, Prober, Switch
from topology.routes import Routes


@dataclass(frozen=True)
class View:
    """One switch, and of graph and intents what is on its segment."""

    network: Network
    graph: LiveGraph
    intents: Intents
    ids: dict[str, int]
    switch: Switch
    routes: Routes
    locators: Locators

    @cached_property
    def name(self) -> str:
        return self.switch.name

    @cached_property
    def segment(self) -> str:
        return self.switch.segment

    def is_here(self, attachment: Attachment) -> bool:
        return attachment.switch == self.name

    @cached_property
    def cards(self) -> tuple[Interface, ...]:
        """The servers' cards that are plugged into this switch."""
        return tuple(c for c in self.network.interfaces.values() if self.is_here(c.attachment))

    @cached_property
    def prober(self) -> Prober | None:
        """The segment's prober, wherever it is plugged in."""
        return self.network.segments[self.segment].prober

    @cached_property
    def prober_addresses(self) -> tuple[Address, ...]:
        sources = self.prober.sources if self.prober else {}
        return tuple(dict.fromkeys(a for addresses in sources.values() for a in addresses))

    @cached_property
    def addresses(self) -> tuple[ServiceAddress, ...]:
        return tuple(a for a in self.intents.addresses if a.segment == self.segment)

    @cached_property
    def service_addresses(self) -> tuple[tuple[ServiceAddress, Address], ...]:
        return tuple((service, a) for service in self.addresses for a in service.addresses)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(c for c in self.intents.candidates if c.segment == self.segment)

    @cached_property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """Those on this switch that no fence closes."""
        return tuple(
            c for c in self.candidates if self.is_here(c.attachment) and not self.closed(c)
        )

    def service(self, candidate: Candidate) -> ServiceAddress:
        return next(a for a in self.addresses if a.role == candidate.role)

    @cached_property
    def fences(self) -> tuple[Fence, ...]:
        return tuple(f for f in self.intents.fences if self.is_here(f.attachment))

    def closed(self, candidate: Candidate) -> bool:
        return any(fence.interface == candidate.interface for fence in self.intents.fences)

    @cached_property
    def _speaking(self) -> frozenset[Candidate]:
        return frozenset(speak.candidate for speak in self.intents.speaks)

    def speaks(self, candidate: Candidate) -> bool:
        return candidate in self._speaking

    def probes(self) -> Iterator[tuple[Probe, Address]]:
        """The segment's probes, each with every service address of its family that it asks."""
        for probe in self.intents.probes:
            if probe.candidate.segment == self.segment and not self.closed(probe.candidate):
                for target in self.service(probe.candidate).addresses:
                    if target.version == probe.source.version:
                        yield probe, target

    @cached_property
    def steers(self) -> tuple[Steer, ...]:
        return tuple(s for s in self.intents.steers if s.address.segment == self.segment)

    @cached_property
    def permits(self) -> tuple[Permit, ...]:
        return tuple(p for p in self.intents.permits if p.address.segment == self.segment)

    @cached_property
    def connects(self) -> tuple[Connect, ...]:
        return tuple(c for c in self.intents.connects if c.address.segment == self.segment)

    @cached_property
    def trunk_ports(self) -> tuple[int, ...]:
        return self.graph.trunk_ports(self.name)

    @cached_property
    def tree_ports(self) -> tuple[int, ...]:
        return self.graph.tree_ports(self.name)

    @cached_property
    def off_tree_ports(self) -> tuple[int, ...]:
        return tuple(p for p in self.trunk_ports if p not in self.tree_ports)

    @cached_property
    def learnt_cookie(self) -> int:
        return learnt_cookie(self.graph.links_up(self.segment))

    # Of a backbone.

    @cached_property
    def routes_tree(self) -> tuple[int, ...]:
        return self.routes.tree.get(self.name, ())

    @cached_property
    def host_ports(self) -> tuple[int, ...]:
        return self.graph.host_ports(self.name)

    @cached_property
    def nearest(self) -> tuple[Nearest, ...]:
        return tuple(n for n in self.intents.nearest if n.server.segment == self.segment)

    @cached_property
    def file_servers(self) -> tuple[FileServer, ...]:
        known = self.network.file_servers.values()
        return tuple(server for server in known if server.segment == self.segment)

    @cached_property
    def file_cards(self) -> tuple[Interface, ...]:
        """The file servers' interfaces that are plugged into this switch."""
        return tuple(c for c in self.network.file_interfaces.values() if self.is_here(c.attachment))

    @cached_property
    def switches_with_hosts(self) -> tuple[str, ...]:
        """Of the segment, those at which hosts are known."""
        members = self.network.switches_of(self.segment)
        return tuple(s.name for s in members if s.name in self.intents.hosts_at)

    @cached_property
    def local_hosts(self) -> tuple[Host, ...]:
        return self.intents.hosts_at.get(self.name, ())

    @cached_property
    def has_neighbours(self) -> bool:
        """Whether anybody is plugged in who looks for hosts."""
        return bool(self.local_hosts or self.file_cards)

    def interface_probes(self) -> Iterator[tuple[InterfaceProbe, Address]]:
        """The segment's probes of file servers, each with every address that it asks."""
        for probe in self.intents.interface_probes:
            if probe.server.segment == self.segment:
                for target in probe.server.addresses:
                    if target.version == probe.source.version:
                        yield probe, target

    # Ids of groups and meters, by name.

    def steer_group(self, service: ServiceAddress) -> int:
        return self.ids[f"steer {service.role} on {service.segment}"]

    def announce_group(self, service: ServiceAddress) -> int:
        return self.ids[f"announce to {service.role} on {service.segment}"]

    def toward_group(self, switch: str) -> int:
        return self.ids[f"toward {switch}"]

    def spread_group(self, switch: str) -> int:
        return self.ids[f"spread toward {switch}"]

    @cached_property
    def flood_group(self) -> int:
        return self.ids[f"flood {self.segment}"]

    @cached_property
    def unicast_flood_group(self) -> int:
        return self.ids[f"unicast flood {self.segment}"]

    @cached_property
    def error_meter(self) -> int:
        return self.ids[f"errors on {self.segment}"]

    @cached_property
    def told_meters(self) -> dict[int, int]:
        """Of a backbone, for each port at which hosts may be: the meter of what the controller
        is told of it. The names of all sort behind that of `error_meter`, which keeps its id."""
        return {port: self._told_ids[_told_of(port)] for port in self._told_ports}

    @cached_property
    def spoof_meter(self) -> int:
        """Of a backbone: the meter of what the controller is told of hosts that use what is ours,
        whatever their ports."""
        return self._told_ids[_SPOOFS]

    @cached_property
    def _told_ids(self) -> dict[str, int]:
        return own_ids((*self.ids, *map(_told_of, self._told_ports), _SPOOFS))

    @cached_property
    def _told_ports(self) -> list[int]:
        return sorted({*self.host_ports, *(host.attachment.port for host in self.local_hosts)})


#: Sorts behind the names of ports' meters, which keep their ids.
_SPOOFS = "told of spoofs"


def _told_of(port: int) -> str:
    return f"told of port {port}"


def all_ids(network: Network, intents: Intents) -> dict[str, int]:
    """An id for every group and meter that any switch can have."""
    places = [f"{a.role} on {a.segment}" for a in intents.addresses]
    return own_ids(
        [f"steer {place}" for place in places]
        + [f"announce to {place}" for place in places]
        + [f"{way} {switch}" for way in ("toward", "spread toward") for switch in network.switches]
        + [
            f"{what} {s}"
            for what in ("flood", "unicast flood", "errors on")
            for s in network.segments
        ]
    )
