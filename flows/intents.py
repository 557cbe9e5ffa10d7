"""What the switches should achieve, in the site's terms: the compiler's input.

Intents are derived anew from site and state each time either changes; equal input gives equal
intents, and equal intents and graph give equal rule sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from topology.model import Address, Attachment, FileServer, Host, Interface, Subnet, derived_mac


@dataclass(frozen=True)
class ServiceAddress:
    """Addresses that users know on one segment, and the virtual MAC that never changes. `shared`:
    the role owns nothing, so that any of its servers may answer without harm."""

    role: str
    segment: str
    mac: str
    addresses: tuple[Address, ...]
    shared: bool = False


@dataclass(frozen=True)
class Candidate:
    """One way a role's packets can be delivered: a card and the role's own MAC on it."""

    role: str
    server: str
    interface: str
    segment: str
    attachment: Attachment
    mac: str

    @cached_property
    def detour_mac(self) -> str:
        """What stands for `mac` on the way round a dead link; see `flows.barrier.steer`."""
        return derived_mac(f"detour to {self.mac}")

    @cached_property
    def diverted_mac(self) -> str:
        """What stands for `mac` on a packet that was meant for another card; see there, too."""
        return derived_mac(f"diverted to {self.mac}")


@dataclass(frozen=True)
class Steer:
    """Send packets for a service address to the first of `order` whose way is alive.

    `order` begins with the live server's cards, the better first; cards of its peer follow only
    where the role owns nothing that must be fenced. Empty: nobody serves, and packets are
    dropped and counted.
    """

    address: ServiceAddress
    order: tuple[Candidate, ...]


@dataclass(frozen=True)
class Speak:
    """A candidate that may send with its role's service address to everybody, not only to the
    prober (port security)."""

    candidate: Candidate


@dataclass(frozen=True)
class Probe:
    """Packets from the prober with this source reach this candidate, live or not, and its
    answers come back."""

    source: Address
    candidate: Candidate


@dataclass(frozen=True)
class Permit:
    """Who may open a connection to a role's service. `sources` empty: anybody on the segment
    or beyond it; else service addresses of other roles, and networks."""

    name: str
    address: ServiceAddress
    protocol: str
    port: int
    sources: tuple[Subnet, ...] = ()


@dataclass(frozen=True)
class Connect:
    """What a role may itself open. `destinations` empty: anybody but servers on the segment and
    beyond it; else networks (service addresses of other roles as /32 and /128)."""

    name: str
    address: ServiceAddress
    protocol: str
    port: int
    destinations: tuple[Subnet, ...] = ()


@dataclass(frozen=True)
class Fence:
    """Nothing enters or leaves at this card, not even probes."""

    interface: str
    attachment: Attachment
    mac: str


@dataclass(frozen=True)
class Nearest:
    """Send packets for a file server to the nearest of its `live` interfaces. None live: packets
    are dropped and counted."""

    server: FileServer
    live: tuple[Interface, ...]


@dataclass(frozen=True)
class InterfaceProbe:
    """Packets from the prober with this source reach this interface of a file server, live or
    not, and its answers come back."""

    source: Address
    server: FileServer
    interface: Interface


@dataclass(frozen=True)
class Intents:
    """Everything, for all segments."""

    addresses: tuple[ServiceAddress, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    steers: tuple[Steer, ...] = ()
    speaks: tuple[Speak, ...] = ()
    probes: tuple[Probe, ...] = ()
    permits: tuple[Permit, ...] = ()
    connects: tuple[Connect, ...] = ()
    fences: tuple[Fence, ...] = ()
    nearest: tuple[Nearest, ...] = ()
    interface_probes: tuple[InterfaceProbe, ...] = ()
    hosts: tuple[Host, ...] = ()

    @cached_property
    def hosts_at(self) -> dict[str, tuple[Host, ...]]:
        """By switch, for those that have any."""
        found: dict[str, list[Host]] = {}
        for host in self.hosts:
            found.setdefault(host.attachment.switch, []).append(host)
        return {switch: tuple(hosts) for switch, hosts in found.items()}
