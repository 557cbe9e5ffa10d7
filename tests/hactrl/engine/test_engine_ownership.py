"""Who may be using the spool, when machines are copied, started anew, cut off, or lie."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from simulation import MAIL, World, make_site
from test_engine_decide import UP, Engine

from hactrl.engine import readiness
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import (
    AnswerRequest,
    AskAgent,
    FencePower,
    GrantLease,
    Obstacle,
    Reason,
    Remember,
    Verb,
)
from hactrl.engine.events import (
    AgentConnected,
    AgentLost,
    AgentReported,
    Event,
    Held,
    LeaseAsked,
    PortChanged,
    ProbeChanged,
    Requested,
    RequestKind,
    SwitchConnected,
    Tick,
)
from hactrl.engine.memory import text
from hactrl.engine.roles import leases, ledger, ownership
from hactrl.engine.state import Failure, Holder, State, Step, Whose
from hactrl.vocabulary import Holding, Outcome, Proof, Verdict


def unbound(power: bool = False) -> Engine:
    return Engine(make_site(lease=None, power=power))


def copied(engine: Engine, boot: str = "clone") -> Engine:
    """Alpha's connection is taken by a copy of it, which holds nothing."""
    return engine.tell(AgentLost("alpha")).agent("alpha", Holding.NOTHING, 3, boot=boot)


# Copies.


@pytest.mark.reported("B1")
@pytest.mark.parametrize("boot", ["clone", "b1"])
def test_a_copy_s_word_moves_nothing_that_serves(boot: str) -> None:
    engine = copied(Engine(), boot)
    assert not engine.state.takeovers
    assert engine.state.holders[MAIL]["alpha"].proof is None


@pytest.mark.reported("B1")
@pytest.mark.parametrize("boot", ["clone", "b1"])
def test_a_copy_s_word_gives_the_spool_to_nobody(boot: str) -> None:
    """The sequence by which it did: the owner's connection taken, then the role moved."""
    engine = copied(unbound(), boot)
    engine.ports("alpha", False).stored().wait(600.0)
    assert engine.step() is Step.FENCE
    assert not engine.asked(Verb.ASSUME)


@pytest.mark.reported("B1")
def test_only_the_end_of_the_owner_s_lease_proves_it_gone_while_a_copy_speaks() -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3, "b1"))
    copied(engine).ports("alpha", False).stored().wait(4.49)
    assert not engine.asked(Verb.ASSUME)
    engine.wait(0.02)
    assert engine.asked(Verb.ASSUME)[-1].proof is Proof.LEASE


@pytest.mark.reported("B1")
def test_a_copy_is_not_given_the_role_while_the_owner_may_have_it() -> None:
    engine = copied(unbound()).probe("alpha", MAIL, Verdict.READY).wait(1.0)
    assert engine.state.takeovers[MAIL].target == "beta"
    assert not engine.asked(Verb.ASSUME)


@pytest.mark.reported("B1")
@pytest.mark.parametrize(("boot", "granted"), [("b1", True), ("clone", False), ("", True)])
def test_a_lease_is_granted_to_the_boot_that_holds_it(boot: str, granted: bool) -> None:
    engine = Engine().tell(LeaseAsked("l", "alpha", MAIL, 3, boot))
    assert engine.last(GrantLease).granted is granted


@pytest.mark.reported("B1")
def test_a_copy_that_says_that_it_has_the_role_makes_no_word_of_that_name_a_proof() -> None:
    engine = unbound().tell(AgentLost("alpha"))
    engine.agent("alpha", Holding.HELD, 3, boot="clone").agent("alpha", Holding.HELD, 3)
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.NOTHING, 3)))
    assert engine.state.holders[MAIL]["alpha"].whose is Whose.SEVERAL
    assert engine.state.holders[MAIL]["alpha"].proof is None


@pytest.mark.reported("B1")
def test_a_target_that_starts_anew_before_it_is_asked_is_stored_with_its_new_boot() -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha")).ports("alpha", False)
    engine.stored().agent("beta", boot="b2").stored().wait(5.0)
    assert ownership.entered(engine.state)[MAIL]["beta"] == "b2"
    assert engine.asked(Verb.ASSUME)[-1].epoch == 5


