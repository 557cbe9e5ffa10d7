"""Table `admit`: who may send what into the network.

Anything that a port may not send is dropped here, by a rule that counts it, and what passes can be
trusted further down: a service address or a MAC of ours as source means that its role sent it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from flows.barrier.learn import learn
from flows.barrier.segment import Barrier, Situation
from flows.common.fields import (
    MULTICAST,
    Fields,
    address,
    arp,
    arp_request,
    icmpv6,
    mac,
    opening,
)
from flows.intents import Candidate
from flows.pipeline import ADMIT, ARP, FORWARD, HOSTS, SOURCE
from flows.rules import Rule, SetField
from flows.walk.packet import ICMP, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, TCP
from topology.model import Address, Attachment

_FENCE = 1000
_RESERVED = 950
_KNOWN = 910
_TRUNK = 900
_PROBE_QUESTION = 820
_PROBE_JUNK = 810
_PROBE = 800
_PROBER_ELSE = 750
_TO_CARD = 700
_SERVER_ELSE = 500
_SPOOF = 400
_EDGE = 0

_LINK_LOCAL = ip_network("fe80::/10")

#: Sources that no host has. 0.0.0.0 is not among them: DHCP clients use it.
_MARTIANS = tuple(map(ip_network, ("127.0.0.0/8", "224.0.0.0/4", "::1/128", "ff00::/8")))

#: MACs that bridges never forward (IEEE 802.1D, table 7-10): LLDP, spanning tree, pause frames.
_RESERVED_MACS = (mac("01:80:c2:00:00:00"), mac("ff:ff:ff:ff:ff:f0"))

_ECHO_REPLY = 0
_ECHO_REPLY_V6 = 129


@dataclass(frozen=True)
class Reads:
    """Of one switch: `fenced` are cards, those of the whole segment where the prober is plugged in,
    which asks for all."""

    barrier: Barrier
    switch: str
    trunk_ports: tuple[int, ...]
    learnt_cookie: int
    fenced: frozenset[str]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        barrier, ground = situation.barrier, situation.ground
        prober = barrier.prober
        own = {card.name for card in barrier.cards_at(switch)}
        all_ = prober is not None and prober.attachment.switch == switch
        return cls(
            barrier,
            switch,
            ground.ways(switch).trunk_ports,
            ground.learnt_cookie,
            situation.fenced if all_ else situation.fenced & own,
        )

    def is_here(self, attachment: Attachment) -> bool:
        return attachment.switch == self.switch

    def is_open(self, candidate: Candidate) -> bool:
        return candidate.interface not in self.fenced


def rules(reads: Reads) -> Iterator[Rule]:
    yield ADMIT.rule(_RESERVED, "drop bridges' own protocols", {"eth_dst": _RESERVED_MACS})
    yield from _fences(reads)
    yield from _trunks(reads)
    yield from _prober(reads)
    yield from _cards(reads)
    yield from _guard(reads.barrier)
    yield ADMIT.rule(_EDGE, "let hosts talk", {}, learn(reads.learnt_cookie, HOSTS), goto=ARP)


def _fences(reads: Reads) -> Iterator[Rule]:
    for card in reads.barrier.cards_at(reads.switch):
        if card.name in reads.fenced:
            intent = f"fence all at {card.name}"
            yield ADMIT.rule(_FENCE, intent, {"in_port": card.attachment.port})


def _trunks(reads: Reads) -> Iterator[Rule]:
    """What comes from another switch has been admitted there. Where it comes from tells where its
    sender is, unless the sender is one of ours, or the packet was diverted to another card: it may
    have come by here before, and would say that its sender is behind whoever diverted it."""
    barrier = reads.barrier
    ours = [service.mac for service in barrier.addresses]
    if barrier.prober:
        ours.append(barrier.prober.mac)
    known: list[Fields] = [{"eth_src": mac(source)} for source in ours]
    known += [
        {"eth_dst": mac(diverted)}
        for candidate in barrier.candidates
        for diverted in (candidate.mac, candidate.diverted_mac)
    ]
    for port in reads.trunk_ports:
        for match in known:
            yield ADMIT.rule(_KNOWN, "trust trunks", {"in_port": port, **match}, goto=FORWARD)
        learnt = learn(reads.learnt_cookie, HOSTS)
        yield ADMIT.rule(_TRUNK, "trust trunks", {"in_port": port}, learnt, goto=FORWARD)


def _prober(reads: Reads) -> Iterator[Rule]:
    """The prober speaks to service addresses only; which card it means says its source."""
    prober = reads.barrier.prober
    if prober is None or not reads.is_here(prober.attachment):
        return
    port = prober.attachment.port
    source: Fields = {"in_port": port, "eth_src": mac(prober.mac)}
    for probe, target in reads.barrier.asked:
        if not reads.is_open(probe.candidate):
            continue
        yield ADMIT.rule(
            _PROBE,
            f"probe {probe.candidate.role} by {probe.candidate.interface}",
            {**source, **address("src", probe.source), **address("dst", target)},
            SetField("eth_dst", mac(probe.candidate.mac)),
            goto=FORWARD,
        )
    asking = f"let the prober of {reads.barrier.name} find service addresses"
    yield ADMIT.rule(_PROBE, asking, {**source, **arp_request()}, goto=ARP)
    yield ADMIT.rule(_PROBE, asking, {**source, **icmpv6(NEIGHBOUR_SOLICITATION)}, goto=ARP)
    yield ADMIT.rule(_PROBER_ELSE, f"hold the prober of {reads.barrier.name}", {"in_port": port})


def _cards(reads: Reads) -> Iterator[Rule]:
    yield from _probe_answers(reads)
    for card in reads.barrier.cards_at(reads.switch):
        yield ADMIT.rule(
            _SERVER_ELSE,
            f"hold what {card.name} may not say",
            {"in_port": card.attachment.port},
        )


def _from(candidate: Candidate) -> Fields:
    return {"in_port": candidate.attachment.port, "eth_src": mac(candidate.mac)}


def _probe_answers(reads: Reads) -> Iterator[Rule]:
    """Every candidate, live or not, answers the prober, and may ask for its MAC; it cannot open a
    connection to it."""
    prober = reads.barrier.prober
    assert prober or not reads.barrier.probes, "probes without a prober"
    for probe, own in reads.barrier.asked:
        candidate = probe.candidate
        here = reads.is_here(candidate.attachment) and reads.is_open(candidate)
        if prober is None or not here:
            continue
        intent = f"let {candidate.role} answer probes at {candidate.interface}"
        sender = _from(candidate)
        way = sender | address("src", own) | address("dst", probe.source)
        to_prober = SetField("eth_dst", mac(prober.mac))
        yield ADMIT.rule(_PROBE_JUNK, intent, way | opening())
        for answer in ({"ip_proto": TCP}, _echo_reply(own)):
            yield ADMIT.rule(_PROBE, intent, way | answer, to_prober, goto=SOURCE)
        question = sender | _question(own, probe.source)
        yield ADMIT.rule(_PROBE_QUESTION, intent, question, goto=ARP)


def _echo_reply(own: Address) -> Fields:
    if own.version == 4:
        return {"ip_proto": ICMP, "icmpv4_type": _ECHO_REPLY}
    return icmpv6(_ECHO_REPLY_V6)


def _question(own: Address, target: Address) -> Fields:
    """A question for the MAC of `target`; in IPv6 also from another address than `own`."""
    if own.version == 4:
        return arp_request() | {"arp_spa": int(own), "arp_tpa": int(target)}
    return icmpv6(NEIGHBOUR_SOLICITATION) | {"ipv6_nd_target": int(target)}


def _guard(barrier: Barrier) -> Iterator[Rule]:
    """What no host may do: use an address or a MAC of ours, or send past the policy to a MAC that
    only our own rules write."""
    protected = [c.mac for c in barrier.candidates]
    protected += [barrier.prober.mac] if barrier.prober else []
    inner = [own for c in barrier.candidates for own in (c.detour_mac, c.diverted_mac)]
    past = "keep everybody from sending past the policy"
    for ours in [*protected, *inner]:
        yield ADMIT.rule(_TO_CARD, past, {"eth_dst": mac(ours)})
    spoof = "keep hosts from using what is ours"
    for ours in [*protected, *(service.mac for service in barrier.addresses)]:
        yield ADMIT.rule(_SPOOF, spoof, {"eth_src": mac(ours)})
    for service in barrier.addresses:
        yield ADMIT.rule(_SPOOF, spoof, arp() | {"arp_sha": mac(service.mac)})
    for own in (*(a for _, a in barrier.service_addresses), *barrier.prober_addresses):
        yield ADMIT.rule(_SPOOF, spoof, address("src", own))
        if own.version == 4:
            yield ADMIT.rule(_SPOOF, spoof, arp() | {"arp_spa": int(own)})
        else:
            claim = icmpv6(NEIGHBOUR_ADVERTISEMENT) | {"ipv6_nd_target": int(own)}
            yield ADMIT.rule(_SPOOF, spoof, claim)
    for martian in _MARTIANS:
        yield ADMIT.rule(_SPOOF, "drop martians", address("src", martian))
    yield ADMIT.rule(_SPOOF, "drop martians", {"eth_src": MULTICAST})
