"""What the client's log says of one failure. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

SLOW = 0.010
"""Seconds from which a greeting came too late: ten times what it takes here."""

APART = 0.1
"""Seconds in which every connection is well, between two blackouts."""


@dataclass(frozen=True)
class Knock:
    """One connection: when it began and ended (seconds, CLOCK_BOOTTIME), and the `server` that
    greeted; where that is empty, the `trouble`."""

    began: float
    ended: float
    server: str
    trouble: str = ""

    @property
    def is_well(self) -> bool:
        return bool(self.server) and self.ended - self.began < SLOW

    @property
    def felt_until(self) -> float:
        """Of one that is not well. When it would have been given up does not matter."""
        return self.ended if self.server else self.began


@dataclass(frozen=True)
class Blackout:
    """Of one failure. `seconds`: the longest time in which nobody was greeted, or in which
    connections failed or were slow, and never all well for `APART`; None if it did not end while
    somebody watched. `failed`: connections that began after it and got no greeting. `early` and
    `moved`: connections in the time before it that got none, or one of another server than the one
    before: whoever moves users without a failure."""

    seconds: float | None
    failed: int
    early: int
    moved: int


def read(lines: Iterable[str]) -> list[Knock]:
    """In the order of their ends; a line that is still being written is left out."""
    knocks = []
    for line in lines:
        if line.endswith("\n"):
            began, ended, server, *trouble = line.split()
            greeted = "" if server == "-" else server
            knocks.append(Knock(float(began), float(ended), greeted, " ".join(trouble)))
    return sorted(knocks, key=lambda knock: knock.ended)


def blackout(knocks: Iterable[Knock], since: float, struck: float, until: float) -> Blackout:
    """`since`: from when the time before counts; `until`: when the watching ended. Connections that
    failed are known when they have waited long enough."""
    knocks = list(knocks)
    before = [knock for knock in knocks if since <= knock.began < struck - SLOW]
    after = [knock for knock in knocks if struck <= knock.began <= until]
    greeted = [knock.ended for knock in knocks if knock.server and knock.ended <= until]
    last = max((ended for ended in greeted if ended < struck), default=struck)
    moments = [last, *(ended for ended in greeted if ended >= struck)]
    spans = [*pairwise(moments), *_troubled(after)]
    over = until - max([moments[-1], *(k.began for k in after if k.is_well)]) < APART
    servers = [knock.server for knock in before if knock.server]
    return Blackout(
        max((end - begin for begin, end in spans), default=None) if over else None,
        sum(not knock.server for knock in after),
        sum(not knock.server for knock in before),
        sum(one != other for one, other in pairwise(servers)),
    )


def is_over(knocks: Iterable[Knock], at: float, patience: float) -> bool:
    """Is everybody served, at this moment? `patience`: seconds until a connection fails, so that
    those that are not served can be known."""
    late = [knock for knock in knocks if knock.ended > at - patience]
    return bool(late) and all(knock.server for knock in late)


def _troubled(knocks: Iterable[Knock]) -> Iterator[tuple[float, float]]:
    """From the first connection that was not well to the last, where they are less than `APART`."""
    span: tuple[float, float] | None = None
    ill = (knock for knock in knocks if not knock.is_well)
    for knock in sorted(ill, key=lambda knock: knock.began):
        if span is not None and knock.began - span[1] < APART:
            span = span[0], max(span[1], knock.felt_until)
            continue
        if span is not None:
            yield span
        span = knock.began, knock.felt_until
    if span is not None:
        yield span