@pytest.mark.reported("B1")
def test_a_target_that_starts_anew_while_it_assumes_is_not_asked_again() -> None:
    engine = Engine(make_site(power=False))
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored().answer(Verb.RELEASE)
    assert engine.step() is Step.ASSUME
    engine.agent("beta", boot="b2")
    assert len(engine.asked(Verb.ASSUME)) == 1


@pytest.mark.reported("B1")
def test_a_target_whose_connection_broke_is_asked_again() -> None:
    engine = Engine(make_site(power=False))
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored().answer(Verb.RELEASE)
    engine.tell(AgentLost("beta")).agent("beta")
    assert len(engine.asked(Verb.ASSUME)) == 2


def test_a_word_at_the_epoch_of_its_assume_proves_nothing_after_a_release_at_it() -> None:
    """The owner's daemon ended, and it is to take the role again: it is asked to release, does not
    answer in time, and is asked to assume. What it says then may be the answer to the first."""
    engine = Engine(make_site(power=False)).probe("beta", MAIL, Verdict.UNHEALTHY, "refused")
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.FAILED, 3))).stored()
    assert [asked.epoch for asked in engine.asked(Verb.RELEASE)] == [4]
    engine.wait(engine.site.timers.release_deadline + 0.1)
    assert [asked.epoch for asked in engine.asked(Verb.ASSUME)] == [4]
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.NOTHING, 4)))
    assert engine.state.holders[MAIL]["alpha"].proof is None
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.NOTHING, 5)))
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.RELEASED


def test_a_planned_move_whose_owner_dies_before_it_can_be_asked_goes_on_by_force() -> None:
    engine = Engine(make_site(lease=None))
    engine.request(RequestKind.FAILOVER, MAIL, "beta")
    engine.signs()
    engine.tell(AgentLost("alpha")).ports("alpha", False).stored()
    assert not engine.asked(Verb.RELEASE)
    engine.wait(engine.site.timers.retry_pause)  # what the signs of life are kept for
    engine.wait(engine.site.timers.fence_deadline)
    assert engine.recorded("takeover.escalated")
    assert engine.last(FencePower).server == "alpha"


# A controller that has started.


def written(entered: dict[str, dict[str, str]] | None) -> str:
    """The memory of a controller that was ended."""
    return "" if entered is None else json.dumps({"entered": entered})


def started(lease: float | None = 4.0, entered: dict[str, dict[str, str]] | None = None) -> Engine:
    engine = Engine(make_site(lease=lease, power=False))
    engine.state = initial(engine.site, {MAIL: ("alpha", 3)}, engine.now, (), written(entered))
    engine.effects.clear()
    return engine.tell(*(SwitchConnected(switch, UP) for switch in engine.site.network.switches))


@pytest.mark.reported("B1")
@pytest.mark.parametrize("lease", [4.0, None])
@pytest.mark.parametrize("entered", [None, {MAIL: {"alpha": "b1"}}])
def test_a_copy_that_comes_first_to_a_new_controller_proves_nothing(
    lease: float | None, entered: dict[str, dict[str, str]] | None
) -> None:
    engine = started(lease, entered).agent("alpha", boot="clone")
    assert engine.state.holders[MAIL]["alpha"].proof is None
    engine.wait(4.5)
    assert engine.state.holders[MAIL]["alpha"].proof is (Proof.LEASE if lease else None)


@pytest.mark.reported("B1")
@pytest.mark.parametrize("entered", [None, {MAIL: {"alpha": "b1"}}])
def test_the_owner_s_own_word_counts_as_before_after_a_start(
    entered: dict[str, dict[str, str]] | None,
) -> None:
    engine = started(entered=entered).agent("alpha", Holding.HELD, 3)
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.NOTHING, 3)))
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.RELEASED


