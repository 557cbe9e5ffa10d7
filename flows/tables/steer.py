"""Tables `source` and `steer`, and the groups that know where each role is.

A role has one fast-failover group on every switch of a segment. A placement is nothing but the
contents of these groups, so a failover is one group modification a switch.

Packets go to a card in two phases. First they carry the virtual MAC as destination, and every
switch on the way asks its own group, so that a switch can still divert them. As soon as one does,
it writes a MAC that means one certain card, and from then on the packet is forwarded by that MAC
alone and meets no group again. In the first phase a packet comes nearer to the first candidate's
switch with each hop; it is diverted at most once; in the second phase it comes nearer to its
card's switch with each hop. So it never loops, whatever fails.

That MAC is the role's own on the card, if the packet goes to another card than it was meant for.
If it only goes to the first card's switch round a dead link, over a loop-free alternate, it is the
card's detour MAC: such a packet never comes by the same switch twice, so the switches on its way
may learn from it where its sender is, as from one that was not diverted.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.intents import Candidate, Steer
from flows.pipeline import FORWARD, SOURCE, STEER
from flows.rules import Action, Bucket, Group, GroupType, Output, Rule, SetField, ToGroup
from flows.tables.fields import address, mac
from flows.tables.view import View

_MATCH = 100
_ELSE = 0


def rules(view: View) -> Iterator[Rule]:
    for candidate in view.local_candidates:
        virtual = mac(view.service(candidate).mac)
        yield SOURCE.rule(
            _MATCH,
            f"show only the virtual MAC of {candidate.role}",
            {"in_port": candidate.attachment.port, "eth_src": mac(candidate.mac)},
            SetField("eth_src", virtual),
            goto=STEER,
        )
    yield SOURCE.rule(_ELSE, "others keep their source", {}, goto=STEER)
    for service, own in view.service_addresses:
        intent = f"steer {service.role} on {service.segment}"
        # Whatever MAC the sender gave it: only the virtual one is steered by every switch.
        to_role = SetField("eth_dst", mac(service.mac)), ToGroup(view.steer_group(service))
        yield STEER.rule(_MATCH, intent, address("dst", own), *to_role)
    yield STEER.rule(_ELSE, "others are not steered", {}, goto=FORWARD)


def groups(view: View) -> Iterator[Group]:
    """One for each role on the segment; without a bucket, and so dropping, if nobody serves."""
    wanted = {steer.address: steer for steer in view.steers}
    for service in view.addresses:
        steer = wanted.get(service, Steer(service, ()))
        yield Group(
            view.steer_group(service),
            GroupType.FAST_FAILOVER,
            tuple(_buckets(view, steer)),
            f"steer {service.role} on {service.segment}",
        )


def _buckets(view: View, steer: Steer) -> Iterator[Bucket]:
    """In the order of the candidates. A card of this switch stays among them while it is down:
    when it comes up, it serves at once. The first whose port is up is the one that every switch
    lets the virtual MAC lead to."""
    first = True
    for candidate in steer.order:
        if view.closed(candidate):
            continue
        alive = view.graph.port_up(candidate.attachment) and view.graph.reaches(
            view.name, candidate.attachment.switch
        )
        if view.is_here(candidate.attachment):
            port = candidate.attachment.port
            yield Bucket((*_divert(candidate), Output(port)), watch_port=port)
        elif alive:
            yield from _remote(view, candidate, keeps_virtual_mac=first)
        first = first and not alive


def _divert(candidate: Candidate) -> tuple[Action, ...]:
    """Name the card. It may be reached by the port of entry (both roles on one server, or back
    over the link that the packet came from): a cleared `in_port` permits that."""
    return (SetField("eth_dst", mac(candidate.mac)), SetField("in_port", 0))


def _remote(view: View, candidate: Candidate, *, keeps_virtual_mac: bool) -> Iterator[Bucket]:
    target = candidate.attachment.switch
    hops = view.graph.hops(view.name, target)
    divert = _divert(candidate)
    for port in hops.nearer:
        onward = ToGroup(view.toward_group(target))
        yield Bucket((onward,) if keeps_virtual_mac else (*divert, onward), watch_port=port)
    if keeps_virtual_mac:
        divert = (SetField("eth_dst", mac(candidate.detour_mac)), SetField("in_port", 0))
    for port in hops.alternates:
        yield Bucket((*divert, Output(port)), watch_port=port)


def announce_groups(view: View) -> Iterator[Group]:
    """Answers to a role's ARP and neighbour discovery questions go to all its candidates, so that
    a standby knows its neighbours when it takes over."""
    for service in view.addresses:
        buckets = [Bucket((Output(port),)) for port in view.tree_ports]
        buckets += [
            Bucket((SetField("eth_dst", mac(c.mac)), Output(c.attachment.port)))
            for c in view.local_candidates
            if c.role == service.role
        ]
        yield Group(
            view.announce_group(service),
            GroupType.ALL,
            tuple(buckets),
            f"announce to {service.role} on {service.segment}",
        )
