"""In which order switches may take over new routes, so that at no moment a packet goes in circles.

Between two routes each switch holds the old one or the new one, and nobody knows which first. A
round names entries (destination, switch) that may change in any order; between two rounds
everybody waits. For each destination, consider the directed graph in which a switch that has not
changed sends by its old hops, one that has by its new ones, and one whose turn it is by both. As
long as that graph has no cycle, no packet loops.

A round takes, of the entries that still have to change,

- every switch that is on no cycle if all of them may send by both: those cannot make one, and the
  others, which keep to their old hops, make none among themselves;
- every switch whose new hops all lead to switches that are settled: they send by new hops only,
  and so does everybody whom these reach. What enters there never comes back.

So each round has an entry at least: of the switches that wait, the one that is nearest by the new
routes. (New routes that are themselves a circle, which no order could mend, change at once.)
Usually one round does. Where a link fails, this is the order of ordered FIB updates
(RFC 6976, section 4.1.1), which goes from far to near, seen from the failure.

A flood tree is left before another is entered: what is common to both stands first, the new one
last. Each is part of a tree, so no mixture of old, common and new in one step has a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import networkx as nx

from topology.paths import Hops
from topology.routes import Destination, Routes

Hop = Mapping[str, frozenset[str]]
Neighbours = Mapping[str, Mapping[int, str]]


def rounds(graph: nx.MultiGraph, old: Routes, new: Routes) -> tuple[Routes, ...]:
    """The routes to be handed out one after the other, the last of them `new`; nothing if the
    routes are the same.

    Args:
        graph: of the switches, with the links that are up now; edges carry `ports`.
    """
    neighbours = port_neighbours(graph)
    changes = {
        destination: orders
        for destination in {**old.hops, **new.hops}
        if (orders := order(neighbours, *_entries(old, new, destination)))
    }
    common = {
        switch: tuple(port for port in ports if port in new.tree.get(switch, ()))
        for switch, ports in old.tree.items()
    }
    grows = any(set(ports) - set(common.get(switch, ())) for switch, ports in new.tree.items())
    shrinks = any(set(ports) - set(common[switch]) for switch, ports in old.tree.items())
    count = max(map(len, changes.values()), default=0)
    if grows and shrinks:
        count = max(count, 2)
    elif grows or shrinks or old.tree.keys() != new.tree.keys():
        count = max(count, 1)
    middle = common if shrinks else old.tree
    return tuple(
        new if number == count else _after(old, new, changes, number, middle)
        for number in range(1, count + 1)
    )


def order(
    neighbours: Neighbours, old: Mapping[str, Hops], new: Mapping[str, Hops]
) -> list[Set[str]]:
    """For one destination, the switches that change in each round.

    Args:
        neighbours: for each switch who is behind each port whose link is up.
        old, new: its hops by switch.
    """
    waiting = {s for s in {**old, **new} if old.get(s) != new.get(s)}
    if not waiting:
        return []
    before = {switch: used(hops, neighbours.get(switch, {})) for switch, hops in old.items()}
    after = {switch: used(hops, neighbours.get(switch, {})) for switch, hops in new.items()}
    found: list[Set[str]] = []
    while waiting:
        ready = waiting - _on_cycles(before, after, waiting)
        ready |= _toward_settled(after, waiting)
        ready = ready or set(waiting)
        found.append(ready)
        waiting = waiting - ready
        before = {**before, **{switch: after.get(switch, frozenset()) for switch in ready}}
    return found


def used(hops: Hops, behind: Mapping[int, str]) -> frozenset[str]:
    """The switches to which a switch with these hops sends, as its ports are: those behind the
    equal ones that are up, else behind the first other one that is (fast failover)."""
    if equal := frozenset(behind[port] for port in hops.equal if port in behind):
        return equal
    others = (behind[port] for port in (*hops.downstream, *hops.alternates) if port in behind)
    return frozenset({first} if (first := next(others, None)) is not None else ())


def _on_cycles(before: Hop, after: Hop, waiting: Set[str]) -> set[str]:
    """The switches that could be part of a loop if all who wait changed in any order."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for switch in {**before, **after}:
        hops = before.get(switch, frozenset())
        if switch in waiting:
            hops |= after.get(switch, frozenset())
        graph.add_edges_from((switch, hop) for hop in hops)
    parts = nx.strongly_connected_components(graph)
    return {switch for part in parts if len(part) > 1 for switch in part}


def _toward_settled(after: Hop, waiting: Set[str]) -> set[str]:
    """Those who wait and whose new hops reach, by new hops, nobody who waits."""
    unsettled = set(waiting)
    sending: dict[str, list[str]] = {}
    for switch, hops in after.items():
        for hop in hops:
            sending.setdefault(hop, []).append(switch)
    todo = list(waiting)
    reaching: set[str] = set()  # over one hop at least
    while todo:
        for switch in sending.get(todo.pop(), ()):
            if switch not in reaching:
                reaching.add(switch)
                if switch not in unsettled:
                    unsettled.add(switch)
                    todo.append(switch)
    return set(waiting) - reaching


def port_neighbours(graph: nx.MultiGraph) -> Neighbours:
    """For each switch who is behind each of its ports."""
    found: dict[str, dict[int, str]] = {switch: {} for switch in graph}
    for a, b, data in graph.edges(data=True):
        found[a][data["ports"][a]] = b
        found[b][data["ports"][b]] = a
    return found


def _entries(
    old: Routes, new: Routes, destination: Destination
) -> tuple[Mapping[str, Hops], Mapping[str, Hops]]:
    before, after = old.hops.get(destination, {}), new.hops.get(destination, {})
    return ({}, {}) if before is after else (before, after)


def _after(
    old: Routes,
    new: Routes,
    changes: Mapping[Destination, list[Set[str]]],
    number: int,
    tree: Mapping[str, tuple[int, ...]],
) -> Routes:
    """The routes after this many rounds, which are not the last."""
    hops = {
        destination: dict(_merged(old, new, destination, changes.get(destination, []), number))
        if number < len(changes.get(destination, []))
        else new.hops.get(destination, {})
        for destination in {**old.hops, **new.hops}
    }
    return Routes(hops, tree)


def _merged(
    old: Routes, new: Routes, destination: Destination, order_: list[Set[str]], number: int
) -> Iterator[tuple[str, Hops]]:
    waiting = set().union(*order_[number:])
    for switch in {**old.hops.get(destination, {}), **new.hops.get(destination, {})}:
        hops = (old if switch in waiting else new).of(destination, switch)
        if hops != Hops():
            yield switch, hops
