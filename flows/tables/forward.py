"""Tables `forward`, `hosts` and `tree`: from switch to switch, and to hosts.

Toward our own MACs on shortest paths, with every port that leads nearer behind them.

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

from flows.intents import Candidate, ServiceAddress
from flows.packet import ARP_REPLY, BROADCAST, ETH_ARP, NEIGHBOUR_ADVERTISEMENT
from flows.pipeline import FORWARD, HOSTS, TREE
from flows.rules import Bucket, Group, GroupType, Output, Rule, SetField, ToGroup
from flows.tables.fields import MULTICAST, Fields, icmpv6, ip, mac
from flows.tables.learning import learn
from flows.tables.view import View
from topology.model import Attachment

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


def rules(view: View) -> Iterator[Rule]:
    yield from _to_virtual_macs(view)
    for candidate in view.candidates:
        destination: Fields = {"eth_dst": mac(candidate.mac)}
        intent = f"bring {candidate.role} to {candidate.interface}"
        if view.closed(candidate) and view.is_here(candidate.attachment):
            fence = f"fence {candidate.role} at {candidate.interface}"
            yield FORWARD.rule(_OURS, fence, destination)
        else:
            yield FORWARD.rule(_OURS, intent, destination, _way(view, candidate.attachment))
        yield _detour(view, candidate)
    if view.prober:
        destination = {"eth_dst": mac(view.prober.mac)}
        way = _way(view, view.prober.attachment)
        yield FORWARD.rule(_OURS, "bring answers to the prober", destination, way)
    yield from _to_hosts(view)


def _detour(view: View, candidate: Candidate) -> Rule:
    match: Fields = {"eth_dst": mac(candidate.detour_mac)}
    intent = f"bring {candidate.role} to {candidate.interface} round a dead link"
    way = _way(view, candidate.attachment)
    if not view.is_here(candidate.attachment):
        return FORWARD.rule(_OURS, intent, match, way)
    if view.closed(candidate):
        return FORWARD.rule(_OURS, intent, match)
    return FORWARD.rule(_OURS, intent, match, SetField("eth_dst", mac(candidate.mac)), way)


def _to_virtual_macs(view: View) -> Iterator[Rule]:
    for service in view.addresses:
        to_role: Fields = {"eth_dst": mac(service.mac)}
        announce = ToGroup(view.announce_group(service))
        intent = f"announce to {service.role} on {service.segment}"
        reply = to_role | {"eth_type": ETH_ARP, "arp_op": ARP_REPLY}
        yield FORWARD.rule(_ANNOUNCE, intent, reply, learn(view, TREE), announce)
        advertisement = to_role | icmpv6(NEIGHBOUR_ADVERTISEMENT)
        yield FORWARD.rule(_ANNOUNCE, intent, advertisement, learn(view, TREE), announce)
        intent = f"steer {service.role} on {service.segment}"
        for version in sorted({own.version for own in service.addresses}):
            group = ToGroup(view.steer_group(service))
            yield FORWARD.rule(_OURS, intent, to_role | ip(version), group)
        other = f"keep from {service.role} what is no answer and no IP"
        yield FORWARD.rule(_TO_ROLE_ELSE, other, to_role)


def _way(view: View, attachment: Attachment) -> Output | ToGroup:
    if view.is_here(attachment):
        return Output(attachment.port)
    return ToGroup(view.toward_group(attachment.switch))


def _to_hosts(view: View) -> Iterator[Rule]:
    flood = ToGroup(view.flood_group)
    stray = f"keep {view.segment}'s hosts on the tree"
    for port in view.off_tree_ports:
        off_tree: Fields = {"in_port": port}
        yield FORWARD.rule(_MULTICAST_OFF_TREE, stray, off_tree | {"eth_dst": MULTICAST})
        yield FORWARD.rule(_OFF_TREE, stray, off_tree)
    for service in view.addresses:
        yield from _from_role(view, service)
    intent = f"flood {view.segment}"
    on_tree = learn(view, TREE)
    yield FORWARD.rule(_MULTICAST, intent, {"eth_dst": MULTICAST}, on_tree, flood)
    hosts = f"bring hosts of {view.segment} their packets"
    yield FORWARD.rule(_ELSE, hosts, {}, on_tree, goto=TREE)
    mark = SetField("eth_dst", _GROUP_BIT, _GROUP_BIT)
    yield HOSTS.rule(_ELSE, hosts, {}, mark, ToGroup(view.unicast_flood_group))
    yield TREE.rule(_ELSE, intent, {}, flood)


def _from_role(view: View, service: ServiceAddress) -> Iterator[Rule]:
    """What a role sends to hosts teaches nothing: our own MACs need no learning."""
    source: Fields = {"eth_src": mac(service.mac)}
    intent = f"bring hosts what {service.role} sends"
    for question in _QUESTIONS:
        flood = ToGroup(view.flood_group)
        yield FORWARD.rule(_QUESTION, intent, source | question, flood)
    once_flooded = source | {"eth_dst": MULTICAST}
    unicast_flood = ToGroup(view.unicast_flood_group)
    yield FORWARD.rule(_UNICAST_FLOOD, intent, once_flooded, unicast_flood)
    yield FORWARD.rule(_FROM_ROLE, intent, source, goto=HOSTS)


def groups(view: View) -> Iterator[Group]:
    """The flood, and a way toward every other switch of the segment."""
    onward = tuple(Bucket((Output(port),)) for port in view.tree_ports)
    host_ports = view.graph.host_ports(view.name)
    unmark = SetField("eth_dst", 0, _GROUP_BIT)
    for group, intent, actions in (
        (view.flood_group, f"flood {view.segment}", ()),
        (view.unicast_flood_group, f"flood {view.segment} for one host", (unmark,)),
    ):
        here = tuple(Bucket((*actions, Output(port))) for port in host_ports)
        yield Group(group, GroupType.ALL, onward + here, intent)
    for other in view.network.switches_of(view.segment):
        if other.name != view.name:
            yield from _toward(view, other.name)


def _toward(view: View, target: str) -> Iterator[Group]:
    """Equal-cost hops share the packets (select); behind them the other hops that lead nearer."""
    hops = view.graph.hops(view.name, target)
    spread = len(hops.equal) > 1
    if spread:
        yield Group(
            view.spread_group(target),
            GroupType.SELECT,
            tuple(Bucket((Output(port),), port, weight=1) for port in hops.equal),
            f"spread toward {target}",
        )
    shared = ToGroup(view.spread_group(target))
    equal = [Bucket((shared if spread else Output(port),), port) for port in hops.equal]
    downstream = [Bucket((Output(port),), port) for port in hops.downstream]
    yield Group(
        view.toward_group(target),
        GroupType.FAST_FAILOVER,
        (*equal, *downstream),
        f"toward {target}",
    )
