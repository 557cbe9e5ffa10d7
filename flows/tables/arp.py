"""Tables `arp` and `advertise`: who asks for a service address learns its virtual MAC, from the
switch that it is plugged into.

Neighbour discovery takes two tables, because Open vSwitch lets a rule set the target's link-layer
address only if the rule itself matches an advertisement (prerequisites are checked against the
match, not against what earlier actions made of the packet).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from flows.packet import (
    ARP_REPLY,
    ETH_ARP,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    TARGET_LINK_LAYER,
)
from flows.pipeline import ADVERTISE, ARP, FORWARD, POLICY
from flows.rules import IN_PORT, Action, Move, Output, Rule, SetField
from flows.tables.fields import Fields, address, arp, arp_request, icmpv6, mac
from flows.tables.view import View
from topology.model import Address

_OWN = 400
_ANSWER = 300
_TO_ROLES = 200
_NOT_TO_ROLES = 190
_ASK = 100
_PASS = 50
_ELSE = 0

#: Flags S and O of a neighbour advertisement (RFC 4861, section 4.4): solicited, override.
_SOLICITED_OVERRIDE = 0x6000_0000
_OVERRIDE = 0x2000_0000

_UNSPECIFIED = IPv6Address("::")
_ALL_NODES, _ALL_NODES_MAC = IPv6Address("ff02::1"), mac("33:33:00:00:00:01")


def rules(view: View) -> Iterator[Rule]:
    for service, own in view.service_addresses:
        intent = f"answer for {own} of {service.role}"
        yield ARP.rule(_OWN, f"hush {service.role}'s own announcements", _announcement(own))
        yield from answer({}, own, mac(service.mac), intent)
        yield from taken(own, mac(service.mac), intent)
    yield from _prober_answers(view)
    yield from _questions_of_roles(view)
    yield from _answers_to_roles(view)
    yield ARP.rule(_PASS, "let hosts find each other", arp(), goto=FORWARD)
    for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        yield ARP.rule(_PASS, "let hosts find each other", icmpv6(kind), goto=FORWARD)
    yield ARP.rule(_ELSE, "go on to the policy", {}, goto=POLICY)


def _announcement(own: Address) -> Fields:
    """Gratuitous ARP (RFC 5227) and its like."""
    if own.version == 4:
        return arp() | {"arp_spa": int(own), "arp_tpa": int(own)}
    asked = icmpv6(NEIGHBOUR_SOLICITATION) | {"ipv6_nd_target": int(own)}
    return asked | address("src", own)


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


def _prober_answers(view: View) -> Iterator[Rule]:
    """A candidate learns the prober's MAC for the sources that mean its own card."""
    if view.prober is None:
        return
    for card in view.cards:
        for source in view.prober.sources.get(card.name, ()):
            intent = f"answer for the prober's {source} at {card.name}"
            asker: Fields = {"in_port": card.attachment.port}
            yield from answer(asker, source, mac(view.prober.mac), intent)


def _questions_of_roles(view: View) -> Iterator[Rule]:
    """Everybody sees a role's question come from its virtual MAC."""
    for candidate in view.local_candidates:
        virtual = mac(view.service(candidate).mac)
        sender: Fields = {"in_port": candidate.attachment.port, "eth_src": mac(candidate.mac)}
        intent = f"let {candidate.role} find hosts from {candidate.interface}"
        renamed = SetField("eth_src", virtual)
        yield ARP.rule(
            _ASK,
            intent,
            sender | arp_request(),
            renamed,
            SetField("arp_sha", virtual),
            goto=FORWARD,
        )
        yield ARP.rule(
            _ASK,
            intent,
            sender | icmpv6(NEIGHBOUR_SOLICITATION),
            renamed,
            SetField("ipv6_nd_sll", virtual),
            goto=FORWARD,
        )


def _answers_to_roles(view: View) -> Iterator[Rule]:
    """To a virtual MAC, only answers to a role's own questions."""
    for service in view.addresses:
        to_role: Fields = {"eth_dst": mac(service.mac)}
        intent = f"let hosts answer {service.role}"
        reply = to_role | {"eth_type": ETH_ARP, "arp_op": ARP_REPLY}
        yield ARP.rule(_TO_ROLES, intent, reply, goto=FORWARD)
        advertisement = to_role | icmpv6(NEIGHBOUR_ADVERTISEMENT)
        yield ARP.rule(_TO_ROLES, intent, advertisement, goto=FORWARD)
        hush = f"keep other ARP and neighbour discovery from {service.role}"
        yield ARP.rule(_NOT_TO_ROLES, hush, to_role | arp())
        yield ARP.rule(_NOT_TO_ROLES, hush, to_role | icmpv6(NEIGHBOUR_SOLICITATION))
