"""Rules that answer for an address: who asks for it learns a MAC of ours, from the switch that it
is plugged into.

Neighbour discovery takes two tables, because Open vSwitch lets a rule set the target's link-layer
address only if the rule itself matches an advertisement (prerequisites are checked against the
match, not against what earlier actions made of the packet).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from flows.common.fields import Fields, arp_request, icmpv6, mac
from flows.pipeline import ADVERTISE, ARP
from flows.rules import IN_PORT, Action, Move, Output, Rule, SetField
from flows.walk.packet import (
    ARP_REPLY,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    TARGET_LINK_LAYER,
)
from topology.model import Address

_ANSWER = 300

#: Flags S and O of a neighbour advertisement (RFC 4861, section 4.4): solicited, override.
_SOLICITED_OVERRIDE = 0x6000_0000
_OVERRIDE = 0x2000_0000

_UNSPECIFIED = IPv6Address("::")
_ALL_NODES, _ALL_NODES_MAC = IPv6Address("ff02::1"), mac("33:33:00:00:00:01")


def answer(
    asker: Fields, target: Address, number: int, intent: str, priority: int = _ANSWER
) -> Iterator[Rule]:
    """Turn the question for an address into its answer, which is the MAC `number`, and send it
    back."""
    turned: tuple[Action, ...] = (Move("eth_src", "eth_dst", 48), SetField("eth_src", number))
    if target.version == 4:
        yield ARP.rule(
            priority,
            intent,
            asker | arp_request() | {"arp_tpa": int(target)},
            *turned,
            SetField("arp_op", ARP_REPLY),
            Move("arp_sha", "arp_tha", 48),
            SetField("arp_sha", number),
            Move("arp_spa", "arp_tpa", 32),
            SetField("arp_spa", int(target)),
            Output(IN_PORT),
        )
        return
    yield ARP.rule(
        priority,
        intent,
        asker | icmpv6(NEIGHBOUR_SOLICITATION) | {"ipv6_nd_target": int(target)},
        *turned,
        Move("ipv6_src", "ipv6_dst", 128),
        *_advertised(target, _SOLICITED_OVERRIDE),
        goto=ADVERTISE,
    )
    yield ADVERTISE.rule(
        _ANSWER,
        intent,
        icmpv6(NEIGHBOUR_ADVERTISEMENT) | {"ipv6_nd_target": int(target)},
        SetField("ipv6_nd_tll", number),
        Output(IN_PORT),
    )


def taken(target: Address, number: int, intent: str) -> Iterator[Rule]:
    """The answer to duplicate address detection, behind `answer`: who asks has no address to be
    answered at, so it goes to all nodes, as nobody's in particular (RFC 4861, section 7.2.4)."""
    if target.version == 4:
        return  # an ARP probe is answered as every question is
    detecting: Fields = {"ipv6_nd_target": int(target), "ipv6_src": int(_UNSPECIFIED)}
    yield ARP.rule(
        _ANSWER + 1,
        intent,
        icmpv6(NEIGHBOUR_SOLICITATION) | detecting,
        SetField("eth_dst", _ALL_NODES_MAC),
        SetField("eth_src", number),
        SetField("ipv6_dst", int(_ALL_NODES)),
        *_advertised(target, _OVERRIDE),
        goto=ADVERTISE,
    )


def _advertised(target: Address, flags: int) -> tuple[Action, ...]:
    """What makes of a solicitation an advertisement of its target, but for its way."""
    return (
        SetField("ipv6_src", int(target)),
        SetField("nd_options_type", TARGET_LINK_LAYER),
        SetField("nd_reserved", flags),
        SetField("icmpv6_type", NEIGHBOUR_ADVERTISEMENT),
    )
