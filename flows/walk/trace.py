"""What became of a packet, as a tree of steps: what `flows.walk.walker` gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from itertools import product

from flows.rules import Group, GroupType, Rule
from flows.walk.packet import Packet
from topology.model import Attachment, Link


class EndReason(Enum):
    """Why a packet, or one way of it, ends in a switch."""

    NO_RULE = "no_rule"
    RULE = "rule"
    PORT_OF_ENTRY = "port_of_entry"
    PORT_DOWN = "port_down"
    NO_LIVE_BUCKET = "no_live_bucket"
    TOO_DEEP = "too_deep"


@dataclass(frozen=True)
class Matched:
    """The packet, as it was then, met a rule."""

    rule: Rule
    packet: Packet


@dataclass(frozen=True)
class Rewritten:
    field: str
    before: int
    after: int


@dataclass(frozen=True)
class Learnt:
    """The switch will hold this rule from now on."""

    switch: str
    rule: Rule


@dataclass(frozen=True)
class Branch:
    """What a group's bucket, by its place in the group, did."""

    bucket: int
    steps: tuple[TraceStep, ...]


@dataclass(frozen=True)
class Grouped:
    """Through a group. Of a select group's branches one happens, of any other's all."""

    group: Group
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Crossed:
    """Out of a port, over a link, and on at the next switch."""

    link: Link
    visit: Visit


@dataclass(frozen=True)
class Delivered:
    """Out of an edge port."""

    attachment: Attachment
    packet: Packet


@dataclass(frozen=True)
class ToController:
    switch: str
    packet: Packet


@dataclass(frozen=True)
class Dropped:
    """`rule` is the last one met, if any."""

    switch: str
    reason: EndReason
    rule: Rule | None
    packet: Packet


@dataclass(frozen=True)
class Looped:
    """The same packet came to the same port for the second time, or went too far."""

    attachment: Attachment
    packet: Packet


@dataclass(frozen=True)
class Visit:
    """A packet in one switch, from its port of entry on."""

    at: Attachment
    packet: Packet
    steps: tuple[TraceStep, ...]


Ending = Delivered | ToController | Dropped | Looped
TraceStep = Matched | Rewritten | Learnt | Grouped | Crossed | Ending

#: Of one possible course of things: all copies of the packet, and where each ended, in order.
Endings = tuple[Ending, ...]


@dataclass(frozen=True)
class Trace:
    root: Visit

    def steps(self) -> Iterator[TraceStep]:
        """All steps of all switches and branches, in order; what several ways lead to comes with
        each of them. On a network with many equal ways that are very many."""
        return _flatten(self.root.steps)

    def visits(self) -> Iterator[Visit]:
        """Every visit once, however many ways lead to it, each before those that it leads to."""
        begun: set[int] = set()
        ended: dict[int, Visit] = {}
        todo = [self.root]
        while todo:
            visit = todo[-1]
            if id(visit) in begun:
                ended.setdefault(id(todo.pop()), visit)
                continue
            begun.add(id(visit))
            crossed = (step.visit for step in inside(visit.steps) if isinstance(step, Crossed))
            todo += [onward for onward in crossed if id(onward) not in begun]
        return reversed(ended.values())

    @property
    def deliveries(self) -> frozenset[Delivered]:
        """Every delivery that can happen."""
        return frozenset(s for s in self._every() if isinstance(s, Delivered))

    @property
    def places(self) -> frozenset[Attachment]:
        """Every attachment that a copy can be delivered to."""
        return frozenset(d.attachment for d in self.deliveries)

    @property
    def drops(self) -> frozenset[Dropped]:
        return frozenset(s for s in self._every() if isinstance(s, Dropped))

    @property
    def loops(self) -> frozenset[Looped]:
        return frozenset(s for s in self._every() if isinstance(s, Looped))

    @property
    def learnt(self) -> frozenset[Learnt]:
        return frozenset(s for s in self._every() if isinstance(s, Learnt))

    @property
    def to_controller(self) -> frozenset[ToController]:
        return frozenset(s for s in self._every() if isinstance(s, ToController))

    def outcomes(self) -> frozenset[Endings]:
        """All possible courses: one for each combination of select groups' choices."""
        return _outcomes(self.root.steps)

    def _every(self) -> Iterator[TraceStep]:
        for visit in self.visits():
            yield from inside(visit.steps)


def inside(steps: Iterable[TraceStep]) -> Iterator[TraceStep]:
    """All steps within one switch, with those within branches, in order."""
    for step in steps:
        yield step
        if isinstance(step, Grouped):
            for branch in step.branches:
                yield from inside(branch.steps)


def _flatten(steps: Iterable[TraceStep]) -> Iterator[TraceStep]:
    for step in inside(steps):
        yield step
        if isinstance(step, Crossed):
            yield from _flatten(step.visit.steps)


def _outcomes(steps: Iterable[TraceStep]) -> frozenset[Endings]:
    """Each combination of what each step can lead to."""
    return reduce(_both, map(_possible, steps), _NOTHING)


_NOTHING: frozenset[Endings] = frozenset({()})


def _both(ones: frozenset[Endings], others: frozenset[Endings]) -> frozenset[Endings]:
    return frozenset((*one, *other) for one, other in product(ones, others))


def _possible(step: TraceStep) -> frozenset[Endings]:
    match step:
        case Grouped(group, branches):
            each = [_outcomes(branch.steps) for branch in branches]
            if group.type is GroupType.SELECT:
                return frozenset[Endings]().union(*each)
            return reduce(_both, each, _NOTHING)
        case Crossed(_, visit):
            return _outcomes(visit.steps)
        case Delivered() | ToController() | Dropped() | Looped():
            return frozenset({(step,)})
        case _:
            return _NOTHING
