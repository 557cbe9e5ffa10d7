"""Segments whose links fail, so that users here do not reach a server there; see `split_site`.

Whatever is lost: once nothing changes any more, no role is where fewer users reach it than could
reach another server that can take it, nothing moves, and who is cut off is said by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, combinations, product
from random import Random
from unittest.mock import patch

import pytest
from simulation import MAIL, RELAY, SEGMENTS, Broken
from split_site import CABLES, LINKS, SWITCHES, SplitWorld, split_site
from test_engine_decide import Engine as AnyEngine
from test_engine_outlook import watched

from hactrl.engine import decide, readiness, split
from hactrl.engine.effects import FencePower, Obstacle, Reason, Verb
from hactrl.engine.events import PortChanged, ProbeChanged, RequestKind, SwitchLost
from hactrl.engine.roles import candidates, reach
from hactrl.engine.roles.candidates import failings, obstacles
from hactrl.engine.split import ALL_HAVE_TOLD
from hactrl.engine.state import Step
from hactrl.explain import words
from hactrl.vocabulary import Verdict
from topology.model import Attachment

#: Each server on one side of either segment: alpha at o1 and i1, beta at o2 and i3.
APART = {"alpha": ("o1", "i1"), "beta": ("o2", "i3")}

#: Both at both: alpha's first cards are at o1 and i1, beta's at o2 and i2.
CROSSED = {"alpha": ("o1", "i1", "o2", "i2"), "beta": ("o2", "i2", "o1", "i1")}

EVERYWHERE = {**dict.fromkeys(SWITCHES, 1), "i3": 2}

#: Seconds: of the loss, of its being looked at, of its mending, of the end; and without a move.
LOST, SETTLED, MENDED, END, QUIET = 6.0, 40.0, 42.0, 90.0, 16.0


def ends(*cables: int) -> list[Attachment]:
    """Of both ends of cables, by their number in `CABLES`."""
    return [Attachment(switch, LINKS + number) for number in cables for switch in CABLES[number]]


class Engine(AnyEngine):
    """alpha has the mail, and beta the relay."""

    def __init__(
        self,
        at: dict[str, tuple[str, ...]],
        users: dict[str, int],
        probers: tuple[str, str] = ("o1", "i1"),
    ) -> None:
        site = split_site(at, probers, lease=None)
        self.world = SplitWorld(site, 0, users)
        super().__init__(site)

    def ports_up(self, switch: str) -> frozenset[int]:
        return self.world.ports_up(switch)

    def lose(self, *lost: Attachment, wait: float = ALL_HAVE_TOLD) -> Engine:
        for end in lost:
            self.tell(PortChanged(end, up=False))
        self.wait(wait)
        return self

    def mend(self, *lost: Attachment) -> Engine:
        for end in lost:
            self.tell(PortChanged(end, up=True))
        return self

    def unheard(self, card: str, role: str) -> Engine:
        """Its switch is cut off from the prober's."""
        return self.tell(ProbeChanged(role, "smtp", card, Verdict.UNHEALTHY, "silent"))


def said(found: Iterable[Obstacle]) -> list[str]:
    return [words.obstacle(each) for each in found]


# What a card is worth.


def test_a_server_whose_cards_are_cut_off_from_all_users_is_left() -> None:
    engine = Engine(APART, {"o1": 1, "i2": 1, "i3": 1}).lose(*ends(2, 5))
    assert engine.step() is Step.STORE
    assert engine.recorded("takeover.started")[-1].details[-2] == ("cause", "cut_off")
    assert said(failings(engine.state, MAIL, "alpha")) == [
        "the server's interfaces on inner are at i1, cut off from all users there"
    ]


def test_a_server_with_another_card_where_users_are_keeps_its_role() -> None:
    engine = Engine(CROSSED, {"o1": 1, "i2": 1, "i3": 1}).lose(*ends(2, 5))
    assert engine.step() is None
    assert failings(engine.state, MAIL, "alpha") == ()


def test_the_side_of_the_wan_counts_like_that_of_the_users() -> None:
    engine = Engine(APART, {"o2": 1, "i1": 1}).lose(*ends(0, 1))
    assert engine.step() is Step.STORE
    assert [o.subject for o in failings(engine.state, MAIL, "alpha")] == ["outer"]


def test_a_link_that_is_lost_while_another_way_leads_round_changes_nothing() -> None:
    engine = Engine(APART, {"o1": 1, "i3": 1}).lose(*ends(0, 2))
    assert engine.step() is None
    engine.rules_installed()
    assert readiness.unsettled(engine.state, engine.now) == ()


