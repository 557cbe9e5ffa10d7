"""`hactl` about backbones: ways, failures, hosts and links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from click.testing import Result
from rest_fixture import CAMPUS, EXAMPLE, SITE, Controller, served
from typer.testing import CliRunner

from hactrl.cli import common
from hactrl.cli.commands import Exit, app
from hactrl.engine.events import HostSighted, LinkHeard, PortChanged
from topology.hosts import Sighting
from topology.model import Attachment

ANN = "00:16:3e:00:00:01"


@pytest.fixture
def controller() -> Controller:
    """The campus of the example; one host is known, at r5."""
    controller = Controller(CAMPUS)
    controller.everything_up()
    here = Attachment("r5", 7)
    controller.tell(HostSighted(Sighting(ANN, here, ip_address("10.20.1.5")), b""))
    return controller


@pytest.fixture
def url(controller: Controller) -> Iterator[str]:
    with served(controller) as url:
        yield url


def hactl(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"HACTRL_URL": url, "COLUMNS": "200"})


def rows(result: Result) -> list[list[str]]:
    """Without the heading; columns are two spaces apart at least."""
    assert result.exit_code == Exit.DONE, result.output
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_paths_shows_the_way_its_cost_and_the_roundabout_way(url: str) -> None:
    _, row, more = rows(hactl(url, "paths", "files", "--from", "r1"))
    assert row == [
        *("files", "r1", "0", "1", "files-3 files-4 files-5 files-6"),
        *("r1:13–r3:11 → files-3", "4", "1 to files-3", "1 to files-3"),
    ]
    assert more == [
        "files: r1 sends by ports 13, 14, 15, 16, else by the alternate port 20;"
        " the roundabout way, to files-3, costs as much"
    ]


def test_paths_from_a_host_say_what_it_is_spared(url: str) -> None:
    found = hactl(url, "paths", "files", "--from", "10.20.1.5").stdout
    assert f"r5 ({ANN})" in found
    assert "  files: r5 has an interface itself;" in found
    assert "the roundabout way, to files-3, costs 2, 2 more" in found


def test_paths_tell_what_stands_behind_the_first_hop(url: str) -> None:
    found = hactl(url, "paths", "archive", "--from", "r5").stdout
    assert "r5 sends by port 11, if dead by port 16, else by the alternate port 12" in found


def test_paths_without_names_are_all(url: str) -> None:
    assert len(rows(hactl(url, "paths"))) == 1 + 2 * 6


def test_paths_that_are_none(url: str, controller: Controller) -> None:
    for card in CAMPUS.network.file_servers["files"].interfaces:
        controller.tell(PortChanged(card.attachment, up=False))
    _, row = rows(hactl(url, "paths", "files", "--from", "r1"))
    assert row[3:6] == ["-", "none", "-"]


def test_a_host_may_be_said_by_its_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is this machine that knows names: the controller must not wait for a resolver."""

    def resolve(name: str, *_: Any, **__: Any) -> list[Any]:
        assert name == "ann.example"
        return [(2, 1, 6, "", ("10.20.9.9", 0)), (2, 1, 6, "", ("10.20.1.5", 0))]

    monkeypatch.setattr(common, "getaddrinfo", resolve)
    assert ANN in hactl(url, "paths", "files", "--from", "ann.example").stdout


def test_a_packets_way_is_told(url: str, controller: Controller) -> None:
    controller.hold_what_is_wanted()
    result = hactl(url, "trace", "10.20.1.5", "archive")
    assert result.exit_code == Exit.DONE, result.output
    assert result.stdout.endswith(
        "in short: r5 → r1, delivered at r1:3 to interface archive-1 of archive\n"
    )
    document = json.loads(hactl(url, "trace", "10.20.1.5", "archive", "--json").stdout)
    assert document["lines"] == result.stdout.splitlines()
    assert (document["delivered"], document["ways"]) == (["r1:3"], 1)


