"""The fields that docs/rest.md shows are those that the answers have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from rest_fixture import CAMPUS, TOKEN, Controller
from webob import Request

from hactrl.engine.events import (
    AnswersCounted,
    AnswerWays,
    HostSighted,
    LinkHeard,
    PortChanged,
)
from hactrl.journal import Entry
from topology.hosts import Sighting
from topology.model import Attachment

PAGE = (Path(__file__).parents[3] / "docs" / "rest.md").read_text()
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]

MOVE = {"reason": "test", "dry_run": True}
WAY = {"at": "00:16:3e:00:00:01", "destination": "archive"}


def mail() -> Controller:
    controller = Controller()
    controller.everything_up()
    return controller


def campus() -> Controller:
    """Ann is known; Eve has claimed what is the file server's; a link leads elsewhere; and much of
    what `files` sends goes roundabout."""
    controller = Controller(CAMPUS)
    controller.everything_up()
    for mac, port, address in (
        ("00:16:3e:00:00:01", Attachment("r5", 7), "10.20.1.5"),
        ("00:16:3e:00:00:66", Attachment("r4", 5), "10.20.0.10"),
    ):
        controller.tell(HostSighted(Sighting(mac, port, ip_address(address))))
    controller.tell(LinkHeard(Attachment("r1", 13), Attachment("r3", 12)))
    ways = AnswerWays("r5", 380_000, 620_000, ("files-3",))
    controller.tell(AnswersCounted("files", (AnswerWays("r3", 1_000_000), ways)))
    controller.hold_what_is_wanted()
    return controller


def ask(controller: Controller, path: str, body: Any = None) -> Any:
    request = Request.blank(path, headers={"Authorization": f"Bearer {TOKEN}"})
    if body is not None:
        request.method, request.body = "POST", json.dumps(body).encode()
        request.content_type = "application/json"
    return request.get_response(controller.api).json


def refused() -> Any:
    controller = mail()
    for card in controller.site.network.servers["smtp_pop"].interfaces:
        controller.tell(PortChanged(card.attachment, up=False))
    return ask(controller, "/v1/roles/mailrelay/failover", MOVE | {"target": "smtp_pop"})


def history() -> Any:
    """The details of an entry are those of its kind; these are taken from the example."""
    (example,) = EXAMPLES[8]["entries"]
    controller = mail()
    controller.journal = [Entry(1, 1e9, example["kind"], example["role"], example["details"])]
    return ask(controller, "/v1/history")


#: How to get what each example shows, in the order of the page.
REAL: list[Callable[[], Any]] = [
    lambda: ask(mail(), "/v1/roles/smtp_pop/failover", MOVE | {"target": "mailrelay"}),
    refused,
    lambda: ask(mail(), "/v1/status")["roles"]["smtp_pop"],
    lambda: ask(campus(), "/v1/paths?server=archive&from=r5"),
    lambda: ask(campus(), "/v1/paths?what_if=interface:files-5&from=r5"),
    lambda: ask(campus(), "/v1/hosts"),
    lambda: ask(campus(), "/v1/links"),
    lambda: ask(campus(), "/v1/status")["file_servers"]["files"]["answers"],
    history,
    lambda: ask(campus(), "/v1/trace", WAY),
]

#: Those of which the page does not say that they are shortened, and that are of one kind.
WHOLE = [0, 3, 5, 6, 7, 8, 9]


def fields(answer: Any, place: str = "") -> set[str]:
    """Where there is something, by names of fields; all of a list's items together."""
    match answer:
        case dict():
            found = {f"{place}.{name}" for name in answer}
            return found.union(*(fields(part, f"{place}.{name}") for name, part in answer.items()))
        case list():
            return set[str]().union(*(fields(item, f"{place}[]") for item in answer))
    return set()


def test_the_page_has_as_many_examples_as_are_asked_for_here() -> None:
    assert len(EXAMPLES) == len(REAL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_field_of_an_example_is_one_of_the_real_answer(number: int) -> None:
    assert fields(EXAMPLES[number]) - fields(REAL[number]()) == set()


@pytest.mark.parametrize("number", WHOLE)
def test_an_example_that_is_not_shortened_shows_every_field_of_the_real_answer(number: int) -> None:
    assert fields(REAL[number]()) - fields(EXAMPLES[number]) == set()
