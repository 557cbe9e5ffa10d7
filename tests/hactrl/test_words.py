"""Every value that people are shown has words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hactrl.engine
from hactrl import words
from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.state import AskKind, Step


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


def test_an_entry_says_its_reasons_after_what_happened() -> None:
    details = {"target": "one", "epoch": 4, "step": "serve", "service_unhealthy": "smtp"}
    assert words.entry("takeover.failed", details) == (
        "takeover by one given up at serve, epoch 4; smtp does not answer as it should"
    )


def test_an_entry_of_a_newer_kind_shows_what_it_holds() -> None:
    assert words.entry("moon.risen", {"phase": "full", "empty": ""}) == "moon.risen phase=full"


def test_a_reason_of_a_newer_kind_is_shown_as_it_is() -> None:
    assert words.reason("moon", "full") == "moon (full)"
