"""Compiles the switches of one segment stage by stage, and again only where something has changed.

Each stage is a pure function of a small value, its `Reads`: exactly what it needs of the situation
on one switch. A stage declares what of the situation that comes from, for the whole segment. Where
none of that has changed, nothing is read; where what is read has not changed, nothing is compiled,
and the part stays the same object down to the switch's session (`flows.diff`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import is_
from typing import Any, Generic, TypeVar

from flows.rules import Group, Rule, RuleSet, joined

Situation = TypeVar("Situation")
Reads = TypeVar("Reads")


@dataclass(frozen=True)
class Stage(Generic[Situation]):
    """`depends`: what of the situation its `Reads` are made of, for all switches of the segment.
    `reads` makes them for one switch; `part` compiles them."""

    depends: Callable[[Situation], tuple[Any, ...]]
    reads: Callable[[Situation, str], Any]
    part: Callable[[Any], RuleSet]


def of_rules(rules: Callable[[Reads], Iterable[Rule]]) -> Callable[[Reads], RuleSet]:
    """What makes a part of rules alone."""
    return lambda reads: RuleSet.of(rules(reads))


def of_groups(groups: Callable[[Reads], Iterable[Group]]) -> Callable[[Reads], RuleSet]:
    """What makes a part of groups alone."""
    return lambda reads: RuleSet.of(groups=groups(reads))


def once(part: Callable[[Reads], RuleSet]) -> Callable[[Reads], RuleSet]:
    """For a stage that reads the same on many switches: they share the latest part."""
    latest: list[tuple[Reads, RuleSet]] = []

    def shared(reads: Reads) -> RuleSet:
        if not latest or latest[0][0] != reads:
            latest[:] = [(reads, part(reads))]
        return latest[0][1]

    return shared


#: What each stage depends on in one situation.
_Values = list[tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class _Depends:
    """`values` are the same objects as `former` ones, but those of the stages `changed`."""

    values: _Values
    former: _Values
    changed: tuple[int, ...]

    def since(self, values: _Values) -> Iterable[int]:
        """The stages that may have to be read again."""
        return self.changed if values is self.former else range(len(self.values))


@dataclass(eq=False)
class _Held:
    """What one switch should hold, the part of each stage, and of what they were made."""

    values: _Values
    reads: list[Any]
    parts: list[RuleSet]
    whole: RuleSet


@dataclass(eq=False)
class Stages(Generic[Situation]):
    """Remembers of each switch and stage the last part: the bound of its memory is what the
    switches hold. Another site has other `Stages`."""

    stages: Sequence[Stage[Situation]]
    _values: _Values = field(default_factory=list)
    _held: dict[str, _Held] = field(default_factory=dict)

    def at(self, situation: Situation) -> Callable[[str], RuleSet]:
        """What each of the segment's switches should hold in a situation, by its name."""
        return partial(self._compiled, situation, self._depends(situation))

    def _depends(self, situation: Situation) -> _Depends:
        former, values = self._values, [stage.depends(situation) for stage in self.stages]
        changed = tuple(
            number for number, value in enumerate(values) if not former or former[number] != value
        )
        if former:
            values = [values[n] if n in changed else former[n] for n in range(len(values))]
        self._values = values
        return _Depends(values, former, changed)

    def _compiled(self, situation: Situation, depends: _Depends, switch: str) -> RuleSet:
        held = self._held.get(switch)
        if held is None:
            reads = [stage.reads(situation, switch) for stage in self.stages]
            parts = [stage.part(each) for stage, each in zip(self.stages, reads, strict=True)]
            held = self._held[switch] = _Held(depends.values, reads, parts, joined(parts))
        if held.values is depends.values:
            return held.whole
        for number in depends.since(held.values):
            stage = self.stages[number]
            now = stage.reads(situation, switch)
            if now != held.reads[number]:
                held.parts[number], held.reads[number] = stage.part(now), now
        if not all(map(is_, held.whole.parts, held.parts)):
            held.whole = joined(held.parts)
        held.values = depends.values
        return held.whole
