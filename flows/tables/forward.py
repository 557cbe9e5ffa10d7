"""Tables `forward`, `hosts` and `tree`: from switch to switch, and to hosts.

Toward our own MACs on shortest paths, with every port that leads nearer behind them.

Hosts are learnt by the switches themselves: in `hosts` on whatever port they were seen last, in
`tree` only on edge ports and on ports of the spanning tree. A packet to a host follows `hosts`
until it crosses a link of the tree; from there on it follows `tree`, and where that knows nothing,
the flood. So what was flooded once stays on the tree, and cannot loop however old or contradictory
the learnt rules are.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.packet import ARP_REPLY, ETH_ARP, NEIGHBOUR_ADVERTISEMENT
from flows.pipeline import FORWARD, HOSTS, TREE
from flows.rules import Bucket, Group, GroupType, Output, Rule, ToGroup
from flows.tables.fields import MULTICAST, Fields, icmpv6, ip, mac
from flows.tables.view import View
from topology.model import Attachment

_ANNOUNCE = 400
_OURS = 300
_TO_ROLE_ELSE = 200
_MULTICAST_OFF_TREE = 150
_MULTICAST = 140
_FROM_TREE = 100
_ELSE = 0


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
    if view.prober:
        destination = {"eth_dst": mac(view.prober.mac)}
        way = _way(view, view.prober.attachment)
        yield FORWARD.rule(_OURS, "bring answers to the prober", destination, way)
    yield from _to_hosts(view)


def _to_virtual_macs(view: View) -> Iterator[Rule]:
    for service in view.addresses:
        to_role: Fields = {"eth_dst": mac(service.mac)}
        announce = ToGroup(view.announce_group(service))
        intent = f"announce to {service.role} on {service.segment}"
        reply = to_role | {"eth_type": ETH_ARP, "arp_op": ARP_REPLY}
        yield FORWARD.rule(_ANNOUNCE, intent, reply, announce)
        advertisement = to_role | icmpv6(NEIGHBOUR_ADVERTISEMENT)
        yield FORWARD.rule(_ANNOUNCE, intent, advertisement, announce)
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
    stray = f"keep {view.segment}'s broadcasts on the tree"
    for port in view.off_tree_ports:
        match: Fields = {"in_port": port, "eth_dst": MULTICAST}
        yield FORWARD.rule(_MULTICAST_OFF_TREE, stray, match)
    intent = f"flood {view.segment}"
    yield FORWARD.rule(_MULTICAST, intent, {"eth_dst": MULTICAST}, flood)
    hosts = f"bring hosts of {view.segment} their packets"
    for port in view.tree_ports:
        yield FORWARD.rule(_FROM_TREE, hosts, {"in_port": port}, goto=TREE)
    yield FORWARD.rule(_ELSE, hosts, {}, goto=HOSTS)
    yield HOSTS.rule(_ELSE, hosts, {}, goto=TREE)
    yield TREE.rule(_ELSE, intent, {}, flood)


def groups(view: View) -> Iterator[Group]:
    """The flood, and a way toward every other switch of the segment."""
    ports = (*view.tree_ports, *view.graph.host_ports(view.name))
    yield Group(
        view.flood_group,
        GroupType.ALL,
        tuple(Bucket((Output(port),)) for port in ports),
        f"flood {view.segment}",
    )
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