def test_a_link_that_is_down_at_one_end_is_down() -> None:
    engine = Engine(APART, {"o1": 1, "i3": 1})
    engine.lose(Attachment("i1", LINKS + 2), Attachment("i4", LINKS + 5))
    assert engine.step() is Step.STORE


def test_where_nobody_is_known_to_be_a_user_nobody_is_cut_off() -> None:
    engine = Engine(APART, {}).lose(*ends(0, 1, 2, 5))
    assert engine.step() is None
    assert failings(engine.state, MAIL, "alpha") == ()


def test_who_is_cut_off_is_not_dead_and_keeps_its_power_if_it_lets_go() -> None:
    engine = Engine(APART, {"o1": 1, "i3": 1}).lose(*ends(2, 5)).stored()
    assert engine.asked(Verb.RELEASE)
    engine.answer(Verb.RELEASE)
    assert engine.step() is Step.ASSUME
    assert engine.all(FencePower) == []


def test_while_a_switch_dies_whose_neighbour_tells_first_is_not_left() -> None:
    """It is i2 that dies; alpha at i1 seems cut off until i3 has told, too."""
    at = {"alpha": ("o1", "i1"), "beta": ("o1", "i3")}
    engine = Engine(at, {"o1": 1, "i1": 1, "i2": 9, "i3": 1}).lose(*ends(4))
    engine.lose(Attachment("i1", LINKS + 2), wait=ALL_HAVE_TOLD / 2)
    assert failings(engine.state, MAIL, "alpha") != ()
    engine.lose(Attachment("i3", LINKS + 3)).tell(SwitchLost("i2"))
    assert engine.step() is None


# Users on both sides.


def test_of_two_sides_with_as_many_users_none_is_left_for_the_other() -> None:
    engine = Engine(APART, {"o1": 1, "i1": 3, "i3": 3}).lose(*ends(2, 4))
    assert engine.step() is None


def test_a_side_with_twice_as_many_users_is_not_worth_cutting_the_others_off() -> None:
    engine = Engine(APART, {"o1": 1, "i1": 2, "i3": 4}).lose(*ends(2, 4))
    assert engine.step() is None


def test_a_role_moves_as_planned_to_a_side_with_more_than_twice_as_many_users() -> None:
    engine = Engine(APART, {"i1": 2, "i3": 5}).lose(*ends(2, 4))
    assert engine.step() is Step.STORE
    assert engine.state.takeovers[MAIL].planned
    assert said(failings(engine.state, MAIL, "alpha")) == [
        "users at i3 cannot reach it, and could reach beta"
    ]


def test_a_role_moves_to_who_reaches_the_same_users_and_more() -> None:
    at = {"alpha": ("o1", "i1"), "beta": ("o1", "i1", "i3")}
    engine = Engine(at, {"o1": 1, "i1": 9, "i3": 1}).lose(*ends(2, 4))
    assert engine.step() is Step.STORE


def test_a_third_server_that_reaches_as_few_does_not_get_the_role() -> None:
    """gamma would be given it, because beta, which reaches more, lacks something."""
    at = {"alpha": ("o1", "i1"), "beta": ("o1", "i3"), "gamma": ("o1", "i1")}
    engine = Engine(at, {"o1": 1, "i1": 1, "i3": 9}).unheard("beta-i3", MAIL).lose(*ends(2, 4))
    assert engine.step() is None
    assert Obstacle(Reason.NOT_BETTER, "gamma") in engine.state.waiting[MAIL]


def test_nobody_is_given_more_users_whom_the_prober_does_not_hear() -> None:
    """The prober is beside alpha; of beta, cut off from it, nobody knows whether it serves."""
    engine = Engine(APART, {"o1": 1, "i1": 1, "i3": 9}).unheard("beta-i3", MAIL).lose(*ends(2, 4))
    assert engine.step() is None
    assert [o.reason for o in engine.state.waiting[MAIL]] == [
        Reason.REACHES_FEWER,
        Reason.SERVICE_UNHEALTHY,
    ]


def test_who_serves_ill_is_left_for_who_serves_fewer_well() -> None:
    engine = Engine(APART, {"o1": 1, "i1": 9, "i3": 1}, ("o1", "i3"))
    engine.lose(*ends(2, 4)).unheard("alpha-i1", MAIL)
    assert engine.step() is Step.STORE