@pytest.mark.reported("B1")
def test_whom_the_stored_ledger_does_not_name_has_only_to_say_that_it_has_nothing() -> None:
    engine = started(entered={MAIL: {"alpha": "b1"}}).agent("beta")
    assert engine.state.holders[MAIL]["beta"].proof is Proof.RELEASED


@pytest.mark.reported("B1")
def test_the_ledger_to_store_names_the_owner_and_who_is_about_to_be_asked() -> None:
    engine = Engine()
    assert ownership.entered(engine.state) == {MAIL: {"alpha": "b1"}}
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused")
    assert ownership.entered(engine.state) == {MAIL: {"alpha": "b1", "beta": "b1"}}


# A person.


def confirm(engine: Engine, server: str = "alpha") -> tuple[bool, set[Reason]]:
    answer = engine.request(RequestKind.CONFIRM_OFF, "", server)
    return answer.accepted, {o.reason for o in answer.obstacles}


@pytest.mark.reported("B1")
def test_a_person_s_word_proves_as_much_as_a_power_cut() -> None:
    engine = unbound().tell(AgentLost("alpha")).ports("alpha", False).stored()
    assert Obstacle(Reason.NO_PROOF, "alpha") in engine.state.takeovers[MAIL].waiting_for
    assert confirm(engine) == (True, set())
    assert engine.asked(Verb.ASSUME)[-1].proof is Proof.POWER
    assert engine.state.takeovers[MAIL].proof is Proof.PERSON


@pytest.mark.reported("B1")
def test_who_is_confirmed_off_stays_fenced_until_a_new_boot() -> None:
    engine = unbound().tell(AgentLost("alpha"))
    confirm(engine)
    assert "alpha" in engine.agent("alpha", Holding.HELD, 3).state.fenced
    assert "alpha" not in engine.agent("alpha", boot="b2").state.fenced


@pytest.mark.reported("B1")
def test_a_server_that_speaks_is_not_off() -> None:
    assert confirm(unbound()) == (False, {Reason.STILL_SPEAKS})
    assert confirm(unbound(), "beta") == (False, {Reason.STILL_SPEAKS})
    assert confirm(unbound(), "nobody") == (False, {Reason.UNKNOWN_SERVER})


@pytest.mark.reported("B1")
def test_a_lease_that_still_runs_needs_nobody_s_word() -> None:
    engine = Engine().tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha"))
    assert confirm(engine) == (False, {Reason.LEASE_RUNS})


@pytest.mark.reported("B1")
def test_a_rebooted_owner_without_lease_and_power_fence_waits_for_a_person_and_says_so() -> None:
    engine = unbound().tell(AgentLost("beta"))
    copied(engine, "b2").probe("alpha", MAIL, Verdict.READY).wait(1.0)
    assert Obstacle(Reason.NO_PROOF, "alpha") in engine.state.waiting[MAIL]
    assert confirm(engine) == (True, set())
    engine.stored()
    assert engine.asked(Verb.ASSUME)[-1].server == "alpha"


@pytest.mark.reported("C5")
def test_nobody_gets_users_by_claiming_a_high_epoch_while_the_owner_says_that_it_has_the_role() -> (
    None
):
    engine = Engine().agent("beta", Holding.HELD, 2**50)
    assert engine.state.placements[MAIL].server == "alpha"


@pytest.mark.reported("C5")
def test_ever_higher_epochs_hold_a_move_up_three_times_at_most() -> None:
    engine = Engine(make_site(servers=3)).ports("alpha", False)
    for claim in range(10):
        engine.tell(AgentReported("gamma", Held(MAIL, Holding.NOTHING, 2**40 + claim))).stored()
    engine.tell(AgentReported("gamma", Held(MAIL, Holding.NOTHING, 2**52))).stored()
    assert engine.step() is Step.FENCE
    assert engine.state.takeovers[MAIL].epoch == 2**52 + 1


