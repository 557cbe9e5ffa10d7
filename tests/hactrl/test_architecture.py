"""What ARCHITECTURE.md shows of the code is what the code holds; documents name what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from simulation import make_site

from flows.pipeline import PIPELINE
from hactrl.engine.decide import initial
from hactrl.engine.roles import takeover
from hactrl.engine.roles.steps import STEPS
from hactrl.engine.state import Step
from hactrl.engine.turn import Turn
from hactrl.explain import steps
from hactrl.site.model import Timers
from hactrl.vocabulary import Proof

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"`((?:hactrl|flows|topology|tests|mininet_lab|docs|tools|examples)/[\w./-]+)`")


def diagram(path: Sequence[Step]) -> str:
    """The way of a change of placement, as a line under that with all steps."""
    line = ""
    for step in takeover.OWNING:
        arrow, name = "─► " if line else "", f"{step.value.upper()} "
        begun = bool(line.strip())
        if step in path:
            line += (arrow if begun else " " * len(arrow)) + name
        else:
            line += ("─" if begun else " ") * len(arrow + name)
    return f"{line}─► finished"


@pytest.mark.parametrize(
    ("kind", "path"), [("owns something", takeover.OWNING), ("owns nothing", takeover.FREE)]
)
def test_the_steps_of_a_takeover_are_drawn_as_they_are(kind: str, path: Sequence[Step]) -> None:
    drawn = f"{kind:14}    {diagram(path)}\n"
    assert drawn in TEXT
    assert drawn in (takeover.__doc__ or "")


def test_the_table_of_a_takeover_s_steps_is_that_of_the_code() -> None:
    drawn = f"\n{steps.table()}\n"
    assert drawn in TEXT, "draw it anew: python -m hactrl.explain.steps"


@pytest.mark.parametrize("step", Step)
def test_a_step_waits_for_as_long_as_the_timer_that_the_table_names(step: Step) -> None:
    """Each timer is another number here."""
    every = {each.name: float(number) for number, each in enumerate(fields(Timers), start=1)}
    site = make_site(timers=Timers(**every))  # type: ignore[arg-type]
    rule = STEPS[step]
    assert rule.patience(Turn(initial(site, {}, 0.0), 0.0)) == every[rule.timer]


def test_every_table_is_told_in_order() -> None:
    told = re.findall(r"^\| (\d) `(\w+)` \|", TEXT, re.MULTILINE)
    assert told == [(str(table.number), table.name) for table in PIPELINE]


def test_every_proof_is_told() -> None:
    for proof in Proof:
        assert f"| {proof.value.replace('_', ' ')} |" in TEXT


def test_every_dependency_has_its_reason() -> None:
    setup = (ROOT / "setup.py").read_text()
    names = re.findall(r"[\"']([A-Za-z][\w.-]+)(?:[=<>]=?[\w.]+)[\"';]", setup)
    assert len(names) > 15
    script = (ROOT / "tools" / "prepare.sh").read_text()
    packages = re.findall(r"^packages='([^']+)'", script, re.MULTILINE)[0].split()
    told = TEXT[TEXT.index("## Dependencies") :].lower()
    missing = [
        n for n in (*names, *packages) if not re.search(rf"(?<![\w-]){n.lower()}(?![\w-])", told)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_document_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_room_is_told() -> None:
    told = set(re.findall(r"`([\w/]+)/`", TEXT))
    rooms = {
        str(path.parent.relative_to(ROOT))
        for package in ("topology", "flows", "hactrl")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert rooms - {"flows/common", "hactrl"} <= told
