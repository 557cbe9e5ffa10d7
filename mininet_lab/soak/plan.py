"""Which faults strike when, by a seed: the same seed and minutes, the same plan. Pure.

Faults come in rounds of one or two. The second of two strikes while the first lasts. After each
round everything is mended, and the next begins when all ways are served again, so that the times
within a round are the plan's, and how long a soak takes follows from how fast the site recovers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from hactrl.site.model import Site
from mininet_lab.soak.kinds import FENCED, FENCES, SERVING, TRAITS, Kind

#: The share of rounds with two faults, among those whose fault may come alone.
TOGETHER = 0.35

#: Seconds that a round is reckoned to take besides its faults: recovery, and a breath.
BETWEEN = 5.0

#: Least and most seconds of rest before a round.
REST = (0.5, 3.0)


@dataclass(frozen=True)
class Fault:
    """`after`: seconds from the beginning of its round until it strikes; `lasts`: from then until
    it is mended. `target` as in `kinds`. `number` counts from 0 over the whole plan."""

    number: int
    kind: Kind
    target: str
    after: float
    lasts: float


@dataclass(frozen=True)
class Round:
    """`rest`: seconds of peace before it."""

    rest: float
    faults: tuple[Fault, ...]

    @property
    def seconds(self) -> float:
        """From its beginning until all is mended."""
        return max(fault.after + fault.lasts for fault in self.faults)


def plan(site: Site, seed: int, minutes: float) -> tuple[Round, ...]:
    """As many rounds as are reckoned to fill so many minutes, one at least. A plan for more
    minutes begins with that for fewer.

    Raises:
        ValueError: there is no time to fill.
    """
    if minutes <= 0.0:
        raise ValueError(f"{minutes} minutes: there must be some")
    random = Random(seed)
    kinds = _kinds(random)
    rounds: list[Round] = []
    filled, number = 0.0, 0
    while not rounds or filled < minutes * 60.0:
        round_ = _round(site, random, kinds, number)
        rounds.append(round_)
        number += len(round_.faults)
        filled += round_.rest + round_.seconds + BETWEEN
    return tuple(rounds)


def _kinds(random: Random) -> Iterator[Kind]:
    """For ever; each kind once before any comes again."""
    while True:
        bag = list(Kind)
        random.shuffle(bag)
        yield from bag


def _round(site: Site, random: Random, kinds: Iterator[Kind], number: int) -> Round:
    kind = next(kinds)
    if kind in FENCES:
        order = [kind, random.choice(FENCED)]
    elif kind is Kind.ASKED_CONFIRM_OFF:  # there must be a server that is off
        order = [random.choice(FENCED), kind]
    elif TRAITS[kind].accompanied:
        order = [random.choice(_alone()), kind]
    elif random.random() < TOGETHER:
        order = [kind, random.choice([other for other in _alone() if other is not kind])]
    else:
        order = [kind]
    rest = round(random.uniform(*REST), 2)
    faults: list[Fault] = []
    for each in order:
        begin = _strikes(random, faults[0]) if faults else 0.0
        faults.append(_fault(site, random, each, number + len(faults), begin))
    if kind in FENCES:  # it is broken before it is needed, and stays so
        fence, victim = faults
        lasts = max(fence.lasts, victim.after + victim.lasts)
        serving = Fault(victim.number, victim.kind, SERVING, victim.after, victim.lasts)
        faults = [Fault(fence.number, fence.kind, fence.target, 0.0, lasts), serving]
    return Round(rest, tuple(faults))


def _alone() -> list[Kind]:
    return [kind for kind, trait in TRAITS.items() if not trait.accompanied]


def _strikes(random: Random, first: Fault) -> float:
    """Soon after the first, because what is under way then is what can be disturbed, or any time
    while it lasts. What is over at once is followed at once."""
    soon = random.uniform(0.0, 1.0)
    return round(random.choice([soon, random.uniform(0.0, first.lasts)]), 2)


def _fault(site: Site, random: Random, kind: Kind, number: int, after: float) -> Fault:
    trait = TRAITS[kind]
    target = random.choice(trait.targets(site))
    return Fault(number, kind, target, after, round(random.uniform(*trait.lasts), 2))
