"""A planned move cuts nobody off who is served, where it can be seen that it would."""

from __future__ import annotations

import pytest
from simulation import MAIL, RELAY, make_site
from test_engine_decide import Engine

from hactrl.engine.effects import Obstacle, Reason, StorePlacement, Verb
from hactrl.engine.events import AgentLost, LeaseAsked, Requested, RequestKind, SwitchLost
from hactrl.engine.state import Step
from hactrl.vocabulary import Outcome, Verdict

ALPHA_IS_DEAF = Obstacle(Reason.CANNOT_RELEASE, "alpha")


def forced(engine: Engine) -> Engine:
    return engine.tell(
        Requested("r1", RequestKind.FAILOVER, MAIL, "beta", "because", False, force=True)
    )


def test_a_request_is_refused_while_the_owner_cannot_be_asked_to_release() -> None:
    answer = Engine().tell(AgentLost("alpha")).request(RequestKind.FAILOVER, MAIL, "beta")
    assert (answer.accepted, answer.obstacles) == (False, (ALPHA_IS_DEAF,))


def test_a_disabled_owner_goes_on_until_it_can_be_asked_to_release() -> None:
    engine = Engine().tell(AgentLost("alpha"), LeaseAsked("l", "alpha", MAIL, 3))
    engine.request(RequestKind.DISABLE, "", "alpha")
    assert not engine.state.takeovers
    assert ALPHA_IS_DEAF in engine.state.waiting[MAIL]


def test_force_goes_on_all_the_same() -> None:
    engine = forced(Engine().tell(AgentLost("alpha")))
    assert engine.step() is Step.STORE
    assert engine.all(StorePlacement)


def test_nothing_is_begun_before_owner_and_target_give_a_sign_of_life() -> None:
    engine = Engine()
    assert engine.request(RequestKind.FAILOVER, MAIL, "beta").accepted
    assert {asked.server for asked in engine.asked(Verb.STATUS)} == {"alpha", "beta"}
    assert not engine.all(StorePlacement)
    engine.signs()
    assert engine.last(StorePlacement).server == "beta"


@pytest.mark.parametrize("silent", ["alpha", "beta"])
def test_a_frozen_agent_makes_a_planned_move_end_while_users_are_served(silent: str) -> None:
    engine = Engine()
    engine.request(RequestKind.FAILOVER, MAIL, "beta")
    for _ in range(200):
        engine.wait(0.1).tell(LeaseAsked("l", "alpha", MAIL, 3))
        for asked in engine.asked(Verb.STATUS):
            if asked.server != silent:
                engine.answer_to(asked)
        assert engine.order(MAIL, "inner") == ["alpha-inner0", "alpha-inner1"]
    assert engine.step() is None
    assert not engine.all(StorePlacement)
    assert engine.recorded("takeover.failed")
    assert MAIL not in engine.state.hold_downs, "a real failure is answered at once"


def test_an_owner_that_fails_meanwhile_is_left_without_its_sign_of_life() -> None:
    engine = Engine()
    engine.request(RequestKind.FAILOVER, MAIL, "beta")
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused")
    takeover = engine.state.takeovers[MAIL]
    assert (takeover.planned, takeover.step) == (False, Step.STORE)
    assert engine.all(StorePlacement)


def test_a_role_that_is_served_ill_is_moved_without_caution() -> None:
    engine = Engine(make_site(lease=None)).tell(AgentLost("alpha"))
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused")
    assert engine.all(StorePlacement)


@pytest.mark.parametrize("role", [MAIL, RELAY])
def test_a_request_is_refused_while_a_switch_cannot_be_told(role: str) -> None:
    engine = Engine().tell(SwitchLost("outer"))
    answer = engine.request(RequestKind.FAILOVER, role, None)
    assert answer.obstacles == (Obstacle(Reason.SWITCH_AWAY, "outer"),)


def test_a_sign_of_life_that_failed_stands_in_the_way_for_a_pause() -> None:
    engine = Engine()
    engine.request(RequestKind.DISABLE, "", "alpha")
    for asked in engine.asked(Verb.STATUS):
        engine.answer_to(asked, Outcome.TIMED_OUT if asked.server == "alpha" else Outcome.DONE)
    engine.pass_quietly(1)
    assert not engine.all(StorePlacement)
    assert engine.order(MAIL, "inner") == ["alpha-inner0", "alpha-inner1"]
