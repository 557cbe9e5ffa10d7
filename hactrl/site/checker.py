"""What all checks of a site file need: names that must resolve, and things claimed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hactrl.site.derived import reserved
from hactrl.site.document import Document
from hactrl.site.errors import Path, closest
from hactrl.site.schema import (
    FileInterfacePart,
    FileServerPart,
    InterfacePart,
    ProbedPart,
    SitePart,
)
from hactrl.site.structure import Sound
from hactrl.vocabulary import ProbeKind
from topology.model import Address, Attachment


class Checker:
    """One run over one file. What is `written` in the file counts as known, also where it is
    wrong: one fault is not to be told twice.
    """

    def __init__(self, document: Document, sound: Sound) -> None:
        self.document = document
        self.sound = sound
        self.site: SitePart = sound.site
        self.switch_of: dict[str, str] = {
            switch: name for name, part in self.site.segments.items() for switch in part.switches
        }
        self.written_switches = {
            switch
            for segment in self.written("segments")
            for switch in self.written("segments", segment, "switches")
        }
        self.written_cards = {
            card
            for server in self.written("servers")
            for card in self.written("servers", server, "interfaces")
        }

    def written(self, *path: str) -> list[str]:
        part = self.document.data
        for key in path:
            part = part.get(key, {}) if isinstance(part, dict) else {}
        return [str(key) for key in part] if isinstance(part, dict) else []

    def known(self, path: Path, what: str, name: str, names: Iterable[str]) -> bool:
        """Note an unknown name, with what is known and what it resembles."""
        choices = sorted(names)
        if name in choices:
            return True
        expected = f"one of {', '.join(choices)}" if choices else f"no {what} is described"
        self.document.add(path, f"unknown {what} {name!r}", expected, closest(name, choices))
        return False

    def once(self, items: Iterable[tuple[Path, str]], what: str) -> None:
        """Note every value that an earlier place has already claimed."""
        first: dict[str, Path] = {}
        for path, value in items:
            if value in first:
                other = dotted(self.document.in_file(first[value]))
                self.document.add(path, f"{what} {value} is already that of {other}", "another one")
            else:
                first[value] = path

    def attached(self, path: Path, at: Attachment, segment: str) -> bool:
        """The attachment's switch is one of the segment, and has such a port."""
        if at.switch not in self.switch_of:
            here = self.written("segments", segment, "switches")
            choices = here or sorted(self.written_switches)
            return self.known(path, "switch", at.switch, choices)
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

    def within(self, path: Path, address: Address, name: str) -> None:
        """The address is one that a host of the segment can have."""
        segment = self.site.segments.get(name)
        if segment is None or self.cut("segments", name, "networks"):
            return
        network = next((n for n in segment.networks if address in n), None)
        if network is None:
            self.document.add(
                path, f"{address} is outside the networks of {name}", listed(segment.networks)
            )
        elif address in reserved(network):
            self.document.add(
                path, f"{address} is the network's own address", f"a host's address of {network}"
            )

    def probe_fits(self, path: Path, service: ProbedPart, kinds: str = "icmp or arp") -> None:
        """The kind of probe goes over the service's protocol."""
        kind = service.probe.kind
        if kind not in (None, ProbeKind.ICMP, ProbeKind.ARP) and service.protocol != "tcp":
            self.document.add(
                path,
                f"{kind} probes go over tcp, and this is a {service.protocol} service",
                kinds,
            )

    def is_backbone(self, segment: str) -> bool:
        part = self.site.segments.get(segment)
        return part is not None and part.backbone

    def cards(self) -> Iterator[tuple[Path, InterfacePart]]:
        for server, part in self.site.servers.items():
            for name, card in part.interfaces.items():
                yield ("servers", server, "interfaces", name), card

    def file_cards(self) -> Iterator[tuple[Path, FileServerPart, FileInterfacePart]]:
        for server, part in self.site.file_servers.items():
            for name, card in part.interfaces.items():
                yield ("file_servers", server, "interfaces", name), part, card

    def cut(self, *path: str) -> bool:
        return not self.sound.complete(*path)


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)
