"""Probes below TCP: ICMP echo, and ARP or neighbour discovery. They need CAP_NET_RAW.

Packets are built (`flows.frames` has those of neighbours) and recognised by pure functions; `echo`
and `resolve` send and wait.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from flows.frames import ON_LINK_HOP_LIMIT, arp_request, checksum, mac_octets, solicitation
from flows.walk.packet import ETH_ARP, ETH_IPV6, ICMPV6, NEIGHBOUR_ADVERTISEMENT
from hactrl.health.dialogues import cause_of
from hactrl.health.targets import ProbeRoute
from hactrl.health.verdicts import Cause
from topology.model import Address

ICMP6_FILTER = 1  # linux/icmpv6.h
ECHO_REQUEST = {4: 8, 6: 128}  # RFC 792, RFC 4443 section 4.1
ECHO_REPLY = {4: 0, 6: 129}
SIOCGIFHWADDR = 0x8927  # linux/sockios.h

Accept = Callable[[bytes], bool]
"""Is this packet the answer?"""


def echo_request(version: int, token: bytes) -> bytes:
    """An echo request that carries `token`. For IPv6 the kernel fills in the checksum."""
    header = struct.pack("!BBHHH", ECHO_REQUEST[version], 0, 0, 0, 1)
    filled = checksum(header + token) if version == 4 else 0
    return header[:2] + struct.pack("!H", filled) + header[4:] + token


def echo_reply(version: int, token: bytes) -> Accept:
    def accept(packet: bytes) -> bool:
        # An IPv4 raw socket gives the IP header too, an IPv6 one does not.
        start = (packet[0] & 0x0F) * 4 if version == 4 else 0
        return packet[start : start + 2] == bytes([ECHO_REPLY[version], 0]) and (
            packet[start + 8 :] == token
        )

    return accept


def arp_reply(target: IPv4Address) -> Accept:
    def accept(frame: bytes) -> bool:
        return frame[20:22] == b"\x00\x02" and frame[28:32] == target.packed

    return accept


def advertisement(target: IPv6Address) -> Accept:
    def accept(frame: bytes) -> bool:
        return (
            frame[20:22] == bytes([ICMPV6, ON_LINK_HOP_LIMIT])
            and frame[54:56] == bytes([NEIGHBOUR_ADVERTISEMENT, 0])
            and frame[62:78] == target.packed
        )

    return accept


async def echo(route: ProbeRoute, timeout: float) -> Cause:
    """Ping the destination from the source, once."""
    version = route.source.version
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    protocol = ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    token = os.urandom(16)
    try:
        with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
            if version == 6:
                passed = bytearray(b"\xff" * 32)  # a bit for each type: 1 blocks it
                passed[ECHO_REPLY[6] // 8] ^= 1 << ECHO_REPLY[6] % 8
                raw.setsockopt(ICMPV6, ICMP6_FILTER, native_words(passed))
            raw.bind((str(route.source), 0))
            raw.connect((str(route.destination), 0))
            reply = echo_reply(version, token)
            return await _ask(raw, echo_request(version, token), reply, timeout)
    except OSError as error:
        return cause_of(error)


def native_words(bits: bytes | bytearray) -> bytes:
    """A bit field as the kernel's array of 32-bit words (struct icmp6_filter)."""
    return struct.pack(f"{len(bits) // 4}I", *struct.unpack(f"<{len(bits) // 4}I", bits))


async def resolve(route: ProbeRoute, timeout: float, device_mac: str) -> Cause:
    """Ask for the destination's MAC once, from the prober's card with `device_mac`."""
    device = device_with(device_mac)
    if device is None:
        return Cause.NO_CARD
    protocol, question, accept = _neighbour_question(device_mac, route.source, route.destination)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol)) as raw:
            raw.bind((device, protocol))
            return await _ask(raw, question, accept, timeout)
    except OSError as error:
        return cause_of(error)


def _neighbour_question(mac: str, source: Address, target: Address) -> tuple[int, bytes, Accept]:
    if isinstance(source, IPv4Address) and isinstance(target, IPv4Address):
        return ETH_ARP, arp_request(mac, source, target), arp_reply(target)
    assert isinstance(source, IPv6Address), "a route has one family"
    assert isinstance(target, IPv6Address), "a route has one family"
    return ETH_IPV6, solicitation(mac, source, target), advertisement(target)


def device_with(mac: str) -> str | None:
    """The network device with this MAC, in this process's network namespace.

    Asked of the kernel: /sys/class/net shows the namespace of whoever mounted it.
    """
    wanted = mac_octets(mac)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("16s24x", name.encode())  # struct ifreq, netdevice(7)
            try:
                answer = fcntl.ioctl(any_socket, SIOCGIFHWADDR, request)
            except OSError as error:
                if error.errno != errno.ENODEV:  # it went away while we looked
                    raise
                continue
            if answer[18:24] == wanted:
                return name
    return None


async def _ask(raw: socket.socket, question: bytes, accept: Accept, timeout: float) -> Cause:
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            await loop.sock_sendall(raw, question)
            while not accept(await loop.sock_recv(raw, 2048)):
                pass
    except TimeoutError:
        return Cause.TIMEOUT
    return Cause.NONE
