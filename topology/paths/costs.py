"""What ways cost to many destinations at once: a bit for each, in one integer for each cost.

    costs["s7"] == {0: 0b0100, 2: 0b1001}

From s7 the destinations of bits 0 and 3 cost 2, that of bit 2 costs 0, and that of bit 1 cannot be
reached. So one operation on two integers compares two switches for every destination, however
many there are, and most networks have few different costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush

#: Destinations, a bit for each.
Bits = int

#: By switch, then cost, the destinations to which the way from there costs so much. No switch has
#: a destination twice, and no entry is empty.
Costs = dict[str, dict[int, Bits]]


class Queue(dict[int, dict[str, Bits]]):
    """By cost, who may have it and toward which destinations, taken out in ascending order: buckets
    instead of a heap of all (R. B. Dial, "Algorithm 360: shortest-path forest with topological
    ordering", Communications of the ACM 12, 1969), because many have the same cost.

    What is added costs more than anything taken out before."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[int] = []

    def __missing__(self, cost: int) -> dict[str, Bits]:
        heappush(self._order, cost)
        found = self[cost] = dict[str, Bits]()
        return found

    def add(self, cost: int, switch: str, bits: Bits) -> None:
        same = self[cost]
        same[switch] = same.get(switch, 0) | bits

    def ascending(self) -> Iterator[tuple[int, dict[str, Bits]]]:
        """Take out all that have the lowest cost; meanwhile more may be added."""
        while self._order:
            cost = heappop(self._order)
            yield cost, self.pop(cost)


def put(costs: Costs, switch: str, cost: int, bits: Bits) -> None:
    """From now on the way from the switch to these destinations costs so much."""
    at = costs.setdefault(switch, {})
    at[cost] = at.get(cost, 0) | bits


def take(costs: Costs, switch: str, cost: int, bits: Bits) -> None:
    """No longer, what it did."""
    at = costs[switch]
    if left := at[cost] & ~bits:
        at[cost] = left
    else:
        del at[cost]


def union(parts: Iterable[Bits]) -> Bits:
    """The destinations that are in any of these."""
    bits = 0
    for those in parts:
        bits |= those
    return bits


def between(costs: Mapping[int, Bits], least: int, most: int) -> Iterable[tuple[int, Bits]]:
    """The entries from one cost to another, both included."""
    if most - least < len(costs):
        found = ((cost, costs.get(cost, 0)) for cost in range(least, most + 1))
        return (entry for entry in found if entry[1])
    return (entry for entry in costs.items() if least <= entry[0] <= most)


def places(bits: Bits) -> Iterator[int]:
    """The numbers of the bits that are set, from 0 on, in ascending order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
