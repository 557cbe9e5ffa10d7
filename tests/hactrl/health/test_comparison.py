"""Who is silent while others answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from hactrl.health.comparison import Breath, Misses

LAG = 0.02
ASKED = {"a": "A", "b": "B", "c": "C"}


def test_who_has_not_answered_a_while_after_another_did_has_missed_it() -> None:
    breath = Breath(ASKED)
    breath.answer("a", "A", 1.0)
    breath.answer("b", "B", 1.001)
    assert breath.missing(1.001) == ["c"]


def test_answers_that_came_later_are_no_comparison_yet() -> None:
    breath = Breath(ASKED)
    breath.answer("a", "A", 1.0)
    assert breath.missing(0.999) == []


def test_where_nobody_answers_nobody_has_missed_anything() -> None:
    assert Breath(ASKED).missing(1000.0) == []


def test_those_through_one_interface_are_no_comparison_for_each_other() -> None:
    breath = Breath({"smtp": "A", "pop3": "A"})
    breath.answer("smtp", "A", 1.0)
    assert breath.missing(2.0) == []


def test_the_first_through_two_interfaces_say_when_to_look() -> None:
    """After the first, all but those through the same interface can be judged, and these after the
    second: later ones add nothing."""
    breath = Breath({"a": "A", "a2": "A", "b": "B", "c": "C"})
    looks = [breath.answer("a", "A", 1.0), breath.answer("b", "B", 1.1)]
    assert [*looks, breath.answer("c", "C", 1.2)] == [True, True, False]
    assert breath.missing(1.1) == ["a2"]


def test_each_is_missing_once() -> None:
    breath = Breath(ASKED)
    breath.answer("a", "A", 1.0)
    assert breath.missing(2.0) == ["b", "c"]
    assert breath.missing(3.0) == []


def test_misses_are_counted_in_a_row_and_any_answer_ends_the_row() -> None:
    misses: Misses[str] = Misses()
    assert [misses.missed("a"), misses.missed("a")] == [1, 2]
    misses.acquit("a")
    assert misses.missed("a") == 1


def test_who_is_asked_no_longer_is_forgotten() -> None:
    misses: Misses[str] = Misses()
    misses.missed("a")
    misses.missed("b")
    misses.keep(["b", "c"])
    assert (misses.missed("a"), misses.missed("b")) == (1, 2)


@given(
    some.dictionaries(some.sampled_from(sorted(ASKED)), some.floats(0.0, 0.2)),
    some.floats(0.0, 10.0),
)
def test_whose_answer_came_in_time_is_not_missing_however_long_the_asker_stood_still(
    came: dict[str, float], stood_still_until: float
) -> None:
    """What came meanwhile is heard when he goes on, before he looks."""
    breath = Breath(ASKED)
    heard = {asked: max(at, stood_still_until) for asked, at in came.items()}
    answered, missing = [], []
    for asked, at in sorted(heard.items(), key=lambda pair: pair[1]):
        missing += [m for each in answered if each + LAG < at for m in breath.missing(each)]
        answered = [each for each in answered if each + LAG >= at]
        if breath.answer(asked, ASKED[asked], at):
            answered.append(at)
    missing += [m for each in answered for m in breath.missing(each)]
    for asked in ASKED:
        others = [at for other, at in came.items() if other != asked]
        if asked in came and all(came[asked] <= at + LAG for at in others):
            assert asked not in missing
        if asked not in came:
            assert (asked in missing) == bool(others)


@given(some.lists(some.booleans(), max_size=30))
def test_condemned_is_who_misses_so_many_in_a_row(missed: list[bool]) -> None:
    misses: Misses[str] = Misses()
    row = 0
    for each in missed:
        row = row + 1 if each else 0
        if each:
            assert misses.missed("a") == row
        else:
            misses.acquit("a")
