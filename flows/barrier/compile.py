"""What a barrier segment's switches should hold, stage by stage.

    Barrier (site file) ──► policy
                       ┌──► arp, steer     ◄── fenced
    Situation ─────────┼──► admit          ◄── fenced, speaking, ground
      (of a moment)    ├──► forward        ◄── fenced, ground
                       ├──► announce       ◄── fenced, ground
                       └──► one group a role ◄ fenced, ground, the role's steer

Each stage is a pure function of a small value, its `Reads`: exactly what it needs of the situation
on one switch. `STAGES` names for each what of the situation that comes from, for the whole segment.
Where none of that has changed, nothing is read; where what is read has not changed, nothing is
compiled, and the part stays the same object down to the switch's session (`flows.diff`). So a
change of placement costs, on each switch of its segments, one group, and where its cards are the
rules that let it speak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from operator import is_
from typing import Any

from flows.barrier import admit, arp, forward, policy, steer
from flows.barrier.segment import Barrier, Situation
from flows.intents import ServiceAddress
from flows.rules import Group, Meter, Rule, RuleSet, joined

#: ICMP errors a second that the servers on one switch hear, and how many at once.
ERROR_RATE = 100
ERROR_BURST = 100


@dataclass(frozen=True)
class Stage:
    """`depends`: what of the situation its `Reads` are made of, for all switches of the segment.
    `reads` makes them for one switch; `part` compiles them."""

    depends: Callable[[Situation], tuple[Any, ...]]
    reads: Callable[[Situation, str], Any]
    part: Callable[[Any], RuleSet]


def _rules(rules: Callable[[Any], Iterable[Rule]]) -> Callable[[Any], RuleSet]:
    return lambda reads: RuleSet.of(rules(reads))


def _groups(groups: Callable[[Any], Iterable[Group]]) -> Callable[[Any], RuleSet]:
    return lambda reads: RuleSet.of(groups=groups(reads))


def _forward(reads: forward.Reads) -> RuleSet:
    return RuleSet.of(forward.rules(reads), forward.groups(reads))


def _policy(barrier: Barrier) -> RuleSet:
    meter = Meter(barrier.error_meter, ERROR_RATE, ERROR_BURST, f"errors on {barrier.name}")
    return RuleSet.of(policy.rules(barrier), meters=(meter,))


STAGES: dict[str, Stage] = {
    "admit": Stage(lambda s: (s.ground, s.fenced, s.speaking), admit.Reads.of, _rules(admit.rules)),
    "arp": Stage(lambda s: (s.fenced,), arp.Reads.of, _rules(arp.rules)),
    "policy": Stage(lambda _: (), lambda situation, _: situation.barrier, _policy),
    "steer": Stage(lambda s: (s.fenced,), steer.Reads.of, _rules(steer.rules)),
    "forward": Stage(lambda s: (s.ground, s.fenced), forward.Reads.of, _forward),
    "announce": Stage(
        lambda s: (s.ground, s.fenced), steer.AnnounceReads.of, _groups(steer.announce_groups)
    ),
}


def _group_of(service: ServiceAddress) -> Stage:
    """The group of one role."""
    return Stage(
        lambda s: (s.ground, s.fenced, s.steer(service)),
        partial(_read_group, service),
        _groups(steer.group),
    )


def _read_group(service: ServiceAddress, situation: Situation, switch: str) -> steer.GroupReads:
    return steer.GroupReads.of(situation, switch, service)


@dataclass(frozen=True, eq=False)
class _Made:
    """The last part of a stage on one switch, and of what it was made."""

    depends: tuple[Any, ...]
    reads: Any
    part: RuleSet


@dataclass(eq=False)
class Segment:
    """Compiles one barrier segment, and remembers of each switch and stage the last part: the
    bound of its memory is what the switches hold. A change of the site is another `Segment`."""

    barrier: Barrier
    _stages: tuple[Stage, ...] = ()
    _depends: list[tuple[Any, ...]] = field(default_factory=list)
    _made: dict[str, dict[int, _Made]] = field(default_factory=dict)
    _whole: dict[str, RuleSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        once = {"policy": replace(STAGES["policy"], part=cache(_policy))}  # for all switches
        groups = map(_group_of, self.barrier.addresses)
        self._stages = (*(STAGES | once).values(), *groups)

    def at(self, situation: Situation) -> Callable[[str], RuleSet]:
        """What each of the segment's switches should hold in a situation, by its name."""
        depends = [stage.depends(situation) for stage in self._stages]
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
                stage, one = self._stages[number], made.get(number)
                reads = stage.reads(situation, switch)
                same = one is not None and reads == one.reads
                made[number] = _Made(on, reads, one.part if one and same else stage.part(reads))
        parts = [one.part for one in made.values()]
        whole = self._whole.get(switch)
        if whole is None or not all(map(is_, whole.parts, parts)):
            whole = self._whole[switch] = joined(parts)
        return whole
