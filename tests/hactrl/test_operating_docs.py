"""docs/operating.md explains every obstacle and every kind of journal entry, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hactrl.engine.effects import Reason
from hactrl.explain import words

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def explained(heading: str) -> set[str]:
    """The codes in the first column of the table under a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


@pytest.mark.reported("docs")
def test_every_obstacle_is_explained() -> None:
    assert explained("Every obstacle") == {reason.value for reason in Reason}


@pytest.mark.reported("docs")
def test_every_kind_of_journal_entry_is_explained() -> None:
    assert explained("Every kind of journal entry") == words._KINDS.keys()


@pytest.mark.reported("docs")
def test_every_row_says_what_it_means_and_what_to_do() -> None:
    text = PAGE.read_text(encoding="utf-8").split("\n## Every obstacle\n")[1]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(len([cell for cell in row.split("|") if cell.strip()]) == 3 for row in rows)
