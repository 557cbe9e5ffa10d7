"""What the engine remembers, on simulated hours with the default timers: a fault that lasts does
not move a role for ever, and nobody serves worse for our trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from simulation import MAIL, RELAY, World, make_site
from test_engine_decide import UP, Engine

from hactrl.control.wanted import intents
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import AnswerRequest, Obstacle, Reason, Record, Remember, StorePlacement
from hactrl.engine.events import (
    AgentConnected,
    EpochStored,
    Requested,
    RequestKind,
    SwitchConnected,
)
from hactrl.engine.memory import text
from hactrl.engine.state import Failure, Fenced, HoldDown, Kept, Placement, Rest, State
from hactrl.site.model import Timers
from hactrl.vocabulary import Outcome, Verdict

HOUR = 3600.0

#: When the fault begins: the site has long been in order.
BEGINS = 60.0


def moves(world: World, role: str, since: float, until: float) -> int:
    """How often the role came to another server than before."""
    return sum(
        record.kind == "takeover.finished"
        and record.role == role
        and details["origin"] != details["target"]
        and since <= when < until
        for when, record in world.journal
        if (details := dict(record.details))
    )


def attempts(world: World, role: str) -> int:
    return sum(
        record.kind == "takeover.started" and record.role == role for _, record in world.journal
    )


def hour_of(
    begin: Callable[[World], None], *, failback: str = "manual", servers: int = 2, hours: int = 1
) -> World:
    """A site in order, then a fault that lasts. Nothing else fails, messages are quick."""
    world = World(make_site(servers, failback=failback, timers=Timers()), 1, slowest=0.05)
    world.failing = 0.0
    world.run_until(BEGINS)
    begin(world)
    world.world_changed()
    world.run_until(BEGINS + hours * HOUR)
    return world


def name_server_dies(reason: str) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.common_cause = reason

    return begin


def out_of_service(world: World) -> float:
    """Seconds in which nobody was given the mail, because it changed hands."""
    total, started = 0.0, None
    for when, record in world.journal:
        if record.role == MAIL and record.kind == "takeover.started":
            started = when
        if record.role == MAIL and record.kind in ("takeover.finished", "takeover.failed"):
            assert started is not None
            total, started = total + when - started, None
    return total + (world.now - started if started is not None else 0.0)


@pytest.mark.reported("A1")
@pytest.mark.parametrize("servers", [2, pytest.param(3, marks=pytest.mark.thorough)])
def test_mail_that_is_silent_wherever_it_is_soon_stays_where_it_is(servers: int) -> None:
    world = hour_of(name_server_dies("timeout"), servers=servers, hours=2)
    assert moves(world, MAIL, 0.0, HOUR) <= 6
    assert moves(world, MAIL, HOUR, 2 * HOUR) <= 2
    assert attempts(world, MAIL) <= 8  # it moved 72 times, and was out for 1,541 s of an hour
    assert out_of_service(world) < 70 * (servers - 1)
    print(
        "A1", servers, moves(world, MAIL, 0.0, HOUR), attempts(world, MAIL), out_of_service(world)
    )


@pytest.mark.reported("A1")
def test_a_slow_owner_is_not_left_for_a_standby_that_says_try_again() -> None:
    world = hour_of(name_server_dies("slow"))
    assert attempts(world, MAIL) == 1  # the one that placed it
    assert {obstacle.reason.value for obstacle in world.state.waiting[MAIL]} == {
        "service_unhealthy",
        "not_better",
    }


def name_server_dies_as_probes_see_it(world: World) -> None:
    """Whoever has the mail is silent first, and slow when a patient dialogue has ended."""
    world.common_cause = "slow"
    world.greets_after = 10.0


@pytest.mark.reported("A1")
@pytest.mark.parametrize("servers", [2, pytest.param(3, marks=pytest.mark.thorough)])
def test_mail_that_was_taken_for_silent_stays_when_it_is_found_slow(servers: int) -> None:
    world = hour_of(name_server_dies_as_probes_see_it, servers=servers)
    assert moves(world, MAIL, BEGINS, 3 * HOUR) == 1
    assert attempts(world, MAIL) == 2  # the one that placed it, and before it was found slow


@pytest.mark.reported("A1")
def test_the_journal_says_who_is_found_slow_and_who_no_longer() -> None:
    engine = Engine()
    for reason in ("timeout", "slow", "slow_ipv6", "timeout"):
        engine.probe("beta", RELAY, Verdict.UNHEALTHY, reason)
    told = [dict(r.details)["reason"] for r in engine.all(Record) if r.kind == "probe.changed"]
    assert told == ["timeout", "slow", "timeout"]


def preferred_fails(how: str) -> Callable[[World], None]:
    """Alpha loses its power, comes back, and looks able to take the mail."""

    def begin(world: World) -> None:
        alpha = world.hosts["alpha"]
        setattr(alpha, how, True)
        world.power_off(alpha)
        world.after(20.0, lambda: world.power_on(alpha))

    return begin


@pytest.mark.reported("A2")
def test_a_failback_that_fails_is_tried_again_ever_more_seldom() -> None:
    world = hour_of(preferred_fails("treacherous"), failback="automatic")
    assert attempts(world, MAIL) <= 9  # 111 before
    assert out_of_service(world) < 30  # users are served while signs of life are sought


@pytest.mark.reported("A2")
def test_a_failback_that_hangs_is_tried_again_ever_more_seldom() -> None:
    world = hour_of(preferred_fails("hangs"), failback="automatic")
    assert attempts(world, MAIL) <= 9
    assert out_of_service(world) < 250  # 1,830 s before, of which each attempt takes 30


# What a restart must not forget.


def with_memories(engine: Engine) -> Engine:
    engine.state = replace(
        engine.state,
        disabled=frozenset({"beta"}),
        fenced={"beta": Fenced(engine.now - 5, "b7")},
        hold_downs={MAIL: HoldDown(engine.now + 4, 8.0)},
        failures={(MAIL, "beta"): Failure(3, 2, engine.now - 10, engine.now + 90, 120.0, "b7")},
        rests={MAIL: Rest(4, engine.now + 600)},
    )
    return engine


#: Fields that `initial` gets by tables of their own, or from the site file.
ELSEWHERE = {"site", "placements", "host_table", "epoch_floor"}


@pytest.mark.reported("A3")
@pytest.mark.parametrize("name", [field.name for field in fields(State)])
def test_every_field_of_the_state_says_what_becomes_of_it_and_keeps_its_word(name: str) -> None:
    kept = {field.name: field.metadata.get("kept") for field in fields(State)}[name]
    assert isinstance(kept, Kept), f"State.{name} does not say what becomes of it at a restart"
    if kept is not Kept.STORED or name in ELSEWHERE:
        return
    before = with_memories(Engine())
    assert getattr(before.state, name), f"{name} is not among the memories of this test"
    later = 7000.0  # the clock of another boot
    shift = later - before.now
    written = text(before.state, before.now)
    after = initial(before.site, {}, later, (), written)
    assert getattr(after, name) == moved(getattr(before.state, name), shift, later)


def moved(value: Any, shift: float, now: float) -> Any:
    """The same with its moments on the new clock."""
    if not isinstance(value, dict):
        return value
    return {key: _moved(each, shift, now) for key, each in value.items()}


def _moved(value: Any, shift: float, now: float) -> Any:
    if isinstance(value, Fenced):
        return replace(value, since=now)
    times = {name: getattr(value, name) + shift for name in ("at", "until") if hasattr(value, name)}
    return replace(value, **times)


@pytest.mark.reported("A3")
def test_a_server_stays_disabled_and_fenced_over_a_restart() -> None:
    before = with_memories(Engine())
    state = initial(before.site, {}, 50.0, (), text(before.state, before.now))
    assert state.disabled == {"beta"}
    state, _ = decide(state, AgentConnected("beta", "b7", ()), 51.0)
    assert "beta" in state.fenced, "the boot that was fenced ends no fence"
    state, _ = decide(state, AgentConnected("beta", "b8", ()), 52.0)
    assert "beta" not in state.fenced


def given_up() -> Engine:
    """Mail was to go from alpha to beta, but whether that was stored nobody could say."""
    engine = Engine()
    engine.request(RequestKind.FAILOVER, MAIL, "beta")
    engine.signs()
    engine.tell(EpochStored(engine.last(StorePlacement).operation, Outcome.FAILED))
    assert [record.kind for record in engine.recorded("takeover.failed")]
    return engine


@pytest.mark.reported("A3")
def test_a_role_that_was_left_where_it_is_stays_there_over_a_restart() -> None:
    engine = given_up()
    last = engine.last(StorePlacement)
    stored = {MAIL: (last.server, last.epoch)}
    assert stored == {MAIL: ("beta", 4)}
    state = initial(engine.site, stored, 50.0, (), engine.last(Remember).text)
    assert state.placements[MAIL] == Placement("alpha", 3, 50.0)
    assert state.epochs[MAIL] == 4, "an epoch that was given is not given again"
    again = initial(engine.site, stored, 90.0, (), text(state, 50.0))
    assert again.placements[MAIL] == Placement("alpha", 3, 90.0), "nor does the next one move it"


@pytest.mark.reported("A3")
def test_a_change_that_was_stored_later_counts_and_not_where_the_role_had_stayed() -> None:
    engine = given_up()
    stored = {MAIL: ("beta", 5)}
    state = initial(engine.site, stored, 50.0, (), engine.last(Remember).text)
    assert state.placements[MAIL] == Placement("beta", 5, 50.0)


def relay_moved() -> Engine:
    """The relay, which owns nothing, has gone from beta to alpha."""
    engine = Engine().probe("beta", RELAY, Verdict.UNHEALTHY, "refused").rules_installed()
    assert not engine.all(StorePlacement)
    assert engine.state.placements[RELAY] == Placement("alpha", 2, engine.now)
    return engine


def test_a_restart_leaves_a_role_that_owns_nothing_where_it_went() -> None:
    engine = relay_moved()
    stored = {RELAY: ("beta", 1)}
    state = initial(engine.site, stored, 50.0, (), engine.last(Remember).text)
    assert state.placements[RELAY] == Placement("alpha", 2, 50.0)
    assert state.epochs[RELAY] == 2


def test_a_role_that_owns_nothing_moves_although_nothing_can_be_written() -> None:
    engine = Engine()
    engine.request(RequestKind.DISABLE, "", "beta")
    engine.written(Outcome.FAILED)
    engine.probe("beta", RELAY, Verdict.UNHEALTHY, "refused")
    assert engine.state.placements[RELAY].server == "alpha"


def test_where_a_role_went_is_written_again_until_it_is_on_disk() -> None:
    engine = relay_moved()
    engine.written(Outcome.FAILED)
    before = len(engine.all(Remember))
    engine.wait(60.0)
    assert len(engine.all(Remember)) > before
    state = initial(engine.site, {}, 50.0, (), engine.last(Remember).text)
    assert state.placements[RELAY].server == "alpha"


def test_what_a_role_is_given_later_counts_above_what_it_had_while_it_owned_nothing() -> None:
    engine = relay_moved()
    state = initial(engine.site, {RELAY: ("beta", 3)}, 50.0, (), engine.last(Remember).text)
    assert state.placements[RELAY] == Placement("beta", 3, 50.0)


@pytest.mark.reported("A3")
def test_disabling_is_answered_only_when_it_is_on_disk() -> None:
    engine = Engine()
    engine.tell(Requested("r1", RequestKind.DISABLE, "", "beta", "because"))
    assert not engine.all(AnswerRequest)
    assert engine.state.disabled == frozenset()
    assert '"disabled": ["beta"]' in engine.last(Remember).text
    engine.written()
    assert engine.last(AnswerRequest).accepted
    assert engine.state.disabled == {"beta"}


@pytest.mark.reported("A3")
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
def test_what_cannot_be_written_is_refused_and_does_not_count(outcome: Outcome) -> None:
    engine = Engine()
    engine.tell(Requested("r1", RequestKind.DISABLE, "", "beta", "because")).written(outcome)
    answer = engine.last(AnswerRequest)
    assert not answer.accepted
    assert answer.obstacles == (Obstacle(Reason.NOT_WRITTEN, "disable"),)
    assert engine.state.disabled == frozenset()


@pytest.mark.reported("A3")
def test_two_requests_at_once_are_both_remembered() -> None:
    engine = Engine()
    engine.tell(Requested("r1", RequestKind.DISABLE, "", "beta", "because"))
    engine.tell(Requested("r2", RequestKind.DISABLE, "", "alpha", "because"))
    engine.written()
    assert [answer.request for answer in engine.all(AnswerRequest)] == ["r1"]
    engine.written()
    assert [answer.request for answer in engine.all(AnswerRequest)] == ["r1", "r2"]
    assert engine.state.disabled == {"alpha", "beta"}
    assert '["alpha", "beta"]' in engine.last(Remember).text


@pytest.mark.reported("A3")
@pytest.mark.parametrize("damaged", ["{", "[]", '{"disabled": 3}', '{"stays": 3}', "null"])
def test_a_damaged_memory_is_an_error_that_says_so(damaged: str) -> None:
    with pytest.raises(ValueError, match="memory cannot be read"):
        initial(make_site(), {}, 0.0, (), damaged)


@pytest.mark.reported("A2")
def test_an_operator_can_have_forgotten_what_failed() -> None:
    engine = with_memories(Engine())
    assert engine.request(RequestKind.RETRY, MAIL, None).accepted
    assert (engine.state.failures, engine.state.rests, engine.state.hold_downs) == ({}, {}, {})
    assert not engine.request(RequestKind.RETRY, "nonsense", None).accepted


@pytest.mark.reported("A2")
def test_a_new_boot_ends_what_is_held_against_a_server() -> None:
    engine = with_memories(Engine())
    engine.agent("beta", boot="b8")
    assert engine.state.failures == {}


# Nobody is better than somebody.


def relay_dies(engine: Engine, verdict: Verdict, reason: str) -> Engine:
    """Beta, which has the relay, loses its power; alpha does not serve well either."""
    engine.probe("alpha", RELAY, verdict, reason)
    return engine.ports("beta", up=False)


@pytest.mark.reported("A4")
@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.READY, "temporary"),
        (Verdict.UNHEALTHY, "slow"),
        (Verdict.UNHEALTHY, "timeout"),
        (Verdict.UNHEALTHY, "refused_ipv6"),
    ],
)
def test_a_role_leaves_a_dead_server_for_whoever_is_there(verdict: Verdict, reason: str) -> None:
    engine = relay_dies(Engine(), verdict, reason)
    assert engine.state.placements[RELAY].server == "alpha"


@pytest.mark.reported("A4")
def test_the_groups_hold_who_is_there_before_the_controller_has_decided() -> None:
    engine = Engine()
    engine.probe("alpha", RELAY, Verdict.READY, "temporary")
    steer = next(
        s for s in intents(engine.site, engine.state.outlook).steers if s.address.role == RELAY
    )
    assert [card.server for card in steer.order] == ["beta", "alpha"]


@pytest.mark.reported("A4")
@pytest.mark.parametrize("target", ["alpha", None])
def test_an_operator_may_move_a_role_from_nobody_to_somebody(target: str | None) -> None:
    engine = Engine()
    engine.probe("alpha", RELAY, Verdict.READY, "temporary")
    assert not engine.request(RequestKind.FAILOVER, RELAY, target).accepted
    held_down = {RELAY: HoldDown(engine.now + 99, 99.0)}
    engine.state = replace(engine.state, hold_downs=held_down)
    engine.ports("beta", up=False)
    assert engine.request(RequestKind.FAILOVER, RELAY, target).accepted
    assert engine.state.placements[RELAY].server == "alpha"


@pytest.mark.reported("A4")
def test_a_role_goes_back_to_who_serves_it_well() -> None:
    engine = relay_dies(Engine(), Verdict.READY, "temporary")
    engine.rules_installed().ports("beta", up=True).wait(60.0)
    assert engine.state.takeovers[RELAY].target == "beta"


@pytest.mark.reported("A4")
@pytest.mark.parametrize("reason", ["timeout", "refused"])
def test_nothing_moves_between_equals(reason: str) -> None:
    engine = Engine()
    engine.probe("alpha", RELAY, Verdict.UNHEALTHY, reason)
    engine.probe("beta", RELAY, Verdict.UNHEALTHY, reason).wait(60.0)
    assert RELAY not in engine.state.takeovers
    assert engine.state.placements[RELAY].server == "beta"
    assert engine.state.waiting[RELAY]


@pytest.mark.reported("A7")
def test_a_server_that_has_served_is_left_at_once_also_after_a_first_start() -> None:
    site = make_site()
    engine = Engine(site)
    engine.state = initial(site, {}, engine.now)  # an empty store
    for switch in site.network.switches:
        engine.tell(SwitchConnected(switch, UP))
    for server in site.network.servers:
        engine.agent(server).probe(server, RELAY, Verdict.HEALTHY)
    engine.probe("beta", RELAY, Verdict.UNHEALTHY, "refused")
    assert engine.state.takeovers[RELAY].target == "alpha"
