"""Every value that people are shown has words."""

from __future__ import annotations

import pytest

from hactrl.agent.protocol import NoticeKind, Refusal
from hactrl.engine import facts
from hactrl.engine.backbone import learning
from hactrl.engine.effects import Obstacle, Reason, by_reason
from hactrl.engine.state import AskKind, Step
from hactrl.explain import words
from hactrl.outlets import agent_server
from hactrl.vocabulary import EntryKind
from topology.discovery import Trouble


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_that_name_its_subject(reason: Reason) -> None:
    said = words.obstacle(Obstacle(reason, "THAT"))
    assert "THAT" in said
    assert reason.value not in said


@pytest.mark.parametrize("step", Step)
def test_every_step_has_words(step: Step) -> None:
    assert words.STEPS[step]


def test_every_kind_of_record_has_words() -> None:
    assert words._KINDS.keys() == set(EntryKind)


@pytest.mark.parametrize("operation", AskKind)
def test_every_operation_that_fails_is_journalled(operation: AskKind) -> None:
    assert words.entry(facts.FAILED[operation], {"server": "SERVER", "outcome": "OUTCOME"})


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_of_a_link_has_words_that_name_it(trouble: Trouble) -> None:
    assert "LINK" in words.entry(learning.OF_TROUBLE[trouble], {"link": "LINK"})


@pytest.mark.parametrize("kind", [*agent_server.OF_NOTICE.values(), EntryKind.AGENT_EXPLAINED])
def test_what_an_agent_tells_has_words_that_name_the_server(kind: str) -> None:
    said = words.entry(kind, {"server": "SERVER", "text": "TEXT"})
    assert "SERVER" in said
    assert said.endswith("TEXT")
    assert kind not in said


@pytest.mark.parametrize("refusal", Refusal)
def test_who_is_refused_is_named_with_the_reason(refusal: Refusal) -> None:
    details = {"peer": "guard", "server": "one", "address": "192.0.2.7", "boot": "b1"}
    standing = "192.0.2.8" if refusal is Refusal.TWIN else ""
    said = words.entry("agent.refused", {**details, "refusal": refusal.value, "standing": standing})
    assert said.startswith("the guard of one at 192.0.2.7 (boot b1) is refused: it")
    assert said.endswith(standing)


def test_an_entry_says_its_reasons_after_what_happened() -> None:
    details = {"target": "one", "epoch": 4, "step": "serve", "service_unhealthy": "smtp"}
    assert words.entry("takeover.failed", details) == (
        "takeover by one given up at serve, epoch 4; no good answer from smtp"
    )


def test_an_entry_of_a_newer_kind_shows_what_it_holds() -> None:
    assert words.entry("moon.risen", {"phase": "full", "empty": ""}) == "moon.risen phase=full"


def test_a_reason_of_a_newer_kind_is_shown_as_it_is() -> None:
    assert words.reason("moon", "full") == "moon (full)"


def test_reasons_of_one_kind_are_said_once_with_their_subjects() -> None:
    silent = [Obstacle(Reason.SERVICE_UNHEALTHY, name) for name in ("smtp", "pop3", "smtp")]
    fenced = Obstacle(Reason.SERVER_FENCED, "one")
    assert words.obstacles([*silent, fenced]) == (
        "no good answer from smtp, pop3; one is fenced, and has not started anew since"
    )
    assert by_reason(silent) == {"service_unhealthy": "smtp, pop3"}


def test_what_an_agent_reports_is_said_in_words() -> None:
    details = {"server": "one", "holding": "assuming", "epoch": 2}
    assert words.entry("agent.reported", details) == "one is taking over, epoch 2"


def test_an_operators_failover_names_its_target() -> None:
    details = {"kind_of_request": "failover", "target": "one", "reason": "new disk"}
    assert words.entry("request.accepted", details) == (
        "operator's failover to one (new disk) accepted"
    )


def test_whatever_an_agent_may_tell_is_journalled() -> None:
    assert agent_server.OF_NOTICE.keys() == set(NoticeKind)
