"""Table `forward` on a backbone: to switches by the prefix of their locators, to file servers by
their virtual MACs, and the groups of next hops that both share.

A packet for a file server carries the server's virtual MAC, and comes nearer to the nearest
interface with each hop. The switch that has an interface writes the interface's own MAC. If that
interface is dead, or if a switch on the way has no other hop, the packet is sent on to another
interface by that one's locator, and meets no rule of the file server again.

A packet that takes an alternate (RFC 5286), which does not lead nearer, carries the bit
`flows.locators.DETOUR` from then on, and comes nearer with each hop again or is dropped. So it
changes its destination at most once and takes at most two alternates, and never loops, whatever
fails. The detoured have a rule of their own only where the other one leads to an alternate.

A group's id is a digest of what is in it: it never changes, destinations with the same next hops
share it, and an entry that changes, changes in one message. Where two digests fall together, the
group that is made later takes the next free number; it may change when the earlier one goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache

from flows.locators import DETOUR
from flows.numbers import content_ids
from flows.pipeline import FORWARD
from flows.rules import Action, Bucket, Group, GroupType, Output, Rule, SetField, ToGroup
from flows.tables.fields import MULTICAST, Fields, mac
from flows.tables.view import View
from topology.model import Interface
from topology.paths import Hops
from topology.routes import Destination

_MULTICAST_OFF_TREE = 150
_MULTICAST = 140
_LOCAL = 130
_DESTINATION = 120
_DROP = 0

_EVERY_BIT = (1 << 48) - 1
_MARK = SetField("eth_dst", DETOUR, DETOUR)

#: Lets a packet leave by the port that it came in by: back from a dead end, or to another
#: interface of the server whose neighbour it entered at.
_ANY_PORT = SetField("in_port", 0)


@dataclass(frozen=True)
class _Onward:
    """What sends packets on by some hops; `detoured` those that have taken an alternate, None
    where they are sent on like all others."""

    every: tuple[Action, ...]
    detoured: tuple[Action, ...] | None


@dataclass
class _Groups:
    """Those that a switch's rules have needed so far. Numbers in `taken` are others' ids."""

    taken: Set[int]
    found: dict[int, Group] = field(default_factory=dict)
    _known: dict[tuple[Hops, tuple[Bucket, ...]], _Onward] = field(default_factory=dict)

    def onward(self, hops: Hops, more: tuple[Bucket, ...] = ()) -> _Onward:
        """By `hops`, and if none of them is alive by the buckets `more`. Most destinations share
        theirs with others, so that each is made once."""
        if (hops, more) not in self._known:
            self._known[hops, more] = self._new_onward(hops, more)
        return self._known[hops, more]

    def _new_onward(self, hops: Hops, more: tuple[Bucket, ...]) -> _Onward:
        equal = self.share(tuple(Bucket((Output(port),), port) for port in hops.equal))
        nearer = (*equal, *(Bucket((Output(port),), port) for port in hops.downstream))
        alternates = tuple(Bucket((_MARK, Output(port)), port) for port in hops.alternates)
        if not alternates:
            return _Onward(self.way((*nearer, *more)), None)
        return _Onward(self.way((*nearer, *alternates, *more)), self.way((*nearer, *more)))

    def way(self, buckets: tuple[Bucket, ...]) -> tuple[Action, ...]:
        """What sends a packet by the first bucket that is alive."""
        if not buckets:
            return ()
        if len(buckets) == 1:
            return buckets[0].actions
        return (self._add(GroupType.FAST_FAILOVER, buckets, "next hops"),)

    def share(self, buckets: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
        """The buckets that share packets among these as long as any of them is alive: those of
        a fast-failover group, one for each port that may be the last one."""
        if len(buckets) < 2:
            return buckets
        weighed = tuple(replace(bucket, weight=1) for bucket in buckets)
        group = self._add(GroupType.SELECT, weighed, "equal next hops")
        return tuple(Bucket((group,), bucket.watch_port) for bucket in buckets)

    def _add(self, kind: GroupType, buckets: tuple[Bucket, ...], intent: str) -> ToGroup:
        for number in content_ids(_content(kind, buckets)):
            group = Group(number, kind, buckets, intent)
            if number not in self.taken and self.found.setdefault(number, group) == group:
                break
        return ToGroup(group.id)


@lru_cache(maxsize=1 << 14)
def _content(kind: GroupType, buckets: tuple[Bucket, ...]) -> str:
    """What a group is known by. Writing it out takes longer than all else here."""
    return f"{kind.name} {buckets}"


def compiled(view: View) -> tuple[list[Rule], list[Group]]:
    """The rules of table `forward` on one switch, and all its groups."""
    groups = _Groups(frozenset(view.ids.values()))
    rules = [
        *_to_switches(view, groups),
        *_to_file_servers(view, groups),
        *_to_neighbours(view),
        *_floods(view),
    ]
    onward = [Bucket((Output(port),)) for port in (*view.routes_tree, *view.host_ports)]
    flood = Group(view.flood_group, GroupType.ALL, tuple(onward), f"flood {view.segment}")
    return rules, [*groups.found.values(), flood]


def _to_switches(view: View, groups: _Groups) -> Iterator[Rule]:
    """One rule for all that is plugged into another switch; the prober has one to itself."""
    prober = view.prober
    for other in view.network.switches_of(view.segment):
        hops = view.routes.of(Destination.switch(other.name), view.name)
        if other.name == view.name or hops == Hops():
            continue
        onward = groups.onward(hops)
        yield from _rules_onward(f"toward {other.name}", *view.locators.prefix(other.name), onward)
        if prober and prober.attachment.switch == other.name:
            number = mac(prober.mac)
            yield from _rules_onward(f"toward the prober at {other.name}", number, None, onward)


def _rules_onward(intent: str, value: int, mask: int | None, onward: _Onward) -> Iterator[Rule]:
    """A packet that has taken an alternate takes no second one."""
    every = _EVERY_BIT if mask is None else mask
    if onward.detoured is None:
        match: Fields = {"eth_dst": (value, every & ~DETOUR)}
        yield FORWARD.rule(_DESTINATION, intent, match, *onward.every)
        return
    yield FORWARD.rule(_DESTINATION, intent, {"eth_dst": (value, every)}, *onward.every)
    match = {"eth_dst": (value | DETOUR, every)}
    yield FORWARD.rule(_DESTINATION, f"{intent} after a detour", match, *onward.detoured)


def _to_file_servers(view: View, groups: _Groups) -> Iterator[Rule]:
    for nearest in view.nearest:
        server = nearest.server
        intent = f"{server.name} by its nearest interface"
        here = [card for card in nearest.live if view.is_here(card.attachment)]
        others = [card for card in nearest.live if not view.is_here(card.attachment)]
        hops = view.routes.of(Destination.file_server(server.name), view.name)
        if here or hops == Hops():
            rest = tuple(_sent_on(view, others, frozenset()))
            way = groups.way((*groups.share(tuple(map(_delivery, here))), *rest))
            match: Fields = {"eth_dst": (mac(server.mac), _EVERY_BIT & ~DETOUR)}
            yield FORWARD.rule(_DESTINATION, intent, match, *way)
            continue
        ports = frozenset((*hops.nearer, *hops.alternates))
        more = _sent_on(view, others, ports) if len(ports) == 1 else ()
        onward = groups.onward(hops, tuple(more))
        yield from _rules_onward(intent, mac(server.mac), None, onward)


def _delivery(card: Interface) -> Bucket:
    port = card.attachment.port
    return Bucket((SetField("eth_dst", mac(card.mac)), _ANY_PORT, Output(port)), port)


def _sent_on(view: View, cards: list[Interface], avoid: frozenset[int]) -> Iterator[Bucket]:
    """To another interface, by every port that leads nearer to that one."""
    for card in cards:
        target = Destination.switch(card.attachment.switch)
        rename = SetField("eth_dst", view.locators.interface(card))
        for port in view.routes.of(target, view.name).nearer:
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