def test_both_ends_of_a_packets_way_may_be_said_by_name(
    url: str, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.hold_what_is_wanted()
    known = {"ann.example": "10.20.1.5", "archive.example": "10.20.0.20"}
    monkeypatch.setattr(
        common, "getaddrinfo", lambda name, *_, **__: [(2, 1, 6, "", (known[name], 0))]
    )
    result = hactl(url, "trace", "ann.example", "archive.example")
    assert result.stdout == hactl(url, "trace", "10.20.1.5", "archive").stdout


def test_a_host_that_nobody_has_seen_has_no_way(url: str) -> None:
    result = hactl(url, "trace", "10.20.1.6", "archive")
    assert result.exit_code == Exit.REFUSED
    assert "no host with 10.20.1.6 is known on campus" in result.stderr


def test_a_packets_way_by_the_site_file() -> None:
    campus = str(EXAMPLE.with_name("campus.yaml"))
    result = hactl("", "trace", "r5:7", "files", "--what-if", "interface:files-5", "--site", campus)
    assert "in short: r5 → r1 → r3, delivered at r3:2" in result.stdout


def test_names_that_nothing_has(url: str) -> None:
    result = hactl(url, "paths", "fils")
    assert result.exit_code == Exit.REFUSED
    assert "no file server is named fils; did you mean 'files'?" in result.stderr
    assert hactl(url, "paths", "--from", "10.20.1.6").exit_code == Exit.REFUSED
    result = hactl(url, "paths", "--what-if", "r1-r2")
    assert result.exit_code == Exit.REFUSED
    assert "link:SWITCH-SWITCH" in result.stderr


def test_what_if_shows_what_would_change(url: str, controller: Controller) -> None:
    before = controller.state
    result = hactl(url, "paths", "archive", "--what-if", "link:r1-r5")
    heading, _, row = rows(result)
    assert heading == ["link:r1-r5 would take down r1:15, r5:11: 1 way would change"]
    assert row[:4] == ["archive", "r5", "1", "1 to archive-1"]
    assert row[4].startswith("2 to archive-1")
    assert row[5] == "at once by another port that leads nearer, by an alternate"
    assert controller.state is before


def test_what_if_shows_first_who_is_cut_off(url: str) -> None:
    heading, _, *found = rows(hactl(url, "paths", "--what-if", "switch:r3"))
    assert ", 2 of them be lost" in heading[0]
    assert [row[-2:] for row in found[:2]] == [["unreachable", "by nobody"]] * 2
    assert all(row[-1].startswith(("at once", "by the controller")) for row in found[2:])


def test_what_if_nothing_would_change(url: str) -> None:
    result = hactl(url, "paths", "files", "--what-if", "link:r1-r2")
    assert result.stdout.strip().endswith("no way would change")


@pytest.mark.parametrize("command", ["paths", "hosts", "links"])
def test_as_json_it_is_what_the_controller_says(url: str, command: str) -> None:
    assert json.loads(hactl(url, command, "--json").stdout)[command]


def test_hosts_are_shown(url: str) -> None:
    _, row = rows(hactl(url, "hosts"))
    assert [*row[:3], row[4]] == [ANN, "r5:7", "yes", "10.20.1.5"]


def test_hosts_are_shown_with_what_was_refused(url: str, controller: Controller) -> None:
    eve = Sighting("00:16:3e:00:00:66", Attachment("r4", 5), ip_address("10.20.0.10"))
    controller.tell(HostSighted(eve, b""))
    assert ["r4:5: reserved_address, refused 1 times"] in rows(hactl(url, "hosts"))


def test_links_are_shown_with_their_troubles(url: str, controller: Controller) -> None:
    controller.tell(LinkHeard(Attachment("r1", 13), Attachment("r3", 12)))
    found = rows(hactl(url, "links"))
    assert ["r1:13-r3:11", "1", "declared", "elsewhere", "yes", "no"] in found
    assert ["r2:16-r6:12", "2", "declared", "waiting", "yes", "yes"] in found
    assert ["link r1:13-r3:11: r1:13 should lead to r3:11, and leads to r3:12"] in found


def test_a_site_without_backbones_has_nothing_to_show() -> None:
    with served(Controller(SITE)) as url:
        assert "no file servers" in hactl(url, "paths").stdout
        assert "no host is known yet" in hactl(url, "hosts").stdout
        assert "no backbone has links" in hactl(url, "links").stdout


def test_status_shows_file_servers_with_their_interfaces(url: str, controller: Controller) -> None:
    controller.tell(PortChanged(Attachment("r3", 2), up=False))
    controller.confirm_rules()
    found = rows(hactl(url, "status"))
    assert any(row[:4] == ["files", "files-3", "r3:2", "down"] for row in found)
    assert any(row[:3] == ["files-4", "r4:2", "live"] for row in found)


def test_check_counts_file_servers_and_their_interfaces() -> None:
    result = hactl("", "check", str(EXAMPLE.with_name("campus.yaml")))
    assert result.stdout.strip().endswith(
        "good: site campus: 1 segments, 6 switches, 2 file servers with 7 interfaces"
    )
    result = hactl("", "check", str(EXAMPLE))
    assert result.stdout.strip().endswith(", 2 servers, 8 interfaces, 3 roles")


def test_an_argument_that_is_no_text_is_wrong_usage(url: str) -> None:
    result = hactl(url, "paths", "fil\udce9")
    assert result.exit_code == Exit.USAGE
    assert r"'fil\udce9'" in result.stderr.replace("\n", "")
