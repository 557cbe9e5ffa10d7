"""Table `forward` on a backbone: to switches by the prefix of their locators, to file servers by
their virtual MACs, and the groups of next hops that both share.

A packet for a file server carries the server's virtual MAC, and comes nearer to the nearest
interface with each hop. The switch that has an interface writes the interface's own MAC. If that
interface is dead, or if a switch on the way has no other hop, the packet is sent on to another
interface by that one's locator, and meets no rule of the file server again.

A packet that takes an alternate (RFC 5286), which does not lead nearer, carries the bit
`flows.backbone.locators.DETOUR` from then on, and comes nearer with each hop again or is dropped.
So it changes its destination at most once and takes at most two alternates, and never loops,
whatever fails. The detoured have a rule of their own only where the other one leads to an
alternate.

Groups are shared by all destinations with the same next hops (`flows.backbone.groups`). Where the
digests of two that differ fall together, the one that is made later takes the next free number; it
may change when the earlier one goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from flows.backbone.groups import Onward, Onwards
from flows.backbone.locators import DETOUR, EVERY_BIT
from flows.backbone.segment import Backbone, Situation
from flows.common.fields import Fields, mac
from flows.intents import Nearest
from flows.pipeline import FORWARD
from flows.rules import CLEARED_IN_PORT, Bucket, Group, Output, Rule, RuleSet, SetField
from topology.model import Interface
from topology.paths.routes import NOWHERE, Destination
from topology.paths.shortest import Hops

_DESTINATION = 120

#: By switch, the ports that lead nearer to it.
Onto = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Reads:
    """Of one switch: `others` are the hops toward each other switch that it reaches; `servers` the
    file servers, each with the hops toward it, and the ports that lead nearer to the switches of
    its live interfaces."""

    backbone: Backbone
    switch: str
    others: tuple[tuple[str, Hops], ...]
    servers: tuple[tuple[Nearest, Hops, Onto], ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        backbone, routes = situation.backbone, situation.routes
        toward = {name: routes.of(Destination.switch(name), switch) for name in backbone.switches}
        servers = (
            (
                nearest,
                routes.of(Destination.file_server(nearest.server.name), switch),
                {
                    card.attachment.switch: toward[card.attachment.switch].nearer
                    for card in nearest.live
                },
            )
            for nearest in situation.nearest
        )
        others = tuple(
            (name, hops) for name, hops in toward.items() if name != switch and hops != NOWHERE
        )
        return cls(backbone, switch, others, tuple(servers))


#: What a switch holds to send packets to one destination.
_Made = tuple[tuple[Rule, ...], tuple[Group, ...]]


@dataclass(frozen=True, slots=True)
class Toward:
    """What a switch holds to send packets to one destination, and `of` what that was made."""

    of: tuple[object, ...]
    rules: tuple[Rule, ...]
    groups: tuple[Group, ...]


#: By destination.
Towards = Mapping[Destination, Toward]

#: One to be: its destination, of what it is made, and how, by what sends packets on.
_Draft = tuple[Destination, tuple[object, ...], Callable[[Onwards], _Made]]


def part(reads: Reads) -> RuleSet:
    """All that leads from one switch to other switches and to file servers."""
    return Forwarding()(reads)


@dataclass(frozen=True)
class Forwarding:
    """Compiles that part of many switches, and remembers what it made toward each destination,
    because few of them change at a time. The bound of its memory is what the switches hold."""

    _made: dict[str, Towards] = field(default_factory=dict)

    def __call__(self, reads: Reads) -> RuleSet:
        former = self._made.get(reads.switch, {})
        compiled, self._made[reads.switch] = _compiled(reads, former)
        return compiled


def _compiled(reads: Reads, former: Towards) -> tuple[RuleSet, Towards]:
    """What leads to all destinations. Of `former`, what would be made of the same is not made
    again."""
    taken = frozenset(reads.backbone.ids.values())
    onwards = Onwards(taken)
    made: dict[Destination, Toward] = {}
    groups: dict[int, Group] = {}
    rules: list[Rule] = []
    for destination, of, make in chain(_to_switches(reads), _to_file_servers(reads)):
        toward = former.get(destination)
        if toward is None or toward.of != of:
            toward = Toward(of, *make(onwards))
        made[destination] = toward
        avoid = taken
        while clash := _clash(groups, toward.groups):
            avoid = avoid.union(clash)
            toward = Toward(of, *make(Onwards(avoid)))
        rules += toward.rules
        groups.update((group.id, group) for group in toward.groups)
    return RuleSet.of(rules, groups.values()), made


def _clash(some: Mapping[int, Group], others: tuple[Group, ...]) -> list[int]:
    """The ids of others that some other group has."""
    return [
        other.id
        for other in others
        if (one := some.get(other.id)) is not None and one is not other and one != other
    ]


def _to_switches(reads: Reads) -> Iterator[_Draft]:
    """One rule for all that is plugged into another switch; the prober has one to itself."""
    for other, hops in reads.others:
        make = partial(_to_switch, reads.backbone, other, hops)
        yield Destination.switch(other), (hops,), make


def _to_switch(backbone: Backbone, other: str, hops: Hops, onwards: Onwards) -> _Made:
    onward, prober = onwards.by(hops), backbone.prober
    rules = [*_rules_onward(f"toward {other}", *backbone.locators.prefix(other), onward)]
    if prober and prober.attachment.switch == other:
        number = mac(prober.mac)
        rules += _rules_onward(f"toward the prober at {other}", number, EVERY_BIT, onward)
    return tuple(rules), onward.groups


def _rules_onward(intent: str, value: int, every: int, onward: Onward) -> Iterator[Rule]:
    """Where `every` bit that is set is as in `value`. A packet that has taken an alternate takes no
    second one."""
    if onward.detoured is None:
        match: Fields = {"eth_dst": (value, every & ~DETOUR)}
        yield FORWARD.rule(_DESTINATION, intent, match, *onward.every)
        return
    yield FORWARD.rule(_DESTINATION, intent, {"eth_dst": (value, every)}, *onward.every)
    match = {"eth_dst": (value | DETOUR, every)}
    yield FORWARD.rule(_DESTINATION, f"{intent} after a detour", match, *onward.detoured)


def _to_file_servers(reads: Reads) -> Iterator[_Draft]:
    for nearest, hops, onto in reads.servers:
        make = partial(_to_file_server, reads, nearest, hops, onto)
        yield Destination.file_server(nearest.server.name), (nearest, hops, onto), make


def _to_file_server(
    reads: Reads, nearest: Nearest, hops: Hops, onto: Onto, onwards: Onwards
) -> _Made:
    server = nearest.server
    intent = f"{server.name} by its nearest interface"
    here = [card for card in nearest.live if card.attachment.switch == reads.switch]
    others = [card for card in nearest.live if card.attachment.switch != reads.switch]
    if here or hops == NOWHERE:
        rest = tuple(_sent_on(reads.backbone, others, onto, frozenset()))
        onward = onwards.among(tuple(map(_delivery, here)), rest)
    else:
        ports = frozenset((*hops.nearer, *hops.alternates))
        more = _sent_on(reads.backbone, others, onto, ports) if len(ports) == 1 else ()
        onward = onwards.by(hops, tuple(more))
    return tuple(_rules_onward(intent, mac(server.mac), EVERY_BIT, onward)), onward.groups


def _delivery(card: Interface) -> Bucket:
    port = card.attachment.port
    # By any port: another interface of the server may be behind the one of entry.
    return Bucket((SetField("eth_dst", mac(card.mac)), CLEARED_IN_PORT, Output(port)), port)


def _sent_on(
    backbone: Backbone, cards: list[Interface], onto: Onto, avoid: frozenset[int]
) -> Iterator[Bucket]:
    """To another interface, by every port that leads nearer to that one."""
    for card in cards:
        rename = SetField("eth_dst", backbone.locators.interface(card))
        for port in onto[card.attachment.switch]:
            if port not in avoid:
                yield Bucket((rename, CLEARED_IN_PORT, Output(port)), port)