@pytest.mark.reported("B1")
def test_a_third_server_s_word_erases_nobody_s_proof() -> None:
    """Else the next owner would be told of a stronger proof than there is."""
    engine = Engine(make_site(servers=3, power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha")).wait(4.51)
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.LEASE
    engine.tell(AgentReported("gamma", Held(MAIL, Holding.HELD, 9)))
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.LEASE


@pytest.mark.reported("B1")
def test_nobody_is_off_whose_agent_speaks_with_a_boot_that_has_a_role() -> None:
    """Also where another role of the server was given to a boot before."""
    engine = unbound()
    former = Holder(2, None, boot="b0")
    state = replace(engine.state, holders={"former": {"alpha": former}, **engine.state.holders})
    assert ledger.against_off(state, "alpha", engine.now) is Reason.STILL_SPEAKS


@pytest.mark.reported("C4")
def test_a_standby_that_asks_to_try_again_is_no_evidence_against_itself() -> None:
    engine = Engine(make_site(servers=3)).agent("gamma", Holding.HELD, 3)
    engine.ports("alpha", False).stored().wait(30.0)
    fenced = [fence.server for fence in engine.all(FencePower)]
    assert "gamma" not in fenced


@pytest.mark.reported("A6")
def test_a_full_owner_whose_agent_blinks_is_left_alone() -> None:
    """It says 'try again', which is no sign of death, and its agent is away for a moment."""
    engine = Engine().probe("alpha", MAIL, Verdict.READY, "temporary").pass_quietly(30)
    engine.tell(AgentLost("alpha"))
    assert not engine.state.takeovers
    assert not engine.all(FencePower)


@pytest.mark.reported("B1")
def test_a_person_s_word_that_is_contradicted_meanwhile_does_not_stay_on_disk() -> None:
    engine = unbound().tell(AgentLost("alpha"))
    engine.tell(Requested("r9", RequestKind.CONFIRM_OFF, "", "alpha", "because"))
    engine.agent("alpha", Holding.HELD, 3).all_written()
    assert not engine.last(AnswerRequest).accepted
    assert json.loads(engine.last(Remember).text)["fenced"] == {}


@pytest.mark.reported("A3")
def test_what_proved_a_server_off_proves_it_after_a_restart() -> None:
    engine = unbound().ports("alpha", False).tell(AgentLost("alpha")).stored()
    assert confirm(engine) == (True, set())
    again = initial(engine.site, {MAIL: ("beta", 4)}, 0.0, (), text(engine.state, engine.now))
    assert "alpha" in again.fenced
    assert again.holders[MAIL]["alpha"].proof is Proof.PERSON
    assert again.holders[MAIL]["beta"].proof is None


@pytest.mark.reported("A2")
def test_an_owner_that_is_slow_after_its_own_restart_is_not_released_for_one_that_fails() -> None:
    engine = Engine()
    failure = Failure(1, 1, engine.now, engine.now + 1e4, 1e4, "b1")
    engine.state = replace(engine.state, failures={(MAIL, "beta"): failure})
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.FAILED, 3))).stored()
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.NOTHING, 4))).answer(Verb.RELEASE)
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "slow")
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.HELD, 4)))
    for _ in range(15):
        engine.wait(1.0).tell(LeaseAsked("r", "alpha", MAIL, 4))
    assert engine.state.placements[MAIL].server == "alpha"
    assert [asked.server for asked in engine.asked(Verb.ASSUME)] == ["alpha"]


@pytest.mark.reported("B8")
def test_an_owner_whose_epoch_a_restored_store_does_not_know_keeps_its_lease_and_its_role() -> None:
    """Also when its probes and its guard are heard before its agent."""
    engine = started(None).probe("alpha", MAIL, Verdict.HEALTHY)
    engine.tell(LeaseAsked("first", "alpha", MAIL, 5))
    assert engine.last(GrantLease).granted
    engine.agent("alpha", Holding.HELD, 5).tell(LeaseAsked("second", "alpha", MAIL, 5))
    assert engine.last(GrantLease).granted
    assert engine.state.placements[MAIL].epoch == 5


