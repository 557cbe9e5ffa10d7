"""Table `admit` on a backbone: who may send what, and what the controller is told.

At an edge port a host is known by its port, MAC and addresses. Whatever else it sends goes to the
controller, which learns it, follows its move, or refuses it (`topology.hosts`); nothing that is
not known goes further. A file server speaks with its service addresses alone, from any of its
interfaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Address, ip_network

from flows.backbone.locators import DETOUR, LOCATORS
from flows.backbone.segment import Plugged, Situation
from flows.common.fields import MULTICAST, Fields, address, arp, arp_request, icmpv6, ip, mac
from flows.numbers import own_ids
from flows.pipeline import ADMIT, ARP, FORWARD, POLICY
from flows.rules import CONTROLLER, Meter, Output, Rule, SetField
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

#: Packets of unknown hosts a second that a switch tells the controller of, port by port. Once is
#: for all hosts that a port can have, and a few packets of each.
TOLD_RATE = 50
TOLD_BURST = 200

#: Sorts behind the names of ports' meters, which keep their ids.
_SPOOFS = "told of spoofs"


@dataclass(frozen=True)
class Reads:
    """Of one switch: `trunk_ports`, up or down; `host_ports`, which are up and at which hosts may
    be."""

    plugged: Plugged
    trunk_ports: tuple[int, ...]
    host_ports: tuple[int, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        ground = situation.ground
        trunk_ports, host_ports = ground.trunk_ports[switch], ground.host_ports[switch]
        return cls(Plugged.of(situation, switch), trunk_ports, host_ports)

    @cached_property
    def told_meters(self) -> dict[int, int]:
        """For each port at which hosts may be: the meter of what the controller is told of it. The
        names of all sort behind that of the meter of `errors`, which keeps its id."""
        return {port: self._ids[_told_of(port)] for port in self._told_ports}

    @cached_property
    def spoof_meter(self) -> int:
        """The meter of what the controller is told of hosts that use what is ours, whatever their
        ports."""
        return self._ids[_SPOOFS]

    @cached_property
    def _ids(self) -> dict[str, int]:
        known = self.plugged.backbone.ids
        return own_ids((*known, *map(_told_of, self._told_ports), _SPOOFS))

    @cached_property
    def _told_ports(self) -> list[int]:
        return sorted({*self.host_ports, *(host.attachment.port for host in self.plugged.hosts)})


def _told_of(port: int) -> str:
    return f"told of port {port}"


def meters(reads: Reads) -> Iterator[Meter]:
    """Of what the controller is told."""
    of = {"other ports": reads.plugged.backbone.error_meter, "spoofs": reads.spoof_meter}
    of |= {f"port {port}": meter for port, meter in reads.told_meters.items()}
    for what, meter in of.items():
        yield Meter(meter, TOLD_RATE, TOLD_BURST, f"what is told of {what}")


def rules(reads: Reads) -> Iterator[Rule]:
    yield from _told(reads)
    yield ADMIT.rule(_RESERVED, "drop bridges' own protocols", {"eth_dst": _RESERVED_MACS})
    for port in reads.trunk_ports:
        yield ADMIT.rule(_TRUNK, "trust trunks", {"in_port": port}, goto=FORWARD)
    yield from _prober(reads.plugged)
    for card in reads.plugged.cards:
        yield from _interface(reads.plugged, card)
    yield from _guard(reads)
    for host in reads.plugged.hosts:
        yield from _host(reads, host)
    for port, meter in reads.told_meters.items():
        yield ADMIT.rule(_UNKNOWN_AT, "learn hosts", {"in_port": port}, _TELL, meter=meter)
    yield ADMIT.rule(_UNKNOWN, "learn hosts", {}, _TELL, meter=reads.plugged.backbone.error_meter)


def _told(reads: Reads) -> Iterator[Rule]:
    """To the controller: who is behind a port, and what hosts answer when it asks. Only what comes
    over a trunk comes unmetered. Each port of hosts has a meter to itself, so that nobody can keep
    others from being learnt, or from answering when somebody else claims what they hold."""
    who, answers = "hear who is behind a port", "hear answers to our questions"
    heard = {"eth_dst": _LLDP_MAC}
    for port in reads.trunk_ports:
        yield ADMIT.rule(_LLDP + 1, who, {"in_port": port, **heard}, _TELL)
    yield ADMIT.rule(_LLDP, who, heard, _TELL, meter=reads.plugged.backbone.error_meter)
    for port, meter in reads.told_meters.items():
        asked: Fields = {"in_port": port, "eth_dst": mac(ASKER_MAC)}
        yield ADMIT.rule(_ASKED, answers, asked, _TELL, meter=meter)


def _prober(plugged: Plugged) -> Iterator[Rule]:
    """It speaks to service addresses only; which interface it means says its source."""
    backbone, prober = plugged.backbone, plugged.backbone.prober
    if prober is None or not plugged.is_here(prober.attachment):
        return
    port = prober.attachment.port
    source: Fields = {"in_port": port, "eth_src": mac(prober.mac)}
    for probe, target in backbone.asked:
        yield ADMIT.rule(
            _PROBE,
            f"probe {probe.server.name} by {probe.interface.name}",
            {**source, **address("src", probe.source), **address("dst", target)},
            SetField("eth_dst", backbone.locators.interface(probe.interface)),
            goto=FORWARD,
        )
    asking = f"let the prober of {backbone.name} find service addresses"
    yield ADMIT.rule(_PROBE, asking, {**source, **arp_request()}, goto=ARP)
    yield ADMIT.rule(_PROBE, asking, {**source, **icmpv6(NEIGHBOUR_SOLICITATION)}, goto=ARP)
    yield ADMIT.rule(_PROBER_ELSE, f"hold the prober of {backbone.name}", {"in_port": port})


def _interface(plugged: Plugged, card: Interface) -> Iterator[Rule]:
    """A file server's own packets, and its questions. It announces and answers nothing: its
    switches answer for it."""
    server = plugged.backbone.server(card)
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


def _guard(reads: Reads) -> Iterator[Rule]:
    """What no host may do: use what is ours. Whoever says that he is a file server is named to the
    controller; the beginning of the packet tells, and it is never sent again."""
    backbone = reads.plugged.backbone
    spoof = "keep hosts from using what is ours"
    ours = [server.mac for server in backbone.file_servers]
    ours += [card.mac for server in backbone.file_servers for card in server.interfaces]
    owned: list[Address] = [a for server in backbone.file_servers for a in server.addresses]
    if backbone.prober:
        ours.append(backbone.prober.mac)
    yield ADMIT.rule(_OURS, spoof, {"eth_src": _LOCATORS})
    for port, meter in reads.told_meters.items():
        unlucky = "tell of hosts whose own MAC is like a locator"
        sender: Fields = {"in_port": port, "eth_src": _LOCATORS}
        yield ADMIT.rule(_OURS + 1, unlucky, sender, _TELL, meter=meter)
    yield ADMIT.rule(_OURS, spoof, {"eth_src": MULTICAST})
    for own_mac in ours:
        yield _named_spoof(reads, spoof, {"eth_src": mac(own_mac)})
    for own in (*owned, *backbone.prober_addresses):
        yield _named_spoof(reads, spoof, address("src", own))
        if own.version == 4:
            yield _named_spoof(reads, spoof, arp() | {"arp_spa": int(own)})
        else:
            claim = icmpv6(NEIGHBOUR_ADVERTISEMENT) | {"ipv6_nd_target": int(own)}
            yield _named_spoof(reads, spoof, claim)


def _named_spoof(reads: Reads, intent: str, match: Fields) -> Rule:
    return ADMIT.rule(_OURS, intent, match, _TELL_WHO, meter=reads.spoof_meter)


def _host(reads: Reads, host: Host) -> Iterator[Rule]:
    """A known host speaks with its addresses. With another one of the segment it goes to the
    controller; before it has any, it asks for one (DHCP, duplicate address detection). Others
    may come from it as well: it may be a router."""
    segment = reads.plugged.backbone.segment
    meter = reads.told_meters[host.attachment.port]
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
