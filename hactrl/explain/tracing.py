"""What would happen to a packet, in words: walks it through the wanted rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from flows.pipeline import PIPELINE
from flows.rules import GroupType, RuleSet
from flows.walk.packet import Packet, icmp, show, tcp, udp
from flows.walk.trace import (
    Crossed,
    Delivered,
    Dropped,
    Grouped,
    Learnt,
    Looped,
    Matched,
    Reason,
    Rewritten,
    Step,
    ToController,
    Visit,
)
from flows.walk.walker import walk
from hactrl.site.model import Role, Site
from topology.model import Address, Attachment, Interface

_TABLES = {table.number: table.name for table in PIPELINE}

_DROPPED: Mapping[Reason, str] = {
    Reason.NO_RULE: "no rule takes it",
    Reason.RULE: "this rule drops it",
    Reason.PORT_OF_ENTRY: "it would leave by the port that it came in on",
    Reason.PORT_DOWN: "the port is down",
    Reason.NO_LIVE_BUCKET: "every way is down",
    Reason.TOO_DEEP: "the switch gives up: too many lookups",
}

_CHOSEN: Mapping[GroupType, str] = {
    GroupType.ALL: "each of {} ways",
    GroupType.SELECT: "one of {} ways",
    GroupType.INDIRECT: "{} ways",
    GroupType.FAST_FAILOVER: "the first live one of {} ways",
}

#: A host that the site file does not know: any locally administered MAC does.
HOST_MAC = "02:00:5e:00:53:01"

#: Neither TCP's nor UDP's ports of any service.
CLIENT_PORT = 49152

ECHO_REQUEST = {4: 8, 6: 128}


class PacketError(ValueError):
    """The packet asked about cannot be; the message says why."""


@dataclass(frozen=True)
class Question:
    """`at`: where the packet comes in, switch:port or the name of a card. MACs that are left out
    are those that a real host would use."""

    at: str
    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 0
    source_port: int = CLIENT_PORT
    source_mac: str = ""
    destination_mac: str = ""


@dataclass(frozen=True)
class Story:
    """`lines` tell it in order; `delivered` are the edge ports that it can come out of."""

    lines: tuple[str, ...]
    delivered: tuple[str, ...]


def tell(
    site: Site,
    rule_sets: Mapping[str, RuleSet],
    port_up: Callable[[Attachment], bool],
    question: Question,
) -> Story:
    """Walk the packet and say what happens to it.

    Raises:
        PacketError: there is no such packet, or no such place.
    """
    at = _place(site, question.at)
    packet = _packet(site, question, at)
    trace = walk(rule_sets, site.network.links, port_up, packet, at)
    teller = _Teller(site)
    return Story(
        tuple(teller.visit(trace.root, 0)),
        tuple(str(place) for place in sorted(trace.places)),
    )


def _place(site: Site, text: str) -> Attachment:
    if text in site.network.interfaces:
        return site.network.interfaces[text].attachment
    switch, _, port = text.rpartition(":")
    if switch not in site.network.switches or not port.isdigit():
        raise PacketError(f"{text!r} is neither a card nor switch:port of this site")
    return Attachment(switch, int(port))


def _packet(site: Site, question: Question, at: Attachment) -> Packet:
    try:
        source, destination = ip_address(question.source), ip_address(question.destination)
        macs = (
            question.source_mac or _source_mac(site, source, at),
            question.destination_mac or _destination_mac(site, destination, at),
        )
        ends = (str(source), question.source_port), (str(destination), question.port)
        match question.protocol:
            case "tcp":
                return tcp(macs, *ends)
            case "udp":
                return udp(macs, *ends)
            case "icmp":
                return icmp(macs, str(source), str(destination), ECHO_REQUEST[source.version])
    except ValueError as error:
        raise PacketError(str(error)) from error
    raise PacketError(f"{question.protocol!r} is no protocol: tcp, udp or icmp")


def _role_at(site: Site, address: Address) -> Role | None:
    for role in site.roles.values():
        if any(address in on.addresses for on in role.addresses):
            return role
    return None


def _source_mac(site: Site, source: Address, at: Attachment) -> str:
    """A role's own MAC where a card with a service address sends, the prober's, or a host's."""
    role = _role_at(site, source)
    for card in site.network.interfaces.values():
        if card.attachment == at:
            return card.role_mac(role.name) if role else card.mac
    for segment in site.network.segments.values():
        if segment.prober and segment.prober.attachment == at:
            return segment.prober.mac
    return HOST_MAC


