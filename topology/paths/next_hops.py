"""By which ports a switch can send toward many destinations, from what ways cost.

All destinations whose costs differ in the same way between the switch and its neighbours have the
same hops, and are told apart no further (`topology.paths.costs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from topology.paths.costs import Bits, Costs, union
from topology.paths.shortest import Hops

#: The ports of `Hops`: equal, downstream, alternates.
_Ports = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def next_hops(
    switch: str,
    adjacent: Mapping[str, Mapping[str, Mapping[str, Any]]],
    costs: Costs,
    back: Mapping[str, int],
    bits: Bits,
) -> dict[Hops, Bits]:
    """The hops that the switch has, each with the destinations toward which it has them.

    Args:
        adjacent: by neighbour the links to it, with `weight` and `ports`.
        back: what the way to the switch costs from each neighbour from which that is known. To
            the others there are no alternates: their ways may lead through the switch.
        bits: of the destinations. Those that cannot be reached are left out.
    """
    own = [(cost, here) for cost, those in costs[switch].items() if (here := those & bits)]
    by_port: dict[int, tuple[Bits, Bits, Bits]] = {}
    for neighbour, links in adjacent.items():
        farther = _farther(own, costs[neighbour])
        nearer = union(those for more, those in farther.items() if more < 0)
        loop_free = _loop_free(farther, back.get(neighbour, 0))
        for data in links.values():
            equal = farther.get(-data["weight"], 0)
            by_port[data["ports"][switch]] = equal, nearer ^ equal, loop_free
    parts: dict[_Ports, Bits] = {((), (), ()): union(here for _, here in own)}
    for port in sorted(by_port):
        parts = _split(parts, port, by_port[port])
    return {Hops(*ports): those for ports, those in parts.items()}


def _farther(own: Iterable[tuple[int, Bits]], theirs: Mapping[int, Bits]) -> dict[int, Bits]:
    """The destinations by how much farther they are for a neighbour."""
    found: dict[int, Bits] = {}
    for cost, here in own:
        for their_cost, those in theirs.items():
            if both := here & those:
                found[their_cost - cost] = found.get(their_cost - cost, 0) | both
    return found


def _loop_free(farther: Mapping[int, Bits], back: int) -> Bits:
    """Those that the neighbour is not nearer to, and does not send to through the switch: what
    its way costs is less than the way back and on from there (RFC 5286, inequality 1)."""
    return union(those for more, those in farther.items() if 0 <= more < back)


def _split(
    parts: Mapping[_Ports, Bits], port: int, kinds: tuple[Bits, Bits, Bits]
) -> dict[_Ports, Bits]:
    """`parts` share destinations by the ports seen so far; each is told apart by one port more.
    A port is of one kind at most for each destination."""
    equal, downstream, alternate = kinds
    found: dict[_Ports, Bits] = {}
    for (equals, downstreams, alternates), bits in parts.items():
        for ports, those in (
            (((*equals, port), downstreams, alternates), bits & equal),
            ((equals, (*downstreams, port), alternates), bits & downstream),
            ((equals, downstreams, (*alternates, port)), bits & alternate),
            ((equals, downstreams, alternates), bits & ~(equal | downstream | alternate)),
        ):
            if those:
                found[ports] = those
    return found
