"""The lab's pure parts: what it reads from Open vSwitch, nmap, the kernel and its own logs."""

from __future__ import annotations

import json
import os
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mininet_lab import evaluations, scenarios
from mininet_lab import results as results_files
from mininet_lab.connections import Attempt, read, split_target, summarize
from mininet_lab.isolate import CHECKOUT, LabBusyError, Workplace
from mininet_lab.loop_device import attached
from mininet_lab.ovs import count_changes, flow_key
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios.scan import ports, share_tried
from mininet_lab.servers import boot_script, toml
from mininet_lab.stage import not_served, unready

LOG = """\
2026|1|vconn|DBG|tcp:127.0.0.1:6653: received: OFPT_FLOW_MOD (OF1.3) (xid=0x1): ADD table:1
2026|2|vconn|DBG|tcp:127.0.0.1:6653: received: ONFT_BUNDLE_ADD_MESSAGE (OF1.3) (xid=0x2):
OFPT_GROUP_MOD (OF1.3) (xid=0x2): MOD group_id=1
2026|3|vconn|DBG|tcp:127.0.0.1:6653: sent (Success): OFPT_ERROR (OF1.3): OFPT_FLOW_MOD
2026|4|vconn|DBG|tcp:127.0.0.1:6653: received: OFPST_FLOW request (OF1.3) (xid=0x3):
"""


def test_changes_are_counted_also_inside_bundles_and_never_from_what_was_sent() -> None:
    assert count_changes(LOG) == {"flow": 1, "group": 1, "meter": 0}


def test_a_flow_is_deleted_by_table_priority_and_match_alone() -> None:
    printed = "cookie=0x4ac7, table=1, priority=30,arp,arp_tpa=10.0.0.25 actions=drop"
    assert flow_key(printed) == "table=1,priority=30,arp,arp_tpa=10.0.0.25"


def test_an_agent_file_is_what_toml_reads_back() -> None:
    table = {
        "server": "smtp_pop",
        "roles": {"web": {"always": True, "daemons": {"web": {"command": ["a b", 'c"d']}}}},
    }
    assert tomllib.loads(toml(table)) == table


def test_a_server_keeps_the_labs_directory_where_it_was() -> None:
    lines = boot_script(Path("/run/lab/servers/smtp_pop"))
    bind = next(n for n, line in enumerate(lines) if "--bind /run/lab " in line)
    move = next(n for n, line in enumerate(lines) if "--move" in line)
    assert bind < move


def test_nmap_open_is_found_and_open_or_filtered_is_not() -> None:
    xml = """<nmaprun><host><address addr="192.0.2.25" addrtype="ipv4"/>
      <address addr="02:00:00:00:00:01" addrtype="mac"/><ports>
      <port protocol="tcp" portid="25"><state state="open"/></port>
      <port protocol="tcp" portid="80"><state state="filtered"/></port>
      <port protocol="udp" portid="53"><state state="open|filtered"/></port>
      </ports></host></nmaprun>"""
    assert ports(xml, "open") == {("192.0.2.25", "tcp", 25)}


def test_a_port_counts_as_tried_unless_all_of_its_probes_were_lost_before_the_switch() -> None:
    assert share_tried(sent=200, arrived=200, tries=2) == 1.0
    assert share_tried(sent=200, arrived=180, tries=2) == pytest.approx(0.99)
    assert share_tried(sent=200, arrived=180, tries=1) == pytest.approx(0.9)


def test_others_packets_do_not_make_more_than_all_ports_tried() -> None:
    assert share_tried(sent=200, arrived=210, tries=1) == 1.0


@pytest.mark.parametrize(
    ("target", "expected"),
    [("10.0.0.80:80", ("10.0.0.80", 80)), ("[2001:db8::80]:110", ("2001:db8::80", 110))],
)
def test_a_target_is_split_in_both_families(target: str, expected: tuple[str, int]) -> None:
    assert split_target(target) == expected


def test_the_longest_gap_is_between_answers_whatever_failed_in_between() -> None:
    attempts = [
        Attempt(0.0, 0.1, "t"),
        Attempt(0.2, 0.3, "t", "timeout"),
        Attempt(0.9, 1.1, "t"),
        Attempt(1.1, 1.2, "t"),
    ]
    summary = summarize(attempts)
    assert (summary.attempts, summary.failed) == (4, 1)
    assert summary.longest_gap == pytest.approx(1.0)