@pytest.mark.reported("A11")
def test_nobody_is_protected_by_a_server_that_has_failed() -> None:
    engine = Engine()
    failure = Failure(7, 1, engine.now, engine.now + 1e4, 1e4, "b1")
    engine.state = replace(engine.state, failures={(MAIL, "beta"): failure})
    reasons = readiness.unprotected(engine.state, engine.now)[MAIL]
    assert Obstacle(Reason.FAILED_BEFORE, "beta") in reasons


# Two kinds of evidence.


@pytest.mark.reported("C4")
def test_ports_alone_cut_no_power() -> None:
    engine = Engine().ports("alpha", False).answer(Verb.STATUS).stored().wait(1.0)
    assert engine.step() is Step.FENCE
    assert not engine.all(FencePower)


@pytest.mark.reported("C4")
def test_ports_and_an_agent_that_does_not_answer_at_once_do() -> None:
    engine = Engine().ports("alpha", False)
    assert engine.asked(Verb.STATUS)[-1].server == "alpha"
    assert engine.silent().stored().last(FencePower).server == "alpha"


@pytest.mark.reported("C4")
def test_a_lost_agent_alone_cuts_no_power() -> None:
    """Its services answer, and its lease is renewed: nobody but the agent says otherwise."""
    engine = unbound(power=True)
    engine.request(RequestKind.DISABLE, "", "alpha")
    engine.stored().answer(Verb.RELEASE, Outcome.FAILED).tell(AgentLost("alpha")).wait(60.0)
    assert not engine.all(FencePower)


@pytest.mark.reported("C4")
def test_ports_and_a_guard_that_had_stopped_renewing_do() -> None:
    engine = Engine().tell(LeaseAsked("l", "alpha", MAIL, 3)).wait(2.1)
    engine.ports("alpha", False).answer(Verb.STATUS).stored()
    assert engine.last(FencePower).server == "alpha"


def replaced(engine: Engine, gone: str = "alpha") -> Engine:
    """Both switches' sessions are taken by others, which say that a server's ports are down."""
    down = {c.attachment.port for c in engine.site.network.servers[gone].interfaces}
    for switch in engine.site.network.switches:
        engine.tell(SwitchConnected(switch, UP - down, replaces=True))
    return engine


@pytest.mark.reported("C4")
def test_ports_of_a_session_that_took_another_s_place_move_nothing_that_answers() -> None:
    engine = replaced(Engine()).wait(1.0)
    assert not engine.state.takeovers
    engine.ports("alpha", False)
    assert not engine.state.takeovers


@pytest.mark.reported("C4")
def test_they_count_as_soon_as_the_probes_say_so_too() -> None:
    engine = replaced(Engine())
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "timeout")
    assert engine.state.takeovers[MAIL].cause == Reason.NO_LIVE_INTERFACE.value


@pytest.mark.reported("C4")
def test_they_count_at_once_when_the_session_has_lasted() -> None:
    engine = Engine(make_site(lease=None))
    for switch in engine.site.network.switches:
        engine.tell(SwitchConnected(switch, UP, replaces=True))
    assert engine.wait(31.0).ports("alpha", False).step() is Step.STORE


@pytest.mark.reported("C4")
def test_a_doubted_port_that_is_up_again_is_just_up() -> None:
    engine = replaced(Engine()).ports("alpha", True)
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused")
    assert not any(switch.doubted for switch in engine.state.switches.values())
    assert engine.state.takeovers[MAIL].cause == Reason.SERVICE_UNHEALTHY.value


# Epochs beyond reason.


@pytest.mark.reported("C5")
@pytest.mark.parametrize("epoch", [2**63 - 1, 10**4299, 2**52 + 1, -1])
@pytest.mark.parametrize("holding", [Holding.NOTHING, Holding.HELD])
def test_an_epoch_that_no_agent_can_know_raises_ours_to_nothing(
    epoch: int, holding: Holding
) -> None:
    engine = Engine().agent("beta", holding, epoch)
    assert engine.state.epochs[MAIL] == 3
    assert engine.recorded("agent.absurd")


@pytest.mark.reported("C5")
def test_an_answer_with_such_an_epoch_raises_ours_to_nothing_either() -> None:
    engine = Engine().probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored()
    engine.answer(Verb.RELEASE, Outcome.REFUSED, known=2**63 - 1)
    assert engine.state.epochs[MAIL] == 4


