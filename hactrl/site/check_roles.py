"""Roles: can they be reached, played, taken over, and told apart?"""

from __future__ import annotations

from ipaddress import ip_network

from hactrl.site.checker import Checker, listed
from hactrl.site.endpoints import ANYONE, is_network
from hactrl.site.errors import Path
from hactrl.site.schema import ConnectionPart, RolePart, ServicePart


class RoleChecks(Checker):
    """Service addresses, candidate servers, services and resources."""

    def run(self) -> None:
        self._service_addresses()
        for name, role in self.site.roles.items():
            self._role(name, role)
        self._owners()

    def _service_addresses(self) -> None:
        claimed: list[tuple[Path, str]] = []
        for role, part in self.site.roles.items():
            for name, on_segment in part.addresses.items():
                place: Path = ("roles", role, "addresses", name)
                if not self.known(place, "segment", name, self.written("segments")):
                    continue
                for index, address in enumerate(on_segment.addresses):
                    path = (*place, "addresses", index)
                    claimed.append((path, str(address)))
                    self.within(path, address, name)
        for name, server in self.site.file_servers.items():
            for index, address in enumerate(server.addresses):
                claimed.append((("file_servers", name, "addresses", index), str(address)))
        self.once(claimed, "the address")

    def _role(self, name: str, role: RolePart) -> None:
        path: Path = ("roles", name)
        if name == ANYONE:
            self.document.add(path, f"a role cannot be named {ANYONE!r}", "another name")
        self.once(
            (((*path, "servers", i), server) for i, server in enumerate(role.servers)), "the server"
        )
        for index, server in enumerate(role.servers):
            here = (*path, "servers", index)
            if self.known(here, "server", server, self.written("servers")):
                self._can_carry(here, name, role, server)
        ports: list[tuple[Path, str]] = []
        for service, described in role.services.items():
            here = (*path, "services", service)
            self._service(here, name, role, described)
            port = f"{described.protocol}/{described.port} on {described.segment}"
            ports.append(((*here, "port"), port))
        self.once(ports, "port")
        for index, connection in enumerate(role.connects):
            self._connection((*path, "connects", index), name, role, connection)
        if role.lease is not None and not self.cut("timers"):
            self._lease(path, role.lease)

    def _can_carry(self, path: Path, name: str, role: RolePart, server: str) -> None:
        """Each segment of the role has a card of the server, or nobody could serve it there."""
        part = self.site.servers.get(server)
        if part is None or self.cut("servers", server):
            return
        if any(card.segment not in self.site.segments for card in part.interfaces.values()):
            return
        for segment in role.addresses:
            if self.is_backbone(segment):
                continue
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
        if not self.known(here, "segment", segment, self.written("segments")):
            return False
        own = self.written("roles", name, "addresses") or list(role.addresses)
        if segment not in own:
            self.document.add(here, f"{name} has no address on {segment}", f"one of {listed(own)}")
            return False
        return True

    def _service(self, path: Path, name: str, role: RolePart, service: ServicePart) -> None:
        if self._on_own_segment(path, name, role, service.segment):
            for index, source in enumerate(service.sources):
                self._peer((*path, "from", index), source, service.segment)
        self.probe_fits((*path, "probe", "kind"), service)

    def _connection(self, path: Path, name: str, role: RolePart, part: ConnectionPart) -> None:
        if not self._on_own_segment(path, name, role, part.segment):
            return
        for index, destination in enumerate(part.destinations):
            here = (*path, "to", index)
            if not self._peer(here, destination, part.segment):
                continue
            peer = self.site.roles.get(destination)
            if destination == ANYONE or peer is None or self.cut("roles", destination, "services"):
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
        if is_network(name):
            try:
                ip_network(name)
            except ValueError as error:
                self.document.add(path, f"{name!r} is no network: {error}", "like 10.0.0.0/24")
            return True
        if not self.known(path, "role", name, [ANYONE, *self.written("roles")]):
            return False
        peer = self.site.roles.get(name)
        if peer and segment not in self.written("roles", name, "addresses"):
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
                if self.known(here, "resource", resource, self.written("resources")):
                    owned.append((here, resource))
            if not role.owns or role.lease is not None or self.cut("roles", name):
                continue
            for index, server in enumerate(role.servers):
                part = self.site.servers.get(server)
                if part and not part.has_fence and not self.cut("servers", server):
                    self.document.add(
                        ("roles", name, "servers", index),
                        f"{server} could never be proven to have given up {listed(role.owns)}",
                        f"a lease for {name}, or a power_fence for {server}",
                    )
        self.once(owned, "the resource")
