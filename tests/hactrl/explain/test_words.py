"""Every value that people are shown has words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hactrl.engine
from hactrl.agent.protocol import NoticeKind, Refusal
from hactrl.engine.effects import Obstacle, Reason, by_reason
from hactrl.engine.state import AskKind, Step
from hactrl.explain import words


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_that_name_its_subject(reason: Reason) -> None:
    said = words.obstacle(Obstacle(reason, "THAT"))
    assert "THAT" in said
    assert reason.value not in said


@pytest.mark.parametrize("step", Step)
def test_every_step_has_words(step: Step) -> None:
    assert words.STEPS[step]


def test_every_kind_of_record_has_words() -> None:
    """What the engine's modules write into the journal, found in their text."""
    folder = Path(hactrl.engine.__path__[0])
    text = "".join(path.read_text() for path in sorted(folder.glob("*.py")))
    kinds = set(re.findall(r'"([a-z]+\.[a-z]+)"', text))
    kinds |= {f"{kind.value}.failed" for kind in AskKind}
    assert len(kinds) > 15
    assert kinds - words._KINDS.keys() == set()


@pytest.mark.parametrize("kind", [*(kind.value for kind in NoticeKind), "agent.explained"])
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
