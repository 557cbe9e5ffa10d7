"""Status, metrics and hactl say which way the answers of file servers take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rest_fixture import CAMPUS, SITE, Controller, served
from typer.testing import CliRunner
from webob import Request

from hactrl.cli.commands import app
from hactrl.engine.events import AnswersCounted, AnswerWays

MEGABYTE = 1_000_000
SHORT = AnswersCounted("files", (AnswerWays("r3", MEGABYTE), AnswerWays("r5", MEGABYTE)))
ROUNDABOUT = AnswersCounted("files", (AnswerWays("r5", 380_000, 620_000, ("files-3",)),))


@pytest.fixture
def controller() -> Controller:
    return Controller(CAMPUS)


def answers(controller: Controller, server: str = "files") -> Any:
    answer = Request.blank("/v1/status").get_response(controller.api)
    return json.loads(answer.body)["file_servers"][server]["answers"]


def test_before_anything_is_counted_the_status_does_not_know(controller: Controller) -> None:
    nothing = {"state": "unknown", "roundabout_share": None, "roundabout": []}
    assert answers(controller) == nothing
    controller.tell(SHORT)
    assert answers(controller, "archive") == nothing


def test_the_short_way_is_shown(controller: Controller) -> None:
    controller.tell(SHORT)
    assert answers(controller) == {"state": "short", "roundabout_share": 0.0, "roundabout": []}


def test_a_roundabout_way_is_shown_with_whom_it_leads_to(controller: Controller) -> None:
    controller.tell(SHORT, ROUNDABOUT)
    assert answers(controller) == {
        "state": "roundabout",
        "roundabout_share": 0.31,
        "roundabout": [{"switch": "r5", "share": 0.62, "interfaces": ["files-3"]}],
    }


def test_metrics_count_the_bytes_of_both_ways(controller: Controller) -> None:
    controller.tell(SHORT, ROUNDABOUT)
    text = Request.blank("/metrics").get_response(controller.api).text
    counted = 'hactrl_file_server_answer_bytes_total{server="files",way='
    assert f'{counted}"short"}} 2.38e+06' in text
    assert f'{counted}"roundabout"}} 620000.0' in text


@pytest.fixture
def url(controller: Controller) -> Iterator[str]:
    with served(controller) as address:
        yield address


def hactl_status(url: str) -> str:
    settings = {"HACTRL_URL": url, "COLUMNS": "200"}
    return CliRunner().invoke(app, ["status"], env=settings).stdout


def test_hactl_shows_file_servers_and_names_those_that_take_a_roundabout_way(
    url: str, controller: Controller
) -> None:
    assert "not yet counted" in hactl_status(url)
    controller.tell(SHORT)
    assert "short way" in hactl_status(url)
    controller.tell(ROUNDABOUT)
    shown = hactl_status(url)
    assert "roundabout way (31%)" in shown
    assert "\n  files: 62% of the answers to r5 leave by files-3\n" in shown


def test_a_site_without_file_servers_shows_none() -> None:
    with served(Controller(SITE)) as address:
        assert "File server" not in hactl_status(address)


def test_a_policy_that_is_not_the_usual_one_and_its_offsets_are_shown() -> None:
    network = CAMPUS.network
    files = network.file_servers["files"]
    first, *others = files.interfaces
    cards = (replace(first, offset=2), *others)
    spreading = replace(files, policy="spread", interfaces=cards)
    changed = replace(network, file_servers={**network.file_servers, "files": spreading})
    controller = Controller(replace(CAMPUS, network=changed))
    status = json.loads(Request.blank("/v1/status").get_response(controller.api).body)
    assert status["file_servers"]["files"]["policy"] == "spread"
    assert status["file_servers"]["files"]["interfaces"]["files-3"]["offset"] == 2
    assert status["file_servers"]["archive"]["policy"] == "nearest"
    with served(controller) as address:
        shown = hactl_status(address)
    assert "files (spread)" in shown
    assert "files-3 (offset 2)" in shown
    assert "files-4 (offset" not in shown
