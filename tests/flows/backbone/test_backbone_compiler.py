"""Law 2 for backbones: whatever the compiler remembers, the rules are a function of site, intents,
live graph and routes; and what has not changed stays the same object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from campus_network import CARD_PORTS, campus, client
from campus_network import intents as wishes

from flows.backbone import compile as stages
from flows.backbone.compile import BackboneCompiler
from flows.backbone.locators import Locators
from flows.backbone.segment import Backbone, Ground, Situation
from flows.compile import compile
from flows.ids import all_ids
from flows.intents import Intents
from flows.pipeline import FORWARD
from flows.rules import RuleSet
from flows.stages import Stage
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, Host, Interface, Link, Network
from topology.paths.routes import Routes

SEEDS, CHANGES = 6, 30

NETWORK = campus([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")], ["a", "a", "c"], prober="d")
CARDS = tuple(NETWORK.file_interfaces.values())

#: A cable that the site file does not name.
FOUND = Link(Attachment("a", 30), Attachment("d", 30))

#: Where hosts may be.
SPARE = frozenset(Attachment(switch, port) for switch in NETWORK.switches for port in (1, 5, 30))

#: All that can go down.
PORTS = SPARE | NETWORK.trunk_ports | {card.attachment for card in CARDS}


@dataclass(frozen=True)
class Now:
    """How the backbone is."""

    links: frozenset[Link] = frozenset(NETWORK.links)
    up: frozenset[Attachment] = PORTS
    hosts: tuple[Host, ...] = ()
    live: frozenset[Interface] = field(default=frozenset(CARDS))

    def but(self, random: Random) -> Now:
        """One thing is different, drawn by lot."""
        match random.choice(("link", "link", "port", "port", "host", "card")):
            case "link":
                return replace(self, links=self.links ^ {random.choice((FOUND, *NETWORK.links))})
            case "port":
                return replace(self, up=self.up ^ {random.choice(sorted(PORTS))})
            case "host":
                host = client(NETWORK, random.choice(sorted(NETWORK.switches)))
                others = tuple(other for other in self.hosts if other.mac != host.mac)
                known = len(others) < len(self.hosts)
                at = Attachment(host.attachment.switch, random.choice((1, 5)))
                here = replace(host, attachment=at)
                return replace(self, hosts=others if known else (*others, here))
            case "card":
                return replace(self, live=self.live ^ {random.choice(CARDS)})
        raise AssertionError

    @property
    def network(self) -> Network:
        return replace(NETWORK, links=tuple(sorted(self.links, key=str)))

    @property
    def graph(self) -> LiveGraph:
        ports = {
            name: {end.port for end in self.up if end.switch == name} for name in NETWORK.switches
        }
        return LiveGraph.of(self.network, ports_up=ports)

    @property
    def intents(self) -> Intents:
        live = tuple(card for card in CARDS if card in self.live)
        return replace(wishes(NETWORK, live), hosts=self.hosts)

    @property
    def routes(self) -> Routes:
        return backbones.routes(self.graph, {"files": self.intents.nearest[0].live})


def remembered(compiler: BackboneCompiler, now: Now) -> dict[str, RuleSet]:
    rules_of = compiler.at(now.graph, now.intents, now.routes)
    return {switch: rules_of(switch) for switch in NETWORK.switches}


def from_nothing(now: Now) -> dict[str, RuleSet]:
    return compile(now.network, now.graph, now.intents, now.routes)


def grown_old(seed: int) -> bool:
    """Whether remembered rules are ever other than those from nothing, in one sequence."""
    random, compiler, now = Random(seed), BackboneCompiler(), Now()
    for _ in range(CHANGES):
        now = now.but(random)
        if remembered(compiler, now) != from_nothing(now):
            return True
    return False


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_remembered_is_what_is_made_from_nothing(seed: int) -> None:
    assert not grown_old(seed)


def declared() -> list[tuple[str, int]]:
    """Each thing that a stage declares to depend on, by its place."""
    now = Now()
    ids, locators = all_ids(NETWORK, now.intents), Locators.of(NETWORK)
    backbone = Backbone.of(NETWORK, "campus", now.intents, ids, locators)
    situation = Situation.of(Ground.of(backbone, now.graph), now.intents, now.routes)
    return [
        (name, number)
        for name, stage in stages.STAGES.items()
        for number in range(len(stage.depends(situation)))
    ]


@pytest.mark.parametrize(("name", "number"), declared())
def test_rules_grow_old_if_a_stage_does_not_declare_what_it_depends_on(
    name: str, number: int
) -> None:
    with without(name, number):
        assert any(grown_old(seed) for seed in range(100))


@contextmanager
def without(name: str, number: int) -> Iterator[None]:
    """The stage does not declare that thing."""
    stage = stages.STAGES[name]

    def depends(situation: Situation) -> tuple[Any, ...]:
        every = stage.depends(situation)
        return (*every[:number], *every[number + 1 :])

    forgetting: Stage[Situation] = replace(stage, depends=depends)
    with patch.dict(stages.STAGES, {name: forgetting}):
        yield


def touched(before: RuleSet, after: RuleSet) -> list[RuleSet]:
    """The parts of `after` that are not the same objects as before."""
    pairs = zip(before.parts, after.parts, strict=True)
    return [other for one, other in pairs if one is not other]


def test_a_host_that_comes_changes_one_part_on_other_switches_and_on_all_of_them_the_same() -> None:
    """Nobody is plugged into `b` who would look for anybody."""
    compiler, now = BackboneCompiler(), Now(hosts=tuple(client(NETWORK, s) for s in "ad"))
    before = remembered(compiler, now)
    more = replace(client(NETWORK, "d"), mac="02:00:00:00:99:99", number=9, addresses=())
    after = remembered(compiler, replace(now, hosts=(*now.hosts, more)))
    parts = {switch: touched(before[switch], after[switch]) for switch in before}
    assert [len(parts[switch]) for switch in "abc"] == [1, 0, 1]
    assert parts["a"][0] is parts["c"][0]


def test_a_card_of_two_at_one_switch_that_fails_changes_the_ways_to_it_alone() -> None:
    compiler, now = BackboneCompiler(), Now()
    before = remembered(compiler, now)
    second = next(card for card in CARDS if card.attachment == Attachment("a", CARD_PORTS[1]))
    after = remembered(compiler, replace(now, live=now.live - {second}))
    (part,) = touched(before["a"], after["a"])
    assert {rule.table for rule in part.rules.values()} == {FORWARD.number}
