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

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

import networkx as nx

from topology.paths.routes import Destination, Routes, differing
from topology.paths.shortest import Hops
from topology.pauses import Pause, no_pause

_NONE = Hops()

Neighbours = Mapping[str, Mapping[int, str]]


def rounds(
    graph: nx.MultiGraph, old: Routes, new: Routes, pause: Pause = no_pause
) -> tuple[Routes, ...]:
    """The routes to be handed out one after the other, the last of them `new`; nothing if the
    routes are the same.

    Args:
        graph: of the switches, with the links that are up now; edges carry `ports`.
    """
    neighbours = port_neighbours(graph, pause)
    changes: dict[Destination, list[Set[str]]] = {}
    for destination in {**old.hops, **new.hops}:
        pause()
        before, after = old.toward(destination), new.toward(destination)
        if orders := order(neighbours, before, after, pause):
            changes[destination] = orders
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
        new if number == count else _after(old, new, changes, number, middle, pause=pause)
        for number in range(1, count + 1)
    )


def order(
    neighbours: Neighbours,
    old: Mapping[str, Hops],
    new: Mapping[str, Hops],
    pause: Pause = no_pause,
) -> list[Set[str]]:
    """For one destination, the switches that change in each round.

    Args:
        neighbours: for each switch who is behind each port whose link is up.
        old, new: its hops by switch.
    """
    mixture = _Mixture(neighbours, old, new, differing(old, new), pause)
    found: list[Set[str]] = []
    while mixture.waiting:
        ready = mixture.ready() or set(mixture.waiting)
        found.append(ready)
        mixture.waiting -= ready
    return found


def used(hops: Hops, behind: Mapping[int, str]) -> frozenset[str]:
    """The switches to which a switch with these hops sends, as its ports are: those behind the
    equal ones that are up, else behind the first other one that is (fast failover)."""
    if equal := frozenset(behind[port] for port in hops.equal if port in behind):
        return equal
    others = (behind[port] for port in (*hops.downstream, *hops.alternates) if port in behind)
    return frozenset({first} if (first := next(others, None)) is not None else ())


@dataclass
class _Mixture:
    """Toward one destination, between two routes: `waiting` have not changed yet, all others have.

    Only what those who wait can reach is ever looked at: that is where their cycles are.
    """

    neighbours: Neighbours
    old: Mapping[str, Hops]
    new: Mapping[str, Hops]
    waiting: set[str]
    pause: Pause

    def ready(self) -> set[str]:
        """Whose turn it is."""
        if len(self.waiting) == 1:
            return set(self.waiting)
        looping = self._on_cycles()
        return (self.waiting - looping) | (self._toward_settled() if looping else set())

    def _after(self, switch: str) -> frozenset[str]:
        return used(self.new.get(switch, _NONE), self.neighbours.get(switch, {}))

    def _either(self, switch: str) -> frozenset[str]:
        """To whom it may send, whenever it changes."""
        if switch not in self.waiting:
            return self._after(switch)
        before = used(self.old.get(switch, _NONE), self.neighbours.get(switch, {}))
        return before | self._after(switch)

    def _reached(self, hops: Callable[[str], frozenset[str]]) -> dict[str, frozenset[str]]:
        """Who sends to whom, of those that `waiting` reach by these hops."""
        found: dict[str, frozenset[str]] = {}
        todo = list(self.waiting)
        while todo:
            if (switch := todo.pop()) not in found:
                self.pause()
                found[switch] = hops(switch)
                todo += found[switch]
        return found

    def _on_cycles(self) -> set[str]:
        """The switches that could be part of a loop if all who wait changed in any order."""
        onward = self._reached(self._either)
        coming = _reversed(onward)
        left = {switch: len(hops) for switch, hops in onward.items()}
        ends = [switch for switch, count in left.items() if not count]
        for switch in ends:  # who sends only to those from whom nothing comes back: on no cycle
            self.pause()
            del left[switch]
            for sender in coming[switch]:
                left[sender] -= 1
                if not left[sender]:
                    ends.append(sender)
        self.pause()
        graph = nx.DiGraph((switch, hop) for switch in left for hop in onward[switch] & left.keys())
        found: set[str] = set()
        for part in nx.strongly_connected_components(graph):
            self.pause()
            found |= part if len(part) > 1 else set()
        return found

    def _toward_settled(self) -> set[str]:
        """Those who wait and whose new hops reach, by new hops, nobody who waits."""
        coming = _reversed(self._reached(self._after))
        todo = list(self.waiting)
        reaching: set[str] = set()  # over one hop at least
        while todo:
            for switch in coming[todo.pop()]:
                if switch not in reaching:
                    reaching.add(switch)
                    todo.append(switch)
        return self.waiting - reaching


def _reversed(onward: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """For each switch those who send to it."""
    found: dict[str, list[str]] = {switch: [] for switch in onward}
    for switch, hops in onward.items():
        for hop in hops:
            found[hop].append(switch)
    return found


def port_neighbours(graph: nx.MultiGraph, pause: Pause = no_pause) -> Neighbours:
    """For each switch who is behind each of its ports."""
    found: dict[str, dict[int, str]] = {switch: {} for switch in graph}
    for a, b, data in graph.edges(data=True):
        pause()
        found[a][data["ports"][a]] = b
        found[b][data["ports"][b]] = a
    return found


def _after(
    old: Routes,
    new: Routes,
    changes: Mapping[Destination, list[Set[str]]],
    number: int,
    tree: Mapping[str, tuple[int, ...]],
    *,
    pause: Pause,
) -> Routes:
    """The routes after this many rounds, which are not the last."""
    hops = {destination: new.toward(destination) for destination in {**old.hops, **new.hops}}
    for destination, orders in changes.items():
        if number < len(orders):
            pause()
            waiting = set().union(*orders[number:])
            hops[destination] = _held_back(old.toward(destination), hops[destination], waiting)
    return Routes(hops, tree)


def _held_back(
    old: Mapping[str, Hops], new: Mapping[str, Hops], waiting: Set[str]
) -> Mapping[str, Hops]:
    """The new hops, but of those who wait the old ones."""
    hops = {**new, **{switch: old[switch] for switch in waiting & old.keys()}}
    for switch in waiting - old.keys():
        del hops[switch]
    return hops
