"""Ethernet frames as octets: who a packet says it is from, questions to hosts, and what a host says
of itself to all."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from flows.walk.packet import (
    ARP_REQUEST,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ICMPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
)
from flows.walk.packet import mac as mac_number
from topology.model import Address

#: Only a neighbour can have sent what arrives with it (RFC 4861, section 7.1.2).
ON_LINK_HOP_LIMIT = 255

_EVERYBODY = b"\xff" * 6
_ALL_NODES = IPv6Address("ff02::1")
#: The first 13 octets of solicited-node addresses (RFC 4291, section 2.7.1).
_SOLICITED_NODE = IPv6Address("ff02::1:ff00:0").packed[:13]
#: Flag O of a neighbour advertisement (RFC 4861, section 4.4).
_OVERRIDE = 0x2000_0000


class FrameError(ValueError):
    """The octets are no whole header of what they say they are."""


def sender(frame: bytes) -> tuple[str, Address | None]:
    """The source MAC, and the IP address that the sender says is its own.

    None where it says none: other protocols, an ARP probe (RFC 5227), an unspecified source as
    in duplicate address detection (RFC 4862). An advertisement speaks for its target.

    Raises:
        FrameError: it is cut short, or ARP or neighbour discovery names another MAC inside.
    """
    frame = _without_priority(frame)
    if len(frame) < 14:
        raise FrameError("shorter than an Ethernet header")
    mac, kind = frame[6:12], int.from_bytes(frame[12:14])
    reader = {ETH_ARP: _arp, ETH_IPV4: _ipv4, ETH_IPV6: _ipv6}.get(kind)
    address = reader(mac, frame[14:]) if reader else None
    return mac.hex(":"), None if address is None or int(address) == 0 else address


def _without_priority(frame: bytes) -> bytes:
    """A tag of VLAN 0 tells a priority and nothing else (IEEE 802.1Q, 6.9)."""
    priority = frame[12:14] == b"\x81\x00" and not int.from_bytes(frame[14:16]) & 0x0FFF
    return frame[:12] + frame[16:] if priority else frame


def _arp(mac: bytes, body: bytes) -> Address:
    if len(body) < 28:
        raise FrameError("ARP packet is cut short")
    if body[8:14] != mac:
        raise FrameError("ARP packet names another sender than its frame")
    return IPv4Address(body[14:18])


def _ipv4(_mac: bytes, body: bytes) -> Address:
    if len(body) < 20:
        raise FrameError("IPv4 header is cut short")
    return IPv4Address(body[12:16])


def _ipv6(mac: bytes, body: bytes) -> Address:
    if len(body) < 40:
        raise FrameError("IPv6 header is cut short")
    source = IPv6Address(body[8:24])
    if body[6] != ICMPV6 or len(body) < 64:
        return source
    kind, option = body[40], body[64:72]
    if kind not in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        return source
    if len(option) == 8 and option[0] in (1, 2) and option[2:8] != mac:
        raise FrameError("neighbour discovery names another sender than its frame")
    return IPv6Address(body[48:64]) if kind == NEIGHBOUR_ADVERTISEMENT else source


def question(asker: str, host: str, address: Address) -> bytes:
    """Ask one host, by its own MAC, whether it still has the address: an ARP probe that no cache
    notes (RFC 5227), or a neighbour solicitation from the asker's link-local address."""
    ours, theirs = mac_octets(asker), mac_octets(host)
    if isinstance(address, IPv4Address):
        return _arp_request((theirs, ours), bytes(4), address)
    # Modified EUI-64 (RFC 4291, appendix A).
    local = bytes([ours[0] ^ 2]) + ours[1:3] + b"\xff\xfe" + ours[3:]
    source = IPv6Address(bytes.fromhex("fe80000000000000") + local)
    return _solicitation((theirs, ours), (source, address), address)


def arp_request(asker: str, source: IPv4Address, target: IPv4Address) -> bytes:
    """Ask all who has the address (RFC 826)."""
    return _arp_request((_EVERYBODY, mac_octets(asker)), source.packed, target)


def solicitation(asker: str, source: IPv6Address, target: IPv6Address) -> bytes:
    """Ask all who may have the address who has it, at its solicited-node address (RFC 4861,
    section 4.3)."""
    to = IPv6Address(_SOLICITED_NODE + target.packed[13:])
    return _solicitation((_multicast(to), mac_octets(asker)), (source, to), target)


def announcement(mac: str, address: Address) -> bytes:
    """Tell all that the address is this MAC's: an ARP announcement (RFC 5227, section 2.3), or an
    advertisement that nobody has asked for (RFC 4861, section 7.2.6). Who has noted another MAC
    notes this one instead."""
    own = mac_octets(mac)
    if isinstance(address, IPv4Address):
        return _arp_request((_EVERYBODY, own), address.packed, address)
    message = struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed
    ends = _multicast(_ALL_NODES), own
    return _icmpv6(ends, (address, _ALL_NODES), message + b"\x02\x01" + own)


def mac_octets(mac: str) -> bytes:
    """
    Raises:
        ValueError: not six octets in hexadecimal.
    """
    return mac_number(mac).to_bytes(6)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# In what follows `eth` is destination and source, `ip` is source and destination.


def _multicast(address: IPv6Address) -> bytes:
    """The MAC of a multicast address (RFC 2464, section 7)."""
    return b"\x33\x33" + address.packed[12:]


def _arp_request(eth: tuple[bytes, bytes], source: bytes, target: IPv4Address) -> bytes:
    fields = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, ARP_REQUEST)
    body = fields + eth[1] + source + bytes(6) + target.packed
    return eth[0] + eth[1] + struct.pack("!H", ETH_ARP) + body


def _solicitation(
    eth: tuple[bytes, bytes], ip: tuple[IPv6Address, IPv6Address], target: IPv6Address
) -> bytes:
    message = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + target.packed
    return _icmpv6(eth, ip, message + b"\x01\x01" + eth[1])


def _icmpv6(eth: tuple[bytes, bytes], ip: tuple[IPv6Address, IPv6Address], message: bytes) -> bytes:
    """`message`: without checksum."""
    ends = ip[0].packed + ip[1].packed
    pseudo = ends + struct.pack("!II", len(message), ICMPV6)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, ON_LINK_HOP_LIMIT) + ends
    return eth[0] + eth[1] + struct.pack("!H", ETH_IPV6) + header + message
