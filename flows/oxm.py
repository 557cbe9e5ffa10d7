"""The fields that rules can match, and their widths.

Names are those of OpenFlow 1.3's OXM fields (specification 1.3.5, section 7.2.3.7) and, where it
has none, of Ryu's Nicira extensions.
"""

from __future__ import annotations

from collections.abc import Mapping

#: What a packet carries only inside one switch; each starts as zero.
REGISTERS = frozenset({"metadata"} | {f"reg{n}" for n in range(16)})

#: Width of every field that we know, in bits; each field behind those that it presupposes.
WIDTHS: Mapping[str, int] = {
    "in_port": 32,
    "eth_dst": 48,
    "eth_src": 48,
    "eth_type": 16,
    "vlan_vid": 13,
    "vlan_pcp": 3,
    "ip_dscp": 6,
    "ip_ecn": 2,
    "ip_proto": 8,
    "ip_frag": 2,
    "nw_ttl": 8,
    "ipv4_src": 32,
    "ipv4_dst": 32,
    "ipv6_src": 128,
    "ipv6_dst": 128,
    "ipv6_flabel": 20,
    "tcp_src": 16,
    "tcp_dst": 16,
    "tcp_flags": 12,
    "udp_src": 16,
    "udp_dst": 16,
    "icmpv4_type": 8,
    "icmpv4_code": 8,
    "icmpv6_type": 8,
    "icmpv6_code": 8,
    "ipv6_nd_target": 128,
    "ipv6_nd_sll": 48,
    "ipv6_nd_tll": 48,
    "nd_reserved": 32,
    "nd_options_type": 8,
    "arp_op": 16,
    "arp_spa": 32,
    "arp_tpa": 32,
    "arp_sha": 48,
    "arp_tha": 48,
    "metadata": 64,
    **{f"reg{n}": 32 for n in range(16)},
}
