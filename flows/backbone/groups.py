"""What sends packets on from a switch of a backbone: by groups of next hops.

A group's id is a digest of what is in it: it never changes, destinations with the same next hops
share it, and an entry that changes, changes in one message.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from functools import lru_cache

from flows.backbone.locators import DETOUR
from flows.common.next_hops import Buckets, outputs, through, weighed
from flows.numbers import content_ids
from flows.rules import Action, Group, GroupType, SetField, ToGroup
from topology.paths.shortest import Hops

_MARK = SetField("eth_dst", DETOUR, DETOUR)


@dataclass(frozen=True)
class Onward:
    """What sends packets on by some hops; `detoured` those that have taken an alternate, None
    where they are sent on like all others. `groups` are those that it takes."""

    every: tuple[Action, ...]
    detoured: tuple[Action, ...] | None
    groups: tuple[Group, ...]


@dataclass
class Onwards:
    """Of one switch. Numbers in `taken` are others' ids."""

    taken: Set[int]
    _known: dict[tuple[Hops, Buckets], Onward] = field(default_factory=dict)

    def by(self, hops: Hops, more: Buckets = ()) -> Onward:
        """By `hops`, and if none of them is alive by the buckets `more`. Destinations that share
        theirs with others have each made once."""
        if (hops, more) not in self._known:
            self._known[hops, more] = self._new(hops, more)
        return self._known[hops, more]

    def _new(self, hops: Hops, more: Buckets) -> Onward:
        groups = _Groups(self.taken)
        nearer = (*groups.share(outputs(hops.equal)), *outputs(hops.downstream))
        alternates = outputs(hops.alternates, _MARK)
        every = groups.way((*nearer, *alternates, *more))
        detoured = groups.way((*nearer, *more)) if alternates else None
        return Onward(every, detoured, tuple(groups.made))

    def among(self, same: Buckets, more: Buckets) -> Onward:
        """By those that share packets, and if none of them is alive by the buckets `more`."""
        groups = _Groups(self.taken)
        every = groups.way((*groups.share(same), *more))
        return Onward(every, None, tuple(groups.made))


@dataclass
class _Groups:
    """Those of one `Onward`."""

    taken: Set[int]
    made: list[Group] = field(default_factory=list)

    def way(self, buckets: Buckets) -> tuple[Action, ...]:
        """What sends a packet by the first bucket that is alive."""
        if not buckets:
            return ()
        if len(buckets) == 1:
            return buckets[0].actions
        return (ToGroup(self._add(GroupType.FAST_FAILOVER, buckets, "next hops")),)

    def share(self, buckets: Buckets) -> Buckets:
        """The buckets that share packets among these as long as any of them is alive."""
        if len(buckets) < 2:
            return buckets
        return through(self._add(GroupType.SELECT, weighed(buckets), "equal next hops"), buckets)

    def _add(self, kind: GroupType, buckets: Buckets, intent: str) -> int:
        numbers = self.taken | {group.id for group in self.made}
        number = next(n for n in content_ids(_content(kind, buckets)) if n not in numbers)
        self.made.append(Group(number, kind, buckets, intent))
        return number


@lru_cache(maxsize=1 << 14)
def _content(kind: GroupType, buckets: Buckets) -> str:
    """What a group is known by. Writing it out takes longer than all else here."""
    return f"{kind.name} {buckets}"