def test_nobody_is_asked_back_to_where_fewer_users_are() -> None:
    engine = Engine(APART, {"o2": 1, "o1": 5}).lose(*ends(0, 1))
    engine.state = engine.state.changed(takeovers={})  # of what has begun
    assert said(obstacles(engine.state, RELAY, "alpha")) == []
    engine = Engine(APART, {"o2": 5, "o1": 1}).lose(*ends(0, 1))
    answer = engine.request(RequestKind.FAILOVER, RELAY, "alpha")
    assert said(answer.obstacles) == ["users at o2 cannot reach it, and could reach beta"]


# What is not known.


def test_a_side_in_which_the_controller_is_connected_with_nobody_has_no_users() -> None:
    """i1 has lost its power: alpha's port was up when it told last."""
    engine = Engine(APART, {"o1": 1, "i1": 9, "i3": 1})
    engine.lose(Attachment("i2", LINKS + 2), Attachment("i4", LINKS + 5))
    assert engine.step() is None
    engine.tell(SwitchLost("i1"))
    assert engine.step() is Step.STORE


def test_a_controller_that_is_connected_with_nobody_leaves_nobody() -> None:
    engine = Engine(APART, EVERYWHERE)
    for switch in SWITCHES:
        engine.tell(SwitchLost(switch))
    assert engine.step() is None
    assert failings(engine.state, MAIL, "alpha") == ()


def test_a_switch_that_is_away_and_joined_counts_as_it_was_told_last() -> None:
    engine = Engine(APART, {"o1": 1, "i1": 9, "i3": 1}).tell(SwitchLost("i1"))
    engine.lose(*ends(3))
    assert engine.step() is None


# What is said.


def test_a_switch_that_is_cut_off_is_named_and_the_site_is_not_settled() -> None:
    engine = Engine(CROSSED, EVERYWHERE).lose(*ends(3, 4))
    engine.rules_installed()
    assert engine.step() is None
    assert said(readiness.unsettled(engine.state, engine.now)) == [
        "i3 cut off from the rest of inner: mend a link that leads there"
    ]
    engine.mend(*ends(3)).rules_installed()
    assert readiness.unsettled(engine.state, engine.now) == ()


def test_what_is_cut_off_is_the_side_with_fewer_users() -> None:
    engine = Engine(CROSSED, {"o1": 1, "i1": 1, "i2": 1, "i3": 5}).lose(*ends(3, 4))
    engine.rules_installed()
    cut = [o.subject for o in readiness.unsettled(engine.state, engine.now)]
    assert cut == ["i1", "i2", "i4"]


def test_where_all_are_cut_off_the_role_waits_where_it_is_and_says_why() -> None:
    at = {"alpha": ("o1", "i1"), "beta": ("o1", "i2")}
    engine = Engine(at, {"o1": 1, "i3": 1}).lose(*ends(2, 3, 5))
    assert engine.step() is None
    assert said(engine.state.waiting[MAIL])[:2] == [
        "the server's interfaces on inner are at i1, cut off from all users there",
        "the server's interfaces on inner are at i2, cut off from all users there",
    ]


# Whatever is lost.


@dataclass(frozen=True)
class Loss:
    """`at`: by server, where its cards are. `lost`: ends of links. `away`: switches that the
    controller has lost meanwhile."""

    at: dict[str, tuple[str, ...]]
    users: dict[str, int]
    lost: frozenset[Attachment]
    away: frozenset[str] = frozenset()
    probers: tuple[str, str] = ("o1", "i1")
    failback: str = "automatic"


def run(loss: Loss, seed: int = 0) -> SplitWorld:
    """Lose it, look, mend it, look again."""
    site = split_site(loss.at, loss.probers, failback=loss.failback)
    world = SplitWorld(site, seed, loss.users)
    world.run_until(LOST)
    world.lose(loss.lost)
    for switch in sorted(loss.away):
        world.switches_away.add(switch)
        world.later(SwitchLost(switch))
    world.run_until(SETTLED)
    check_rest(world)
    if not loss.away:
        check_reached(world)
        check_said(world)
    world.run_until(MENDED)
    world.lose(())
    world.find_switch(next(iter(world.hosts.values())))
    world.run_until(END)
    check_rest(world)
    if reasons := readiness.unsettled(world.state, world.now):
        raise Broken(f"mended, and not settled: {said(reasons)}")
    return world


def check_rest(world: SplitWorld) -> None:
    if moved := world.moves(world.now - QUIET):
        raise Broken(f"{moved} moved in the last {QUIET} s")


def check_reached(world: SplitWorld) -> None:
    for role in world.site.roles:
        live = world.server_of(role)
        reached = world.reached(role, live)
        for other in world.site.roles[role].servers:
            more = world.reached(role, other)
            fewer = world.cut_off(role, live) or reached < more
            if fewer and world.could_have(role, other):
                raise Broken(f"{role} is at {live}, reached by {reached}; {other} would by {more}")


