"""What others bring about without end is said now and then."""

from __future__ import annotations

import logging

import pytest

from flows.sparing import Sparing

LOG = logging.getLogger(__name__)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_cause_is_told_once_in_a_while_with_how_often_it_was_not(clock: Clock) -> None:
    sparing = Sparing(10.0, clock=clock)
    told = []
    for clock.now in (0.0, 0.1, 9.9, 10.0, 20.0):
        told.append(sparing.tell("192.0.2.1"))
    assert told == [0, None, None, 2, 0]


def test_a_cause_may_be_told_several_times(clock: Clock) -> None:
    sparing = Sparing(10.0, most=2, clock=clock)
    told = []
    for clock.now in (0.0, 1.0, 2.0, 3.0, 11.0, 12.0, 13.0):
        told.append(sparing.tell("192.0.2.1"))
    assert told == [0, 0, None, None, 2, 0, None]


def test_other_causes_are_told_at_once(clock: Clock) -> None:
    sparing = Sparing(10.0, clock=clock)
    assert [sparing.tell(cause) for cause in ("192.0.2.1", "192.0.2.2")] == [0, 0]


@pytest.mark.reported("C6")
def test_causes_without_end_are_told_as_one_beyond_the_first(clock: Clock) -> None:
    sparing = Sparing(10.0, apart=3, clock=clock)
    assert [sparing.tell(number) for number in range(1000)] == [0, 0, 0, 0, *[None] * 996]
    assert len(sparing._causes) == 4
    clock.now = 10.0
    assert sparing.tell(999) == 0
    assert sparing.tell(998) == 0, "there is room again"


def test_a_cause_that_goes_on_keeps_its_place_among_others_without_end(clock: Clock) -> None:
    sparing = Sparing(10.0, apart=3, clock=clock)
    for clock.now in (0.0, 5.0, 9.0, 10.0, 15.0):
        sparing.tell("one")
        for number in range(1000):
            sparing.tell(number)
    clock.now = 20.0
    assert sparing.tell("one") == 1


def test_a_line_of_the_log_says_how_many_are_left_out(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sparing = Sparing(10.0, clock=clock)
    said = []
    for clock.now in (0.0, 1.0, 2.0, 10.0):
        said.append(sparing.log("192.0.2.1", LOG.warning, "%d %% of %s refused", 100, "192.0.2.1"))
    assert said == [True, False, False, True]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "100 % of 192.0.2.1 refused"),
        ("WARNING", "100 % of 192.0.2.1 refused (2 more since the last such line)"),
    ]
