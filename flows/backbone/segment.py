"""What the rules of a backbone's switches are compiled from.

site file ────────────► Backbone     what never changes while the controller runs
live graph ───────────► Ground       which ports join switches, and at which hosts may be
intents, routes ──────► Situation    both, and who is where: known hosts, live interfaces, the ways
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from flows.backbone.locators import Locators
from flows.intents import Intents, InterfaceProbe, Nearest
from topology.graph import LiveGraph
from topology.model import (
    Address,
    Attachment,
    FileServer,
    Host,
    Interface,
    Network,
    Prober,
    Segment,
)
from topology.paths.routes import Routes


@dataclass(frozen=True, eq=False)
class Backbone:
    """One backbone. `ids` are those of all groups and meters, by name. Of the network its links
    are not looked at: some are discovered, and some are found to lead elsewhere."""

    name: str
    network: Network
    interface_probes: tuple[InterfaceProbe, ...]
    ids: Mapping[str, int]
    locators: Locators

    @classmethod
    def of(
        cls,
        network: Network,
        segment: str,
        intents: Intents,
        ids: Mapping[str, int],
        locators: Locators,
    ) -> Backbone:
        probes = intents.interface_probes
        own = tuple(probe for probe in probes if probe.server.segment == segment)
        return cls(segment, network, own, ids, locators)

    @cached_property
    def segment(self) -> Segment:
        return self.network.segments[self.name]

    @property
    def prober(self) -> Prober | None:
        """Wherever it is plugged in."""
        return self.segment.prober

    @cached_property
    def prober_addresses(self) -> tuple[Address, ...]:
        sources = self.prober.sources if self.prober else {}
        return tuple(dict.fromkeys(a for addresses in sources.values() for a in addresses))

    @cached_property
    def switches(self) -> tuple[str, ...]:
        return tuple(switch.name for switch in self.network.switches_of(self.name))

    @cached_property
    def file_servers(self) -> tuple[FileServer, ...]:
        known = self.network.file_servers.values()
        return tuple(server for server in known if server.segment == self.name)

    def server(self, card: Interface) -> FileServer:
        """Whose interface it is."""
        return self.network.file_servers[card.server]

    def cards_at(self, switch: str) -> tuple[Interface, ...]:
        """The file servers' interfaces that are plugged into a switch."""
        return self._cards.get(switch, ())

    @cached_property
    def _cards(self) -> dict[str, tuple[Interface, ...]]:
        found: dict[str, tuple[Interface, ...]] = {}
        for card in self.network.file_interfaces.values():
            at = card.attachment.switch
            found[at] = (*found.get(at, ()), card)
        return found

    @cached_property
    def asked(self) -> tuple[tuple[InterfaceProbe, Address], ...]:
        """The probes of file servers, each with every address of its family that it asks."""
        return tuple(
            (probe, target)
            for probe in self.interface_probes
            for target in probe.server.addresses
            if target.version == probe.source.version
        )

    # Ids of groups and meters, by name.

    @cached_property
    def flood_group(self) -> int:
        return self.ids[f"flood {self.name}"]

    @cached_property
    def error_meter(self) -> int:
        return self.ids[f"errors on {self.name}"]


@dataclass(frozen=True, eq=False)
class Ground:
    """A backbone's part of the live graph, by switch: the trunk ports, up or down, and the ports
    that are up and at which hosts may be."""

    backbone: Backbone
    trunk_ports: Mapping[str, tuple[int, ...]]
    host_ports: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, backbone: Backbone, graph: LiveGraph) -> Ground:
        switches = backbone.switches
        return cls(
            backbone,
            {switch: graph.trunk_ports(switch) for switch in switches},
            {switch: graph.host_ports(switch) for switch in switches},
        )


@dataclass(frozen=True, eq=False)
class Situation:
    """Of one moment. `hosts` are those that are known, by the switch that they are plugged into;
    `routes` those of all backbones."""

    backbone: Backbone
    ground: Ground
    hosts: Mapping[str, tuple[Host, ...]]
    nearest: tuple[Nearest, ...]
    routes: Routes

    @classmethod
    def of(cls, ground: Ground, intents: Intents, routes: Routes) -> Situation:
        backbone, hosts = ground.backbone, intents.hosts_at
        return cls(
            backbone,
            ground,
            {switch: hosts[switch] for switch in backbone.switches if switch in hosts},
            tuple(n for n in intents.nearest if n.server.segment == backbone.name),
            routes,
        )

    def hosts_at(self, switch: str) -> tuple[Host, ...]:
        return self.hosts.get(switch, ())

    def hosts_of(self, part: int, parts: int) -> tuple[Host, ...]:
        """Those at the switches of one of so many parts of the backbone."""
        switches = self.backbone.switches[part::parts]
        return tuple(host for switch in switches for host in self.hosts_at(switch))


@dataclass(frozen=True)
class Plugged:
    """Who is plugged into one switch: the known hosts there, and by the site file the interfaces
    of file servers."""

    backbone: Backbone
    switch: str
    hosts: tuple[Host, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Plugged:
        return cls(situation.backbone, switch, situation.hosts_at(switch))

    @property
    def cards(self) -> tuple[Interface, ...]:
        return self.backbone.cards_at(self.switch)

    def is_here(self, attachment: Attachment) -> bool:
        return attachment.switch == self.switch
