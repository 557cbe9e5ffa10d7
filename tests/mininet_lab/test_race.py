"""What the race makes of its client's log, and what it gives its contenders."""

from __future__ import annotations

from pathlib import Path

import pytest

from hactrl.site import load
from mininet_lab.race import greeter
from mininet_lab.race.arena import LIVE, ROLE, site_text
from mininet_lab.race.contenders import SETTINGS
from mininet_lab.race.measure import APART, SLOW, Blackout, Knock, blackout, is_over, read

STRUCK, UNTIL = 10.0, 12.0
TOOK = 0.001


def knocks(*spans: tuple[float, float, str], every: float = 0.002) -> list[Knock]:
    """Connections from 9.0 to 12.0; in each span those that begin there fail, if it names nobody,
    and are greeted by whom it names otherwise."""
    found = []
    for number in range(int(3.0 / every)):
        began = 9.0 + number * every
        server = next((who for begin, end, who in spans if begin <= began < end), LIVE)
        ended = began + (TOOK if server else 0.9)
        found.append(Knock(began, ended, server, "" if server else "timeout"))
    return sorted(found, key=lambda knock: knock.ended)


def found(*spans: tuple[float, float, str]) -> Blackout:
    return blackout(knocks(*spans), 9.0, STRUCK, UNTIL)


def test_where_nobody_fails_a_blackout_is_the_time_between_two_greetings() -> None:
    assert found().seconds == pytest.approx(0.002)


def test_a_blackout_is_the_longest_time_without_a_greeting() -> None:
    one = found((10.0, 10.05, ""), (11.0, 11.02, ""))
    assert one.seconds == pytest.approx(0.052, abs=0.003)
    assert one.failed == pytest.approx(35, abs=1)


def test_connections_that_fail_among_others_that_do_not_are_one_blackout() -> None:
    """As with a balancer that sends every second connection into the void."""
    every_second = [(10.0 + n * 0.004, 10.002 + n * 0.004, "") for n in range(100)]
    assert found(*every_second).seconds == pytest.approx(0.4, abs=0.005)


def test_slow_connections_are_a_blackout_until_the_last_one_is_greeted() -> None:
    slow = [
        Knock(k.began, k.began + 0.03, k.server) if 10.0 <= k.began < 10.04 else k for k in knocks()
    ]
    assert blackout(slow, 9.0, STRUCK, UNTIL).seconds == pytest.approx(0.07, abs=0.003)
    assert SLOW < 0.03


def test_a_single_late_connection_long_afterwards_does_not_prolong_it() -> None:
    one = found((10.0, 10.05, ""), (10.05 + 2 * APART, 10.052 + 2 * APART, ""))
    assert one.seconds == pytest.approx(0.052, abs=0.003)


def test_a_blackout_that_goes_on_has_no_length() -> None:
    assert found((10.0, 12.0, "")).seconds is None


def test_what_happens_before_the_failure_is_told_apart() -> None:
    one = found((9.2, 9.21, ""), (9.5, 9.6, "two"), (10.0, 10.05, ""))
    assert (one.early, one.moved) == (5, 2)
    assert one.seconds == pytest.approx(0.052, abs=0.003)


def test_it_is_over_when_those_that_would_have_failed_by_now_did_not() -> None:
    assert is_over(knocks(), UNTIL, 1.0)
    assert not is_over(knocks((10.5, 10.6, "")), UNTIL, 1.0)
    assert not is_over([], UNTIL, 1.0)


def test_a_log_is_read_up_to_the_line_that_is_being_written() -> None:
    lines = ["1.000000 1.001000 one\n", "1.002000 1.902000 - timeout\n", "1.004000 1.0"]
    assert read(lines) == [Knock(1.0, 1.001, "one"), Knock(1.002, 1.902, "", "timeout")]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("spread", [False, True])
def test_every_contender_gets_a_site_file_with_two_servers_of_two_cards(
    name: str, spread: bool, tmp_path: Path
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(site_text(tmp_path, SETTINGS[name].timers, spread=spread))
    site = load(file)
    role = site.roles[ROLE]
    for server in role.servers:
        cards = site.cards(role, server, "users")
        assert len({card.attachment.switch for card in cards}) == 1 + spread
        assert len(cards) == 2
    assert role.servers[0] == LIVE


def test_the_greeter_answers_what_a_probe_says() -> None:
    assert greeter.answer(b"EHLO [10.0.0.240]\r\n").startswith(b"250 ")
    assert greeter.answer(b"QUIT\r\n").startswith(b"221 ")
