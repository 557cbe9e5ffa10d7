"""What the REST interface says of backbones: ways, failures, hosts and links."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from rest_fixture import CAMPUS, SITE, Controller
from webob import Request, Response

from hactrl.engine.events import HostSighted, LinkHeard, PortChanged, SwitchLost
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


def ask(controller: Controller, path: str, **query: str) -> Response:
    request = Request.blank(path)
    request.GET.update(query)
    return request.get_response(controller.api)


def paths(controller: Controller, **query: str) -> list[dict[str, Any]]:
    response = ask(controller, "/v1/paths", **query)
    assert response.status_int == 200, response.text
    found: list[dict[str, Any]] = response.json["paths"]
    return found


def changes(controller: Controller, what_if: str, **query: str) -> dict[tuple[str, str], Any]:
    response = ask(controller, "/v1/paths", what_if=what_if, **query)
    assert response.status_int == 200, response.text
    return {(found["server"], found["switch"]): found for found in response.json["changes"]}


def detail(response: Response, status: int) -> str:
    assert response.status_int == status
    assert response.content_type == "application/problem+json"
    return str(response.json["detail"])


# Ways.


def test_the_way_of_a_host_and_what_it_is_spared(controller: Controller) -> None:
    (found,) = paths(controller, server="files", **{"from": "10.20.1.5"})
    assert (found["server"], found["switch"], found["host"]) == ("files", "r5", ANN)
    assert found["way"] == {
        "cost": 0,
        "offset": 0,
        "interface": "files-5",
        "interfaces": ["files-5"],
        "crossings": [],
        "equal_ways": 1,
        "hops": {"equal": [], "downstream": [], "alternates": []},
    }
    assert found["single_homed"] == {"interface": "files-3", "cost": 2}
    assert found["farthest"]["cost"] == 2


def test_a_way_names_switches_ports_and_the_hops_that_stand_behind(controller: Controller) -> None:
    (found,) = paths(controller, server="archive", **{"from": "r5"})
    assert found["way"]["crossings"] == [{"out": "r5:11", "into": "r1:15"}]
    assert found["way"]["hops"] == {"equal": [11], "downstream": [16], "alternates": [12]}
    assert found["hosts"] == 1


@pytest.mark.parametrize(
    "name", [ANN, ANN.upper(), ANN.replace(":", "-"), "10.20.1.5", "r5", "r5:9", "files-5"]
)
def test_where_from_may_be_said_in_several_ways(controller: Controller, name: str) -> None:
    assert {found["switch"] for found in paths(controller, **{"from": name})} == {"r5"}


def test_a_file_server_may_be_said_by_its_address(controller: Controller) -> None:
    assert {found["server"] for found in paths(controller, server="10.20.0.20")} == {"archive"}


def test_a_name_that_nothing_has_is_told_to_programs_too(controller: Controller) -> None:
    assert ask(controller, "/v1/paths", server="fils").json["name"] == "fils"


def test_without_names_all_file_servers_from_all_switches(controller: Controller) -> None:
    found = [(each["server"], each["switch"]) for each in paths(controller)]
    assert found == [(s, f"r{n}") for s in ("files", "archive") for n in range(1, 7)]


def test_ways_follow_what_has_failed(controller: Controller) -> None:
    controller.tell(PortChanged(Attachment("r5", 2), up=False))
    (found,) = paths(controller, server="files", **{"from": "r5"})
    assert (found["way"]["cost"], found["way"]["interfaces"]) == (
        2,
        ["files-3", "files-4", "files-6"],
    )


def test_ways_lead_over_discovered_links(controller: Controller) -> None:
    one, other = Attachment("r4", 20), Attachment("r5", 20)
    for port in (2, 11, 12, 16):  # its interface, and all its declared links
        controller.tell(PortChanged(Attachment("r5", port), up=False))
    controller.tell(LinkHeard(one, other), LinkHeard(other, one))
    (found,) = paths(controller, server="files", **{"from": "r5"})
    assert found["way"]["crossings"] == [{"out": "r5:20", "into": "r4:20"}]


def test_where_no_interface_is_left_there_is_no_way(controller: Controller) -> None:
    for card in CAMPUS.network.file_servers["files"].interfaces:
        controller.tell(PortChanged(card.attachment, up=False))
    assert {found["way"] for found in paths(controller, server="files")} == {None}


def test_a_site_without_file_servers_has_no_ways() -> None:
    assert paths(Controller(SITE)) == []


# Failures.


def test_a_failed_interface_is_replaced_by_another_one(controller: Controller) -> None:
    before = controller.state
    found = changes(controller, "interface:files-5")
    assert set(found) == {("files", "r5")} | {("files", r) for r in ("r1", "r2")}
    here = found["files", "r5"]
    assert (here["before"]["cost"], here["after"]["cost"], here["hosts"]) == (0, 2, 1)
    assert here["repairer"] == "switches"
    assert "interface" in here["means"]
    assert controller.state is before


def test_a_failed_switch_cuts_off_those_at_it(controller: Controller) -> None:
    found = changes(controller, "switch:r5")
    cut_off = {key for key, change in found.items() if change["after"] is None}
    assert cut_off == {("files", "r5"), ("archive", "r5")}
    assert {found[key]["repairer"] for key in cut_off} == {"nobody"}


def test_a_failed_link_is_what_happens_when_it_fails(controller: Controller) -> None:
    found = changes(controller, "link:r1-r5")["archive", "r5"]
    for end in (Attachment("r1", 15), Attachment("r5", 11)):
        controller.tell(PortChanged(end, up=False))
    (then,) = paths(controller, server="archive", **{"from": "r5"})
    assert found["after"] == then["way"]


def test_a_failure_for_one_server_or_from_one_switch(controller: Controller) -> None:
    assert set(changes(controller, "switch:r5", server="archive", **{"from": ANN})) == {
        ("archive", "r5")
    }


def test_a_switch_that_has_told_nothing_can_fail_too() -> None:
    found = changes(Controller(CAMPUS), "switch:r3")
    assert found["files", "r3"]["after"] is None
    assert ("files", "r4") not in found


def test_the_ports_of_a_failure_are_told(controller: Controller) -> None:
    response = ask(controller, "/v1/paths", what_if="link:r2:20-r1:20")
    failed = response.json["failure"]
    assert failed == {"name": "link:r2:20-r1:20", "down": ["r1:20", "r2:20"]}


# Names that nothing has.


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"server": "fils"}, "no file server is named fils; did you mean 'files'?"),
        ({"server": "x"}, "no file server is named x; there are: archive, files"),
        ({"from": "10.20.1.6"}, "did you mean '10.20.1.5'?"),
        ({"from": "r9"}, "there are: 00:16:3e:00:00:01, 10.20.1.5, archive-1, archive-3,"),
        ({"from": "10.20.1.6"}, "no host with 10.20.1.6 is known on campus (a host is known once"),
        ({"from": "192.0.2.1"}, "no segment has 192.0.2.1 in its networks, and no host has it"),
        ({"from": "r9:7"}, "r9:7: no switch is named r9; there are: r1, r2"),
        ({"from": "r5:x"}, "r5:x is no port of r5: a number is expected"),
        ({"from": "files"}, "files has the interfaces files-3, files-4, files-5, files-6: name"),
        ({"what_if": "link:r1-r1"}, "no link is named r1-r1; did you mean 'r"),
        ({"what_if": "switch:r33"}, "no switch is named r33; did you mean 'r3'?"),
        ({"what_if": "interface:file-3"}, "no interface is named file-3; did you mean 'files-3'?"),
    ],
)
def test_a_name_that_nothing_has(controller: Controller, query: dict[str, str], said: str) -> None:
    assert said in detail(ask(controller, "/v1/paths", **query), 404)


def test_a_failure_of_no_known_form(controller: Controller) -> None:
    said = detail(ask(controller, "/v1/paths", what_if="r1-r2"), 400)
    assert "link:SWITCH-SWITCH" in said


@pytest.mark.parametrize("path", ["/v1/paths", "/v1/hosts", "/v1/links"])
def test_a_query_that_would_be_ignored(controller: Controller, path: str) -> None:
    assert "unknown in the query: sever" in detail(ask(controller, path, sever="files"), 400)


def test_a_query_that_asks_twice(controller: Controller) -> None:
    said = detail(ask(controller, "/v1/paths?from=r3&from=r4"), 400)
    assert said == "more than once in the query: from"


# Hosts and links.


def test_hosts_are_told_with_their_places(controller: Controller) -> None:
    (host,) = ask(controller, "/v1/hosts").json["hosts"]
    number = host.pop("number")
    assert number > 0
    assert host == {
        "mac": ANN,
        "attachment": "r5:7",
        "addresses": ["10.20.1.5"],
        "port_up": True,
    }


def links(controller: Controller) -> dict[str, Any]:
    return {link["name"]: link for link in ask(controller, "/v1/links").json["links"]}


def test_links_before_any_was_heard(controller: Controller) -> None:
    found = links(controller)
    assert len(found) == len(CAMPUS.network.links)
    assert found["r2:16-r6:12"] == {
        "name": "r2:16-r6:12",
        "ends": ["r2:16", "r6:12"],
        "cost": 2,
        "origin": "declared",
        "seen": "waiting",
        "up": True,
        "used": True,
        "troubles": [],
    }


def test_what_was_refused_is_counted_by_port_and_reason(controller: Controller) -> None:
    """A claim on what the file server has, and one on what Ann has, who answers."""
    eve, there = "00:16:3e:00:00:66", Attachment("r4", 5)
    ann = Sighting(ANN, Attachment("r5", 7), ip_address("10.20.1.5"))
    for claimed in ("10.20.0.10", "10.20.1.5", "10.20.0.10"):
        controller.tell(HostSighted(Sighting(eve, there, ip_address(claimed)), b""))
    controller.tell(HostSighted(ann, b""))
    assert ask(controller, "/v1/hosts").json["refused"] == [
        {"port": "r4:5", "reason": "reserved_address", "count": 2},
        {"port": "r4:5", "reason": "spoof", "count": 1},
    ]
    metrics = ask(controller, "/metrics").text
    assert 'hactrl_host_refusals_total{port="r4:5",reason="reserved_address"} 2.0' in metrics


def test_links_that_are_down_discovered_or_plugged_in_wrongly(controller: Controller) -> None:
    one, other = Attachment("r4", 20), Attachment("r5", 20)
    controller.tell(LinkHeard(one, other), LinkHeard(other, one))
    controller.tell(LinkHeard(Attachment("r1", 13), Attachment("r3", 12)))
    controller.tell(PortChanged(Attachment("r1", 20), up=False), SwitchLost("r2"))
    found = links(controller)
    new = found["r4:20-r5:20"]
    assert (new["origin"], new["seen"], new["used"]) == ("discovered", "both ways", True)
    wrong = found["r1:13-r3:11"]
    assert (wrong["seen"], wrong["used"]) == ("elsewhere", False)
    assert wrong["troubles"][0] == {
        "trouble": "miscabled",
        "listener": "r1:13",
        "expected": "r3:11",
        "speaker": "r3:12",
        "words": "link r1:13-r3:11: r1:13 should lead to r3:11, and leads to r3:12",
    }
    assert not found["r1:20-r2:20"]["up"]


def test_a_site_without_backbones_has_neither() -> None:
    controller = Controller(SITE)
    assert ask(controller, "/v1/hosts").json == {"hosts": [], "refused": []}
    assert ask(controller, "/v1/links").json == {"links": []}
