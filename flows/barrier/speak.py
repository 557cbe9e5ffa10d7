"""Table `admit`, for those who have a role: what a server may say in its name, at each card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from flows.barrier.segment import Barrier, Situation
from flows.common.fields import MULTICAST, Fields, address, arp_request, icmpv6, mac
from flows.intents import Candidate, ServiceAddress
from flows.pipeline import ADMIT, ARP, POLICY
from flows.rules import Rule
from flows.walk.packet import NEIGHBOUR_SOLICITATION

_QUESTION = 800
_SPEAK = 600

_LINK_LOCAL = ip_network("fe80::/10")


@dataclass(frozen=True)
class Reads:
    """Of one switch: the candidates there that may speak, and that no fence closes."""

    barrier: Barrier
    candidates: tuple[Candidate, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        speaking = (c for c in situation.open_at(switch) if c in situation.speaking)
        return cls(situation.barrier, tuple(speaking))


def rules(reads: Reads) -> Iterator[Rule]:
    for candidate in reads.candidates:
        yield from _speaking(reads.barrier.service(candidate), candidate)


def _speaking(service: ServiceAddress, candidate: Candidate) -> Iterator[Rule]:
    """Its own packets to anybody's unicast MAC, and questions for anybody's MAC. Linux asks from
    a service address, or from its link-local one when it verifies a neighbour (RFC 4861, 7.2.2)."""
    intent = f"let {candidate.role} speak at {candidate.interface}"
    sender: Fields = {"in_port": candidate.attachment.port, "eth_src": mac(candidate.mac)}
    solicitation = icmpv6(NEIGHBOUR_SOLICITATION)
    for own in service.addresses:
        unicast = {"eth_dst": (0, MULTICAST[1])}
        yield ADMIT.rule(_SPEAK, intent, sender | unicast | address("src", own), goto=POLICY)
        if own.version == 4:
            said = {"arp_spa": int(own), "arp_sha": mac(candidate.mac)}
            yield ADMIT.rule(_QUESTION, intent, sender | arp_request() | said, goto=ARP)
        else:
            source = address("src", own)
            yield ADMIT.rule(_QUESTION, intent, sender | solicitation | source, goto=ARP)
    source = address("src", _LINK_LOCAL)
    yield ADMIT.rule(_QUESTION, intent, sender | solicitation | source, goto=ARP)
