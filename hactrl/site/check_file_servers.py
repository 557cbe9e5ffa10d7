"""Backbones and file servers: is each where the other belongs, and nobody else there?"""

from __future__ import annotations

from hactrl.site.checker import Checker, listed
from hactrl.site.errors import Path
from hactrl.site.schema import FileServerPart
from hactrl.vocabulary import ProbeKind
from topology.locators import DETOUR, LOCATOR, first_octet, is_locator, is_marked


class FileServerChecks(Checker):
    """What may be plugged into a backbone, and what a file server needs."""

    def run(self) -> None:
        self._something_to_do()
        self._only_file_servers()
        for name, server in self.site.file_servers.items():
            path: Path = ("file_servers", name)
            self._name(path, name)
            self._segment(path, server)
            self._services(path, server)
            if server.mac is not None:
                self._mac((*path, "mac"), server.mac, "virtual MAC of a file server")
        self._prober_macs()

    def _something_to_do(self) -> None:
        nothing = not self.site.roles and not self.site.file_servers
        if nothing and not self.cut("roles") and not self.cut("file_servers"):
            self.document.add(
                ("roles",), "neither roles nor file_servers stand here", "at least one of either"
            )

    def _name(self, path: Path, name: str) -> None:
        """Servers and roles may have one name for both. A file server is neither."""
        for kind in ("servers", "roles"):
            if name in self.written(kind):
                self.document.add(
                    path, f"the name {name} is already that of {kind}.{name}", "another one"
                )
                return

    def _segment(self, path: Path, server: FileServerPart) -> None:
        """It is a backbone, with switches, ports and networks for the file server."""
        name, here = server.segment, (*path, "segment")
        if not self.known(here, "segment", name, self.written("segments")):
            return
        segment = self.site.segments.get(name)
        if segment is None:
            return
        if not segment.backbone and not self.cut("segments", name):
            backbones = [n for n, part in self.site.segments.items() if part.backbone]
            self.document.add(
                here,
                f"{name} is no backbone",
                f"one of {listed(backbones)}" if backbones else "a segment with 'backbone: true'",
            )
            return
        for card, at in server.interfaces.items():
            self.attached((*path, "interfaces", card, "attachment"), at.attachment, name)
        for index, address in enumerate(server.addresses):
            self.within((*path, "addresses", index), address, name)

    def _services(self, path: Path, server: FileServerPart) -> None:
        ports: list[tuple[Path, str]] = []
        for name, service in server.services.items():
            here = (*path, "services", name)
            ports.append(((*here, "port"), f"{service.protocol}/{service.port}"))
            self.probe_fits((*here, "probe", "kind"), service, ProbeKind.ICMP)
            if service.probe.kind == ProbeKind.ARP:
                self.document.add(
                    (*here, "probe", "kind"),
                    "switches answer ARP for a file server, whether it is well or not",
                    "icmp, or a probe over tcp",
                )
        self.once(ports, "port")

    def _only_file_servers(self) -> None:
        """A backbone carries file servers and clients only."""
        for path, card in self.cards():
            self._no_backbone((*path, "segment"), card.segment, "a card of a server that has roles")
        for role, part in self.site.roles.items():
            for name in part.addresses:
                place: Path = ("roles", role, "addresses", name)
                self._no_backbone(place, name, "an address of a role")

    def _no_backbone(self, path: Path, segment: str, what: str) -> None:
        if self.is_backbone(segment):
            others = [n for n in self.site.segments if not self.is_backbone(n)]
            self.document.add(
                path,
                f"{segment} is a backbone, which carries file servers and clients, not {what}",
                f"one of {listed(others)}" if others else "a segment that is no backbone",
            )

    def _prober_macs(self) -> None:
        for name, segment in self.site.segments.items():
            if segment.backbone and segment.prober is not None:
                path: Path = ("segments", name, "prober", "mac")
                self._mac(path, segment.prober.mac, "MAC of a backbone's prober")

    def _mac(self, path: Path, mac: str, what: str) -> None:
        """Neither a locator nor marked as on a detour."""
        if is_marked(mac) or is_locator(mac):
            free = f"{first_octet(mac) & ~(DETOUR | LOCATOR) | 0x02:02x}{mac[2:]}"
            self.document.add(
                path,
                f"{mac} cannot be the {what}: the backbone needs its first octet for itself",
                "a first octet without the bit 04 that is not 0a, like 02, 12, 22 or 00",
                free,
            )
