"""Does what the file says fit together?

Each check notes what it finds and goes on. A check that would conclude from something missing
leaves parts alone from which `hactrl.site.structure` has cut something.
"""

from __future__ import annotations

from collections.abc import Iterator

from hactrl.site.check_file_servers import FileServerChecks
from hactrl.site.check_network import NetworkChecks
from hactrl.site.check_roles import RoleChecks
from hactrl.site.checker import Checker, listed
from hactrl.site.derived import assign, families, file_server_mac, virtual_mac
from hactrl.site.document import Document
from hactrl.site.errors import Path
from hactrl.site.schema import InterfacePart, SegmentPart
from hactrl.site.structure import Sound
from topology.model import Address, Interface


def check(document: Document, sound: Sound) -> None:
    """Note all that does not fit in `document.problems`."""
    for checks in (NetworkChecks, RoleChecks, FileServerChecks, ControllerChecks):
        checks(document, sound).run()


class ControllerChecks(Checker):
    """What roles and network have together: MACs, probing, times, places to listen."""

    def run(self) -> None:
        self._macs()
        self._probers()
        self._timers()
        self._listeners()

    def _macs(self) -> None:
        macs: list[tuple[Path, str]] = []
        for name, segment in self.site.segments.items():
            if segment.prober is not None:
                macs.append((("segments", name, "prober", "mac"), segment.prober.mac))
        cards = {card.mac: (path, card) for path, card in self.cards()}
        macs += [((*path, "mac"), card.mac) for path, card in self.cards()]
        for role, part in self.site.roles.items():
            for name, address in part.addresses.items():
                place: Path = ("roles", role, "addresses", name)
                macs.append(((*place, "mac"), address.mac or virtual_mac(role, name)))
                for path, card in cards.values():
                    if card.segment == name and path[1] in part.servers:
                        own = _interface(path, card).role_mac(role)
                        macs.append(((*place, f"(own MAC on {path[-1]})"), own))
        macs += self._file_macs()
        self.once(macs, "the MAC")

    def _file_macs(self) -> Iterator[tuple[Path, str]]:
        for path, _, card in self.file_cards():
            yield (*path, "mac"), card.mac
        for name, server in self.site.file_servers.items():
            mac = server.mac or file_server_mac(name, server.segment)
            yield ("file_servers", name, "mac"), mac

    def _probers(self) -> None:
        for name, segment in self.site.segments.items():
            service = {address: owner for owner, address in self.site.service_addresses(name)}
            if not service or self.cut("segments", name):
                continue
            path: Path = ("segments", name, "prober")
            if segment.prober is None:
                self._nobody_probes(path, name)
                continue
            for index, pool in enumerate(segment.prober.addresses):
                if pool.num_addresses == 1 and pool.network_address in service:
                    owner = service[pool.network_address]
                    self.document.add(
                        (*path, "addresses", index),
                        f"{pool.network_address} is a service address of {owner}",
                        "an address that nobody else has",
                    )
            self._enough(path, name, segment, service)

    def _nobody_probes(self, path: Path, segment: str) -> None:
        if self.is_backbone(segment):
            expected = "a prober on each backbone whose file servers have services"
            probed = [
                name
                for name, server in self.site.file_servers.items()
                if server.segment == segment and server.services
            ]
        else:
            expected = "a prober on each segment with service addresses"
            probed = [r for r, part in self.site.roles.items() if segment in part.addresses]
        if probed:
            self.document.add(path, f"nobody probes {listed(probed)} here", expected)

    def _enough(
        self, path: Path, name: str, segment: SegmentPart, service: dict[Address, str]
    ) -> None:
        if segment.prober is None:
            return
        cards = [str(p[-1]) for p, card in self.cards() if card.segment == name]
        cards += [str(p[-1]) for p, server, _ in self.file_cards() if server.segment == name]
        cards = list(dict.fromkeys(cards))  # a name that two of them have is told elsewhere
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
        if not self.cut("timers") and timers.agent_timeout < 2 * timers.agent_heartbeat:
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
        self.once(
            ((("controller", who, "listen"), f"{at.host}:{at.port}") for who, at in places),
            "the place",
        )


def _interface(path: Path, card: InterfacePart) -> Interface:
    return Interface(str(path[-1]), str(path[1]), card.segment, card.attachment, card.mac)
