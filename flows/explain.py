"""A trace in words, for people: what happened to the packet, switch by switch, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flows.packet import ETH_ARP, ETH_IPV4, ICMP, ICMPV6, TCP, UDP, Packet, show
from flows.rules import Group, GroupType, Rule
from flows.trace import (
    Branch,
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
    Trace,
    Visit,
)
from topology.model import Attachment

_REASONS = {
    Reason.NO_RULE: "no rule matches",
    Reason.RULE: "that is what the rule says",
    Reason.PORT_OF_ENTRY: "the way out is the port that it came in by",
    Reason.PORT_DOWN: "the port is down",
    Reason.NO_LIVE_BUCKET: "no way of the group is alive",
    Reason.TOO_DEEP: "it was looked up again too often",
}

_GROUP_KINDS = {
    GroupType.ALL: "sends a copy by each of its ways",
    GroupType.SELECT: "takes one of its live ways, by a hash",
    GroupType.INDIRECT: "sends it on",
    GroupType.FAST_FAILOVER: "takes its first live way",
}


def explain(trace: Trace, names: dict[Attachment, str] | None = None) -> list[str]:
    """Lines of text; what is within a group or behind a link is indented.

    `names` says what is plugged in at an attachment.
    """
    return [*_visit(trace.root, names or {}), *_summary(trace, names or {})]


def describe(packet: Packet) -> str:
    """A packet in one line: who, to whom, what."""
    eth = f"{show('eth_src', packet['eth_src'])} to {show('eth_dst', packet['eth_dst'])}"
    kind = packet["eth_type"]
    if kind == ETH_ARP:
        asker, asked = (show(name, packet[name]) for name in ("arp_spa", "arp_tpa"))
        return f"ARP {'request' if packet['arp_op'] == 1 else 'reply'} {asker} to {asked} ({eth})"
    family = "ipv4" if kind == ETH_IPV4 else "ipv6"
    source, target = (show(f"{family}_{end}", packet[f"{family}_{end}"]) for end in ("src", "dst"))
    match packet["ip_proto"]:
        case proto if proto in {TCP, UDP}:
            name = "tcp" if proto == TCP else "udp"
            ports = packet[f"{name}_src"], packet[f"{name}_dst"]
            return f"{name.upper()} {source} port {ports[0]} to {target} port {ports[1]} ({eth})"
        case proto if proto in {ICMP, ICMPV6}:
            name = "icmpv4" if proto == ICMP else "icmpv6"
            kinds = f"type {packet[f'{name}_type']} code {packet[f'{name}_code']}"
            return f"ICMP {kinds} {source} to {target} ({eth})"
        case proto:
            return f"IP protocol {proto} {source} to {target} ({eth})"


def _visit(visit: Visit, names: dict[Attachment, str]) -> Iterator[str]:
    yield f"{_place(visit.at, names)}: {describe(visit.packet)}"
    yield from _indented(_steps(visit.steps, names))


def _steps(steps: Iterable[Step], names: dict[Attachment, str]) -> Iterator[str]:
    for step in steps:
        match step:
            case Grouped(group, branches):
                yield from _grouped(group, branches, names)
            case Crossed(link, visit):
                yield f"over the link {link}"
                yield from _visit(visit, names)
            case _:
                yield _line(step, names)


def _line(step: Step, names: dict[Attachment, str]) -> str:
    match step:
        case Matched(rule, _):
            return _met(rule)
        case Rewritten(field, before, after):
            return f"{field} becomes {show(field, after)} (was {show(field, before)})"
        case Learnt(_, rule):
            return f"the switch learns: {_met(rule)}"
        case Dropped(_, reason, _, _):
            return f"dropped: {_REASONS[reason]}"
        case _:
            return _end(step, names)


def _end(step: Step, names: dict[Attachment, str]) -> str:
    match step:
        case Delivered(attachment, packet):
            return f"delivered at {_place(attachment, names)}: {describe(packet)}"
        case ToController(switch, _):
            return f"sent to the controller by {switch}"
        case Looped(attachment, _):
            return f"in a loop: it comes to {_place(attachment, names)} again"
        case _:
            raise TypeError(f"no words for {step}")


def _met(rule: Rule) -> str:
    fields = (
        f"{f.name}={show(f.name, f.value)}" + ("" if f.mask is None else f"/{show(f.name, f.mask)}")
        for f in rule.match
    )
    what = ", ".join(fields) or "everything"
    intent = f" [{rule.intent}]" if rule.intent else ""
    return f"table {rule.table}, priority {rule.priority}: {what}{intent}"


def _grouped(
    group: Group, branches: tuple[Branch, ...], names: dict[Attachment, str]
) -> Iterator[str]:
    intent = f" [{group.intent}]" if group.intent else ""
    yield f"group {group.id:#x} {_GROUP_KINDS[group.type]}{intent}"
    for branch in branches:
        yield f"  way {branch.bucket + 1} of {len(group.buckets)}:"
        yield from _indented(_indented(_steps(branch.steps, names)))


def _summary(trace: Trace, names: dict[Attachment, str]) -> Iterator[str]:
    places = sorted({_place(place, names) for place in trace.places})
    ways = len(trace.outcomes())
    if places:
        joint = " or " if ways > 1 else " and "
        yield f"Result: delivered at {joint.join(places)}."
    if trace.to_controller:
        yield "Result: sent to the controller."
    if trace.loops:
        yield "Result: it goes round in a loop."
    if not (places or trace.to_controller or trace.loops):
        reasons = sorted({_REASONS[drop.reason] for drop in trace.drops})
        yield f"Result: dropped ({'; '.join(reasons)})."


def _place(attachment: Attachment, names: dict[Attachment, str]) -> str:
    name = names.get(attachment)
    return f"{attachment} ({name})" if name else str(attachment)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
