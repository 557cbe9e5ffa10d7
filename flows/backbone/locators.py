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

from dataclasses import dataclass

from topology import locators
from topology.locators import HOST_NUMBERS, RESERVED_SWITCH
from topology.model import Host, Interface, Network
from topology.numbering import numbers

#: What all of them begin with.
LOCATORS = locators.LOCATOR << 40

#: Of the first octet; a virtual MAC has it clear.
DETOUR = locators.DETOUR << 40

#: The mask of a MAC that must be this one, and of one that may carry the mark of a detour.
EVERY_BIT = (1 << 48) - 1
ANY_WAY = EVERY_BIT & ~DETOUR

_PREFIX_MASK = 0xFFFFFF << 24


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
        return cls(numbers(backbone, RESERVED_SWITCH), numbers(cards, HOST_NUMBERS))

    def prefix(self, switch: str) -> tuple[int, int]:
        """Value and mask that all locators of a switch match."""
        return LOCATORS | self.switches[switch] << 24, _PREFIX_MASK

    def host(self, host: Host) -> int:
        """The locator of a host, where it is."""
        return self.prefix(host.attachment.switch)[0] | host.number

    def interface(self, interface: Interface) -> int:
        """The locator of one interface of a file server."""
        number = HOST_NUMBERS | self.interfaces[interface.name]
        return self.prefix(interface.attachment.switch)[0] | number
