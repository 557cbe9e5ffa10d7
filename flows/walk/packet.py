"""Packets as values: header fields by the names of `flows.oxm`, and packets made of them.

Every value is an integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from flows.oxm import REGISTERS, WIDTHS
from flows.rules import Field, Match
from topology.model import Address

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

#: RFC 9293, section 3.1.
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

ARP_REQUEST = 1
ARP_REPLY = 2

#: RFC 4861, sections 4.3 and 4.4, and the types of their options (4.6.1).
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136
SOURCE_LINK_LAYER = 1
TARGET_LINK_LAYER = 2

BROADCAST = 0xFFFF_FFFF_FFFF

_IP = ({"eth_type": ETH_IPV4}, {"eth_type": ETH_IPV6})
_IPV4 = ({"eth_type": ETH_IPV4},)
_IPV6 = ({"eth_type": ETH_IPV6},)
_ARP = ({"eth_type": ETH_ARP},)
_TCP = tuple(ip | {"ip_proto": TCP} for ip in _IP)
_UDP = tuple(ip | {"ip_proto": UDP} for ip in _IP)
_ICMPV4 = ({"eth_type": ETH_IPV4, "ip_proto": ICMP},)
_ICMPV6 = ({"eth_type": ETH_IPV6, "ip_proto": ICMPV6},)
_ND = {"icmpv6_code": 0}
_SOLICITED = tuple(i | _ND | {"icmpv6_type": NEIGHBOUR_SOLICITATION} for i in _ICMPV6)
_ADVERTISED = tuple(i | _ND | {"icmpv6_type": NEIGHBOUR_ADVERTISEMENT} for i in _ICMPV6)

#: For each field that not every packet has: the alternatives, one of which must hold
#: (specification 1.3.5, table 12). Zero counts as given, as Open vSwitch has it: a rule about
#: neighbour discovery need not say that the code is 0.
PREREQUISITES: Mapping[str, tuple[Mapping[str, int], ...]] = {
    **dict.fromkeys(("ip_dscp", "ip_ecn", "ip_proto", "ip_frag", "nw_ttl"), _IP),
    **dict.fromkeys(("ipv4_src", "ipv4_dst"), _IPV4),
    **dict.fromkeys(("ipv6_src", "ipv6_dst", "ipv6_flabel"), _IPV6),
    **dict.fromkeys(("tcp_src", "tcp_dst", "tcp_flags"), _TCP),
    **dict.fromkeys(("udp_src", "udp_dst"), _UDP),
    **dict.fromkeys(("icmpv4_type", "icmpv4_code"), _ICMPV4),
    **dict.fromkeys(("icmpv6_type", "icmpv6_code"), _ICMPV6),
    **dict.fromkeys(("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"), _ARP),
    **dict.fromkeys(("ipv6_nd_target", "nd_reserved", "nd_options_type"), _SOLICITED + _ADVERTISED),
    "ipv6_nd_sll": _SOLICITED,
    "ipv6_nd_tll": _ADVERTISED,
}


@dataclass(frozen=True)
class Packet:
    """A packet's header fields, sorted by name; a field that is not there reads as zero."""

    fields: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, **values: int) -> Packet:
        """
        Raises:
            ValueError: a name that is no field, or a value too large for it.
        """
        for name, value in values.items():
            if name not in WIDTHS or not 0 <= value < 1 << WIDTHS[name]:
                raise ValueError(f"no packet has {name}={value:#x}")
        return cls(tuple(sorted(values.items())))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self.fields)

    def __getitem__(self, name: str) -> int:
        return dict(self.fields).get(name, 0)

    def with_(self, **values: int) -> Packet:
        return Packet.of(**(dict(self.fields) | values))

    def on_the_wire(self) -> Packet:
        """What leaves a switch: without port of entry and registers."""
        inside = REGISTERS | {"in_port"}
        return Packet(tuple(item for item in self.fields if item[0] not in inside))


def has_field(values: Mapping[str, int], name: str) -> bool:
    """Whether a packet with these fields has a header with this field."""
    alternatives = PREREQUISITES.get(name)
    return alternatives is None or any(
        all(values.get(key, 0) == value for key, value in needed.items()) for needed in alternatives
    )


def lacks_prerequisites(match: Match) -> tuple[Field, ...]:
    """The fields of a match that a switch refuses because what they presuppose is not matched
    (specification 1.3.5, section 7.2.3.8: OFPBMC_BAD_PREREQ)."""
    exact = {f.name: f.value for f in match if f.mask is None}
    return tuple(f for f in match if not has_field(exact, f.name))


def mac(text: str) -> int:
    """A MAC as a number.

    Raises:
        ValueError: not six octets in hexadecimal.
    """
    octets = bytes.fromhex(text.replace(":", ""))
    if len(octets) != 6:
        raise ValueError(f"{text!r} is no MAC")
    return int.from_bytes(octets)


