"""A short scenario as a user runs it: real mail, switches and controller, and a power cut."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from lab_runs import figures, play, play_well, workplace

from mininet_lab.loop_device import attached

# Half a minute on an idle machine with two cores.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_takeover_under_mail_loses_nothing_and_writes_its_figures(tmp_path: Path) -> None:
    results = play_well(tmp_path, "run", "takeover", "--runs", "1", "--seed", "7")
    written = json.loads((results / "takeover.json").read_text())
    assert list(written) == ["name", "started", "revision", "seed", "cases"]
    assert (written["name"], written["seed"]) == ("takeover", 7)
    for case in written["cases"]:
        assert list(case) == ["case", "system", "unit", "values", "median"]
        assert case["median"] == statistics.median(case["values"])
    values = {case["case"]: case["values"] for case in written["cases"]}
    parts = ("detected", "fenced", "spool moved", "served", "steered")
    assert {len(values[part]) for part in parts} == {1}
    assert values["acknowledged mails lost"] == [0]
    assert values["acknowledged mails"][0] >= 100

    assert attached(workplace(tmp_path)) == ()


def test_users_are_served_on_either_side_of_a_split_and_it_is_said(tmp_path: Path) -> None:
    results = play_well(tmp_path, "run", "split", "--runs", "1")
    written = json.loads((results / "split.json").read_text())
    gaps = {c["case"]: c["values"] for c in written["cases"] if c["case"].endswith("gap")}
    assert "i2 cut off, B' out, client3 to smtp_pop: longest gap" in gaps
    assert all(0.0 < seconds < 2.0 for (seconds,) in gaps.values())


def test_a_race_without_rivals_shows_a_link_repaired_and_writes_its_figures(tmp_path: Path) -> None:
    """How fast it was is not judged here: other tests may run beside."""
    chosen = ("--systems", "hactrl-fast", "--only", "link-switch,killed", "--runs", "1")
    played = play(tmp_path, "race", *chosen)
    assert "link, switch side" in played.stdout, played.stdout[-4000:] + played.stderr[-4000:]
    written = json.loads((figures(tmp_path) / "race.json").read_text())
    values = {case["case"]: case["values"] for case in written["cases"]}
    for failure in ("link, switch side", "daemon killed"):
        (seconds,) = values[failure]
        assert 0.0 < seconds < 1.0
    assert (figures(tmp_path) / "race.svg").exists()


def test_a_short_soak_loses_nothing_and_is_seen_by_its_witness(tmp_path: Path) -> None:
    """Seed 14 begins with a frozen agent, and with an operator who moves the spool meanwhile."""
    results = play_well(tmp_path, "soak", "--minutes", "0.1", "--seed", "14")
    written = json.loads((results / "soak-14.json").read_text())
    assert (written["name"], written["seed"]) == ("soak-14", 14)
    values = {case["case"]: case["values"] for case in written["cases"]}
    assert values["faults that struck"] == [2]
    assert values["double mounts"] == values["acknowledged mails lost"] == [0]
    assert values["acknowledged mails"][0] > 10
    assert values["looks of the witness"][0] > 100
    for kind in ("agent frozen", "operator: failover"):
        (seconds,) = values[f"{kind}, with another: all ways served"]
        assert seconds > 0.0
