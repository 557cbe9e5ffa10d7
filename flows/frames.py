"""Ethernet frames as octets: who a packet says it is from, and questions to a host."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from flows.packet import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ICMPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
)
from topology.model import Address


class FrameError(ValueError):
    """The octets are no whole header of what they say they are."""


def sender(frame: bytes) -> tuple[str, Address | None]:
    """The source MAC, and the IP address that the sender says is its own.

    None where it says none: other protocols, an ARP probe (RFC 5227), an unspecified source as
    in duplicate address detection (RFC 4862). An advertisement speaks for its target.

    Raises:
        FrameError: it is cut short, or ARP or neighbour discovery names another MAC inside.
    """
    if len(frame) < 14:
        raise FrameError("shorter than an Ethernet header")
    mac, kind = frame[6:12], int.from_bytes(frame[12:14])
    reader = {ETH_ARP: _arp, ETH_IPV4: _ipv4, ETH_IPV6: _ipv6}.get(kind)
    address = reader(mac, frame[14:]) if reader else None
    return mac.hex(":"), None if address is None or int(address) == 0 else address


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
    ours, theirs = (bytes.fromhex(text.replace(":", "")) for text in (asker, host))
    if isinstance(address, IPv4Address):
        fields = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, 1)
        body = fields + ours + bytes(4) + bytes(6) + address.packed
        return theirs + ours + struct.pack("!H", ETH_ARP) + body
    # Modified EUI-64 (RFC 4291, appendix A).
    local = bytes([ours[0] ^ 2]) + ours[1:3] + b"\xff\xfe" + ours[3:]
    source = bytes.fromhex("fe80000000000000") + local
    message = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + address.packed
    message += b"\x01\x01" + ours
    pseudo = source + address.packed + struct.pack("!II", len(message), ICMPV6)
    message = message[:2] + _checksum(pseudo + message) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 255) + source + address.packed
    return theirs + ours + struct.pack("!H", ETH_IPV6) + header + message


def _checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of octets."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
