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


@dataclass(frozen=True, eq=False)
class _Made:
    """The last part of a stage on one switch, and of what it was made."""

    depends: tuple[Any, ...]
    reads: Any
    part: RuleSet


@dataclass(eq=False)
class Stages(Generic[Situation]):
    """Remembers of each switch and stage the last part: the bound of its memory is what the
    switches hold. Another site has other `Stages`."""

    stages: Sequence[Stage[Situation]]
    _depends: list[tuple[Any, ...]] = field(default_factory=list)
    _made: dict[str, dict[int, _Made]] = field(default_factory=dict)
    _whole: dict[str, RuleSet] = field(default_factory=dict)

    def at(self, situation: Situation) -> Callable[[str], RuleSet]:
        """What each of the segment's switches should hold in a situation, by its name."""
        depends = [stage.depends(situation) for stage in self.stages]
        if self._depends:  # the same values as the same objects, which are compared at once
            depends = [
                old if old == new else new for old, new in zip(self._depends, depends, strict=True)
            ]
        self._depends = depends
        return partial(self._compiled, situation, depends)

    def _compiled(
        self, situation: Situation, depends: list[tuple[Any, ...]], switch: str
    ) -> RuleSet:
        made = self._made.setdefault(switch, {})
        for number, on in enumerate(depends):
            if number not in made or made[number].depends is not on:
                stage, one = self.stages[number], made.get(number)
                reads = stage.reads(situation, switch)
                same = one is not None and reads == one.reads
                made[number] = _Made(on, reads, one.part if one and same else stage.part(reads))
        parts = [one.part for one in made.values()]
        whole = self._whole.get(switch)
        if whole is None or not all(map(is_, whole.parts, parts)):
            whole = self._whole[switch] = joined(parts)
        return whole
