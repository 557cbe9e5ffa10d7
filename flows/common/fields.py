"""Match fields for what the tables ask again and again."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_network
from typing import Literal

from flows.walk.packet import ACK, ARP_REQUEST, ETH_ARP, ETH_IPV4, ETH_IPV6, ICMPV6, RST, TCP, UDP
from flows.walk.packet import mac as mac_number
from topology.model import Address, Subnet

Side = Literal["src", "dst"]
Fields = dict[str, int | tuple[int, int]]

PROTOCOLS = {"tcp": TCP, "udp": UDP}

#: Every multicast and broadcast MAC (IEEE 802, I/G bit).
MULTICAST = (1 << 40, 1 << 40)

#: Neither of a connection that stands (ACK) nor its refusal (RST): an attempt to open one, or junk.
OPENING = (0, ACK | RST)

mac = cache(mac_number)


def ip(version: int) -> Fields:
    return {"eth_type": ETH_IPV4 if version == 4 else ETH_IPV6}


def address(side: Side, which: Address | Subnet) -> Fields:
    """Packets from or to an address, or one of a network's."""
    return dict(_address(side, which))


@cache
def _address(side: Side, which: Address | Subnet) -> Fields:
    subnet = ip_network(which)
    found = ip(subnet.version)
    if subnet.prefixlen == subnet.max_prefixlen:
        found[f"ipv{subnet.version}_{side}"] = int(subnet.network_address)
    elif subnet.prefixlen:
        found[f"ipv{subnet.version}_{side}"] = (int(subnet.network_address), int(subnet.netmask))
    return found


def port(side: Side, protocol: str, number: int) -> Fields:
    """
    Raises:
        ValueError: a protocol that we have no ports for.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    return {"ip_proto": PROTOCOLS[protocol], f"{protocol}_{side}": number}


def opening() -> Fields:
    """TCP segments that do not belong to a connection that stands."""
    return {"ip_proto": TCP, "tcp_flags": OPENING}


def arp() -> Fields:
    return {"eth_type": ETH_ARP}


def arp_request() -> Fields:
    return {"eth_type": ETH_ARP, "arp_op": ARP_REQUEST}


def icmpv6(kind: int) -> Fields:
    return {"eth_type": ETH_IPV6, "ip_proto": ICMPV6, "icmpv6_type": kind}