def check_said(world: SplitWorld) -> None:
    reasons = readiness.unsettled(world.state, world.now)
    named = {o.subject for o in reasons if o.reason is Reason.SWITCH_CUT_OFF}
    for segment in SEGMENTS:
        parts = world.parts(segment)
        whole = [part for part in parts if not part & named]
        if len(whole) != 1 or named & set().union(*parts) != set().union(*parts) - whole[0]:
            raise Broken(f"{segment} is {parts}, and said to be cut off is {named}")


def sets_of_links() -> Iterable[tuple[int, ...]]:
    numbers = range(len(CABLES))
    return chain.from_iterable(combinations(numbers, size) for size in range(len(CABLES) + 1))


def breaks(loss: Loss, seed: int = 0) -> str:
    try:
        run(loss, seed)
    except Broken as broken:
        return str(broken)
    return ""


LAYOUTS = {
    "apart": APART,
    "crossed": CROSSED,
    "one beside two": {"alpha": ("o1", "i1"), "beta": ("o2", "o1", "i3", "i2")},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_set_of_lost_links_leaves_a_role_where_fewer_users_reach_it(name: str) -> None:
    losses = [Loss(LAYOUTS[name], EVERYWHERE, frozenset(ends(*x))) for x in sets_of_links()]
    assert {loss.lost: found for loss in losses if (found := breaks(loss))} == {}


def drawn(seed: int) -> Loss:
    """Any cards, users, probers, and ends of links; a switch may be away, too."""
    random = Random(seed)
    inner = [name for name, segment in SWITCHES.items() if segment == "inner"]
    at = {
        server: (
            *random.sample(("o1", "o2"), random.choice((1, 2))),
            *random.sample(inner, random.choice((1, 2, 3))),
        )
        for server in ("alpha", "beta", "gamma")[: random.choice((2, 2, 3))]
    }
    every = [end for number in range(len(CABLES)) for end in ends(number)]
    return Loss(
        at,
        {switch: random.choice((0, 1, 2, 7)) for switch in SWITCHES},
        frozenset(random.sample(every, random.randint(1, 7))),
        frozenset(random.sample(sorted(SWITCHES), random.choice((0, 0, 0, 1, 2)))),
        (random.choice(("o1", "o2")), random.choice(inner)),
        random.choice(("automatic", "manual")),
    )


SEEDS, ALL_SEEDS = 60, 3_000


def test_nothing_that_is_drawn_leaves_a_role_where_fewer_users_reach_it() -> None:
    assert {seed: found for seed in range(SEEDS) if (found := breaks(drawn(seed), seed))} == {}


def test_every_question_is_asked_again_when_links_fail() -> None:
    with watched(set()):
        for seed in range(3):
            run(drawn(seed), seed)


@pytest.mark.thorough
def test_nothing_leaves_a_role_where_fewer_users_reach_it_however_often() -> None:
    seeds = range(SEEDS, ALL_SEEDS)
    assert {seed: found for seed in seeds if (found := breaks(drawn(seed), seed))} == {}


UNGUARDED = {
    "only who reaches more is moved to": (
        decide,
        "gives_users_more",
        lambda *_: True,
        "moved in the last",
    ),
    "a card without users is not live": (reach, "reaches_users", lambda *_: True, "reached by"),
    "who reaches more is preferred": (reach, "missed", lambda *_: (), "reached by"),
    "nobody goes back to fewer users": (
        candidates,
        "TAKING",
        tuple(check for check in candidates.TAKING if check.__name__ != "_reaches_fewer"),
        "moved in the last",
    ),
    "who is cut off is named": (split, "of_roles", lambda _: (), "said to be cut off"),
}


@pytest.mark.parametrize("name", UNGUARDED)
def test_without_its_guard_the_rule_breaks(name: str) -> None:
    module, guard, replacement, what = UNGUARDED[name]
    with patch.object(module, guard, replacement):
        assert any(what in breaks(drawn(seed), seed) for seed in range(ALL_SEEDS))


def test_who_exceeds_another_reaches_more_in_all() -> None:
    users = {"a": 1, "b": 1, "c": 2, "d": 5}
    sets = chain.from_iterable(combinations(users, size) for size in range(len(users) + 1))
    reaches = [{switch: users[switch] for switch in found} for found in sets]
    for one, other in product(reaches, reaches):
        assert not reach.exceeds(one, other) or sum(one.values()) > sum(other.values())
