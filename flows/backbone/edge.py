"""Tables `admit` to `steer` on a backbone: who may send what, and whom hosts take each other for.

At an edge port a host is known by its port, MAC and addresses. Whatever else it sends goes to the
controller, which learns it, follows its move, or refuses it (`topology.hosts`); nothing that is
not known goes further. To everybody else a host is its locator, which is written over its MAC here:
in the frame, and where ARP and neighbour discovery repeat it. Who asks for a known host or a file
server is answered by the switch that it is plugged into; only questions for the unknown are
flooded.

A file server speaks with its service addresses alone, from any of its interfaces. Its questions
carry the locator of the interface that asks, so that answers come back there. What each interface
sends to the hosts of each switch is counted, because the way of an answer is the server's choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_network

from flows.backbone.locators import DETOUR, LOCATORS
from flows.backbone.view import View
from flows.common.answers import answer, taken
from flows.common.fields import MULTICAST, Fields, address, arp, arp_request, icmpv6, ip, mac
from flows.numbers import CookieKind
from flows.pipeline import ADMIT, ARP, FORWARD, POLICY, SOURCE, STEER
from flows.rules import CONTROLLER, Output, Rule, SetField
from flows.walk.packet import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, UDP
from topology.locators import ASKER_MAC
from topology.model import Address, Host, Interface

_LLDP = 960
_RESERVED = 950
_TRUNK = 900
_ASKED = 850
_PROBE = 800
_PROBER_ELSE = 750
_SPEAK = 600
_SERVER_ELSE = 500
_OURS = 450
_CLAIM = 420
_KNOWN = 400
_STRANGE = 350
_ELSE_KNOWN = 300
_UNKNOWN_AT = 10
_UNKNOWN = 0

_OWN_QUESTION = 500
_BESIDE = 490
_PROBE_QUESTION = 280
_KNOWN_ANSWER = 270
_MATCH = 100
_OWN_MAC = 50
_ELSE = 0

#: IEEE 802.1AB, 7.1: the nearest bridge.
_LLDP_MAC = mac("01:80:c2:00:00:0e")

#: MACs that bridges never forward (IEEE 802.1D, table 7-10).
_RESERVED_MACS = (mac("01:80:c2:00:00:00"), mac("ff:ff:ff:ff:ff:f0"))

#: All locators, with the bit `DETOUR` or without it.
_LOCATORS = (LOCATORS, (0xFF << 40) & ~DETOUR)

_LINK_LOCAL = ip_network("fe80::/10")
_UNSPECIFIED = IPv6Address("::")
_DHCP_CLIENT, _DHCP_SERVER = 68, 67

#: Whole packets, because they are sent again (OFPCML_NO_BUFFER).
_TELL = Output(CONTROLLER, 0xFFFF)

#: Enough of a packet to see who says what: longer than neighbour discovery with its options.
_TELL_WHO = Output(CONTROLLER, 128)


def rules(view: View) -> Iterator[Rule]:
    """All but those of `to_hosts`."""
    yield from _admitted(view)
    yield from _answers(view)
    yield from _counted(view)
    yield from _named(view)
    yield from _steered(view)


@lru_cache(maxsize=1 << 14)
def to_hosts(host: Host, locator: int) -> tuple[Rule, ...]:
    """How a known host is found from every switch of its segment that anybody is plugged into:
    who asks for it is answered with its locator, in table `arp`. In table `steer` its own MAC,
    which DHCP servers and routers read where nobody writes a locator over it (RFC 2131, `chaddr`;
    RFC 4861, 4.1 and 4.2), stands for its locator."""
    answers = (
        rule
        for own in host.addresses
        for rule in answer({}, own, locator, f"answer for {own} of {host.mac}", _KNOWN_ANSWER)
    )
    intent, own_mac = f"find {host.mac} by its own MAC", {"eth_dst": mac(host.mac)}
    found = STEER.rule(_OWN_MAC, intent, own_mac, SetField("eth_dst", locator), goto=FORWARD)
    return (*answers, found)


def _admitted(view: View) -> Iterator[Rule]:
    """Table `admit`."""
    yield from _told(view)
    yield ADMIT.rule(_RESERVED, "drop bridges' own protocols", {"eth_dst": _RESERVED_MACS})
    for port in view.trunk_ports:
        yield ADMIT.rule(_TRUNK, "trust trunks", {"in_port": port}, goto=FORWARD)
    yield from _prober(view)
    for card in view.file_cards:
        yield from _interface(view, card)
    yield from _guard(view)
    for host in view.local_hosts:
        yield from _host(view, host)
    for port, meter in view.told_meters.items():
        yield ADMIT.rule(_UNKNOWN_AT, "learn hosts", {"in_port": port}, _TELL, meter=meter)
    yield ADMIT.rule(_UNKNOWN, "learn hosts", {}, _TELL, meter=view.error_meter)


def _told(view: View) -> Iterator[Rule]:
    """To the controller: who is behind a port, and what hosts answer when it asks. Only what comes
    over a trunk comes unmetered. Each port of hosts has a meter to itself, so that nobody can keep
    others from being learnt, or from answering when somebody else claims what they hold."""
    who, answers = "hear who is behind a port", "hear answers to our questions"
    heard = {"eth_dst": _LLDP_MAC}
    for port in view.trunk_ports:
        yield ADMIT.rule(_LLDP + 1, who, {"in_port": port, **heard}, _TELL)
    yield ADMIT.rule(_LLDP, who, heard, _TELL, meter=view.error_meter)
    for port, meter in view.told_meters.items():
        asked: Fields = {"in_port": port, "eth_dst": mac(ASKER_MAC)}
        yield ADMIT.rule(_ASKED, answers, asked, _TELL, meter=meter)


def _prober(view: View) -> Iterator[Rule]:
    """It speaks to service addresses only; which interface it means says its source."""
    prober = view.prober
    if prober is None or not view.is_here(prober.attachment):
        return
    port = prober.attachment.port
    source: Fields = {"in_port": port, "eth_src": mac(prober.mac)}
    for probe, target in view.interface_probes():
        yield ADMIT.rule(
            _PROBE,
            f"probe {probe.server.name} by {probe.interface.name}",
            {**source, **address("src", probe.source), **address("dst", target)},
            SetField("eth_dst", view.locators.interface(probe.interface)),
            goto=FORWARD,
        )
    asking = f"let the prober of {view.segment} find service addresses"
    yield ADMIT.rule(_PROBE, asking, {**source, **arp_request()}, goto=ARP)
    yield ADMIT.rule(_PROBE, asking, {**source, **icmpv6(NEIGHBOUR_SOLICITATION)}, goto=ARP)
    yield ADMIT.rule(_PROBER_ELSE, f"hold the prober of {view.segment}", {"in_port": port})


def _interface(view: View, card: Interface) -> Iterator[Rule]:
    """A file server's own packets, and its questions. It announces and answers nothing: its
    switches answer for it."""
    server = view.network.file_servers[card.server]
    intent = f"let {server.name} speak at {card.name}"
    sender: Fields = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
    for own in server.addresses:
        unicast = {"eth_dst": (0, MULTICAST[1])}
        yield ADMIT.rule(_SPEAK, intent, sender | unicast | address("src", own), goto=POLICY)
        if own.version == 4:
            said = arp_request() | {"arp_spa": int(own), "arp_sha": mac(card.mac)}
            yield ADMIT.rule(_SPEAK, intent, sender | said, goto=ARP)
    for source in (*(a for a in server.addresses if a.version == 6), _LINK_LOCAL):
        question = icmpv6(NEIGHBOUR_SOLICITATION) | address("src", source)
        yield ADMIT.rule(_SPEAK + 1, intent, sender | question, goto=ARP)
    hold = f"hold what {card.name} may not say"
    yield ADMIT.rule(_SERVER_ELSE, hold, {"in_port": card.attachment.port})


def _guard(view: View) -> Iterator[Rule]:
    """What no host may do: use what is ours. Whoever says that he is a file server is named to the
    controller; the beginning of the packet tells, and it is never sent again."""
    spoof = "keep hosts from using what is ours"
    ours = [server.mac for server in view.file_servers]
    ours += [card.mac for server in view.file_servers for card in server.interfaces]
    owned: list[Address] = [a for server in view.file_servers for a in server.addresses]
    if view.prober:
        ours.append(view.prober.mac)
    yield ADMIT.rule(_OURS, spoof, {"eth_src": _LOCATORS})
    for port, meter in view.told_meters.items():
        unlucky = "tell of hosts whose own MAC is like a locator"
        sender: Fields = {"in_port": port, "eth_src": _LOCATORS}
        yield ADMIT.rule(_OURS + 1, unlucky, sender, _TELL, meter=meter)
    yield ADMIT.rule(_OURS, spoof, {"eth_src": MULTICAST})
    for own_mac in ours:
        yield _named_spoof(view, spoof, {"eth_src": mac(own_mac)})
    for own in (*owned, *view.prober_addresses):
        yield _named_spoof(view, spoof, address("src", own))
        if own.version == 4:
            yield _named_spoof(view, spoof, arp() | {"arp_spa": int(own)})
        else:
            claim = icmpv6(NEIGHBOUR_ADVERTISEMENT) | {"ipv6_nd_target": int(own)}
            yield _named_spoof(view, spoof, claim)


def _named_spoof(view: View, intent: str, match: Fields) -> Rule:
    return ADMIT.rule(_OURS, intent, match, _TELL_WHO, meter=view.spoof_meter)


def _host(view: View, host: Host) -> Iterator[Rule]:
    """A known host speaks with its addresses. With another one of the segment it goes to the
    controller; before it has any, it asks for one (DHCP, duplicate address detection). Others
    may come from it as well: it may be a router."""
    segment = view.network.segments[view.segment]
    meter = view.told_meters[host.attachment.port]
    intent = f"let {host.mac} speak at {host.attachment}"
    learn = f"learn addresses of {host.mac}"
    sender: Fields = {"in_port": host.attachment.port, "eth_src": mac(host.mac)}
    for own in host.addresses:
        if own.version == 4:
            said = arp() | {"arp_spa": int(own), "arp_sha": mac(host.mac)}
            yield ADMIT.rule(_KNOWN, intent, sender | said, goto=ARP)
        else:
            claim = icmpv6(NEIGHBOUR_ADVERTISEMENT) | {"ipv6_nd_target": int(own)}
            yield ADMIT.rule(_CLAIM, intent, sender | claim, goto=ARP)
        yield ADMIT.rule(_KNOWN, intent, sender | address("src", own), goto=ARP)
    asking = {"ip_proto": UDP, "udp_src": _DHCP_CLIENT, "udp_dst": _DHCP_SERVER}
    dhcp = sender | ip(4) | {"ipv4_src": 0} | asking
    yield ADMIT.rule(_KNOWN, intent, dhcp, goto=POLICY)
    duplicate = sender | icmpv6(NEIGHBOUR_SOLICITATION) | {"ipv6_src": int(_UNSPECIFIED)}
    yield ADMIT.rule(_KNOWN, intent, duplicate, goto=ARP)
    duplicate = sender | arp_request() | {"arp_spa": 0, "arp_sha": mac(host.mac)}
    yield ADMIT.rule(_KNOWN, intent, duplicate, goto=ARP)
    claim = sender | icmpv6(NEIGHBOUR_ADVERTISEMENT)
    yield ADMIT.rule(_CLAIM - 1, learn, claim, _TELL, meter=meter)
    yield ADMIT.rule(_STRANGE, learn, sender | arp(), _TELL, meter=meter)
    for network in (*segment.networks, _LINK_LOCAL):
        strange = sender | address("src", network)
        yield ADMIT.rule(_STRANGE, learn, strange, _TELL, meter=meter)
    yield ADMIT.rule(_ELSE_KNOWN, intent, sender, goto=ARP)


def _answers(view: View) -> Iterator[Rule]:
    """Table `arp`."""
    for server in view.file_servers:
        for own in server.addresses:
            intent = f"answer for {own} of {server.name}"
            yield from answer({}, own, mac(server.mac), intent)
            yield from taken(own, mac(server.mac), intent)
    for card in view.file_cards:
        yield from _prober_answered(view, card)
    for host in view.local_hosts:
        yield from _unanswered(view, host)
    for sender, source_mac in _local(view):
        yield from _renamed(sender, source_mac)
    yield ARP.rule(_ELSE, "go on to the policy", {}, goto=POLICY)


def _unanswered(view: View, host: Host) -> Iterator[Rule]:
    """What a switch does not answer although it could. Not what a host says and asks about its
    own address: it would take the answer for another host's with the same one (RFC 5227, 2.4).
    Not its question whether an address is free: whom we know as the owner may be gone, and who
    is there answers. Not what is asked about a host behind the same port: the two hear each
    other.
    """
    at_port: Fields = {"in_port": host.attachment.port}
    sender = at_port | {"eth_src": mac(host.mac)}
    locator = view.locators.host(host)
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


def _prober_answered(view: View, card: Interface) -> Iterator[Rule]:
    """For what probes the server by any of its interfaces: which one it answers by is no matter
    of health."""
    if view.prober is None:
        return
    for probed in view.network.file_servers[card.server].interfaces:
        for source in view.prober.sources.get(probed.name, ()):
            asker: Fields = {"in_port": card.attachment.port}
            intent = f"answer for the prober's {source} to {card.server}"
            yield from answer(asker, source, mac(view.prober.mac), intent)


def _local(view: View) -> Iterator[tuple[Fields, int]]:
    """Who is plugged in here, and the locator that stands for it."""
    for host in view.local_hosts:
        sender: Fields = {"in_port": host.attachment.port, "eth_src": mac(host.mac)}
        yield sender, view.locators.host(host)
    for card in view.file_cards:
        sender = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
        yield sender, view.locators.interface(card)


def _renamed(sender: Fields, locator: int) -> Iterator[Rule]:
    """Nobody else sees its real MAC, in questions and answers neither."""
    intent = "show only locators"
    yield _shown(sender | arp(), locator, "arp_sha", intent, _MATCH)
    for kind, option in (
        (NEIGHBOUR_SOLICITATION, "ipv6_nd_sll"),
        (NEIGHBOUR_ADVERTISEMENT, "ipv6_nd_tll"),
    ):
        yield _shown(sender | icmpv6(kind), locator, option, intent, _MATCH)


def _shown(match: Fields, locator: int, inside: str, intent: str, priority: int) -> Rule:
    """Sends on under a locator, which is also written over the MAC `inside` the message."""
    told = SetField("eth_src", locator), SetField(inside, locator)
    return ARP.rule(priority, intent, match, *told, goto=FORWARD)


def _counted(view: View) -> Iterator[Rule]:
    """Table `policy`: everybody may reach everybody. What the interfaces here send is counted, by
    the switch that it goes to (`flows.openflow.Counting` reads it)."""
    for card in view.file_cards:
        sender: Fields = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
        for switch in sorted(view.switches_with_hosts):
            yield POLICY.rule(
                _MATCH,
                f"count what {card.name} sends to {switch}",
                sender | {"eth_dst": view.locators.prefix(switch)},
                goto=SOURCE,
                kind=CookieKind.ANSWERS,
            )
    yield POLICY.rule(_ELSE, "a backbone has no policy", {}, goto=SOURCE)


def _named(view: View) -> Iterator[Rule]:
    """Table `source`: everybody speaks under the name of where he is; what comes from a file
    server comes from its virtual MAC."""
    for host in view.local_hosts:
        sender: Fields = {"in_port": host.attachment.port, "eth_src": mac(host.mac)}
        own = SetField("eth_src", view.locators.host(host))
        yield SOURCE.rule(_MATCH, "show only locators", sender, own, goto=STEER)
    for card in view.file_cards:
        sender = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
        server = view.network.file_servers[card.server]
        intent = f"show only the virtual MAC of {server.name}"
        virtual = SetField("eth_src", mac(server.mac))
        yield SOURCE.rule(_MATCH, intent, sender, virtual, goto=STEER)
    yield SOURCE.rule(_ELSE, "others keep their source", {}, goto=STEER)


def _steered(view: View) -> Iterator[Rule]:
    """Table `steer`: whatever MAC the sender gave it, a packet for a file server goes to the
    nearest interface."""
    for server in view.file_servers:
        for own in server.addresses:
            to_server = SetField("eth_dst", mac(server.mac))
            intent = f"{server.name} by its nearest interface"
            yield STEER.rule(_MATCH, intent, address("dst", own), to_server, goto=FORWARD)
    yield STEER.rule(_ELSE, "others are not steered", {}, goto=FORWARD)
