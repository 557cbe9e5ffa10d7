"""Table `admit`: who may send what into the network.

Anything that a port may not send is dropped here, by a rule that counts it, and what passes can be
trusted further down: a service address or a MAC of ours as source means that its role sent it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from flows.intents import Candidate
from flows.packet import ICMP, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, TCP
from flows.pipeline import ADMIT, ARP, FORWARD, HOSTS, POLICY, SOURCE
from flows.rules import Rule, SetField
from flows.tables.fields import (
    MULTICAST,
    Fields,
    address,
    arp,
    arp_request,
    icmpv6,
    mac,
    opening,
)
from flows.tables.learning import learn
from flows.tables.view import View
from topology.model import Address

_FENCE = 1000
_RESERVED = 950
_KNOWN = 910
_TRUNK = 900
_PROBE_QUESTION = 820
_PROBE_JUNK = 810
_PROBE = 800
_PROBER_ELSE = 750
_TO_CARD = 700
_SPEAK = 600
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


def rules(view: View) -> Iterator[Rule]:
    yield ADMIT.rule(_RESERVED, "drop bridges' own protocols", {"eth_dst": _RESERVED_MACS})
    yield from _fences(view)
    yield from _trunks(view)
    yield from _prober(view)
    yield from _cards(view)
    yield from _guard(view)
    yield ADMIT.rule(_EDGE, "let hosts talk", {}, learn(view, HOSTS), goto=ARP)


def _fences(view: View) -> Iterator[Rule]:
    for fence in view.fences:
        intent = f"fence all at {fence.interface}"
        yield ADMIT.rule(_FENCE, intent, {"in_port": fence.attachment.port})


def _trunks(view: View) -> Iterator[Rule]:
    """What comes from another switch has been admitted there. Where it comes from tells where its
    sender is, unless the sender is one of ours, or the packet was diverted to another card: it may
    have come by here before, and would say that its sender is behind whoever diverted it."""
    ours = [service.mac for service in view.addresses]
    if view.prober:
        ours.append(view.prober.mac)
    known: list[Fields] = [{"eth_src": mac(source)} for source in ours]
    known += [{"eth_dst": mac(candidate.mac)} for candidate in view.candidates]
    for port in view.trunk_ports:
        for match in known:
            yield ADMIT.rule(_KNOWN, "trust trunks", {"in_port": port, **match}, goto=FORWARD)
        yield ADMIT.rule(
            _TRUNK, "trust trunks", {"in_port": port}, learn(view, HOSTS), goto=FORWARD
        )


def _prober(view: View) -> Iterator[Rule]:
    """The prober speaks to service addresses only; which card it means says its source."""
    prober = view.prober
    if prober is None or not view.is_here(prober.attachment):
        return
    port = prober.attachment.port
    source: Fields = {"in_port": port, "eth_src": mac(prober.mac)}
    for probe, target in view.probes():
        yield ADMIT.rule(
            _PROBE,
            f"probe {probe.candidate.role} by {probe.candidate.interface}",
            {**source, **address("src", probe.source), **address("dst", target)},
            SetField("eth_dst", mac(probe.candidate.mac)),
            goto=FORWARD,
        )
    asking = f"let the prober of {view.segment} find service addresses"
    yield ADMIT.rule(_PROBE, asking, {**source, **arp_request()}, goto=ARP)
    yield ADMIT.rule(_PROBE, asking, {**source, **icmpv6(NEIGHBOUR_SOLICITATION)}, goto=ARP)
    yield ADMIT.rule(_PROBER_ELSE, f"hold the prober of {view.segment}", {"in_port": port})


def _cards(view: View) -> Iterator[Rule]:
    for candidate in view.local_candidates:
        if view.speaks(candidate):
            yield from _speaking(view, candidate)
    yield from _probe_answers(view)
    for card in view.cards:
        yield ADMIT.rule(
            _SERVER_ELSE,
            f"hold what {card.name} may not say",
            {"in_port": card.attachment.port},
        )


def _from(candidate: Candidate) -> Fields:
    return {"in_port": candidate.attachment.port, "eth_src": mac(candidate.mac)}


def _speaking(view: View, candidate: Candidate) -> Iterator[Rule]:
    """Its own packets to anybody's unicast MAC, and questions for anybody's MAC. Linux asks from
    a service address, or from its link-local one when it verifies a neighbour (RFC 4861, 7.2.2)."""
    intent = f"let {candidate.role} speak at {candidate.interface}"
    sender = _from(candidate)
    solicitation = icmpv6(NEIGHBOUR_SOLICITATION)
    for own in view.service(candidate).addresses:
        unicast = {"eth_dst": (0, MULTICAST[1])}
        yield ADMIT.rule(_SPEAK, intent, sender | unicast | address("src", own), goto=POLICY)
        if own.version == 4:
            said = {"arp_spa": int(own), "arp_sha": mac(candidate.mac)}
            yield ADMIT.rule(_PROBE, intent, sender | arp_request() | said, goto=ARP)
        else:
            source = address("src", own)
            yield ADMIT.rule(_PROBE, intent, sender | solicitation | source, goto=ARP)
    source = address("src", _LINK_LOCAL)
    yield ADMIT.rule(_PROBE, intent, sender | solicitation | source, goto=ARP)


def _probe_answers(view: View) -> Iterator[Rule]:
    """Every candidate, live or not, answers the prober, and may ask for its MAC; it cannot open a
    connection to it."""
    assert view.prober or not view.intents.probes, "probes without a prober"
    for probe, own in view.probes():
        candidate = probe.candidate
        if view.prober is None or not view.is_here(candidate.attachment):
            continue
        intent = f"let {candidate.role} answer probes at {candidate.interface}"
        sender = _from(candidate)
        way = sender | address("src", own) | address("dst", probe.source)
        to_prober = SetField("eth_dst", mac(view.prober.mac))
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


def _guard(view: View) -> Iterator[Rule]:
    """What no host may do: use an address or a MAC of ours, or send past the policy to a MAC that
    only our own rules write."""
    protected = [c.mac for c in view.candidates] + ([view.prober.mac] if view.prober else [])
    detours = [c.detour_mac for c in view.candidates]
    past = "keep everybody from sending past the policy"
    for ours in [*protected, *detours]:
        yield ADMIT.rule(_TO_CARD, past, {"eth_dst": mac(ours)})
    spoof = "keep hosts from using what is ours"
    for ours in [*protected, *(service.mac for service in view.addresses)]:
        yield ADMIT.rule(_SPOOF, spoof, {"eth_src": mac(ours)})
    for service in view.addresses:
        yield ADMIT.rule(_SPOOF, spoof, arp() | {"arp_sha": mac(service.mac)})
    for own in (*(a for _, a in view.service_addresses), *view.prober_addresses):
        yield ADMIT.rule(_SPOOF, spoof, address("src", own))
        if own.version == 4:
            yield ADMIT.rule(_SPOOF, spoof, arp() | {"arp_spa": int(own)})
        else:
            claim = icmpv6(NEIGHBOUR_ADVERTISEMENT) | {"ipv6_nd_target": int(own)}
            yield ADMIT.rule(_SPOOF, spoof, claim)
    for martian in _MARTIANS:
        yield ADMIT.rule(_SPOOF, "drop martians", address("src", martian))
    yield ADMIT.rule(_SPOOF, "drop martians", {"eth_src": MULTICAST})
