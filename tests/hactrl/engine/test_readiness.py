"""When a site is settled, and when its roles are protected: each reason, on the small site of
`simulation.make_site`."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

import pytest
from rest_fixture import Controller, served
from simulation import MAIL, RELAY, make_site
from test_engine_decide import Engine
from test_sight import SILENT, prober_port
from typer.testing import CliRunner
from webob import Request

from hactrl.cli.commands import Exit, app
from hactrl.engine import readiness
from hactrl.engine.decide import initial
from hactrl.engine.events import (
    AgentConnected,
    AgentLost,
    AgentReported,
    Held,
    LeaseAsked,
    PortChanged,
    ProbeChanged,
    Requested,
    RequestKind,
    SwitchLost,
)
from hactrl.engine.state import HoldDown
from hactrl.explain import words
from hactrl.vocabulary import Holding, Verdict


def unsettled(engine: Engine) -> list[str]:
    engine.rules_installed()
    return [words.obstacle(each) for each in readiness.unsettled(engine.state, engine.now)]


def unprotected(engine: Engine) -> dict[str, list[str]]:
    found = readiness.unprotected(engine.state, engine.now)
    return {role: [words.obstacle(each) for each in why] for role, why in found.items() if why}


def get(controller: Controller, path: str) -> tuple[int, dict[str, object]]:
    answer = Request.blank(path).get_response(controller.api)
    return answer.status_int, answer.json


def test_a_site_in_normal_state_is_settled_and_protected() -> None:
    engine = Engine()
    assert unsettled(engine) == []
    assert unprotected(engine) == {}


@pytest.mark.reported("A11")
def test_a_standby_in_repair_is_settled_and_not_protected() -> None:
    engine = Engine().probe("beta", MAIL, Verdict.UNHEALTHY, "refused")
    assert unsettled(engine) == []
    assert unprotected(engine) == {
        MAIL: [
            "no other server can take mail",
            "no good answer from smtp",
            *(
                f"smtp on beta through beta-inner{n}: refused; a standby should answer try again"
                " later (SMTP 421, POP3 -ERR [SYS/TEMP], IMAP * BYE [UNAVAILABLE])"
                for n in (0, 1)
            ),
        ]
    }


@pytest.mark.reported("A11")
def test_a_disabled_standby_is_settled_and_not_protected() -> None:
    engine = Engine().tell(Requested("r", RequestKind.DISABLE, "", "beta", "new memory")).written()
    assert engine.state.disabled == {"beta"}
    assert unprotected(engine)[MAIL] == [
        "no other server can take mail",
        "the operator has disabled beta",
    ]


@pytest.mark.reported("A11")
def test_a_role_that_moves_is_neither() -> None:
    engine = Engine().tell(AgentReported("alpha", Held(MAIL, Holding.FAILED, 3)))
    assert "a takeover of mail is under way" in unsettled(engine)
    assert unprotected(engine)[MAIL] == ["a takeover of mail is under way"]


@pytest.mark.reported("A11")
def test_a_role_that_has_just_moved_rests_and_is_not_protected() -> None:
    engine = Engine()
    resting = {RELAY: HoldDown(engine.now + 2.0, 2.0)}
    engine.state = replace(engine.state, hold_downs=resting)
    assert unprotected(engine) == {RELAY: ["relay has moved too lately to move by itself"]}
    engine.wait(2.0)
    assert unprotected(engine) == {}


@pytest.mark.reported("A11")
def test_without_lease_and_power_fence_nothing_would_prove_a_dead_server_gone() -> None:
    engine = Engine(make_site(lease=None, power=False))
    assert unprotected(engine) == {
        MAIL: ["neither a lease nor a power fence would prove that alpha is gone"]
    }


@pytest.mark.reported("A11")
def test_a_site_whose_switch_is_away_is_neither_settled_nor_protected() -> None:
    engine = Engine().tell(SwitchLost("inner"))
    said = "the rules are not yet confirmed by inner"
    assert unsettled(engine) == [said]
    assert unprotected(engine) == {MAIL: [said]}, "nobody knows what is up there, or could steer"


@pytest.mark.reported("A5")
def test_a_site_that_is_not_seen_is_neither_settled_nor_protected() -> None:
    engine = Engine().tell(prober_port("inner", up=False)).rules_installed()
    said = "the prober of inner cannot ask: port inner:9 is down"
    assert unsettled(engine) == [said]
    assert unprotected(engine) == {MAIL: [said]}


@pytest.mark.reported("A6")
def test_who_owns_something_and_has_neither_agent_nor_guard_ends_with_its_lease() -> None:
    engine = Engine().tell(LeaseAsked("renewal", "alpha", MAIL, 3), AgentLost("alpha")).wait(1.0)
    assert unsettled(engine) == ["no agent on alpha, and no guard: its lease ends in 3 s"]


@pytest.mark.reported("A6")
def test_who_owns_something_and_has_a_guard_only_is_not_watched() -> None:
    engine = Engine().tell(LeaseAsked("renewal", "alpha", MAIL, 3), AgentLost("alpha"))
    engine.state = replace(engine.state, guards=frozenset({("alpha", MAIL)}))
    assert unsettled(engine) == [
        "no agent on alpha: its daemons are not watched, it cannot be asked to release"
    ]


@pytest.mark.reported("A6")
@pytest.mark.parametrize("said", [Holding.ASSUMING, Holding.RELEASING])
def test_an_owner_that_does_not_come_to_an_end_is_said_though_users_are_served(
    said: Holding,
) -> None:
    engine = Engine().tell(AgentReported("alpha", Held(MAIL, said, 3)))
    assert unsettled(engine) == [
        f"the agent of alpha has not come to an end with the role: {said.value}"
    ]


@pytest.mark.reported("A6")
def test_the_lost_agent_of_a_standby_is_a_matter_of_protection_alone() -> None:
    engine = Engine().tell(AgentLost("beta"))
    assert unsettled(engine) == []
    assert unprotected(engine)[MAIL] == [
        "no other server can take mail",
        "the agent of beta is not connected",
    ]


@pytest.mark.reported("A6")
@pytest.mark.parametrize("said", ["452 4.3.1 Insufficient system storage", "421 too many"])
def test_a_live_service_that_asks_to_try_again_is_named_with_its_reply(said: str) -> None:
    engine = Engine()
    engine.tell(ProbeChanged(MAIL, "smtp", "alpha-inner0", Verdict.READY, "temporary", 0, said))
    assert unsettled(engine) == [
        f"smtp on alpha through alpha-inner0 asks to try again later ({said}), though it has the"
        " role"
    ]
    assert not engine.state.takeovers
    (entry,) = engine.recorded("probe.changed")
    assert words.entry(entry.kind, dict(entry.details)) == (
        f"smtp through alpha-inner0 is ready ({said})"
    )


@pytest.mark.reported("B7")
def test_a_role_that_was_never_placed_says_what_its_candidates_answer() -> None:
    controller = Controller()
    site = controller.site
    controller.state = initial(site, {}, controller.now)
    role = site.roles["smtp_pop"]
    for server in site.network.servers:
        controller.tell(AgentConnected(server, "boot-1", ()))
    for service in role.services:
        for card in site.network.interfaces.values():
            if card.segment == service.segment:
                controller.tell(
                    ProbeChanged(
                        *("smtp_pop", service.name, card.name, Verdict.UNHEALTHY, "bad_greeting"),
                        said="* BYE closed for good" if service.name == "imap" else "",
                    )
                )
    controller.now += 1.0
    controller.tell(PortChanged(site.network.interfaces["A"].attachment, up=True))
    status = get(controller, "/v1/status")[1]
    roles = status["roles"]
    assert isinstance(roles, dict)
    said = [each["words"] for each in roles["smtp_pop"]["waiting"]]
    expected = "imap on mailrelay through C': * BYE closed for good; a standby should answer"
    assert [each for each in said if each.startswith(expected)]


@pytest.mark.reported("A11")
def test_health_answers_200_or_503_with_both_and_asks_one_alone() -> None:
    controller = Controller()
    controller.everything_up()
    code, found = get(controller, "/v1/health")
    assert (code, found["settled"], found["protected"]) == (HTTPStatus.OK, True, True)
    controller.tell(Requested("r", RequestKind.DISABLE, "", "mailrelay", "x"))
    controller.tell(ProbeChanged("smtp_pop", "imap", "C'", Verdict.UNHEALTHY, "refused"))
    code, found = get(controller, "/v1/health")
    assert code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "smtp_pop" in str(found["unprotected"])
    assert get(controller, "/v1/health?of=protected")[0] == HTTPStatus.SERVICE_UNAVAILABLE
    assert get(controller, "/v1/health?of=luck")[0] == HTTPStatus.BAD_REQUEST


@pytest.mark.reported("A11")
def test_hactl_status_exits_6_for_what_is_not_in_order() -> None:
    controller = Controller()
    controller.everything_up()

    def exit_code(*options: str) -> int:
        with served(controller) as url:
            return CliRunner().invoke(app, ("status", *options), env={"HACTRL_URL": url}).exit_code

    assert exit_code() == Exit.DONE
    for card in ("B", "C'"):
        controller.tell(ProbeChanged("smtp_pop", "imap", card, Verdict.UNHEALTHY, "refused"))
    assert get(controller, "/v1/health?of=settled")[0] == HTTPStatus.OK
    assert (exit_code(), exit_code("--settled")) == (Exit.NOT_IN_ORDER, Exit.DONE)
    assert exit_code("--json") == Exit.NOT_IN_ORDER
    controller.looking_round = True
    assert exit_code("--settled") == Exit.NOT_IN_ORDER


@pytest.mark.reported("A11")
def test_both_answers_are_metrics() -> None:
    controller = Controller()
    controller.everything_up()
    controller.tell(SILENT)
    shown = Request.blank("/metrics").get_response(controller.api).text
    assert "hactrl_settled 0.0" in shown
    assert 'hactrl_role_protected{role="smtp_pop"} 0.0' in shown
    assert 'hactrl_prober_sees{segment="inner"} 0.0' in shown
    assert 'hactrl_not_judged{segment="inner"} 1.0' in shown