def show(name: str, value: int) -> str:
    """A field's value as people write it."""
    width = WIDTHS.get(name, 0)
    if width == 48:
        return value.to_bytes(6).hex(":")
    if name in {"ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa"}:
        return str(IPv4Address(value))
    if width == 128:
        return str(IPv6Address(value))
    decimal = name in {"in_port", "ip_proto", "nw_ttl", "arp_op"} or name.startswith(
        ("tcp_s", "tcp_d", "udp", "icmp")
    )
    return str(value) if decimal else f"{value:#x}"


def _ethernet(source: str, destination: str, eth_type: int) -> dict[str, int]:
    return {"eth_src": mac(source), "eth_dst": mac(destination), "eth_type": eth_type}


def _ip(eth: tuple[str, str], source: Address, destination: Address, proto: int) -> dict[str, int]:
    """Ethernet and IP headers of the family that both addresses have."""
    if source.version != destination.version:
        raise ValueError(f"{source} and {destination} are of two families")
    four = isinstance(source, IPv4Address)
    family = "ipv4" if four else "ipv6"
    return {
        **_ethernet(*eth, ETH_IPV4 if four else ETH_IPV6),
        "ip_proto": proto,
        "nw_ttl": 64,
        f"{family}_src": int(source),
        f"{family}_dst": int(destination),
    }


def tcp(
    eth: tuple[str, str],
    source: tuple[str, int],
    destination: tuple[str, int],
    flags: int = SYN,
) -> Packet:
    """A TCP segment over IPv4 or IPv6. `eth`: source and destination MAC; `source` and
    `destination`: address and port."""
    ip = _ip(eth, ip_address(source[0]), ip_address(destination[0]), TCP)
    return Packet.of(**ip, tcp_src=source[1], tcp_dst=destination[1], tcp_flags=flags)


def udp(eth: tuple[str, str], source: tuple[str, int], destination: tuple[str, int]) -> Packet:
    """A UDP datagram over IPv4 or IPv6; arguments as in `tcp`."""
    ip = _ip(eth, ip_address(source[0]), ip_address(destination[0]), UDP)
    return Packet.of(**ip, udp_src=source[1], udp_dst=destination[1])


def icmp(eth: tuple[str, str], source: str, destination: str, type_: int, code: int = 0) -> Packet:
    """An ICMP message (RFC 792), or for IPv6 addresses an ICMPv6 message (RFC 4443)."""
    sender, receiver = ip_address(source), ip_address(destination)
    if isinstance(sender, IPv4Address):
        return Packet.of(**_ip(eth, sender, receiver, ICMP), icmpv4_type=type_, icmpv4_code=code)
    return Packet.of(**_ip(eth, sender, receiver, ICMPV6), icmpv6_type=type_, icmpv6_code=code)


def arp_request(sender: tuple[str, str], target: str) -> Packet:
    """RFC 826: `sender`, its MAC and IPv4 address, asks everybody for `target`'s MAC."""
    return Packet.of(
        **_ethernet(sender[0], "ff:ff:ff:ff:ff:ff", ETH_ARP),
        arp_op=ARP_REQUEST,
        arp_sha=mac(sender[0]),
        arp_spa=int(IPv4Address(sender[1])),
        arp_tpa=int(IPv4Address(target)),
    )


def arp_reply(sender: tuple[str, str], target: tuple[str, str]) -> Packet:
    """RFC 826: `sender` (MAC and IPv4 address) answers `target`."""
    return Packet.of(
        **_ethernet(sender[0], target[0], ETH_ARP),
        arp_op=ARP_REPLY,
        arp_sha=mac(sender[0]),
        arp_spa=int(IPv4Address(sender[1])),
        arp_tha=mac(target[0]),
        arp_tpa=int(IPv4Address(target[1])),
    )


def neighbour_solicitation(sender: tuple[str, str], target: str) -> Packet:
    """RFC 4861, section 4.3, to the target's solicited-node multicast group (RFC 4291, 2.7.1)."""
    low = int(IPv6Address(target)) & 0xFF_FFFF
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | low)
    group_mac = (0x3333_0000_0000 | int(group) & 0xFFFF_FFFF).to_bytes(6).hex(":")
    message = icmp((sender[0], group_mac), sender[1], str(group), NEIGHBOUR_SOLICITATION)
    return message.with_(
        nw_ttl=255,
        ipv6_nd_target=int(IPv6Address(target)),
        ipv6_nd_sll=mac(sender[0]),
        nd_options_type=SOURCE_LINK_LAYER,
    )


def neighbour_advertisement(sender: tuple[str, str], target: tuple[str, str]) -> Packet:
    """RFC 4861, section 4.4: `sender` (MAC and address) answers `target`, solicited, override."""
    eth = (sender[0], target[0])
    return icmp(eth, sender[1], target[1], NEIGHBOUR_ADVERTISEMENT).with_(
        nw_ttl=255,
        nd_reserved=0x6000_0000,
        ipv6_nd_target=int(IPv6Address(sender[1])),
        ipv6_nd_tll=mac(sender[0]),
        nd_options_type=TARGET_LINK_LAYER,
    )