def _destination_mac(site: Site, destination: Address, at: Attachment) -> str:
    """What ARP would answer: a virtual MAC, the prober's, or that of an unknown host."""
    here = site.network.switches[at.switch].segment
    for role in site.roles.values():
        for on in role.addresses:
            if destination in on.addresses and on.segment == here:
                return on.mac
    prober = site.network.segments[here].prober
    if prober and any(destination in own for own in prober.sources.values()):
        return prober.mac
    return "02:00:5e:00:53:02"


class _Teller:
    def __init__(self, site: Site) -> None:
        self._cards = {card.attachment: card for card in site.network.interfaces.values()}
        self._probers = {
            s.prober.attachment: s.name for s in site.network.segments.values() if s.prober
        }
        self._roles = {
            card.role_mac(role): role for card in self._cards.values() for role in site.roles
        }

    def visit(self, visit: Visit, depth: int) -> Iterator[str]:
        yield _indented(depth, f"{visit.at.switch}: comes in at port {visit.at.port}")
        yield from self._steps(visit.steps, visit.at.switch, depth + 1)

    def _steps(self, steps: Iterable[Step], switch: str, depth: int) -> Iterator[str]:
        for step in steps:
            match step:
                case Grouped(group, branches):
                    ways = len(group.buckets)
                    chosen = _CHOSEN[group.type] if ways > 1 else "the only way"
                    yield _indented(depth, f"group {group.intent!r}: {chosen.format(ways)}")
                    for branch in branches:
                        inside = depth + 1
                        if ways > 1:
                            yield _indented(inside, f"way {branch.bucket + 1}:")
                            inside += 1
                        yield from self._steps(branch.steps, switch, inside)
                case Crossed(link, visit):
                    yield _indented(depth, f"crosses the link {link}")
                    yield from self.visit(visit, depth)
                case Rewritten("in_port", _, _):  # only permits to leave by the port of entry
                    pass
                case _:
                    yield _indented(depth, self._sentence(step))

    def _sentence(self, step: Step) -> str:  # noqa: PLR0911 - one sentence for each kind
        match step:
            case Matched(rule, _):
                return f"{_TABLES.get(rule.table, rule.table)}: {rule.intent}"
            case Rewritten(field, before, after):
                return f"{field} {show(field, before)} becomes {show(field, after)}"
            case Learnt(switch, _):
                return f"{switch} learns where the sender is"
            case Delivered(attachment, packet):
                return f"DELIVERED at {attachment}: {self._who(attachment, packet)}"
            case ToController(switch, _):
                return f"{switch} sends it to the controller"
            case Dropped(switch, reason, _, _):
                return f"DROPPED in {switch}: {_DROPPED[reason]}"
            case Looped(attachment, _):
                return f"LOOPS: comes to {attachment} once more"
            case _:
                raise AssertionError(f"not a single step: {step}")

    def _who(self, attachment: Attachment, packet: Packet) -> str:
        card: Interface | None = self._cards.get(attachment)
        if card is None:
            prober = self._probers.get(attachment)
            return f"the prober of {prober}" if prober else "a host"
        role = self._roles.get(show("eth_dst", packet["eth_dst"]))
        to = f", for its role {role}" if role else ""
        return f"interface {card.name} of {card.server}{to}"


def _indented(depth: int, text: str) -> str:
    return "  " * depth + text
