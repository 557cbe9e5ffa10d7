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

Groups are shared by all destinations with the same next hops (`flows.backbone.onward`). Where the
digests of two that differ fall together, the one that is made later takes the next free number; it
may change when the earlier one goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

from flows.backbone.locators import DETOUR
from flows.backbone.onward import Onward, Onwards
from flows.backbone.view import View
from flows.common.fields import MULTICAST, Fields, mac
from flows.intents import Nearest
from flows.pipeline import FORWARD
from flows.rules import Bucket, Group, GroupType, Output, Rule, RuleSet, SetField, ToGroup
from topology.model import Interface
from topology.paths.routes import NOWHERE, Destination
from topology.paths.shortest import Hops

_MULTICAST_OFF_TREE = 150
_MULTICAST = 140
_LOCAL = 130
_DESTINATION = 120
_DROP = 0

_EVERY_BIT = (1 << 48) - 1

#: Lets a packet leave by the port that it came in by: back from a dead end, or to another
#: interface of the server whose neighbour it entered at.
_ANY_PORT = SetField("in_port", 0)


#: What a switch holds to send packets to one destination.
_Made = tuple[tuple[Rule, ...], tuple[Group, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a switch holds to send packets to one destination, and `of` what that was made."""

    of: tuple[object, ...]
    rules: tuple[Rule, ...]
    groups: tuple[Group, ...]


#: By destination.
Entries = Mapping[Destination, Entry]

#: By switch, the ports that lead nearer to it.
Onto = Mapping[str, tuple[int, ...]]

#: An entry to be: its destination, of what it is made, and how, by what sends packets on.
_Draft = tuple[Destination, tuple[object, ...], Callable[[Onwards], _Made]]


def compiled(view: View, former: Entries) -> tuple[RuleSet, Entries]:
    """Table `forward` of one switch and all its groups, and the entries among them.

    Args:
        former: entries that the switch had in the same network. Those that would be made of the
            same are not made again.
    """
    taken = frozenset(view.ids.values())
    onwards = Onwards(taken)
    entries: dict[Destination, Entry] = {}
    groups: dict[int, Group] = {}
    rules: list[Rule] = []
    for destination, of, make in chain(_to_switches(view), _to_file_servers(view)):
        entry = former.get(destination)
        if entry is None or entry.of != of:
            entry = Entry(of, *make(onwards))
        entries[destination] = entry
        avoid = taken
        while clash := _clash(groups, entry.groups):
            avoid = avoid.union(clash)
            entry = Entry(of, *make(Onwards(avoid)))
        rules += entry.rules
        groups.update((group.id, group) for group in entry.groups)
    groups[view.flood_group] = _flood(view)
    rules += (*_to_neighbours(view), *_floods(view))
    return RuleSet.of(rules, groups.values()), entries


def _clash(some: Mapping[int, Group], others: tuple[Group, ...]) -> list[int]:
    """The ids of others that some other group has."""
    return [
        other.id
        for other in others
        if (one := some.get(other.id)) is not None and one is not other and one != other
    ]


def _to_switches(view: View) -> Iterator[_Draft]:
    """One rule for all that is plugged into another switch; the prober has one to itself."""
    for other in view.network.switches_of(view.segment):
        destination = Destination.switch(other.name)
        hops = view.routes.of(destination, view.name)
        if other.name != view.name and hops != NOWHERE:
            yield destination, (hops,), partial(_to_switch, view, other.name, hops)


def _to_switch(view: View, other: str, hops: Hops, onwards: Onwards) -> _Made:
    onward, prober = onwards.by(hops), view.prober
    rules = [*_rules_onward(f"toward {other}", *view.locators.prefix(other), onward)]
    if prober and prober.attachment.switch == other:
        number = mac(prober.mac)
        rules += _rules_onward(f"toward the prober at {other}", number, None, onward)
    return tuple(rules), onward.groups


def _rules_onward(intent: str, value: int, mask: int | None, onward: Onward) -> Iterator[Rule]:
    """A packet that has taken an alternate takes no second one."""
    every = _EVERY_BIT if mask is None else mask
    if onward.detoured is None:
        match: Fields = {"eth_dst": (value, every & ~DETOUR)}
        yield FORWARD.rule(_DESTINATION, intent, match, *onward.every)
        return
    yield FORWARD.rule(_DESTINATION, intent, {"eth_dst": (value, every)}, *onward.every)
    match = {"eth_dst": (value | DETOUR, every)}
    yield FORWARD.rule(_DESTINATION, f"{intent} after a detour", match, *onward.detoured)


def _to_file_servers(view: View) -> Iterator[_Draft]:
    for nearest in view.nearest:
        destination = Destination.file_server(nearest.server.name)
        hops = view.routes.of(destination, view.name)
        homes = {card.attachment.switch for card in nearest.live}
        onto = {home: view.routes.of(Destination.switch(home), view.name).nearer for home in homes}
        make = partial(_to_file_server, view, nearest, hops, onto)
        yield destination, (nearest, hops, onto), make


def _to_file_server(
    view: View, nearest: Nearest, hops: Hops, onto: Onto, onwards: Onwards
) -> _Made:
    server = nearest.server
    intent = f"{server.name} by its nearest interface"
    here = [card for card in nearest.live if view.is_here(card.attachment)]
    others = [card for card in nearest.live if not view.is_here(card.attachment)]
    if here or hops == NOWHERE:
        rest = tuple(_sent_on(view, others, onto, frozenset()))
        onward = onwards.among(tuple(map(_delivery, here)), rest)
    else:
        ports = frozenset((*hops.nearer, *hops.alternates))
        more = _sent_on(view, others, onto, ports) if len(ports) == 1 else ()
        onward = onwards.by(hops, tuple(more))
    return tuple(_rules_onward(intent, mac(server.mac), None, onward)), onward.groups


def _delivery(card: Interface) -> Bucket:
    port = card.attachment.port
    return Bucket((SetField("eth_dst", mac(card.mac)), _ANY_PORT, Output(port)), port)


def _sent_on(
    view: View, cards: list[Interface], onto: Onto, avoid: frozenset[int]
) -> Iterator[Bucket]:
    """To another interface, by every port that leads nearer to that one."""
    for card in cards:
        rename = SetField("eth_dst", view.locators.interface(card))
        for port in onto[card.attachment.switch]:
            if port not in avoid:
                yield Bucket((rename, _ANY_PORT, Output(port)), port)


def _to_neighbours(view: View) -> Iterator[Rule]:
    """The hosts, interfaces and prober that are plugged in here."""
    exact = _EVERY_BIT & ~DETOUR
    for host in view.local_hosts:
        match: Fields = {"eth_dst": (view.locators.host(host), exact)}
        real = SetField("eth_dst", mac(host.mac))
        out = Output(host.attachment.port)
        intent = f"bring {host.mac} its packets"
        # By any port: two hosts may be behind the same one.
        yield FORWARD.rule(_LOCAL, intent, match, real, _ANY_PORT, out)
    for card in view.file_cards:
        match = {"eth_dst": (view.locators.interface(card), exact)}
        real = SetField("eth_dst", mac(card.mac))
        out = Output(card.attachment.port)
        yield FORWARD.rule(_LOCAL, f"bring {card.name} its packets", match, real, out)
    if view.prober and view.is_here(view.prober.attachment):
        match = {"eth_dst": (mac(view.prober.mac), exact)}
        real = SetField("eth_dst", mac(view.prober.mac))  # without the mark of a detour
        out = Output(view.prober.attachment.port)
        yield FORWARD.rule(_LOCAL, "bring answers to the prober", match, real, out)


def _flood(view: View) -> Group:
    onward = [Bucket((Output(port),)) for port in (*view.routes_tree, *view.host_ports)]
    return Group(view.flood_group, GroupType.ALL, tuple(onward), f"flood {view.segment}")


def _floods(view: View) -> Iterator[Rule]:
    """A broadcast crosses a link only if both its ends have it on the tree."""
    stray = f"keep {view.segment}'s floods on the tree"
    for port in view.trunk_ports:
        if port not in view.routes_tree:
            match: Fields = {"in_port": port, "eth_dst": MULTICAST}
            yield FORWARD.rule(_MULTICAST_OFF_TREE, stray, match)
    intent = f"flood {view.segment}"
    yield FORWARD.rule(_MULTICAST, intent, {"eth_dst": MULTICAST}, ToGroup(view.flood_group))
    yield FORWARD.rule(_DROP, "drop what nobody here is called", {})
