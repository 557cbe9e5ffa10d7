"""`hactl` against a controller that listens on a real port: what it prints, how it ends."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest
from click.testing import Result
from rest_fixture import EXAMPLE, TOKEN, Controller, served
from running import secret
from typer.testing import CliRunner

from hactrl.cli.commands import Exit, app
from hactrl.cli.show import duration
from hactrl.client import Client, RefusedError, UnknownOutcomeError, UnreachableError
from hactrl.engine.events import ProbeChanged, SwitchLost
from hactrl.journal import Entry
from hactrl.vocabulary import Verdict


@pytest.fixture
def controller() -> Controller:
    controller = Controller()
    controller.everything_up()
    return controller


@pytest.fixture
def url(controller: Controller) -> Iterator[str]:
    with served(controller) as url:
        yield url


@pytest.fixture
def nobody() -> str:
    """A URL where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def hactl(*arguments: str, url: str = "", token: str = TOKEN, typed: str = "") -> Result:
    environment = {"HACTRL_URL": url or None, "HACTRL_TOKEN": token, "COLUMNS": "200"}
    return CliRunner().invoke(app, arguments, input=typed, env=environment)


def test_status_shows_roles_servers_interfaces_and_switches(url: str) -> None:
    result = hactl("status", url=url)
    assert result.exit_code == Exit.DONE
    for text in ("frontier", "mailrelay", "192.0.2.25", "smtp_pop", "A'", "o1:3", "0x21"):
        assert text in result.stdout


def test_status_tells_verdicts_without_colours_too(url: str, controller: Controller) -> None:
    controller.tell(ProbeChanged("smtp_pop", "imap", "C", Verdict.UNHEALTHY))
    shown = hactl("status", url=url).stdout
    assert "smtp_pop unhealthy (imap), healthy (smtp submission pop3)" in shown
    assert "smtp_pop ready, web healthy" in shown
    controller.tell(ProbeChanged("smtp_pop", "pop3", "B", Verdict.HEALTHY))
    assert "smtp_pop ready, web healthy" in hactl("status", url=url).stdout


def test_status_says_what_keeps_a_server_from_its_roles(url: str, controller: Controller) -> None:
    controller.tell(SwitchLost("i1"), ProbeChanged("web", "http", "C", Verdict.UNHEALTHY))
    controller.tell(ProbeChanged("web", "http", "B'", Verdict.UNHEALTHY))
    assert "\n  smtp_pop: no good answer from http\n" in hactl("status", url=url).stdout


def test_status_as_json_is_what_the_controller_says(url: str) -> None:
    result = hactl("status", "--json", url=url)
    assert json.loads(result.stdout)["roles"]["web"]["server"] == "mailrelay"


def test_status_shows_a_takeover_under_way(url: str) -> None:
    assert hactl("failover", "web", "--reason", "test", "--yes", url=url).exit_code == Exit.DONE
    assert "web: takeover by smtp_pop" in hactl("status", url=url).stdout


def test_a_failover_is_begun(url: str, controller: Controller) -> None:
    result = hactl(
        "failover", "mailrelay", "--to", "smtp_pop", "--reason", "new disk", "--yes", url=url
    )
    assert result.exit_code == Exit.DONE
    assert "failover of mailrelay to smtp_pop: begun, epoch 4" in result.stdout
    assert controller.state.takeovers["mailrelay"].target == "smtp_pop"


def test_a_dry_run_tells_what_would_be_done_and_does_not_ask(
    url: str, controller: Controller
) -> None:
    result = hactl("failover", "web", "--reason", "test", "--dry-run", url=url)
    assert result.exit_code == Exit.DONE
    assert "would be done, epoch 4 (serve → steer)" in result.stdout
    assert controller.state.takeovers == {}


def test_without_yes_it_asks_and_no_means_nothing_done(url: str, controller: Controller) -> None:
    result = hactl("failover", "web", "--reason", "test", url=url, typed="n\n")
    assert result.exit_code == Exit.REFUSED
    assert "Move web to the best other server?" in result.stderr
    assert controller.state.takeovers == {}


def test_yes_typed_is_as_good_as_the_option(url: str, controller: Controller) -> None:
    assert hactl("failover", "web", "--reason", "x", url=url, typed="y\n").exit_code == Exit.DONE
    assert "web" in controller.state.takeovers


def test_without_anybody_to_ask_nothing_is_done(url: str, controller: Controller) -> None:
    assert hactl("failover", "web", "--reason", "x", url=url).exit_code == Exit.REFUSED
    assert controller.state.takeovers == {}


def test_a_failover_that_would_cut_users_off_is_refused_and_says_how_to_force_it(
    url: str, controller: Controller
) -> None:
    controller.tell(SwitchLost("i1"))
    result = hactl("failover", "web", "--reason", "x", "--yes", url=url)
    assert result.exit_code == Exit.REFUSED
    assert "switch i1 is away" in result.stderr
    assert "hactl failover --force" in result.stderr
    assert controller.state.takeovers == {}


