"""Tables `forward`, `hosts` and `tree`: from switch to switch, and to hosts.

Toward our own MACs on shortest paths, with every port that leads nearer behind them.

What was diverted to a card (`flows.barrier.steer`) and finds it dead goes to another card of the
role: one that is plugged in here, or else one elsewhere, by a MAC that leads there and to no other.
Without a controller that saves the users of a server whose cards all die, on however many switches.

Hosts are learnt by the switches themselves. What hosts send to each other stays on the segment's
spanning tree, as in any bridged network, by the table `tree`. What they send to a role goes
straight to it over any link, and what the role answers goes the same way back, by the table
`hosts`. That cannot loop: where it leads from one switch to the next, the packet that taught it
came by the next switch first, so what the next one knows is at least as new; and no packet that
teaches comes by a switch twice.

Where `hosts` knows nothing, the packet is flooded along the tree. It must not meet `hosts` again,
or old rules and floods together could make a loop. So it travels with the group bit set in its
destination, which makes it flooded everywhere; at a host's port the bit is cleared again. From a
role no other multicasts come than broadcast ARP and solicited-node neighbour discovery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.barrier.learn import learn
from flows.barrier.segment import Barrier, Connectivity, Situation
from flows.common.fields import MULTICAST, Fields, icmpv6, ip, mac
from flows.common.next_hops import NO_HOPS, outputs, readdressed, through, weighed
from flows.intents import Candidate, ServiceAddress
from flows.pipeline import FORWARD, HOSTS, TREE
from flows.rules import Bucket, Group, GroupType, Learn, Output, Rule, SetField, ToGroup
from flows.walk.packet import ARP_REPLY, BROADCAST, ETH_ARP, NEIGHBOUR_ADVERTISEMENT
from topology.model import Attachment
from topology.paths.shortest import Hops

_ANNOUNCE = 400
_OURS = 300
_TO_ROLE_ELSE = 200
_MULTICAST_OFF_TREE = 150
_QUESTION = 148
_UNICAST_FLOOD = 146
_MULTICAST = 140
_FROM_ROLE = 100
_OFF_TREE = 50
_ELSE = 0

#: Destinations of a role's questions: broadcast, and solicited-node multicast (RFC 4291, 2.7.1,
#: mapped as RFC 2464 says).
_QUESTIONS: tuple[Fields, ...] = (
    {"eth_dst": BROADCAST},
    {"eth_dst": (mac("33:33:ff:00:00:00"), mac("ff:ff:ff:00:00:00"))},
)
_GROUP_BIT = 1 << 40


@dataclass(frozen=True)
class Reads:
    """Of one switch: `fenced` are cards that are plugged in there, and where there are candidates,
    all others, which those may be left for."""

    barrier: Barrier
    ways: Connectivity
    learnt_cookie: int
    fenced: frozenset[str]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        barrier, ground = situation.barrier, situation.ground
        own = {card.name for card in barrier.cards_at(switch)}
        fenced = situation.fenced if barrier.candidates_at(switch) else situation.fenced & own
        return cls(barrier, ground.ways(switch), ground.learnt_cookie, fenced)

    def is_here(self, attachment: Attachment) -> bool:
        return attachment.switch == self.ways.switch

    def closed(self, candidate: Candidate) -> bool:
        """Is it plugged in here, and fenced?"""
        return self.is_here(candidate.attachment) and candidate.interface in self.fenced

    def learn(self) -> Learn:
        return learn(self.learnt_cookie, TREE)


def rules(reads: Reads) -> Iterator[Rule]:
    yield from _to_virtual_macs(reads)
    for candidate in reads.barrier.candidates:
        destination: Fields = {"eth_dst": mac(candidate.mac)}
        intent = f"bring {candidate.role} to {candidate.interface}"
        if reads.closed(candidate):
            fence = f"fence {candidate.role} at {candidate.interface}"
            yield FORWARD.rule(_OURS, fence, destination)
        else:
            yield FORWARD.rule(_OURS, intent, destination, _way(reads, candidate.attachment))
        yield _detour(reads, candidate)
        yield _diverted(reads, candidate)
    if prober := reads.barrier.prober:
        destination = {"eth_dst": mac(prober.mac)}
        way = _way(reads, prober.attachment)
        yield FORWARD.rule(_OURS, "bring answers to the prober", destination, way)
    yield from _to_hosts(reads)


def _detour(reads: Reads, candidate: Candidate) -> Rule:
    match: Fields = {"eth_dst": mac(candidate.detour_mac)}
    intent = f"bring {candidate.role} to {candidate.interface} round a dead link"
    way = _way(reads, candidate.attachment)
    if not reads.is_here(candidate.attachment):
        return FORWARD.rule(_OURS, intent, match, way)
    if reads.closed(candidate):
        return FORWARD.rule(_OURS, intent, match)
    return FORWARD.rule(_OURS, intent, match, SetField("eth_dst", mac(candidate.mac)), way)


def _diverted(reads: Reads, candidate: Candidate) -> Rule:
    match: Fields = {"eth_dst": mac(candidate.diverted_mac)}
    intent = f"bring {candidate.role} to {candidate.interface} in another's place"
    if reads.closed(candidate):
        return FORWARD.rule(_OURS, intent, match)
    if reads.is_here(candidate.attachment):
        return FORWARD.rule(_OURS, intent, match, ToGroup(reads.barrier.divert_group(candidate)))
    return FORWARD.rule(_OURS, intent, match, _way(reads, candidate.attachment))


def _to_virtual_macs(reads: Reads) -> Iterator[Rule]:
    barrier = reads.barrier
    for service in barrier.addresses:
        to_role: Fields = {"eth_dst": mac(service.mac)}
        announce = ToGroup(barrier.announce_group(service))
        intent = f"announce to {service.role} on {service.segment}"
        reply = to_role | {"eth_type": ETH_ARP, "arp_op": ARP_REPLY}
        yield FORWARD.rule(_ANNOUNCE, intent, reply, reads.learn(), announce)
        advertisement = to_role | icmpv6(NEIGHBOUR_ADVERTISEMENT)
        yield FORWARD.rule(_ANNOUNCE, intent, advertisement, reads.learn(), announce)
        intent = f"steer {service.role} on {service.segment}"
        for version in sorted({own.version for own in service.addresses}):
            group = ToGroup(barrier.steer_group(service))
            yield FORWARD.rule(_OURS, intent, to_role | ip(version), group)
        other = f"keep from {service.role} what is no answer and no IP"
        yield FORWARD.rule(_TO_ROLE_ELSE, other, to_role)


def _way(reads: Reads, attachment: Attachment) -> Output | ToGroup:
    if reads.is_here(attachment):
        return Output(attachment.port)
    return ToGroup(reads.barrier.toward_group(attachment.switch))


def _to_hosts(reads: Reads) -> Iterator[Rule]:
    barrier, ways = reads.barrier, reads.ways
    flood = ToGroup(barrier.flood_group)
    stray = f"keep {barrier.name}'s hosts on the tree"
    for port in (p for p in ways.trunk_ports if p not in ways.tree_ports):
        off_tree: Fields = {"in_port": port}
        yield FORWARD.rule(_MULTICAST_OFF_TREE, stray, off_tree | {"eth_dst": MULTICAST})
        yield FORWARD.rule(_OFF_TREE, stray, off_tree)
    for service in barrier.addresses:
        yield from _from_role(barrier, service)
    intent = f"flood {barrier.name}"
    on_tree = reads.learn()
    yield FORWARD.rule(_MULTICAST, intent, {"eth_dst": MULTICAST}, on_tree, flood)
    hosts = f"bring hosts of {barrier.name} their packets"
    yield FORWARD.rule(_ELSE, hosts, {}, on_tree, goto=TREE)
    mark = SetField("eth_dst", _GROUP_BIT, _GROUP_BIT)
    yield HOSTS.rule(_ELSE, hosts, {}, mark, ToGroup(barrier.unicast_flood_group))
    yield TREE.rule(_ELSE, intent, {}, flood)


def _from_role(barrier: Barrier, service: ServiceAddress) -> Iterator[Rule]:
    """What a role sends to hosts teaches nothing: our own MACs need no learning."""
    source: Fields = {"eth_src": mac(service.mac)}
    intent = f"bring hosts what {service.role} sends"
    for question in _QUESTIONS:
        flood = ToGroup(barrier.flood_group)
        yield FORWARD.rule(_QUESTION, intent, source | question, flood)
    once_flooded = source | {"eth_dst": MULTICAST}
    unicast_flood = ToGroup(barrier.unicast_flood_group)
    yield FORWARD.rule(_UNICAST_FLOOD, intent, once_flooded, unicast_flood)
    yield FORWARD.rule(_FROM_ROLE, intent, source, goto=HOSTS)


def groups(reads: Reads) -> Iterator[Group]:
    """The flood, a way toward every other switch of the segment, and for each card here who has
    what was diverted to it."""
    barrier, ways = reads.barrier, reads.ways
    onward = tuple(Bucket((Output(port),)) for port in ways.tree_ports)
    unmark = SetField("eth_dst", 0, _GROUP_BIT)
    for group, intent, actions in (
        (barrier.flood_group, f"flood {barrier.name}", ()),
        (barrier.unicast_flood_group, f"flood {barrier.name} for one host", (unmark,)),
    ):
        here = tuple(Bucket((*actions, Output(port))) for port in ways.host_ports)
        yield Group(group, GroupType.ALL, onward + here, intent)
    for other, hops in ways.hops.items():
        yield from _toward(barrier, other, hops)
    for candidate in barrier.candidates_at(ways.switch):
        if not reads.closed(candidate):
            yield _divert(reads, candidate)


def _divert(reads: Reads, candidate: Candidate) -> Group:
    """The card, then others here, then others elsewhere; of these other servers' first, because
    who meant the packet for this card had another one of its server before."""
    barrier = reads.barrier
    others = [c for c in barrier.others(candidate) if c.interface not in reads.fenced]
    here = [candidate, *(c for c in others if reads.is_here(c.attachment))]
    elsewhere = [c for c in others if not reads.is_here(c.attachment)]
    elsewhere.sort(key=lambda c: c.server == candidate.server)
    buckets = [
        Bucket((*readdressed(each.mac), Output(each.attachment.port)), each.attachment.port)
        for each in here
    ]
    for each in elsewhere:
        onward = ToGroup(barrier.toward_group(each.attachment.switch))
        hops = reads.ways.hops.get(each.attachment.switch, NO_HOPS)
        buckets += [Bucket((*readdressed(each.mac), onward), port) for port in hops.nearer]
    name = f"divert {candidate.role} to {candidate.interface}"
    return Group(barrier.divert_group(candidate), GroupType.FAST_FAILOVER, tuple(buckets), name)


def _toward(barrier: Barrier, target: str, hops: Hops) -> Iterator[Group]:
    """Equal-cost hops share the packets (select); behind them the other hops that lead nearer."""
    equal = outputs(hops.equal)
    if len(equal) > 1:
        spread = barrier.spread_group(target)
        yield Group(spread, GroupType.SELECT, weighed(equal), f"spread toward {target}")
        equal = through(spread, equal)
    nearer = (*equal, *outputs(hops.downstream))
    toward = barrier.toward_group(target)
    yield Group(toward, GroupType.FAST_FAILOVER, nearer, f"toward {target}")
