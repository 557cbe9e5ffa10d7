"""What the tables of one switch of a backbone are compiled from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from flows.backbone.locators import Locators
from flows.intents import Intents, InterfaceProbe, Nearest
from flows.numbers import own_ids
from topology.graph import LiveGraph
from topology.model import Address, Attachment, FileServer, Host, Interface, Network, Prober, Switch
from topology.paths.routes import Routes


@dataclass(frozen=True)
class View:
    """One switch, and of graph, routes and intents what is on its backbone."""

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
    def prober(self) -> Prober | None:
        """The segment's prober, wherever it is plugged in."""
        return self.network.segments[self.segment].prober

    @cached_property
    def prober_addresses(self) -> tuple[Address, ...]:
        sources = self.prober.sources if self.prober else {}
        return tuple(dict.fromkeys(a for addresses in sources.values() for a in addresses))

    @cached_property
    def trunk_ports(self) -> tuple[int, ...]:
        return self.graph.trunk_ports(self.name)

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

    @cached_property
    def flood_group(self) -> int:
        return self.ids[f"flood {self.segment}"]

    @cached_property
    def error_meter(self) -> int:
        return self.ids[f"errors on {self.segment}"]

    @cached_property
    def told_meters(self) -> dict[int, int]:
        """For each port at which hosts may be: the meter of what the controller
        is told of it. The names of all sort behind that of `error_meter`, which keeps its id."""
        return {port: self._told_ids[_told_of(port)] for port in self._told_ports}

    @cached_property
    def spoof_meter(self) -> int:
        """The meter of what the controller is told of hosts that use what is ours,
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
