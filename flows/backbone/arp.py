"""Table `arp` on a backbone: whom hosts take each other for.

To everybody else a host is its locator, which is written over its MAC here: in the frame, and where
ARP and neighbour discovery repeat it. Who asks for a known host (`flows.backbone.find`) or a file
server is answered by the switch that it is plugged into; only questions for the unknown are
flooded. A file server's questions carry the locator of the interface that asks, so that answers
come back there.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from flows.backbone.segment import Plugged
from flows.common.fields import Fields, arp, arp_request, icmpv6, mac
from flows.common.resolution import answer, taken
from flows.pipeline import ARP, FORWARD, POLICY
from flows.rules import Rule, SetField
from flows.walk.packet import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from topology.model import Host, Interface

_OWN_QUESTION = 500
_BESIDE = 490
_PROBE_QUESTION = 280
_SHOWN = 100
_ELSE = 0

_UNSPECIFIED = IPv6Address("::")


def rules(plugged: Plugged) -> Iterator[Rule]:
    for server in plugged.backbone.file_servers:
        for own in server.addresses:
            intent = f"answer for {own} of {server.name}"
            yield from answer({}, own, mac(server.mac), intent)
            yield from taken(own, mac(server.mac), intent)
    for card in plugged.cards:
        yield from _prober_answered(plugged, card)
    for host in plugged.hosts:
        yield from _unanswered(plugged, host)
    for sender, source_mac in _local(plugged):
        yield from _renamed(sender, source_mac)
    yield ARP.rule(_ELSE, "go on to the policy", {}, goto=POLICY)


def _unanswered(plugged: Plugged, host: Host) -> Iterator[Rule]:
    """What a switch does not answer although it could. Not what a host says and asks about its
    own address: it would take the answer for another host's with the same one (RFC 5227, 2.4).
    Not its question whether an address is free: whom we know as the owner may be gone, and who
    is there answers. Not what is asked about a host behind the same port: the two hear each
    other.
    """
    at_port: Fields = {"in_port": host.attachment.port}
    sender = at_port | {"eth_src": mac(host.mac)}
    locator = plugged.backbone.locators.host(host)
    free = f"let {host.mac} find out which addresses are free"
    asks = sender | arp_request() | {"arp_spa": 0}
    yield _shown(asks, locator, "arp_sha", free, _PROBE_QUESTION)
    asks = sender | icmpv6(NEIGHBOUR_SOLICITATION) | {"ipv6_src": int(_UNSPECIFIED)}
    yield _shown(asks, locator, "ipv6_nd_sll", free, _PROBE_QUESTION)
    for own in host.addresses:
        announce = f"let {host.mac} speak of its own {own}"
        beside = f"leave questions for {own} to {host.mac}"
        if own.version == 4:
            asked: Fields = {"arp_tpa": int(own)}
            asks = sender | arp_request() | asked
            yield _shown(asks, locator, "arp_sha", announce, _OWN_QUESTION)
            yield ARP.rule(_BESIDE, beside, at_port | arp_request() | asked)
        else:
            question = icmpv6(NEIGHBOUR_SOLICITATION) | {"ipv6_nd_target": int(own)}
            yield _shown(sender | question, locator, "ipv6_nd_sll", announce, _OWN_QUESTION)
            yield ARP.rule(_BESIDE, beside, at_port | question)


def _prober_answered(plugged: Plugged, card: Interface) -> Iterator[Rule]:
    """For what probes the server by any of its interfaces: which one it answers by is no matter
    of health."""
    backbone, prober = plugged.backbone, plugged.backbone.prober
    if prober is None:
        return
    for probed in backbone.server(card).interfaces:
        for source in prober.sources.get(probed.name, ()):
            asker: Fields = {"in_port": card.attachment.port}
            intent = f"answer for the prober's {source} to {card.server}"
            yield from answer(asker, source, mac(prober.mac), intent)


def _local(plugged: Plugged) -> Iterator[tuple[Fields, int]]:
    """Who is plugged in here, and the locator that stands for it."""
    for host in plugged.hosts:
        sender: Fields = {"in_port": host.attachment.port, "eth_src": mac(host.mac)}
        yield sender, plugged.backbone.locators.host(host)
    for card in plugged.cards:
        sender = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
        yield sender, plugged.backbone.locators.interface(card)


def _renamed(sender: Fields, locator: int) -> Iterator[Rule]:
    """Nobody else sees its real MAC, in questions and answers neither."""
    intent = "show only locators"
    yield _shown(sender | arp(), locator, "arp_sha", intent, _SHOWN)
    for kind, option in (
        (NEIGHBOUR_SOLICITATION, "ipv6_nd_sll"),
        (NEIGHBOUR_ADVERTISEMENT, "ipv6_nd_tll"),
    ):
        yield _shown(sender | icmpv6(kind), locator, option, intent, _SHOWN)


def _shown(match: Fields, locator: int, inside: str, intent: str, priority: int) -> Rule:
    """Sends on under a locator, which is also written over the MAC `inside` the message."""
    told = SetField("eth_src", locator), SetField(inside, locator)
    return ARP.rule(priority, intent, match, *told, goto=FORWARD)
