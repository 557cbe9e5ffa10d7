"""Does what the file says fit together? Names that resolve, ports, addresses and MACs that only
one claims, and roles that their servers can really play.

Each check notes what it finds and goes on. A check that would conclude from something missing
leaves parts alone from which `hactrl.site.structure` has cut something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

import networkx

from hactrl.site.document import Document
from hactrl.site.errors import Path, closest
from hactrl.site.prober import assign, families, reserved
from hactrl.site.schema import (
    ConnectionPart,
    InterfacePart,
    RolePart,
    SegmentPart,
    ServicePart,
    SitePart,
)
from hactrl.site.structure import Sound
from topology.model import Address, Attachment, Interface, Subnet, derived_mac

ANYONE = "anyone"


def virtual_mac(role: str, segment: str) -> str:
    """The virtual MAC of a role on a segment, where the file gives none."""
    return derived_mac(f"role {role} segment {segment}")


def check(document: Document, sound: Sound) -> None:
    """Note all that does not fit in `document.problems`."""
    Checker(document, sound).run()


class Checker:
    """One run over one file. `names` holds what the file mentions, also where it is wrong."""

    def __init__(self, document: Document, sound: Sound) -> None:
        self.document = document
        self.sound = sound
        self.site: SitePart = sound.site
        self.switch_of: dict[str, str] = {
            switch: name for name, part in self.site.segments.items() for switch in part.switches
        }
        self.written_switches = {
            switch
            for segment in self._written("segments")
            for switch in self._written("segments", segment, "switches")
        }
        self.written_cards = {
            card
            for server in self._written("servers")
            for card in self._written("servers", server, "interfaces")
        }

    def run(self) -> None:
        self._switches()
        for name, segment in self.site.segments.items():
            self._segment(name, segment)
        self._networks_apart()
        self._ports()
        self._cards()
        self._macs()
        self._service_addresses()
        for name, role in self.site.roles.items():
            self._role(name, role)
        self._owners()
        self._probers()
        self._timers()
        self._listeners()

    # What the file mentions, and how to say that it does not.

    def _written(self, *path: str) -> list[str]:
        part = self.document.data
        for key in path:
            part = part.get(key, {}) if isinstance(part, dict) else {}
        return [str(key) for key in part] if isinstance(part, dict) else []

    def _known(self, path: Path, what: str, name: str, names: Iterable[str]) -> bool:
        """Note an unknown name, with what is known and what it resembles."""
        choices = sorted(names)
        if name in choices:
            return True
        expected = f"one of {', '.join(choices)}" if choices else f"no {what} is described"
        self.document.add(path, f"unknown {what} {name!r}", expected, closest(name, choices))
        return False

    def _twice(self, items: Iterable[tuple[Path, str]], what: str) -> None:
        """Note every value that an earlier place has already claimed."""
        first: dict[str, Path] = {}
        for path, value in items:
            if value in first:
                other = _dotted(first[value])
                self.document.add(path, f"{what} {value} is already that of {other}", "another one")
            else:
                first[value] = path

    # Segments.

    def _switches(self) -> None:
        names: list[tuple[Path, str]] = []
        numbers: list[tuple[Path, str]] = []
        for segment, part in self.site.segments.items():
            for switch, described in part.switches.items():
                path: Path = ("segments", segment, "switches", switch)
                names.append((path, switch))
                numbers.append(((*path, "datapath_id"), f"{described.datapath_id:#x}"))
        self._twice(names, "the name")
        self._twice(numbers, "the datapath id")

    def _segment(self, name: str, segment: SegmentPart) -> None:
        path: Path = ("segments", name)
        graph: networkx.Graph[str] = networkx.Graph()
        graph.add_nodes_from(segment.switches)
        for index, link in enumerate(segment.links):
            ends = [(*path, "links", index, end) for end in (0, 1)]
            if (*path, "links", index, "ends") in self.document.lines:
                ends = [(*path, "links", index, "ends", end) for end in (0, 1)]
            if all([self._attached(*pair, name) for pair in zip(ends, link.ends, strict=True)]):
                if link.ends[0].switch == link.ends[1].switch:
                    self.document.add(ends[1], "the link ends where it begins", "another switch")
                graph.add_edge(link.ends[0].switch, link.ends[1].switch)
        if self.sound.complete("segments", name) and len(segment.switches) > 1:
            apart = sorted(networkx.connected_components(graph), key=len)[:-1]
            for group in apart:
                switch = min(group)
                self.document.add(
                    (*path, "switches", switch),
                    f"no link leads from {', '.join(sorted(group))} to the rest of {name}",
                    "links that join all switches of a segment",
                )
        if segment.prober is not None:
            self._attached((*path, "prober", "attachment"), segment.prober.attachment, name)
            for index, pool in enumerate(segment.prober.addresses):
                if not any(
                    pool.version == network.version and pool.subnet_of(network)
                    for network in segment.networks
                ):
                    self.document.add(
                        (*path, "prober", "addresses", index),
                        f"{pool} is outside the networks of {name}",
                        _listed(segment.networks),
                    )

    def _attached(self, path: Path, at: Attachment, segment: str) -> bool:
        """The attachment's switch is one of the segment, and has such a port."""
        if at.switch not in self.switch_of:
            here = self._written("segments", segment, "switches")
            choices = here or sorted(self.written_switches)
            return self._known(path, "switch", at.switch, choices)
        home = self.switch_of[at.switch]
        if home != segment:
            self.document.add(
                path,
                f"{at.switch} is a switch of segment {home}, not of {segment}",
                f"a switch of {segment}: {', '.join(self.site.segments[segment].switches)}",
            )
            return False
        ports = self.site.segments[home].switches[at.switch].ports
        if ports is not None and at.port > ports:
            self.document.add(
                path, f"{at.switch} has no port {at.port}", f"a port from 1 to {ports}"
            )
            return False
        return True

    def _networks_apart(self) -> None:
        seen: list[tuple[str, Subnet]] = []
        for name, segment in self.site.segments.items():
            for index, network in enumerate(segment.networks):
                for other, theirs in seen:
                    if theirs.overlaps(network):
                        self.document.add(
                            ("segments", name, "networks", index),
                            f"{network} overlaps {theirs} of {other}",
                            "networks that do not overlap",
                        )
                seen.append((name, network))

    # What is plugged in.

    def _ports(self) -> None:
        places: list[tuple[Path, str]] = []
        for name, segment in self.site.segments.items():
            path: Path = ("segments", name)
            for index, link in enumerate(segment.links):
                for end in (0, 1):
                    places.append(((*path, "links", index, end), str(link.ends[end])))
            if segment.prober is not None:
                places.append(((*path, "prober", "attachment"), str(segment.prober.attachment)))
        places += [
            ((*path, "attachment"), str(card.attachment)) for path, card in self._all_cards()
        ]
        self._twice(places, "port")

    def _all_cards(self) -> Iterator[tuple[Path, InterfacePart]]:
        for server, part in self.site.servers.items():
            for name, card in part.interfaces.items():
                yield ("servers", server, "interfaces", name), card

    def _cards(self) -> None:
        cards = {str(path[-1]): (path, card) for path, card in self._all_cards()}
        self._twice(((path, str(path[-1])) for path, _ in self._all_cards()), "the name")
        for path, card in self._all_cards():
            known = self._known(
                (*path, "segment"), "segment", card.segment, self._written("segments")
            )
            if known and card.segment in self.site.segments:
                self._attached((*path, "attachment"), card.attachment, card.segment)
            if card.redundant_for is not None:
                self._stands_in(path, card, cards)

    def _stands_in(
        self, path: Path, card: InterfacePart, cards: dict[str, tuple[Path, InterfacePart]]
    ) -> None:
        here = (*path, "redundant_for")
        name = str(card.redundant_for)
        if not self._known(here, "interface", name, self.written_cards) or name not in cards:
            return
        other_path, other = cards[name]
        primaries = [
            n
            for n, (p, c) in cards.items()
            if c.redundant_for is None and c.segment == card.segment and p[1] != path[1]
        ]
        expected = "a primary interface of another server on this segment"
        if primaries:
            expected += f": {', '.join(primaries)}"
        if other_path[1] == path[1]:
            self.document.add(here, f"{name} is a card of the same server", expected)
        elif other.redundant_for is not None:
            self.document.add(here, f"{name} is itself redundant", expected)
        elif other.segment != card.segment:
            self.document.add(here, f"{name} is on segment {other.segment}", expected)

    def _macs(self) -> None:
        macs: list[tuple[Path, str]] = []
        for name, segment in self.site.segments.items():
            if segment.prober is not None:
                macs.append((("segments", name, "prober", "mac"), segment.prober.mac))
        for path, card in self._all_cards():
            macs.append(((*path, "mac"), card.mac))
        for role, part in self.site.roles.items():
            for name, address in part.addresses.items():
                place: Path = ("roles", role, "addresses", name)
                macs.append(((*place, "mac"), address.mac or virtual_mac(role, name)))
                for path, card in self._all_cards():
                    if card.segment == name and path[1] in part.servers:
                        own = _interface(path, card).role_mac(role)
                        macs.append(((*place, f"(own MAC on {path[-1]})"), own))
        self._twice(macs, "the MAC")

    # Roles.

    def _service_addresses(self) -> None:
        claimed: list[tuple[Path, str]] = []
        for role, part in self.site.roles.items():
            for name, on_segment in part.addresses.items():
                place: Path = ("roles", role, "addresses", name)
                if not self._known(place, "segment", name, self._written("segments")):
                    continue
                segment = self.site.segments.get(name)
                for index, address in enumerate(on_segment.addresses):
                    path = (*place, "addresses", index)
                    claimed.append((path, str(address)))
                    if segment and self.sound.complete("segments", name, "networks"):
                        self._within(path, address, name, segment)
        self._twice(claimed, "the address")

    def _within(self, path: Path, address: Address, name: str, segment: SegmentPart) -> None:
        network = next((n for n in segment.networks if address in n), None)
        if network is None:
            self.document.add(
                path, f"{address} is outside the networks of {name}", _listed(segment.networks)
            )
        elif address in reserved(network):
            self.document.add(
                path, f"{address} is the network's own address", f"a host's address of {network}"
            )

    def _role(self, name: str, role: RolePart) -> None:
        path: Path = ("roles", name)
        if name == ANYONE:
            self.document.add(path, f"a role cannot be named {ANYONE!r}", "another name")
        self._twice(
            (((*path, "servers", i), server) for i, server in enumerate(role.servers)), "the server"
        )
        for index, server in enumerate(role.servers):
            here = (*path, "servers", index)
            if self._known(here, "server", server, self._written("servers")):
                self._can_carry(here, name, role, server)
        ports: list[tuple[Path, str]] = []
        for service, described in role.services.items():
            here = (*path, "services", service)
            self._service(here, name, role, described)
            port = f"{described.protocol}/{described.port} on {described.segment}"
            ports.append(((*here, "port"), port))
        self._twice(ports, "port")
        for index, connection in enumerate(role.connects):
            self._connection((*path, "connects", index), name, role, connection)
        if role.lease is not None and not self._cut("timers"):
            self._lease(path, role.lease)

    def _cut(self, *path: str) -> bool:
        return not self.sound.complete(*path)

    def _can_carry(self, path: Path, name: str, role: RolePart, server: str) -> None:
        """Each segment of the role has a card of the server, or nobody could serve it there."""
        part = self.site.servers.get(server)
        if part is None or self._cut("servers", server):
            return
        if any(card.segment not in self.site.segments for card in part.interfaces.values()):
            return
        for segment in role.addresses:
            if segment in self.site.segments and not any(
                card.segment == segment for card in part.interfaces.values()
            ):
                self.document.add(
                    path,
                    f"{server} has no interface on {segment}, where {name} has addresses",
                    "servers with an interface on each segment of the role",
                )

    def _on_own_segment(self, path: Path, name: str, role: RolePart, segment: str) -> bool:
        here = (*path, "segment")
        if not self._known(here, "segment", segment, self._written("segments")):
            return False
        own = self._written("roles", name, "addresses") or list(role.addresses)
        if segment not in own:
            self.document.add(here, f"{name} has no address on {segment}", f"one of {_listed(own)}")
            return False
        return True

    def _service(self, path: Path, name: str, role: RolePart, service: ServicePart) -> None:
        if self._on_own_segment(path, name, role, service.segment):
            for index, source in enumerate(service.sources):
                self._peer((*path, "from", index), source, service.segment)
        probe = service.probe
        if probe.kind not in (None, "icmp", "arp") and service.protocol != "tcp":
            self.document.add(
                (*path, "probe", "kind"),
                f"{probe.kind} probes go over tcp, and this is a {service.protocol} service",
                "icmp or arp",
            )

    def _connection(self, path: Path, name: str, role: RolePart, part: ConnectionPart) -> None:
        if not self._on_own_segment(path, name, role, part.segment):
            return
        for index, destination in enumerate(part.destinations):
            here = (*path, "to", index)
            if not self._peer(here, destination, part.segment):
                continue
            peer = self.site.roles.get(destination)
            if peer is None or self._cut("roles", destination, "services"):
                continue
            if not any(
                (s.segment, s.protocol, s.port) == (part.segment, part.protocol, part.port)
                and name in s.sources
                for s in peer.services.values()
            ):
                what = f"{part.protocol} port {part.port} on {part.segment}"
                self.document.add(
                    here,
                    f"{destination} lets {name} reach no service at {what}",
                    f"a service of {destination} at {what} with {name} in its 'from'",
                )

    def _peer(self, path: Path, name: str, segment: str) -> bool:
        """`anyone`, a role that has an address on the segment, or a network."""
        if name == ANYONE:
            return True
        if any(mark in name for mark in "./:"):
            try:
                ip_network(name)
            except ValueError as error:
                self.document.add(path, f"{name!r} is no network: {error}", "like 10.0.0.0/24")
            return True
        if not self._known(path, "role", name, [ANYONE, *self._written("roles")]):
            return False
        peer = self.site.roles.get(name)
        if peer and segment not in self._written("roles", name, "addresses"):
            self.document.add(
                path,
                f"{name} has no address on {segment}",
                f"a role with one there, a network, or {ANYONE}",
            )
            return False
        return True

    def _lease(self, path: Path, lease: float) -> None:
        timers = self.site.effective_timers()
        shortest = 2 * timers.agent_heartbeat + timers.lease_margin
        if lease < shortest:
            self.document.add(
                (*path, "lease"),
                f"{lease:g}s leaves no time to renew it",
                f"at least {shortest:g}s: two of agent_heartbeat and lease_margin",
            )

    def _owners(self) -> None:
        """Law 4: what only one may use has one role, and its last owner can always be cut off."""
        owned: list[tuple[Path, str]] = []
        for name, role in self.site.roles.items():
            for index, resource in enumerate(role.owns):
                here: Path = ("roles", name, "owns", index)
                if self._known(here, "resource", resource, self._written("resources")):
                    owned.append((here, resource))
            if not role.owns or role.lease is not None or self._cut("roles", name):
                continue
            for index, server in enumerate(role.servers):
                part = self.site.servers.get(server)
                if part and part.power_fence is None and not self._cut("servers", server):
                    self.document.add(
                        ("roles", name, "servers", index),
                        f"{server} could never be proven to have given up {_listed(role.owns)}",
                        f"a lease for {name}, or a power_fence for {server}",
                    )
        self._twice(owned, "the resource")

    # Probing, times, listening.

    def _probers(self) -> None:
        for name, segment in self.site.segments.items():
            roles = [r for r, part in self.site.roles.items() if name in part.addresses]
            if not roles or self._cut("segments", name):
                continue
            path: Path = ("segments", name, "prober")
            if segment.prober is None:
                self.document.add(
                    path,
                    f"nobody probes {_listed(roles)} here",
                    "a prober on each segment with service addresses",
                )
                continue
            service = {address: role for role in roles for address in self._addresses(role, name)}
            for index, pool in enumerate(segment.prober.addresses):
                if pool.num_addresses == 1 and pool.network_address in service:
                    role = service[pool.network_address]
                    self.document.add(
                        (*path, "addresses", index),
                        f"{pool.network_address} is a service address of {role}",
                        "an address that nobody else has",
                    )
            self._enough(path, name, segment, service)

    def _addresses(self, role: str, segment: str) -> list[Address]:
        part = self.site.roles[role].addresses.get(segment)
        return part.addresses if part else []

    def _enough(
        self, path: Path, name: str, segment: SegmentPart, service: dict[Address, str]
    ) -> None:
        if segment.prober is None:
            return
        cards = [str(p[-1]) for p, card in self._all_cards() if card.segment == name]
        pools = segment.prober.addresses
        for version in families(service):
            found = assign(pools, version, cards, segment.networks, service)
            if len(found) < len(cards):
                self.document.add(
                    (*path, "addresses"),
                    f"{len(found)} usable IPv{version} addresses for {len(cards)} cards",
                    f"at least {len(cards)} that are no service addresses",
                )

    def _timers(self) -> None:
        timers = self.site.effective_timers()
        if not self._cut("timers") and timers.agent_timeout < 2 * timers.agent_heartbeat:
            self.document.add(
                ("timers", "agent_timeout"),
                f"{timers.agent_timeout:g}s is too short for a heartbeat every "
                f"{timers.agent_heartbeat:g}s",
                "at least two of agent_heartbeat",
            )

    def _listeners(self) -> None:
        controller = self.site.controller
        places = [("openflow", controller.openflow.listen), ("agents", controller.agents.listen)]
        places.append(("rest", controller.rest.listen))
        self._twice(
            ((("controller", who, "listen"), f"{at.host}:{at.port}") for who, at in places),
            "the place",
        )


def _interface(path: Path, card: InterfacePart) -> Interface:
    return Interface(str(path[-1]), str(path[1]), card.segment, card.attachment, card.mac)


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def _listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)