@pytest.mark.reported("C5")
def test_the_highest_epoch_that_is_believed_leaves_room_above() -> None:
    engine = Engine().agent("beta", Holding.NOTHING, 2**52)
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored().answer(Verb.RELEASE)
    assert engine.asked(Verb.ASSUME)[-1].epoch == 2**52 + 1
    engine.agent("alpha", Holding.NOTHING, 2**52 + 1)
    assert not engine.recorded("agent.absurd")


# Losing sight.


@pytest.mark.reported("A8")
@pytest.mark.parametrize("step", [Step.FENCE, Step.ASSUME])
def test_a_target_whose_agent_blinks_is_waited_for_in_every_step(step: Step) -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha")).ports("alpha", False)
    engine.stored()
    if step is Step.ASSUME:
        engine.wait(4.51)
    assert engine.step() is step
    engine.tell(AgentLost("beta")).wait(2.5)
    assert engine.step() is step
    engine.agent("beta")
    if step is Step.FENCE:
        engine.wait(2.01)
    engine.answer(Verb.ASSUME)
    assert engine.step() is Step.SERVE


@pytest.mark.reported("A8")
def test_what_failed_only_because_nobody_was_seen_is_tried_again_at_once() -> None:
    engine = unbound().tell(AgentLost("alpha")).ports("alpha", False).stored()
    engine.tell(AgentLost("beta")).wait(engine.site.timers.fence_deadline)
    assert engine.step() is None
    assert MAIL not in engine.state.hold_downs
    assert engine.agent("beta").step() is Step.STORE


@pytest.mark.reported("A8")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("before", [0.02, 0.1, 0.5])
def test_a_controller_that_was_stopped_during_a_power_cut_brings_the_role_back(
    seed: int, before: float
) -> None:
    """Within 3 s of its return."""
    world = World(make_site(), seed, slowest=0.05)
    world.failing = 0.0
    world.run_until(10.0)
    world.power_off(world.hosts["alpha"])
    world.run_until(10.0 + before)
    world.freeze_controller(world.hosts["alpha"])
    world.run_until(30.0)
    world.thaw_controller(world.hosts["alpha"])
    world.run_until(33.0)
    assert world.state.placements[MAIL].server == "beta"
    assert not world.state.takeovers


def stopped(seconds: float) -> Engine:
    """A controller goes on that was stopped just after it had granted alpha a lease; all agents
    have given it up meanwhile."""
    engine = Engine(make_site(lease=15.0)).tell(LeaseAsked("l", "alpha", MAIL, 3))
    engine.effects.clear()
    engine.now += seconds
    return engine


@pytest.mark.parametrize(("seconds", "granted"), [(15.4, True), (15.5, False), (60.0, False)])
def test_a_stopped_controller_renews_nothing_that_has_ended_meanwhile(
    seconds: float, granted: bool
) -> None:
    """What it hears first may be the question of a guard that has died since."""
    engine = stopped(seconds).tell(LeaseAsked("late", "alpha", MAIL, 3))
    assert engine.last(GrantLease).granted is granted


def test_an_owner_that_is_back_soon_after_its_controller_gets_its_role_again() -> None:
    engine = stopped(60.0).tell(AgentLost("alpha"), AgentLost("beta")).agent("beta")
    assert engine.step() is None
    engine.wait(leases.RETURN - 0.1).agent("alpha").stored()
    assert [asked.server for asked in engine.asked(Verb.ASSUME)] == ["alpha"]
    assert not engine.all(FencePower)


@pytest.mark.parametrize("heard", [Tick(), AgentLost("beta")])
def test_an_agent_whose_end_is_not_heard_yet_is_not_back(heard: Event) -> None:
    """The engine hears one after the other what has come meanwhile, and that it is late first."""
    engine = stopped(60.0).tell(heard)
    assert engine.state.holders[MAIL]["alpha"].proof is None
    engine.tell(AgentLost("alpha"), AgentLost("beta")).agent("beta")
    assert engine.step() is None
    engine.wait(leases.RETURN - 0.1).agent("alpha").stored()
    assert [asked.server for asked in engine.asked(Verb.ASSUME)] == ["alpha"]


