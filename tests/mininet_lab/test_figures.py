"""What docs/evaluation.md quotes is what was published, and where that is from is beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mininet_lab import evaluations, figures, scenarios
from mininet_lab.__main__ import app
from mininet_lab.figures import DOCUMENT, NOT_MEASURED, Block, FiguresError, blocks, fill, parse
from mininet_lab.results import PUBLISHED, Results, read

BLOCK = """\
before
<!-- figures
file: trial
command: python -m mininet_lab run trial
{wants}
-->
{body}
<!-- end of figures -->
after
"""

QUOTED = blocks(DOCUMENT.read_text())
IDS = [block.file for block, _ in QUOTED]


def document(*wants: str, body: str = "| a figure of last year |") -> str:
    return BLOCK.format(wants="\n".join(wants), body=body)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    results = Results("trial", 7, "2026-11-28T09:00:00+00:00", "0123456789abcdef+")
    results.add("link", "ours", "s", [0.003, 0.001, 0.002])
    results.add("link", "theirs", "s", [0.010])
    results.add("link", "slow theirs", "s", [11.0, 11.0])
    results.add("link: failed before it", "ours", "connections", [0, 0, 0])
    results.add("dead", "ours", "s", [])
    results.add("dead", "theirs", "s", [1.5])
    results.write(tmp_path)
    return tmp_path


def lines(text: str) -> list[str]:
    """Of the tables in it."""
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_document_quotes_what_was_published() -> None:
    text = DOCUMENT.read_text()
    assert fill(text) == text, "run python -m mininet_lab figures"


def test_every_published_file_is_quoted() -> None:
    assert {file.stem for file in PUBLISHED.glob("*.json")} <= {block.file for block, _ in QUOTED}


@pytest.mark.parametrize("said", [said for _, said in QUOTED], ids=IDS)
def test_every_block_names_command_revision_and_date_or_that_it_is_not_measured(said: str) -> None:
    command = r"`python -m mininet_lab [^`]+ --publish`"
    run = rf"{command}, \d{{4}}-\d\d-\d\d, revision (\w{{12}}|unknown)"
    first, *rest = said.strip().splitlines()
    if first.startswith(NOT_MEASURED):
        assert not rest
        assert re.fullmatch(rf"\*Not measured yet: {command}\.\*", first)
    else:
        assert re.match(run, first)


@pytest.mark.parametrize("block", [block for block, _ in QUOTED], ids=IDS)
def test_every_command_is_one_of_the_lab(block: Block) -> None:
    words = block.command.removeprefix("python -m mininet_lab ").split()
    if words[0] == "evaluate":
        assert words[1] in evaluations.names()
    else:
        assert (words[1] if words[0] == "run" else words[0]) in scenarios.names()


def test_a_table_replaces_what_was_written_before_and_nothing_else(published: Path) -> None:
    text = fill(document("case: link"), published)
    assert "last year" not in text
    assert text.startswith(document("case: link").partition("-->")[0])
    assert text.endswith("<!-- end of figures -->\nafter\n")
    assert fill(text, published) == text


def test_a_line_says_least_median_and_most_and_of_how_many(published: Path) -> None:
    assert lines(fill(document("case: link"), published)) == [
        "|  | system | least / median / most |",
        "| --- | ---: | ---: |",
        "| link | ours | 1 / 2 / 3 ms (3) |",
        "| link | theirs | 10 ms |",
        "| link | slow theirs | 11,000 ms (2) |",
    ]


def test_systems_stand_beside_each_other_with_the_best_of_the_others_over_ours(
    published: Path,
) -> None:
    wants = ("without: *: *", "columns: system", "ratio: theirs, slow * / ours")
    assert lines(fill(document(*wants), published)) == [
        "|  | ours | theirs | slow theirs | theirs, slow * / ours |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| link | 1 / 2 / 3 ms (3) | 10 ms | 11,000 ms (2) | 5.00 |",
        "| dead | none | 1,500 ms |  |  |",
    ]


def test_parts_of_a_case_stand_beside_each_other(published: Path) -> None:
    assert lines(fill(document("case: link: *", "columns: part"), published)) == [
        "|  | system | failed before it |",
        "| --- | ---: | ---: |",
        "| link | ours | 0 connections (3) |",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123, "s", "12.3 ms"),
        (2.5e6, "bytes", "2.50 MB"),
        (941.2e6, "bit/s", "941 Mbit/s"),
        (0.27, "share", "27 %"),
        (0.99996, "share", "99.996 %"),  # nearly all must not look like all
        (0.5507, "ratio", "0.55"),
        (45133, "number", "45,133"),
        (3, "mails", "3 mails"),
    ],
)
def test_figures_have_three_digits_and_a_unit(
    value: float, unit: str, shown: str, tmp_path: Path
) -> None:
    results = Results("trial", 1)
    results.add("case", "ours", unit, [value])
    results.write(tmp_path)
    assert f"| case | ours | {shown} |" in fill(document(), tmp_path)


def test_it_says_of_which_run_the_figures_are(published: Path) -> None:
    source = (
        "`python -m mininet_lab run trial --publish`, 2026-11-28, revision 0123456789ab with"
        " changes, seed 7 ([trial.json](evaluation/trial.json))"
    )
    assert source in fill(document("case: link"), published)


def test_what_is_not_measured_is_said_so_with_the_command(tmp_path: Path) -> None:
    text = fill(document(), tmp_path)
    assert "*Not measured yet: `python -m mininet_lab run trial --publish`.*" in text
    assert lines(text) == []


def test_a_plot_is_shown_where_there_is_one(published: Path) -> None:
    assert "![" not in fill(document("plot: trial.svg"), published)
    (published / "trial.svg").touch()
    assert "![trial, drawn](evaluation/trial.svg)" in fill(document("plot: trial.svg"), published)


def test_a_case_that_is_not_in_the_file_is_refused_with_those_that_are(published: Path) -> None:
    with pytest.raises(FiguresError, match=r"trial\.json has no 'trunk'; it has link; link: "):
        fill(document("case: trunk"), published)


@pytest.mark.parametrize(
    "said",
    ["file: trial", "file: a\ncommand: b\nfiel: c", "file: a\ncommand: b\ncolumns: rows"],
    ids=["no command", "an unknown key", "unknown columns"],
)
def test_a_block_that_says_what_cannot_be_is_refused(said: str) -> None:
    with pytest.raises(FiguresError):
        parse(said)


def test_a_block_without_an_end_is_refused() -> None:
    with pytest.raises(FiguresError, match="does not end"):
        blocks(document().replace("<!-- end of figures -->", ""))


def test_a_file_that_holds_no_results_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text("{}")
    with pytest.raises(FiguresError, match=r"trial\.json holds no results.*measure it again"):
        fill(document(), tmp_path)


def test_the_command_fills_the_document_and_names_what_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DOCUMENT", tmp_path / "evaluation.md")
    figures.DOCUMENT.write_text(document())
    result = CliRunner().invoke(app, ["figures"])
    assert result.exit_code == 0
    assert "trial.json is not measured yet: python -m mininet_lab run trial" in result.output
    assert NOT_MEASURED in figures.DOCUMENT.read_text()


def test_the_command_leaves_a_document_alone_that_says_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DOCUMENT", tmp_path / "evaluation.md")
    figures.DOCUMENT.write_text(document("columns: rows"))
    result = CliRunner().invoke(app, ["figures"])
    assert result.exit_code == 2
    assert "evaluation.md: trial: columns are system or part, not 'rows'" in result.output
    assert figures.DOCUMENT.read_text() == document("columns: rows")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = Results("trial", 3)
    results.add("link", "ours", "s", [0.1, 0.2])
    assert read(results.write(tmp_path)) == results
