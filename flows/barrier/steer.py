"""Tables `source` and `steer`, and the groups that know where each role is.

A role has one fast-failover group on every switch of a segment. A placement is nothing but the
contents of these groups, so a failover is one group modification a switch.

Packets go to a card in two phases. First they carry the virtual MAC as destination, and every
switch on the way asks its own group, so that a switch can still divert them. As soon as one does,
it writes a MAC that means one certain card, and from then on the packet is forwarded by that MAC
alone and meets no such group again. In the first phase a packet comes nearer to the first
candidate's switch with each hop; it is diverted at most once; in the second phase it comes nearer
to its card's switch with each hop. If that card is dead too, as when a server dies that has cards
on two switches, the card's switch sends the packet to another card of its own, or in a third phase
to one elsewhere (`flows.barrier.forward`). So it never loops, whatever fails.

That MAC is the card's diverted MAC, if the packet goes to another card than it was meant for.
If it only goes to the first card's switch round a dead link, over a loop-free alternate, it is the
card's detour MAC: such a packet never comes by the same switch twice, so the switches on its way
may learn from it where its sender is, as from one that was not diverted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.barrier.segment import Barrier, Situation
from flows.common.fields import address, mac
from flows.common.next_hops import NO_HOPS, readdressed
from flows.intents import Candidate, ServiceAddress
from flows.pipeline import FORWARD, SOURCE, STEER
from flows.rules import (
    Bucket,
    Group,
    GroupType,
    Output,
    Rule,
    SetField,
    ToGroup,
)
from topology.paths.shortest import Hops

_MATCH = 100
_ELSE = 0


@dataclass(frozen=True)
class Reads:
    """Of one switch, for its rules: `open` are the candidates there that no fence closes."""

    barrier: Barrier
    open: tuple[Candidate, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        return cls(situation.barrier, situation.open_at(switch))


def rules(reads: Reads) -> Iterator[Rule]:
    barrier = reads.barrier
    for candidate in reads.open:
        virtual = mac(barrier.service(candidate).mac)
        yield SOURCE.rule(
            _MATCH,
            f"show only the virtual MAC of {candidate.role}",
            {"in_port": candidate.attachment.port, "eth_src": mac(candidate.mac)},
            SetField("eth_src", virtual),
            goto=STEER,
        )
    yield SOURCE.rule(_ELSE, "others keep their source", {}, goto=STEER)
    for service, own in barrier.service_addresses:
        intent = f"steer {service.role} on {service.segment}"
        # Whatever MAC the sender gave it: only the virtual one is steered by every switch.
        to_role = SetField("eth_dst", mac(service.mac)), ToGroup(barrier.steer_group(service))
        yield STEER.rule(_MATCH, intent, address("dst", own), *to_role)
    yield STEER.rule(_ELSE, "others are not steered", {}, goto=FORWARD)


@dataclass(frozen=True)
class Reached:
    """A candidate as one switch sees it. `here`: it is plugged in there; `alive`: its port is up,
    and a way leads to it, by `hops`."""

    candidate: Candidate
    here: bool
    alive: bool
    hops: Hops


@dataclass(frozen=True)
class GroupReads:
    """Of one switch, for one role's group: its candidates that no fence closes, in order."""

    barrier: Barrier
    service: ServiceAddress
    order: tuple[Reached, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str, service: ServiceAddress) -> GroupReads:
        ground = situation.ground
        hops = ground.ways(switch).hops
        return cls(
            situation.barrier,
            service,
            tuple(
                Reached(
                    candidate,
                    candidate.attachment.switch == switch,
                    ground.alive(switch, candidate.attachment),
                    hops.get(candidate.attachment.switch, NO_HOPS),
                )
                for candidate in situation.steer(service).order
                if candidate.interface not in situation.fenced
            ),
        )


def group(reads: GroupReads) -> Iterator[Group]:
    """One for each role on the segment; without a bucket, and so dropping, if nobody serves."""
    service = reads.service
    yield Group(
        reads.barrier.steer_group(service),
        GroupType.FAST_FAILOVER,
        tuple(_buckets(reads)),
        f"steer {service.role} on {service.segment}",
    )


def _buckets(reads: GroupReads) -> Iterator[Bucket]:
    """In the order of the candidates. A card of this switch stays among them while it is down:
    when it comes up, it serves at once. The first whose port is up is the one that every switch
    lets the virtual MAC lead to."""
    first = True
    for reached in reads.order:
        if reached.here:
            port = reached.candidate.attachment.port
            yield Bucket((*readdressed(reached.candidate.mac), Output(port)), watch_port=port)
        elif reached.alive:
            yield from _remote(reads.barrier, reached, keeps_virtual_mac=first)
        first = first and not reached.alive


def _remote(barrier: Barrier, reached: Reached, *, keeps_virtual_mac: bool) -> Iterator[Bucket]:
    candidate, hops = reached.candidate, reached.hops
    divert = readdressed(candidate.diverted_mac)
    for port in hops.nearer:
        onward = ToGroup(barrier.toward_group(candidate.attachment.switch))
        yield Bucket((onward,) if keeps_virtual_mac else (*divert, onward), watch_port=port)
    if keeps_virtual_mac:
        divert = readdressed(candidate.detour_mac)
    for port in hops.alternates:
        yield Bucket((*divert, Output(port)), watch_port=port)


@dataclass(frozen=True)
class AnnounceReads:
    """Of one switch, for the groups that answers to roles go to."""

    barrier: Barrier
    open: tuple[Candidate, ...]
    tree_ports: tuple[int, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> AnnounceReads:
        tree_ports = situation.ground.ways(switch).tree_ports
        return cls(situation.barrier, situation.open_at(switch), tree_ports)


def announce_groups(reads: AnnounceReads) -> Iterator[Group]:
    """Answers to a role's ARP and neighbour discovery questions go to all its candidates, so that
    a standby knows its neighbours when it takes over."""
    for service in reads.barrier.addresses:
        buckets = [Bucket((Output(port),)) for port in reads.tree_ports]
        buckets += [
            Bucket((SetField("eth_dst", mac(c.mac)), Output(c.attachment.port)))
            for c in reads.open
            if c.role == service.role
        ]
        yield Group(
            reads.barrier.announce_group(service),
            GroupType.ALL,
            tuple(buckets),
            f"announce to {service.role} on {service.segment}",
        )