def test_a_failover_that_is_forced_begins_all_the_same(url: str, controller: Controller) -> None:
    controller.tell(SwitchLost("i1"))
    result = hactl("failover", "web", "--force", "--reason", "x", "--yes", url=url)
    assert result.exit_code == Exit.DONE
    assert controller.state.takeovers["web"].target == "smtp_pop"


def test_a_failover_without_a_reason_is_wrong_usage(url: str) -> None:
    assert hactl("failover", "web", "--yes", url=url).exit_code == Exit.USAGE


def test_a_refusal_says_why(url: str) -> None:
    result = hactl("failback", "web", "--reason", "test", "--yes", url=url)
    assert result.exit_code == Exit.REFUSED
    assert "mailrelay plays this role already" in result.stderr


def test_a_missing_or_wrong_token_is_refused(url: str, controller: Controller) -> None:
    for token in ("", "wrong"):
        result = hactl("failover", "web", "--reason", "x", "--yes", url=url, token=token)
        assert result.exit_code == Exit.REFUSED
        assert "token" in result.stderr
    assert controller.state.takeovers == {}


def test_the_token_may_stand_in_a_file(url: str, tmp_path: Path) -> None:
    secret(tmp_path / "token", TOKEN + "\n")
    result = hactl("disable", "smtp_pop", "--reason", "x", "--yes",
                   "--token-file", str(tmp_path / "token"), url=url, token="")  # fmt: skip
    assert result.exit_code == Exit.DONE


@pytest.mark.reported("C7")
@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"known to all", 0o644, "chmod 600"),
        (b"\xff\xfe", 0o600, "UTF-8"),
        ("tökén".encode(), 0o600, "ASCII"),
    ],
)
def test_a_token_file_that_is_open_or_no_text_is_wrong_usage(
    url: str, tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    file = secret(tmp_path / "token", content, mode)
    result = hactl("enable", "smtp_pop", "--reason", "x", "--yes",
                   "--token-file", str(file), url=url)  # fmt: skip
    assert result.exit_code == Exit.USAGE
    assert words in result.stderr


@pytest.mark.reported("C7")
def test_a_token_in_the_environment_that_is_no_text_is_wrong_usage(url: str) -> None:
    result = hactl("enable", "smtp_pop", "--reason", "x", "--yes", url=url, token="\udcff")
    assert result.exit_code == Exit.USAGE
    assert "HACTRL_TOKEN" in result.stderr


def test_a_token_file_that_is_not_there_is_wrong_usage(url: str, tmp_path: Path) -> None:
    result = hactl("enable", "smtp_pop", "--reason", "x", "--yes",
                   "--token-file", str(tmp_path / "none"), url=url)  # fmt: skip
    assert result.exit_code == Exit.USAGE


def test_a_server_is_disabled_and_enabled(url: str, controller: Controller) -> None:
    assert hactl("disable", "smtp_pop", "--reason", "x", "--yes", url=url).exit_code == Exit.DONE
    assert controller.state.disabled == {"smtp_pop"}
    assert hactl("enable", "smtp_pop", "--reason", "x", "--yes", url=url).exit_code == Exit.DONE
    assert controller.state.disabled == frozenset()


def test_an_outcome_that_nobody_knows_has_its_own_exit_code(
    url: str, controller: Controller
) -> None:
    controller.silent = True
    result = hactl("failover", "web", "--reason", "x", "--yes", url=url)
    assert result.exit_code == Exit.UNKNOWN
    assert "the status tells" in result.stderr


def test_a_controller_that_is_not_there_is_unreachable(nobody: str) -> None:
    result = hactl("status", url=nobody)
    assert result.exit_code == Exit.UNREACHABLE
    assert f"no controller at {nobody}" in result.stderr


def test_history_shows_the_newest_last(url: str) -> None:
    hactl("enable", "smtp_pop", "--reason", "new disk", "--yes", url=url)
    lines = hactl("history", url=url).stdout.splitlines()
    assert lines[0] == time.strftime("%Y-%m-%d", time.localtime(1e9))
    assert "new disk" in lines[-1]
    entries = json.loads(hactl("history", "--json", "-n", "1", url=url).stdout)
    assert entries[0]["kind"] == "request.accepted"


@pytest.mark.reported("A6")
@pytest.mark.parametrize(
    ("seconds", "said"), [(60, " (12 times, last "), (2 * 86400, " (12 times, last 20")]
)
def test_history_shows_how_often_and_when_last(
    controller: Controller, url: str, seconds: float, said: str
) -> None:
    at = 1e9
    controller.journal = [
        Entry(1, at, "switch.lost", "", {"switch": "o1"}, 12, at + seconds),
        Entry(2, at, "switch.lost", "", {"switch": "o2"}),
    ]
    _, _, often, once = hactl("history", url=url).stdout.splitlines()
    last = time.strftime("%H:%M:%S", time.localtime(at + seconds))
    assert f"switch o1 is lost{said}" in often
    assert often.rstrip().endswith(f"{last}.000)")
    assert once.rstrip().endswith("switch o2 is lost")


def test_check_of_a_good_file() -> None:
    result = hactl("check", str(EXAMPLE))
    assert result.exit_code == Exit.DONE
    assert "good: site frontier: 2 segments, 5 switches" in result.stdout


@pytest.mark.reported("B5")
def test_check_warns_of_a_lease_that_a_paused_machine_can_outlive(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert "warning" not in hactl("check", str(EXAMPLE)).stderr
    begin = text.rindex("    power_fence:")
    end = text.index("\n", text.index("command", begin))
    (tmp_path / "site.yaml").write_text(text[:begin] + text[end + 1 :])
    result = hactl("check", str(tmp_path / "site.yaml"))
    assert result.exit_code == Exit.DONE
    assert "good: site frontier" in result.stdout
    (warning,) = result.stderr.splitlines()
    assert "roles.smtp_pop.lease: a paused virtual machine can outlive its lease" in warning
    assert "a power_fence for smtp_pop, or" in warning


def test_check_of_a_wrong_file_lists_every_error(tmp_path: Path) -> None:
    wrong = tmp_path / "site.yaml"
    wrong.write_text(EXAMPLE.read_text().replace("0x12", "0x11").replace("owns:", "onws:"))
    result = hactl("check", str(wrong))
    assert result.exit_code == Exit.WRONG_SITE
    assert "refused, 2 errors:" in result.stderr
    assert "did you mean 'owns'?" in result.stderr


def test_check_with_defaults_prints_a_file_that_is_good_again(tmp_path: Path) -> None:
    result = hactl("check", "--defaults", str(EXAMPLE))
    assert "agent_heartbeat: 200ms" in result.stdout
    (tmp_path / "effective.yaml").write_text(result.stdout)
    assert hactl("check", str(tmp_path / "effective.yaml")).exit_code == Exit.DONE


def test_tables_are_the_same_from_the_file_and_from_the_controller(url: str) -> None:
    offline = hactl("tables", "--site", str(EXAMPLE), "--switch", "o1")
    live = hactl("tables", "--switch", "o1", url=url)
    assert offline.exit_code == live.exit_code == Exit.DONE
    assert offline.stdout == live.stdout
    assert "switch o1:" in live.stdout
    assert "switch o2:" not in live.stdout


def test_tables_of_an_unknown_switch(url: str) -> None:
    assert hactl("tables", "--switch", "o9", url=url).exit_code == Exit.REFUSED
    offline = hactl("tables", "--site", str(EXAMPLE), "--switch", "o9")
    assert offline.exit_code == Exit.USAGE


def test_a_trace_is_the_same_from_the_file_and_from_the_controller(url: str) -> None:
    packet = ("trace", "i3:1", "smtp_pop", "--source", "10.0.0.9")
    live, offline = hactl(*packet, url=url), hactl(*packet, "--site", str(EXAMPLE))
    assert live.stdout == offline.stdout
    assert "DELIVERED at i2:2: interface C of smtp_pop" in live.stdout
    assert "in_port" not in live.stdout


def test_a_trace_from_a_place_that_is_not_there() -> None:
    result = hactl("trace", "i9:1", "smtp_pop", "--site", str(EXAMPLE))
    assert result.exit_code == Exit.USAGE
    assert "no switch is named i9" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (12, "12 s"), (185, "3 min 5 s"), (7205, "2 h 0 min"), (356400, "4 d 3 h")],
)
def test_durations_are_told_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# The client by itself.


