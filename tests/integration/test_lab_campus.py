"""The campus in the lab, short: one failure of each kind, what the links carry, a server whose
answers take a roundabout way, and what hosts do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.integration


def play(tmp_path: Path, *arguments: str) -> Path:
    """Play a scenario, which must hold; where its results are."""
    workplace, results = tmp_path / "lab", tmp_path / "results"
    settings = {"HACTRL_LAB_DIRECTORY": str(workplace), "HACTRL_LAB_RESULTS": str(results)}
    played = subprocess.run(
        (sys.executable, "-m", "mininet_lab", "run", *arguments),
        cwd=CHECKOUT,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stdout[-4000:] + played.stderr[-4000:]
    return results


@pytest.mark.timeout(600)
def test_files_go_on_through_every_failure_and_come_by_the_nearest_way(tmp_path: Path) -> None:
    results = play(tmp_path, "fileserver", "--runs", "1")
    written = json.loads((results / "fileserver.json").read_text())
    carried = {(case["case"], case["system"]): case["median"] for case in written["cases"]}
    for placement in ("", "crowd, "):
        case = f"{placement}all links: carried"
        others = [carried[case, system] for system in ("one interface", "by turns")]
        assert carried[case, "nearest"] < min(others)


@pytest.mark.timeout(300)
def test_a_server_whose_answers_take_a_roundabout_way_is_named(tmp_path: Path) -> None:
    play(tmp_path, "answers")


@pytest.mark.timeout(300)
def test_hosts_come_move_and_cannot_pretend_to_be_others(tmp_path: Path) -> None:
    results = play(tmp_path, "hosts", "--runs", "1")
    written = json.loads((results / "hosts.json").read_text())
    median = {case["case"]: case["median"] for case in written["cases"]}
    assert median["old port goes down: IPv4 answered again"] < 1.0
