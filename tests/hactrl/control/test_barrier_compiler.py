"""Law 2 for barrier segments: whatever the compiler remembers, the rules are a function of site,
outlook and live graph; and what has not changed stays the same object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
import simulation
from simulation import make_site
from test_engine_decide import Engine
from test_rules_stay import ROOT, normal

from flows.barrier import compile as stages
from flows.barrier.compile import BarrierCompiler
from flows.barrier.segment import Barrier, Ground, Situation
from flows.compile import compile
from flows.diff import ModifyGroup, diff
from flows.ids import all_ids
from flows.intents import Fence
from flows.rules import RuleSet
from flows.stages import Stage
from hactrl.control.planning import barrier_plan
from hactrl.control.wanted import intents
from hactrl.engine.events import PortChanged
from hactrl.engine.outlook import outlook
from hactrl.engine.state import Fenced, Health, Placement, State, Step, Takeover
from hactrl.site import load
from hactrl.vocabulary import Verdict
from topology.graph import LiveGraph
from topology.model import Attachment

SEEDS, CHANGES = 6, 30

SITE = load(ROOT / "examples" / "frontier.yaml")


def remembered(compiler: BarrierCompiler, state: State) -> dict[str, RuleSet]:
    (step,) = barrier_plan(compiler, state, None)
    return {switch: step.rules_of(switch) for switch in state.site.network.switches}


def from_nothing(state: State) -> dict[str, RuleSet]:
    site, view = state.site, state.outlook
    graph = LiveGraph.of(site.network, ports_up=view.ports_up)
    return compile(site.network, graph, intents(site, view))


def changed(state: State, random: Random) -> State:
    """One thing is different, drawn by lot."""
    role = random.choice(list(SITE.roles.values()))
    server = random.choice(role.servers)
    key, _ = random.choice(list(state.all_found()))
    match random.choice(("place", "move", "fence", "port", "port", "health", "disable")):
        case "place":
            placement = Placement(server, 2, 0.0)
            state = replace(state, placements={**state.placements, role.name: placement})
        case "move":
            moving = Takeover(
                role.name, None, server, 2, "", False, random.choice(list(Step)), 0.0, 0.0
            )
            other = {} if state.takeovers else {role.name: moving}
            state = replace(state, takeovers=other)
        case "fence":
            state = replace(state, fenced={} if state.fenced else {server: Fenced(0.0, "")})
        case "disable":
            state = replace(state, disabled=state.disabled ^ {server})
        case "health":
            verdict = random.choice((Verdict.HEALTHY, Verdict.UNHEALTHY))
            state = state.with_found(*key, Health(verdict, "refused", 0.0))
        case "port":
            end = random.choice(sorted(ENDS))
            known = state.switches[end.switch]
            up = replace(known, ports_up=known.ports_up ^ {end.port})
            state = replace(state, switches={**state.switches, end.switch: up})
    return replace(state, outlook=outlook(state))


ENDS = SITE.network.trunk_ports | {card.attachment for card in SITE.network.interfaces.values()}


def grown_old(seed: int) -> bool:
    """Whether remembered rules are ever other than those from nothing, in one sequence. Cards are
    fenced one by one, too: the compiler does not know that the engine fences servers only, and
    steers nobody to one that is."""
    random, compiler, state = Random(seed), BarrierCompiler(), normal(SITE)
    cards = list(SITE.network.interfaces.values())
    for _ in range(CHANGES):
        state = changed(state, random)
        graph = LiveGraph.of(SITE.network, ports_up=state.outlook.ports_up)
        wishes = intents(SITE, state.outlook)
        if random.random() < 0.3:
            card = random.choice(cards)
            fence = Fence(card.name, card.attachment, card.mac)
            wishes = replace(wishes, fences=(*wishes.fences, fence))
        rules_of = compiler.at(graph, wishes)
        whole = compile(SITE.network, graph, wishes)
        if {switch: rules_of(switch) for switch in whole} != whole:
            return True
    return False


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_remembered_is_what_is_made_from_nothing(seed: int) -> None:
    assert not grown_old(seed)


def forgetting(stage: Stage[Situation], number: int) -> Stage[Situation]:
    """A stage that does not declare one thing that it depends on."""

    def depends(situation: Situation) -> tuple[Any, ...]:
        declared = stage.depends(situation)
        return (*declared[:number], *declared[number + 1 :])

    return replace(stage, depends=depends)


def declared() -> list[tuple[str, int]]:
    """Each thing that a stage declares to depend on, by its place; a role's group is `group`."""
    state = normal(SITE)
    wishes = intents(SITE, outlook(state))
    barrier = Barrier.of(SITE.network, "inner", wishes, all_ids(SITE.network, wishes))
    situation = Situation.of(Ground(barrier, LiveGraph.of(SITE.network)), wishes)
    every = stages.STAGES | {"group": stages._group_of(barrier.addresses[0])}
    return [
        (name, number)
        for name, stage in every.items()
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
    if name == "group":
        group_of: Callable[..., Stage[Situation]] = stages._group_of
        with patch.object(stages, "_group_of", lambda s: forgetting(group_of(s), number)):
            yield
    else:
        with patch.dict(stages.STAGES, {name: forgetting(stages.STAGES[name], number)}):
            yield


def test_a_change_of_placement_touches_one_group_a_switch_and_where_cards_speak() -> None:
    engine, compiler = Engine(), BarrierCompiler()
    before = remembered(compiler, engine.state)
    engine.request(simulation.RequestKind.FAILOVER, simulation.RELAY, "alpha")
    after = remembered(compiler, engine.state)
    for switch, rules in after.items():
        changes = [change for stage in diff(before[switch], rules) for change in stage]
        touched = [
            number
            for number, (one, other) in enumerate(
                zip(before[switch].parts, rules.parts, strict=True)
            )
            if one is not other
        ]
        relay = switch == "outer"
        assert [type(change) for change in changes] == [ModifyGroup] * relay
        assert len(touched) == relay
        assert (rules is before[switch]) == (not relay)


def test_another_site_forgets_all() -> None:
    engine, compiler = Engine(), BarrierCompiler()
    remembered(compiler, engine.state)
    other = Engine(make_site(3))
    assert remembered(compiler, other.state) == from_nothing(other.state)


def test_a_port_that_comes_back_brings_back_the_rules_of_before() -> None:
    engine, compiler = Engine(), BarrierCompiler()
    before = remembered(compiler, engine.state)
    host_port = Attachment("inner", 12)
    engine.tell(PortChanged(host_port, False))
    assert remembered(compiler, engine.state) != before
    engine.tell(PortChanged(host_port, True))
    assert remembered(compiler, engine.state) == before