def test_the_client_gives_typed_results(url: str) -> None:
    with Client(url, TOKEN) as client:
        assert client.ready()
        answer = client.failover("web", "test", dry_run=True)
        assert (answer.kind, answer.role, answer.steps) == (
            "failover",
            "web",
            ("serve", "steer"),
        )
        assert client.history(limit=1)[0].number > 0
        assert "hactrl_role_epoch" in client.metrics()


def test_a_refusal_carries_status_kind_and_obstacles(url: str) -> None:
    with Client(url, TOKEN) as client, pytest.raises(RefusedError) as caught:
        client.failover("web", "test", target="mailrelay")
    assert (caught.value.status, caught.value.kind) == (409, "refused")
    assert caught.value.obstacles[0]["reason"] == "already_there"


def test_a_controller_that_has_just_started_is_not_ready() -> None:
    with served(Controller()) as url, Client(url) as client:
        assert not client.ready()


def test_names_cannot_leave_their_part_of_the_path(url: str) -> None:
    with Client(url, TOKEN) as client, pytest.raises(RefusedError) as caught:
        client.failover("../servers/x", "test")
    assert caught.value.status == 404


def test_an_answer_that_breaks_off_leaves_the_outcome_unknown() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url) as client, pytest.raises(UnknownOutcomeError):
            client.status()
        thread.join()


def test_another_program_on_the_port_is_no_controller() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    with (
        Client("http://somewhere", transport=transport) as client,
        pytest.raises(UnknownOutcomeError, match="another program"),
    ):
        client.status()


def test_a_url_that_is_none_is_unreachable() -> None:
    with Client("controller:8080") as client, pytest.raises(UnreachableError):
        client.status()
