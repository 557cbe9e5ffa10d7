"""Tables `arp` and `advertise`: who asks for a service address learns its virtual MAC, from the
switch that it is plugged into (`flows.common.resolution`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.barrier.segment import Barrier, Situation
from flows.common.fields import Fields, address, arp, arp_request, icmpv6, mac
from flows.common.resolution import answer, taken
from flows.intents import Candidate
from flows.pipeline import ARP, FORWARD, POLICY
from flows.rules import Rule, SetField
from flows.walk.packet import ARP_REPLY, ETH_ARP, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from topology.model import Address

_OWN = 400
_TO_ROLES = 200
_NOT_TO_ROLES = 190
_ASK = 100
_PASS = 50
_ELSE = 0


@dataclass(frozen=True)
class Reads:
    """Of one switch: `open` are the candidates there that no fence closes."""

    barrier: Barrier
    switch: str
    open: tuple[Candidate, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        return cls(situation.barrier, switch, situation.open_at(switch))


def rules(reads: Reads) -> Iterator[Rule]:
    for service, own in reads.barrier.service_addresses:
        intent = f"answer for {own} of {service.role}"
        yield ARP.rule(_OWN, f"hush {service.role}'s own announcements", _announcement(own))
        yield from answer({}, own, mac(service.mac), intent)
        yield from taken(own, mac(service.mac), intent)
    yield from _prober_answers(reads)
    yield from _questions_of_roles(reads)
    yield from _answers_to_roles(reads.barrier)
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


def _prober_answers(reads: Reads) -> Iterator[Rule]:
    """A candidate learns the prober's MAC for the sources that mean its own card."""
    prober = reads.barrier.prober
    if prober is None:
        return
    for card in reads.barrier.cards_at(reads.switch):
        for source in prober.sources.get(card.name, ()):
            intent = f"answer for the prober's {source} at {card.name}"
            asker: Fields = {"in_port": card.attachment.port}
            yield from answer(asker, source, mac(prober.mac), intent)


def _questions_of_roles(reads: Reads) -> Iterator[Rule]:
    """Everybody sees a role's question come from its virtual MAC."""
    for candidate in reads.open:
        virtual = mac(reads.barrier.service(candidate).mac)
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


def _answers_to_roles(barrier: Barrier) -> Iterator[Rule]:
    """To a virtual MAC, only answers to a role's own questions."""
    for service in barrier.addresses:
        to_role: Fields = {"eth_dst": mac(service.mac)}
        intent = f"let hosts answer {service.role}"
        reply = to_role | {"eth_type": ETH_ARP, "arp_op": ARP_REPLY}
        yield ARP.rule(_TO_ROLES, intent, reply, goto=FORWARD)
        advertisement = to_role | icmpv6(NEIGHBOUR_ADVERTISEMENT)
        yield ARP.rule(_TO_ROLES, intent, advertisement, goto=FORWARD)
        hush = f"keep other ARP and neighbour discovery from {service.role}"
        yield ARP.rule(_NOT_TO_ROLES, hush, to_role | arp())
        yield ARP.rule(_NOT_TO_ROLES, hush, to_role | icmpv6(NEIGHBOUR_SOLICITATION))
