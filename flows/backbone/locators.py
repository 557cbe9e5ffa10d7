"""Locators: MACs by which a backbone knows its hosts, after where they are.

    0a : SS : SS : HH : HH : HH      switch S, host H of it

Core switches forward by the first three octets, one rule for each switch, however many hosts there
are (as PortLand's pseudo MACs: R. N. Mysore et al., SIGCOMM 2009). Only the switch that a host is
plugged into knows which MAC it has in truth.

The bit `DETOUR` marks a packet that was sent round a dead link, in locators and in the virtual
MACs of file servers alike: from then on it only comes nearer with each hop, or is dropped. So no
combination of failures makes a loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from topology.model import Host, Interface, Network

_FIRST = 0x0A << 40
_PREFIX_MASK = 0xFFFFFF << 24

#: Of the first octet; a virtual MAC has it clear.
DETOUR = 0x04 << 40

#: This number of a switch is never given: `topology.hosts.ASKER_MAC` has it.
_RESERVED_SWITCH = 0xFFFF

#: Interfaces of file servers have the upper half of the numbers, hosts the lower one.
_INTERFACES = 1 << 23


@dataclass(frozen=True)
class Locators:
    """`switches` gives each backbone switch its number, `interfaces` each file server's interface
    its own at its switch."""

    switches: dict[str, int]
    interfaces: dict[str, int]

    @classmethod
    def of(cls, network: Network) -> Locators:
        """Numbers are digests of names, so that they stay the same when anything else changes."""
        backbone = [
            switch.name
            for switch in network.switches.values()
            if network.segments[switch.segment].backbone
        ]
        cards = network.file_interfaces
        return cls(_numbers(backbone, _RESERVED_SWITCH), _numbers(cards, _INTERFACES))

    def prefix(self, switch: str) -> tuple[int, int]:
        """Value and mask that all locators of a switch match."""
        return _FIRST | self.switches[switch] << 24, _PREFIX_MASK

    def host(self, host: Host) -> int:
        """The locator of a host, where it is."""
        return self.prefix(host.attachment.switch)[0] | host.number

    def interface(self, interface: Interface) -> int:
        """The locator of one interface of a file server."""
        number = _INTERFACES | self.interfaces[interface.name]
        return self.prefix(interface.attachment.switch)[0] | number


def _numbers(names: Iterable[str], room: int) -> dict[str, int]:
    """A number below `room` for each name. Where two digests fall together, the name that sorts
    later takes the next free one."""
    taken: dict[int, str] = {}
    for name in sorted(set(names)):
        place = int.from_bytes(sha256(name.encode()).digest()[:4]) % room
        while place in taken:
            place = (place + 1) % room
        taken[place] = name
    return {name: place for place, name in taken.items()}
