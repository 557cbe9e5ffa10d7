"""The REST interface: who may do what, what errors look like, and what the answers say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from rest_fixture import TOKEN, Controller
from webob import Request, Response

from hactrl.engine.effects import Record
from hactrl.engine.events import Noticed, PortChanged, ProbeChanged, SwitchLost
from hactrl.engine.state import Failure
from hactrl.explain import words
from hactrl.journal import STRANGERS, Entry
from hactrl.rest.limits import LARGEST_BODY
from hactrl.rest.router import Permission, Router
from hactrl.store.file import StoreError
from hactrl.vocabulary import Verdict
from topology.model import Attachment


@pytest.fixture
def controller() -> Controller:
    controller = Controller()
    controller.everything_up()
    return controller


def ask(
    controller: Controller,
    method: str,
    path: str,
    body: Any = None,
    token: str | None = TOKEN,
    **headers: str,
) -> Response:
    request = Request.blank(path, method=method)
    if body is not None:
        request.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.content_type = "application/json"
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token}"
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(controller.api)


def problem(response: Response) -> dict[str, Any]:
    """The problem document, after checking that it is one (RFC 9457)."""
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.json
    assert document["status"] == response.status_int
    assert document["title"] == HTTPStatus(response.status_int).phrase
    assert document["type"].startswith("urn:hactrl:problem:")
    assert document["detail"]
    return document


MOVE = {"reason": "test"}


# Who may.


def test_every_route_that_changes_something_is_refused_without_the_token(
    controller: Controller,
) -> None:
    """Walks all routes, so that one added later is walked too."""
    before = controller.state
    refused, open_to_all = [], []
    for route in controller.api.router.routes:
        path = re.sub(r"\{role\}", "mailrelay", route.pattern).replace("{server}", "smtp_pop")
        for token in (None, "", "wrong", TOKEN[:-1], TOKEN + "x"):
            response = ask(controller, route.method, path, MOVE, token=token)
            if response.status_int == HTTPStatus.UNAUTHORIZED:
                refused.append(route)
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                assert problem(response)["type"].endswith("unauthorized")
            else:
                open_to_all.append(route)
    assert controller.state is before
    assert {route.permission for route in refused} == {Permission.CHANGE}
    assert {route.permission for route in open_to_all} == {Permission.READ}
    assert {route.pattern for route in refused} == {
        "/v1/roles/{role}/failover",
        "/v1/roles/{role}/failback",
        "/v1/roles/{role}/retry",
        "/v1/servers/{server}/enable",
        "/v1/servers/{server}/disable",
        "/v1/servers/{server}/confirm-off",
    }


def test_another_scheme_is_no_token(controller: Controller) -> None:
    response = ask(
        controller, "POST", "/v1/roles/web/failover", MOVE, None, Authorization=f"Basic {TOKEN}"
    )
    assert response.status_int == HTTPStatus.UNAUTHORIZED


def test_a_token_with_letters_beyond_ascii_is_wrong_and_no_defect(controller: Controller) -> None:
    response = ask(controller, "POST", "/v1/roles/web/failover", MOVE, token="\xe9\xff")
    assert response.status_int == HTTPStatus.UNAUTHORIZED


@pytest.mark.reported("C6")
def test_who_has_no_token_is_journalled_once_in_a_while_for_each_of_so_many_addresses(
    controller: Controller,
) -> None:
    before = len(controller.journal)
    for _ in range(3):
        for number in range(2 * STRANGERS):
            peer = {"REMOTE_ADDR": f"192.0.2.{number}"}
            request = Request.blank("/v1/roles/web/retry", environ=peer, method="POST")
            request.authorization = ("Bearer", "wrong")
            request.get_response(controller.api)
    ask(controller, "GET", "/v1/status", token="wrong")
    entries = controller.journal[before:]
    assert {entry.kind for entry in entries} == {"operator.refused"}
    told = [entry.details for entry in entries]
    assert told == [
        {"address": f"192.0.2.{number}", "token": "wrong"} for number in range(STRANGERS + 1)
    ]
    assert words.entry("operator.refused", told[0]) == (
        "192.0.2.0 asked for what only the operator may, with a wrong token: refused"
    )


def test_who_forgets_his_token_is_told_apart_from_who_has_a_wrong_one(
    controller: Controller,
) -> None:
    before = len(controller.journal)
    for token in (None, "wrong", None):
        request = Request.blank(
            "/v1/roles/web/retry", environ={"REMOTE_ADDR": "::1"}, method="POST"
        )
        if token:
            request.authorization = ("Bearer", token)
        request.get_response(controller.api)
    assert [entry.details["token"] for entry in controller.journal[before:]] == ["none", "wrong"]


def test_a_route_without_a_permission_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="has no permission"):
        Router("t").add("GET", "/x", None, Response)  # type: ignore[arg-type]


def test_a_route_cannot_be_registered_twice() -> None:
    router = Router("t")
    router.add("GET", "/x", Permission.READ, Response)
    with pytest.raises(ValueError, match="there already"):
        router.add("GET", "/x", Permission.CHANGE, Response)


def test_an_empty_token_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="token is empty"):
        Router("")


# What errors look like.


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/roles/web", "/v1/roles//failover", "/v1/status/"]
)
def test_a_path_that_is_not_there(controller: Controller, path: str) -> None:
    assert problem(ask(controller, "GET", path))["status"] == HTTPStatus.NOT_FOUND


def test_a_path_that_is_no_utf_8(controller: Controller) -> None:
    request = Request.blank("/")
    request.environ["PATH_INFO"] = "/\xff"
    assert problem(request.get_response(controller.api))["status"] == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("query", ["role=%ff", "%ff", "role=web&%c3=x"])
def test_a_query_that_is_no_utf_8(controller: Controller, query: str) -> None:
    response = ask(controller, "GET", f"/v1/history?{query}")
    assert problem(response)["status"] == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/status", "GET, HEAD"),
        ("GET", "/v1/roles/web/failover", "POST"),
        ("OPTIONS", "/v1/trace", "POST"),
    ],
)
def test_a_method_that_the_path_does_not_take(
    controller: Controller, method: str, path: str, allowed: str
) -> None:
    response = ask(controller, method, path)
    assert problem(response)["status"] == HTTPStatus.METHOD_NOT_ALLOWED
    assert response.headers["Allow"] == allowed


def test_head_answers_like_get_without_a_body(controller: Controller) -> None:
    response = ask(controller, "HEAD", "/healthz")
    assert response.status_int == HTTPStatus.OK
    assert response.body == b""


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b"[" * 20_000, ""),
        ([], ""),
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": 5}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "x", "dry_run": "yes"}, "dry_run"),
        ({"reason": "x", "traget": "smtp_pop"}, "traget"),
    ],
)
def test_a_body_that_is_wrong_changes_nothing(
    controller: Controller, body: Any, place: str
) -> None:
    before = controller.state
    document = problem(ask(controller, "POST", "/v1/roles/web/failover", body))
    assert document["status"] == HTTPStatus.BAD_REQUEST
    if place:
        assert [error["place"] for error in document["errors"]] == [place]
    assert controller.state is before


def test_a_body_that_is_too_large(controller: Controller) -> None:
    body = {"reason": "x" * LARGEST_BODY}
    document = problem(ask(controller, "POST", "/v1/roles/web/failover", body))
    assert document["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_no_json_by_its_own_account(controller: Controller, kind: str) -> None:
    response = ask(controller, "POST", "/v1/roles/web/failover", MOVE, Content_Type=kind)
    assert problem(response)["status"] == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def test_a_body_of_unknown_length(controller: Controller) -> None:
    request = Request.blank("/v1/roles/web/failover", method="POST")
    request.headers.update({"Authorization": f"Bearer {TOKEN}", "Transfer-Encoding": "chunked"})
    request.content_length = None
    assert problem(request.get_response(controller.api))["status"] == HTTPStatus.LENGTH_REQUIRED


def test_a_defect_is_told_without_its_secrets(
    controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_request: Request) -> Response:
        raise RuntimeError("secret")

    controller.api.router.add("GET", "/broken", Permission.READ, broken)
    for _ in range(10):
        response = ask(controller, "GET", "/broken")
        assert problem(response)["status"] == HTTPStatus.INTERNAL_SERVER_ERROR
        assert "secret" not in response.text
    (record,) = caplog.records
    assert record.exc_info
    assert "secret" in caplog.text


# What is.


def test_status_of_a_site_in_normal_state(controller: Controller) -> None:
    found = ask(controller, "GET", "/v1/status", token=None).json
    role = found["roles"]["mailrelay"]
    assert (found["site"], role["server"], role["preferred"]) == (
        "frontier",
        "mailrelay",
        "mailrelay",
    )
    assert role["addresses"]["outer"]["addresses"] == ["192.0.2.25", "2001:db8:0:1::25"]
    assert role["services"]["smtp"]["verdict"] == "healthy"
    assert role["takeover"] is None
    assert role["segments_not_steered"] == []
    assert found["switches"]["o1"]["connected"]
    assert found["switches"]["o1"]["rules_current"]
    assert found["servers"]["smtp_pop"]["agent_connected"]
    card = found["interfaces"]["A'"]
    assert card["health"]["mailrelay"]["smtp"]["verdict"] == "healthy"
    assert (card["server"], card["redundant_for"], card["port_up"]) == ("smtp_pop", "A", True)


def test_times_are_durations_up_to_now(controller: Controller) -> None:
    controller.now += 7.5
    found = ask(controller, "GET", "/v1/status").json
    assert found["uptime"] == 7.5
    assert found["roles"]["web"]["since"] == 7.5


def test_enabled_healthy_and_active_are_shown_apart(controller: Controller) -> None:
    def facts(role: str, server: str) -> tuple[bool, bool, bool]:
        found = ask(controller, "GET", "/v1/status").json["roles"][role]["candidates"][server]
        return found["enabled"], found["healthy"], found["active"]

    assert facts("mailrelay", "mailrelay") == (True, True, True)
    assert facts("mailrelay", "smtp_pop") == (True, True, False)
    body = {"reason": "maintenance"}
    assert ask(controller, "POST", "/v1/servers/smtp_pop/disable", body).status_int == 202
    assert facts("mailrelay", "smtp_pop") == (False, True, False)
    controller.tell(ProbeChanged("mailrelay", "smtp", "A'", Verdict.UNHEALTHY, "refused"))
    controller.tell(ProbeChanged("mailrelay", "smtp", "D'", Verdict.UNHEALTHY, "refused"))
    controller.tell(ProbeChanged("mailrelay", "smtp", "D", Verdict.UNHEALTHY, "refused"))
    assert facts("mailrelay", "smtp_pop") == (False, False, False)


def test_status_says_why_a_server_could_not_take_a_role(controller: Controller) -> None:
    for port in (2, 3):
        controller.tell(PortChanged(Attachment("o2", port), False))
    controller.tell(PortChanged(Attachment("o1", 3), False))
    found = ask(controller, "GET", "/v1/status").json["roles"]["mailrelay"]["candidates"][
        "smtp_pop"
    ]
    assert not found["healthy"]
    assert {
        "reason": "no_live_interface",
        "subject": "outer",
        "words": "no interface of the server is up on outer",
    } in found["obstacles"]


def test_status_names_the_segments_that_are_not_yet_steered(controller: Controller) -> None:
    controller.tell(SwitchLost("o2"))
    roles = ask(controller, "GET", "/v1/status").json["roles"]
    assert roles["mailrelay"]["segments_not_steered"] == ["outer"]
    assert roles["web"]["segments_not_steered"] == []


def test_status_shows_a_takeover_and_what_it_waits_for(controller: Controller) -> None:
    answer = ask(controller, "POST", "/v1/roles/mailrelay/failover", MOVE).json
    takeover = ask(controller, "GET", "/v1/status").json["roles"]["mailrelay"]["takeover"]
    assert (takeover["target"], takeover["epoch"]) == ("smtp_pop", answer["epoch"])
    assert (takeover["step"], takeover["step_words"]) == ("steer", "sending users there")
    assert takeover["deadline_in"] > 0
    assert takeover["request"] == answer["request"]


def test_a_site_is_settled_when_every_switch_has_confirmed_the_newest_rules() -> None:
    controller = Controller()
    assert not ask(controller, "GET", "/v1/status").json["settled"]
    controller.everything_up()
    controller.tell(PortChanged(Attachment("o1", 2), False))
    assert not ask(controller, "GET", "/v1/status").json["settled"]


def test_a_site_is_not_settled_while_the_controller_looks_round() -> None:
    """Every switch may have rules by then, and is told nothing new."""
    controller = Controller()
    controller.everything_up()
    assert ask(controller, "GET", "/v1/status").json["settled"]
    controller.looking_round = True
    assert not ask(controller, "GET", "/v1/status").json["settled"]


def test_healthz_answers_before_anything_is_connected() -> None:
    assert ask(Controller(), "GET", "/healthz", token=None).status_int == HTTPStatus.OK


def test_readyz_names_what_is_missing_until_all_switches_have_their_rules(
    controller: Controller,
) -> None:
    document = problem(ask(Controller(), "GET", "/readyz", token=None))
    assert document["status"] == HTTPStatus.SERVICE_UNAVAILABLE
    assert {o["subject"] for o in document["obstacles"]} >= {"o1", "o2", "i1", "i2", "i3"}
    assert ask(controller, "GET", "/readyz", token=None).status_int == HTTPStatus.OK


def test_history_gives_the_newest_first_with_words(controller: Controller) -> None:
    ask(controller, "POST", "/v1/servers/smtp_pop/disable", {"reason": "new disk"})
    page = ask(controller, "GET", "/v1/history?limit=500").json["entries"]
    assert [e["number"] for e in page] == sorted((e["number"] for e in page), reverse=True)
    words = [entry["words"] for entry in page]
    assert "operator's disable smtp_pop (new disk) accepted" in words
    assert "switch o1 has connected" in words


@pytest.mark.reported("A6")
def test_history_says_how_often_and_when_last(controller: Controller) -> None:
    controller.journal = [Entry(1, 5.0, "switch.lost", "", {"switch": "o1"}, 12, 9.0)]
    (entry,) = ask(controller, "GET", "/v1/history").json["entries"]
    assert (entry["at"], entry["count"], entry["last"]) == (5.0, 12, 9.0)


@pytest.mark.reported("C7")
def test_a_journal_that_cannot_be_read_is_a_problem_of_the_store(controller: Controller) -> None:
    def history(*_asked: object) -> list[Entry]:
        raise StoreError("/var/lib/hactrl: cannot read the journal: disk I/O error")

    controller.api._history = history
    document = problem(ask(controller, "GET", "/v1/history"))
    assert document["type"] == "urn:hactrl:problem:store-unusable"
    assert document["status"] == HTTPStatus.SERVICE_UNAVAILABLE
    assert "disk I/O error" in document["detail"]


@pytest.mark.reported("C7")
def test_metrics_count_how_often_the_store_could_not_be_written(controller: Controller) -> None:
    for _ in range(2):
        controller.tell(Noticed("store.unwritable", details=(("why", "full"),)))
    metrics = ask(controller, "GET", "/metrics", token=None).text
    assert "hactrl_store_unwritable_total 2.0" in metrics


def test_history_by_role_and_by_pages(controller: Controller) -> None:
    ask(controller, "POST", "/v1/roles/web/failover", MOVE)
    page = ask(controller, "GET", "/v1/history?role=web&limit=1").json["entries"]
    assert [entry["role"] for entry in page] == ["web"]
    before = ask(controller, "GET", f"/v1/history?before={page[0]['number']}&limit=3").json
    assert all(entry["number"] < page[0]["number"] for entry in before["entries"])


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "before=", "before=0", "rol=web",
              "limit=%C2%B2", "before=99999999999999999999999"]
)  # fmt: skip
def test_a_query_that_is_wrong(controller: Controller, query: str) -> None:
    assert problem(ask(controller, "GET", f"/v1/history?{query}"))["status"] == 400


def test_metrics_show_what_is_and_count_what_happened(controller: Controller) -> None:
    ask(controller, "POST", "/v1/roles/mailrelay/failover", MOVE)
    finished = Record("takeover.finished", "web", (("total", 0.3),))
    controller.api.happenings.observe(finished)
    refused = Record("agent.refused", "", (("peer", "agent"), ("refusal", "twin")))
    controller.api.happenings.observe(refused)
    controller.api.happenings.observe(Record("switch.refused", "", (("switch", "o1"),)))
    controller.api.happenings.observe(Record("openflow.disconnected", "", (("peer", "o1"),)))
    controller.api.happenings.observe(Record("operator.refused", "", (("token", "wrong"),)))
    lines = ask(controller, "GET", "/metrics", token=None).text.splitlines()
    for line in (
        'hactrl_role_active{role="web",server="mailrelay"} 1.0',
        'hactrl_role_active{role="web",server="smtp_pop"} 0.0',
        'hactrl_role_epoch{role="web"} 3.0',
        'hactrl_role_takeover_under_way{role="mailrelay"} 1.0',
        'hactrl_switch_connected{switch="o1"} 1.0',
        'hactrl_switch_changes_total{switch="o1"} 4.0',
        'hactrl_agent_connected{server="smtp_pop"} 1.0',
        'hactrl_takeovers_total{result="started",role="mailrelay"} 1.0',
        'hactrl_takeovers_total{result="finished",role="web"} 1.0',
        'hactrl_takeover_seconds_sum{role="web"} 0.3',
        'hactrl_requests_total{kind="failover",result="accepted"} 1.0',
        'hactrl_agents_refused_total{peer="agent",refusal="twin"} 1.0',
        'hactrl_switch_strangers_total{reason="refused"} 1.0',
        'hactrl_openflow_disconnected_total{peer="o1"} 1.0',
        'hactrl_operators_refused_total{token="wrong"} 1.0',
    ):
        assert line in lines
    healthy = 'interface="A",role="mailrelay",server="mailrelay",service="smtp"'
    assert f"hactrl_probe_healthy{{{healthy}}} 1.0" in lines


def test_tables_of_one_switch(controller: Controller) -> None:
    found = ask(controller, "GET", "/v1/tables?switch=o1").json
    assert list(found["switches"]) == ["o1"]
    assert found["tables"][0]["name"] == "admit"
    assert len(found["switches"]["o1"]["rules"]) == len(controller.rule_sets["o1"].rules)
    assert {rule["table_name"] for rule in found["switches"]["o1"]["rules"]} >= {"admit", "steer"}


def test_tables_of_a_switch_that_is_not_there(controller: Controller) -> None:
    assert problem(ask(controller, "GET", "/v1/tables?switch=o9"))["status"] == 404


def test_a_trace_tells_where_a_packet_goes(controller: Controller) -> None:
    body = {"at": "o1:1", "source": "192.0.2.9", "destination": "192.0.2.25", "port": 25}
    found = ask(controller, "POST", "/v1/trace", body, token=None).json
    assert (found["delivered"], found["ways"]) == (["o1:2"], 1)
    assert found["lines"][-1] == (
        "in short: o1, delivered at o1:2 to interface A of mailrelay, for its role mailrelay"
    )


def test_a_trace_tells_what_drops_a_packet(controller: Controller) -> None:
    body = {"at": "o1:1", "source": "192.0.2.9", "destination": "192.0.2.25", "port": 110}
    found = ask(controller, "POST", "/v1/trace", body).json
    assert found["delivered"] == []
    assert found["lines"][-2].strip() == "DROPPED in o1: this rule drops it"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"at": "o9:1"}, 404),
        ({"at": "o1"}, 404),
        ({"at": "Z"}, 404),
        ({"what_if": "link:o1-o9"}, 404),
        ({"what_if": "o1"}, 400),
        ({"source": "x"}, 400),
        ({"destination": "2001:db8::1"}, 400),
        ({"protocol": "sctp"}, 400),
        ({"port": 65536}, 400),
        ({"source_mac": "x"}, 400),
    ],
)
def test_a_trace_of_a_packet_that_cannot_be(
    controller: Controller, change: dict[str, str | int], status: int
) -> None:
    body = {"at": "o1:1", "source": "192.0.2.9", "destination": "192.0.2.25", "port": 25}
    assert problem(ask(controller, "POST", "/v1/trace", body | change))["status"] == status


def test_a_trace_names_what_it_does_not_know(controller: Controller) -> None:
    body = {"at": "o1:1", "destination": "mailrelai"}
    found = problem(ask(controller, "POST", "/v1/trace", body))
    assert (found["type"], found["name"]) == ("urn:hactrl:problem:unknown-name", "mailrelai")
    assert "did you mean 'mailrelay'?" in found["detail"]


# What the operator wants.


def test_a_failover_begins(controller: Controller) -> None:
    response = ask(controller, "POST", "/v1/roles/mailrelay/failover", MOVE)
    assert response.status_int == HTTPStatus.ACCEPTED
    assert response.json["steps"] == ["serve", "steer"]
    assert response.json["epoch"] == controller.state.takeovers["mailrelay"].epoch


def test_a_dry_run_answers_the_same_and_changes_nothing(controller: Controller) -> None:
    body = {"reason": "test", "dry_run": True, "target": "smtp_pop"}
    response = ask(controller, "POST", "/v1/roles/mailrelay/failover", body)
    assert response.status_int == HTTPStatus.OK
    assert response.json["dry_run"]
    assert response.json["epoch"] == 4
    assert controller.state.takeovers == {}


def test_a_refusal_tells_all_obstacles_by_code_and_in_words(controller: Controller) -> None:
    ask(controller, "POST", "/v1/servers/smtp_pop/disable", MOVE)
    body = {"reason": "test", "target": "smtp_pop"}
    document = problem(ask(controller, "POST", "/v1/roles/mailrelay/failover", body))
    assert document["status"] == HTTPStatus.CONFLICT
    assert document["obstacles"] == [
        {
            "reason": "server_disabled",
            "subject": "smtp_pop",
            "words": "the operator has disabled smtp_pop",
        }
    ]


def test_what_would_cut_users_off_begins_only_with_force(controller: Controller) -> None:
    controller.tell(SwitchLost("i1"))
    path, body = "/v1/roles/mailrelay/failover", {"reason": "test", "target": "smtp_pop"}
    document = problem(ask(controller, "POST", path, body))
    assert [found["reason"] for found in document["obstacles"]] == ["switch_away"]
    answer = ask(controller, "POST", path, body | {"force": True})
    assert answer.status_int == HTTPStatus.ACCEPTED


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/roles/webb/failover", MOVE),
        ("/v1/roles/web/failover", {"reason": "test", "target": "smtp_popp"}),
        ("/v1/servers/smtp_popp/disable", MOVE),
    ],
)
def test_a_name_that_nobody_has(controller: Controller, path: str, body: dict[str, str]) -> None:
    assert problem(ask(controller, "POST", path, body))["status"] == HTTPStatus.NOT_FOUND


def test_a_failback_to_where_the_role_is_already(controller: Controller) -> None:
    document = problem(ask(controller, "POST", "/v1/roles/web/failback", MOVE))
    assert document["status"] == HTTPStatus.CONFLICT
    assert document["obstacles"][0]["reason"] == "already_there"


def test_an_engine_that_does_not_answer_leaves_the_outcome_unknown(controller: Controller) -> None:
    controller.silent = True
    document = problem(ask(controller, "POST", "/v1/roles/web/failover", MOVE))
    assert document["status"] == HTTPStatus.GATEWAY_TIMEOUT
    assert document["type"].endswith("unknown-outcome")


def test_a_disabled_server_is_enabled_again(controller: Controller) -> None:
    ask(controller, "POST", "/v1/servers/smtp_pop/disable", MOVE)
    assert controller.state.disabled == {"smtp_pop"}
    assert ask(controller, "POST", "/v1/servers/smtp_pop/enable", MOVE).status_int == 202
    assert controller.state.disabled == frozenset()


@pytest.mark.reported("A2")
def test_what_failed_at_a_role_is_counted_and_forgotten_when_an_operator_says_so(
    controller: Controller,
) -> None:
    failure = Failure(3, 2, controller.now - 10, controller.now + 47, 120.0)
    controller.state = replace(controller.state, failures={("web", "smtp_pop"): failure})
    failed = ask(controller, "GET", "/v1/status").json["roles"]["web"]["failed"]
    assert failed == {
        "smtp_pop": {"times": 3, "standing": "silent", "ago": 10.0, "counts_for": 47.0}
    }
    response = ask(controller, "POST", "/v1/roles/web/retry", {"reason": "mended"})
    assert response.status_int == HTTPStatus.ACCEPTED
    assert ask(controller, "GET", "/v1/status").json["roles"]["web"]["failed"] == {}


@pytest.mark.reported("B1")
def test_a_server_is_confirmed_off_by_name(controller: Controller) -> None:
    body = {"reason": "unplugged"}
    assert ask(controller, "POST", "/v1/servers/smtp_pop/confirm-off", body).status_int in (
        202,
        409,
    )
    assert ask(controller, "POST", "/v1/servers/nobody/confirm-off", body).status_int == 404