def test_an_agent_that_stayed_through_an_absence_proves_nothing_sooner_than_one_that_went() -> None:
    engine = stopped(60.0).tell(Tick()).wait(leases.RETURN - 0.1)
    assert engine.state.holders[MAIL]["alpha"].proof is None
    engine.wait(0.1)
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.LEASE


def late(engine: Engine, seconds: float) -> Engine:
    """It runs until it wants to look again, and is stopped then."""
    assert engine.state.wake is not None
    engine.now = engine.state.wake
    return engine.wait(seconds)


def test_a_controller_that_is_late_again_and_again_lets_a_lease_end() -> None:
    """On a machine that is too busy."""
    engine = stopped(60.0).tell(AgentLost("alpha"))
    assert late(engine, 1.1).state.holders[MAIL]["alpha"].proof is Proof.LEASE


def test_a_controller_that_is_late_again_gives_agents_what_it_missed() -> None:
    engine = stopped(60.0).tell(AgentLost("alpha"))
    engine.wait(1.0)
    engine.state = replace(engine.state, wake=engine.now)
    engine.wait(5.0).wait(leases.RETURN - 1.1)
    assert engine.state.holders[MAIL]["alpha"].proof is None
    engine.wait(0.2)
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.LEASE


def test_an_owner_that_does_not_come_back_is_left_soon_after_its_controller_s_return() -> None:
    engine = stopped(60.0).tell(AgentLost("alpha")).wait(leases.RETURN).stored()
    assert engine.asked(Verb.ASSUME)[-1].server == "beta"
    assert engine.asked(Verb.ASSUME)[-1].proof is Proof.LEASE


def test_what_nobody_could_renew_is_no_evidence_that_a_guard_is_dead() -> None:
    engine = stopped(60.0).tell(AgentLost("alpha")).wait(leases.RETURN).stored()
    assert not engine.all(FencePower)


@pytest.mark.reported("B1")
def test_the_reported_sequence_gives_the_spool_to_nobody() -> None:
    """As it was reported, event by event: alpha plays the role with a running lease."""
    site = make_site(power=False)
    state, now = initial(site, {MAIL: ("alpha", 1)}, 0.0), 10.0
    beta = [card.name for card in site.network.servers["beta"].interfaces if "inner" in card.name]
    down = [card.attachment for card in site.network.servers["alpha"].interfaces]
    events: list[Event] = [
        *(SwitchConnected(switch, UP) for switch in site.network.switches),
        AgentConnected("alpha", "a1", (Held(MAIL, Holding.HELD, 1),)),
        AgentConnected("beta", "b1", (Held(MAIL, Holding.NOTHING, 1),)),
        *(ProbeChanged(MAIL, "smtp", card, Verdict.READY) for card in beta),
        LeaseAsked("l", "alpha", MAIL, 1, "a1"),
        AgentLost("alpha"),
        AgentConnected("alpha", "clone", (Held(MAIL, Holding.NOTHING, 1),)),
        *(PortChanged(port, up=False) for port in down),
    ]
    state, asked = _told(state, events, now)
    assert MAIL in state.takeovers
    assert not [order for order in asked if order.verb is Verb.ASSUME]


def _told(state: State, events: list[Event], now: float) -> tuple[State, list[AskAgent]]:
    """Events and, for each takeover that begins, the stored placement."""
    from hactrl.engine.effects import StorePlacement
    from hactrl.engine.events import EpochStored

    asked: list[AskAgent] = []
    queue = list(events)
    while queue:
        state, effects = decide(state, queue.pop(0), now)
        for effect in effects:
            if isinstance(effect, StorePlacement):
                queue.append(EpochStored(effect.operation, Outcome.DONE))
            if isinstance(effect, AskAgent):
                asked.append(effect)
    return state, asked
