"""The network as it is now: what is plugged together, less what is down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx

from topology.model import Attachment, Link, Network
from topology.paths.shortest import Distances, Hops, distances, flood_tree, graph_of, hops

#: Port numbers from here on are reserved (OpenFlow 1.3.5, section 7.2.1: OFPP_MAX).
FIRST_RESERVED_PORT = 0xFFFFFF00


def in_order(links: Iterable[Link]) -> list[Link]:
    """By their ends, whose names and numbers are compared much faster than they themselves."""
    return sorted(links, key=lambda link: (link.a.switch, link.a.port, link.b.switch, link.b.port))


def host_ports(network: Network, switch: str, up: Set[int]) -> frozenset[int]:
    """Of the ports of a switch that are up, those at which neither a switch, a server nor the
    prober is: where hosts are, and users."""
    others = up - network.named_ports_of[switch]
    return frozenset(port for port in others if port < FIRST_RESERVED_PORT)


@dataclass(frozen=True)
class LiveGraph:
    """A network and what is known to be down in it. Never changes: a new state, a new graph.

    `down_ports` are ports known to be down. `ports_up` gives, for each switch that has told, all
    of its ports that are up; it also says which ports exist beside those that the site file
    names, which nothing else does. `absent` are switches known to be gone altogether (not merely
    out of the controller's reach: such a switch goes on forwarding).
    """

    network: Network
    down_ports: frozenset[Attachment] = frozenset()
    ports_up: Mapping[str, frozenset[int]] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        network: Network,
        down_ports: Set[Attachment] = frozenset(),
        ports_up: Mapping[str, Set[int]] | None = None,
        absent: Set[str] = frozenset(),
    ) -> LiveGraph:
        """See the class."""
        told = {switch: frozenset(ports) for switch, ports in (ports_up or {}).items()}
        return cls(network, frozenset(down_ports), told, frozenset(absent))

    def port_up(self, attachment: Attachment) -> bool:
        """Whether the port is up as far as known; a switch that has told nothing has all up."""
        told = self.ports_up.get(attachment.switch)
        return (
            attachment not in self.down_ports
            and attachment.switch not in self.absent
            and (told is None or attachment.port in told)
        )

    @cached_property
    def switches(self) -> nx.MultiGraph:
        """Switches and the links between them that are up at both ends."""
        there = sorted(set(self.network.switches) - self.absent)
        return graph_of(there, in_order(self.links))

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Those that are up at both ends."""
        up = self.port_up
        return tuple(link for link in self.network.links if up(link.a) and up(link.b))

    def links_up(self, segment: str) -> tuple[str, ...]:
        """The links of a segment that are up, by name."""
        members = {switch.name for switch in self.network.switches_of(segment)}
        return tuple(key for a, _, key in self.switches.edges(keys=True) if a in members)

    @cached_property
    def distances(self) -> Distances:
        return distances(self.switches)

    def reaches(self, switch: str, target: str) -> bool:
        return target in self.distances.get(switch, {})

    def hops(self, switch: str, target: str) -> Hops:
        """By which ports `switch` can send toward the switch `target`."""
        return hops(self.switches, self.distances, switch, target)

    @cached_property
    def _tree(self) -> dict[str, tuple[int, ...]]:
        return flood_tree(self.switches)

    def tree_ports(self, switch: str) -> tuple[int, ...]:
        """The trunk ports on which this switch floods: those on its segment's spanning tree."""
        return self._tree.get(switch, ())

    def trunk_ports(self, switch: str) -> tuple[int, ...]:
        """All ports that join this switch to others, up or down."""
        return tuple(sorted(self.network.trunk_ports_of[switch]))

    def host_ports(self, switch: str) -> tuple[int, ...]:
        """The ports that are up and at which neither a switch, a server nor the prober is."""
        told = self.ports_up.get(switch, frozenset())
        return tuple(sorted(host_ports(self.network, switch, told)))