def test_a_loop_device_is_ours_only_if_its_file_is_below_our_directory(tmp_path: Path) -> None:
    files = ("/lab/run/spool.img", "/lab/run/gone.img (deleted)", "/lab/running.img", "/other.img")
    for number, file in enumerate(files):
        entry = tmp_path / f"loop{number}" / "loop"
        entry.mkdir(parents=True)
        (entry / "backing_file").write_text(f"{file}\n")
    assert attached(Path("/lab/run"), tmp_path) == (Path("/dev/loop0"), Path("/dev/loop1"))


def test_a_second_run_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    refused = pytest.raises(LabBusyError, match=str(os.getpid()))
    with workplace.locked(), refused, workplace.locked():
        pass
    with workplace.locked():
        pass  # and is possible afterwards


def test_leftovers_go_but_for_the_logs_when_asked(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    workplace.run.mkdir()
    disk, log = workplace.run / "spool.img", workplace.run / "controller.log"
    disk.touch()
    log.touch()
    workplace.remove_leftovers(keep_logs=True)
    assert (disk.exists(), log.exists()) == (False, True)
    workplace.remove_leftovers()
    assert not workplace.run.exists()


def test_results_are_published_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(results_files.DIRECTORY, raising=False)
    assert results_files.directory() == CHECKOUT / "results"
    monkeypatch.setenv(results_files.DIRECTORY, "elsewhere")
    results_files.publish()
    assert results_files.directory() == CHECKOUT / "docs" / "evaluation"


def test_a_results_file_has_the_shape_that_evaluations_share(tmp_path: Path) -> None:
    results = Results("takeover", seed=7, revision="abc")
    results.add("detected", "hactrl", "s", [0.3, 0.1, 0.2])
    content = json.loads(results.write(tmp_path).read_text())
    assert set(content) == {"name", "started", "revision", "seed", "cases"}
    assert content["cases"] == [
        {
            "case": "detected",
            "system": "hactrl",
            "unit": "s",
            "values": [0.3, 0.1, 0.2],
            "median": 0.2,
        }
    ]


def test_a_story_fails_if_one_promise_does_not_hold() -> None:
    story = Story("demo", Console(file=StringIO()))
    story.expect(True, "first")
    assert story.finish() == 0
    story.expect(False, "second")
    assert story.finish() == 1


def test_every_scenario_says_what_it_shows() -> None:
    for name in scenarios.names():
        assert scenarios.find(name).summary.endswith("."), name


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    with pytest.raises(scenarios.UnknownScenarioError, match="takeover"):
        scenarios.find("takover")


def status(**role: object) -> dict[str, object]:
    usual = {
        "server": "s1",
        "takeover": None,
        "services": {"http": {"verdict": "healthy"}},
        "candidates": {"s1": {"obstacles": []}},
    }
    return {"settled": True, "roles": {"web": usual | role}}


def test_nothing_is_missing_when_all_is_served() -> None:
    assert unready(status()) == []


@pytest.mark.parametrize(
    "role",
    [
        {"server": None},
        {"takeover": {"step_words": "moving"}},
        {"services": {"http": {"verdict": "unhealthy"}}},
        {"candidates": {"s2": {"obstacles": [{"words": "off"}]}}},
    ],
)
def test_whatever_is_missing_is_named(role: dict[str, object]) -> None:
    assert unready(status(**role))


def test_a_role_served_elsewhere_is_not_served_here() -> None:
    assert not_served(status(), "web", "s2") == ["web is at s1"]  # type: ignore[arg-type]


def test_the_readme_names_every_scenario_and_evaluation() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    own_commands = ("shell", "race", "soak")
    wanted = [f"mininet_lab run {name} " for name in scenarios.names() if name not in own_commands]
    wanted += [f"mininet_lab {name}" for name in own_commands]
    wanted += [f"mininet_lab evaluate {name} " for name in evaluations.names()]
    assert [command for command in (*wanted, "mininet_lab shell ") if command not in readme] == []


def test_a_connection_that_is_being_written_down_is_not_read_yet(tmp_path: Path) -> None:
    log = tmp_path / "connections.jsonl"
    line = '{"began": 1.0, "ended": 1.5, "target": "10.0.0.80:80", "trouble": ""}\n'
    log.write_text(line + line[:30])
    assert read(log) == [Attempt(1.0, 1.5, "10.0.0.80:80")]
