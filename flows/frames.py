"""Ethernet frames as octets: who a packet says it is from, questions to a host, and what a host
says of itself to all."""

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
from topology.model import Address

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
    ours, theirs = _octets(asker), _octets(host)
    if isinstance(address, IPv4Address):
        return _arp_request(theirs, ours, bytes(4), address)
    # Modified EUI-64 (RFC 4291, appendix A).
    local = bytes([ours[0] ^ 2]) + ours[1:3] + b"\xff\xfe" + ours[3:]
    source = IPv6Address(bytes.fromhex("fe80000000000000") + local)
    message = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + address.packed
    return _icmpv6((theirs, ours), (source, address), message + b"\x01\x01" + ours)


def announcement(mac: str, address: Address) -> bytes:
    """Tell all that the address is this MAC's: an ARP announcement (RFC 5227, section 2.3), or an
    advertisement that nobody has asked for (RFC 4861, section 7.2.6). Who has noted another MAC
    notes this one instead."""
    own = _octets(mac)
    if isinstance(address, IPv4Address):
        return _arp_request(b"\xff" * 6, own, address.packed, address)
    message = struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed
    ends = bytes.fromhex("333300000001"), own
    return _icmpv6(ends, (address, IPv6Address("ff02::1")), message + b"\x02\x01" + own)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _arp_request(to: bytes, sender: bytes, source: bytes, target: IPv4Address) -> bytes:
    fields = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, ARP_REQUEST)
    body = fields + sender + source + bytes(6) + target.packed
    return to + sender + struct.pack("!H", ETH_ARP) + body


def _icmpv6(eth: tuple[bytes, bytes], ip: tuple[IPv6Address, IPv6Address], message: bytes) -> bytes:
    """`eth`: destination and source; `ip`: source and destination; `message` without checksum."""
    ends = ip[0].packed + ip[1].packed
    pseudo = ends + struct.pack("!II", len(message), ICMPV6)
    message = message[:2] + _checksum(pseudo + message) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 255) + ends
    return eth[0] + eth[1] + struct.pack("!H", ETH_IPV6) + header + message


def _checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of octets."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
