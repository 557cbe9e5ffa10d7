"""What the README promises of bad input is what happens, word by word."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from rest_fixture import EXAMPLE, SITE, TOKEN, Controller, served
from typer.testing import CliRunner

from hactrl.cli.commands import Exit, app
from hactrl.engine.events import PortChanged
from hactrl.engine.state import Fenced

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

WRONG_SITES = [
    ("    owns: [spool]", "    onws: [spool]"),
    ("datapath_id: 0x12", "datapath_id: 0x11"),
    ("[10.0.0.80, ", "[10.0.0.25, "),
    ('attachment: "i2:3"', 'attachment: "i2:13"'),
]


def hactl(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment)


@pytest.mark.parametrize(("right", "wrong"), WRONG_SITES)
def test_a_wrong_site_file_is_refused_in_the_words_of_the_readme(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert EXAMPLE.read_text().count(right) == 1
    Path("site.yaml").write_text(EXAMPLE.read_text().replace(right, wrong))
    result = hactl("check", "site.yaml")
    assert result.exit_code == Exit.WRONG_SITE
    _, error = result.stderr.splitlines()
    shortened = re.sub(r"expected one of [^;]+", "expected one of …", error.strip())
    assert f"| `{shortened}` | exit 1 |" in README


def test_a_failover_to_a_server_that_is_down_is_refused_in_the_words_of_the_readme() -> None:
    controller = Controller()
    controller.everything_up()
    for card in SITE.network.servers["smtp_pop"].interfaces:
        controller.tell(PortChanged(card.attachment, up=False))
    fenced = {"smtp_pop": Fenced(controller.now, "boot-1")}
    controller.state = replace(controller.state, fenced=fenced)
    before = controller.state.placements
    with served(controller) as url:
        result = hactl(
            *("failover", "mailrelay", "--to", "smtp_pop", "--reason", "test", "--yes"),
            HACTRL_URL=url,
            HACTRL_TOKEN=TOKEN,
        )
    assert result.exit_code == Exit.REFUSED
    fenced, no_interface, *_ = result.stderr.removeprefix("refused: ").strip().split("; ")
    assert f"| `{fenced}; {no_interface}; …` | 409, exit 3 |" in README
    assert controller.state.placements == before
    assert "mailrelay" not in controller.state.takeovers


def test_a_request_without_a_token_is_refused_in_the_words_of_the_readme() -> None:
    controller = Controller()
    controller.everything_up()
    before = controller.state
    with served(controller) as url:
        result = hactl("failover", "web", "--reason", "x", "--yes", HACTRL_URL=url, HACTRL_TOKEN="")
    assert result.exit_code == Exit.REFUSED
    said = result.stderr.removeprefix("refused: ").strip()
    assert f"| `{said}` | 401, exit 3 |" in README
    assert controller.state is before


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_told(code: Exit) -> None:
    assert re.search(rf"^\| {code.value} \| ", README, re.MULTILINE)


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", *(
    f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))
)])  # fmt: skip
def test_every_link_leads_somewhere(document: str) -> None:
    file = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
        assert (file.parent / target).exists(), target


def test_every_route_is_told() -> None:
    text = (ROOT / "docs" / "rest.md").read_text()
    for route in Controller().api.router.routes:
        assert f"| `{route.method} {route.pattern}` |" in text


def test_the_examples_of_the_rest_page_are_json() -> None:
    text = (ROOT / "docs" / "rest.md").read_text()
    examples = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        json.loads(example)
