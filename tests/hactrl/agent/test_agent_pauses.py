"""A pause is seen by a clock that has jumped against another."""

from __future__ import annotations

import pytest

from hactrl.agent.pauses import LEAST, Clocks, Pauses

pytestmark = pytest.mark.reported("B5")

START = (1.7e9, 5000.0, 4000.0)


def seen(*steps: Clocks) -> list[float]:
    """What is seen when wall, boot and monotonic clock move on by these steps."""
    now = START
    found: list[float] = []
    pauses = Pauses(found.append, lambda: now)
    for step in steps:
        now = (now[0] + step[0], now[1] + step[1], now[2] + step[2])
        pauses.look()
    return found


def test_clocks_that_move_on_together_are_no_pause() -> None:
    assert not seen((1.0, 1.0, 1.0), (3600.0, 3600.0, 3600.0))


def test_a_suspended_machine_has_a_monotonic_clock_that_stood_still() -> None:
    assert seen((12.0, 12.0, 0.0)) == [12.0]


def test_a_machine_stopped_from_outside_is_seen_when_its_wall_clock_is_set_right() -> None:
    assert seen((1.0, 1.0, 1.0), (12.2, 0.2, 0.2), (1.0, 1.0, 1.0)) == pytest.approx([12.0])


def test_a_wall_clock_set_back_is_no_pause() -> None:
    assert not seen((-3600.0, 1.0, 1.0))


def test_drift_is_no_pause() -> None:
    assert not seen(*[(1.0 + LEAST / 100, 1.0, 1.0)] * 200)
