"""Asks Open vSwitch what it would do with a packet (`ofproto/trace`), and reads the answer."""

from __future__ import annotations

import re
from ipaddress import ip_address

from private_ovs import Bridge

from flows.oxm import WIDTHS
from flows.walk.packet import Packet, mac, show
from flows.walk.trace import Delivered, Endings

#: What `ovs-appctl` calls our fields, where it has another word.
_OVS_NAMES = {
    "ipv4_src": "nw_src",
    "ipv4_dst": "nw_dst",
    "icmpv4_type": "icmp_type",
    "icmpv4_code": "icmp_code",
    "ipv6_nd_target": "nd_target",
    "ipv6_nd_sll": "nd_sll",
    "ipv6_nd_tll": "nd_tll",
}

#: The headers that datapath actions set, and their fields of ours.
_SET = {
    **{("eth", end): f"eth_{end}" for end in ("src", "dst")},
    **{("ipv4", end): f"ipv4_{end}" for end in ("src", "dst")},
    **{("ipv6", end): f"ipv6_{end}" for end in ("src", "dst")},
    **{("nd", name): f"ipv6_nd_{name}" for name in ("target", "sll", "tll")},
    **{("nd_ext", name): name for name in ("nd_reserved", "nd_options_type")},
    **{("icmpv6", name): f"icmpv6_{name}" for name in ("type", "code")},
    ("arp", "sip"): "arp_spa",
    ("arp", "tip"): "arp_tpa",
    ("arp", "op"): "arp_op",
    ("arp", "sha"): "arp_sha",
    ("arp", "tha"): "arp_tha",
}

Sent = list[tuple[int, Packet]]


def ofproto_trace(bridge: Bridge, packet: Packet, port: int, hashed: int) -> tuple[str, Sent]:
    """The answer as it is, and the OpenFlow port and packet of each output in it.

    With a hash given, a select group chooses at once and does not recirculate for one.
    """
    fields = sorted(packet, key=lambda item: list(WIDTHS).index(item[0]))
    texts = (f"{_OVS_NAMES.get(name, name)}={show(name, value)}" for name, value in fields)
    trace = bridge.trace(",".join([f"in_port={port}", *texts, f"dp_hash={hashed}"]))
    (actions,) = re.findall(r"^Datapath actions: (.*)$", trace, re.MULTILINE)
    return trace, _sent(_datapath_ports(bridge), packet, actions)


def delivered(outcome: Endings) -> Sent:
    """What the walker says, in the same form."""
    return [(end.attachment.port, end.packet) for end in outcome if isinstance(end, Delivered)]


def _datapath_ports(bridge: Bridge) -> dict[int, int]:
    """OpenFlow port by the number that datapath actions use."""
    shown = bridge.ovs.appctl("dpctl/show")
    found = re.findall(rf"port (\d+): {bridge.name}-p(\d+)", shown)
    return {int(datapath): int(port) for datapath, port in found}


def _sent(ports: dict[int, int], packet: Packet, actions: str) -> Sent:
    outputs = []
    for action in re.findall(r"(?:[^,(]|\((?:[^()]|\([^()]*\))*\))+", actions):
        if action.isdigit():
            outputs.append((ports[int(action)], packet))
        elif setting := re.fullmatch(r"set\((\w+)\((.*)\)\)", action):
            for name, value in re.findall(r"(\w+)=([^,]*)", setting[2]):
                field = _SET[setting[1], name]
                exact, _, mask = value.partition("/")
                bits = _number(mask) if mask else -1
                changed = packet[field] & ~bits | _number(exact) & bits
                packet = packet.with_(**{field: changed})
        else:
            assert action == "drop" or action.startswith("meter("), f"cannot read {action}"
    return outputs


def _number(text: str) -> int:
    """A MAC, an address or a number as a number."""
    if re.fullmatch(r"(..:){5}..", text):
        return mac(text)
    return int(ip_address(text)) if re.search("[.:]", text) else int(text, 0)
