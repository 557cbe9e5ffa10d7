"""The campus in the lab, short: one failure of each kind, what the links carry, a server whose
answers take a roundabout way, and what hosts do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_runs import play_well

pytestmark = pytest.mark.integration


@pytest.mark.timeout(600)
def test_files_go_on_through_every_failure_and_come_by_the_nearest_way(tmp_path: Path) -> None:
    results = play_well(tmp_path, "run", "fileserver", "--runs", "1")
    written = json.loads((results / "fileserver.json").read_text())
    carried = {(case["case"], case["system"]): case["median"] for case in written["cases"]}
    for placement in ("", "crowd, "):
        case = f"{placement}all links: carried"
        others = [carried[case, system] for system in ("one interface", "by turns")]
        assert carried[case, "nearest"] < min(others)


@pytest.mark.timeout(300)
def test_a_server_whose_answers_take_a_roundabout_way_is_named(tmp_path: Path) -> None:
    play_well(tmp_path, "run", "answers")


@pytest.mark.timeout(300)
def test_hosts_come_move_and_cannot_pretend_to_be_others(tmp_path: Path) -> None:
    results = play_well(tmp_path, "run", "hosts", "--runs", "1")
    written = json.loads((results / "hosts.json").read_text())
    median = {case["case"]: case["median"] for case in written["cases"]}
    assert median["old port goes down: IPv4 answered again"] < 1.0
