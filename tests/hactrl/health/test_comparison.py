"""Who is silent while others answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from hactrl.health.comparison import Breath, Misses

ASKED = ("A", "B", "C")


def test_who_has_not_answered_when_others_did_has_missed_it() -> None:
    breath = Breath(ASKED)
    breath.answer("A")
    breath.answer("B")
    assert breath.missing() == ["C"]


def test_where_nobody_answers_nobody_has_missed_anything() -> None:
    assert Breath(ASKED).missing() == []


def test_who_is_asked_alone_is_compared_with_nobody() -> None:
    assert Breath(["A"]).missing() == []


def test_the_first_answer_says_from_when_on_the_others_are_late() -> None:
    breath = Breath(ASKED)
    assert [breath.answer(each) for each in ("B", "A", "B")] == [True, False, False]


def test_who_has_answered_is_not_missing_because_he_was_asked_again() -> None:
    breath: Breath[str] = Breath()
    for each in ("A", "B", "B"):
        breath.ask(each)
    breath.answer("A")
    assert breath.missing() == ["B"]
    breath.ask("B")
    breath.answer("B")
    breath.ask("B")
    assert breath.missing() == []


def test_whose_time_is_up_has_missed_a_breath_once_however_often_it_was_asked() -> None:
    breath = Breath(ASKED)
    breath.answer("A")
    assert [breath.miss(each) for each in ("A", "B", "B")] == [False, True, False]
    breath.ask("B")
    assert not breath.miss("B")
    assert breath.missing() == ["C"]


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
    some.dictionaries(some.sampled_from(ASKED), some.integers(0, 200)),
    some.integers(0, 10_000),
)
def test_whose_answer_came_in_time_is_not_missing_however_long_the_asker_stood_still(
    came: dict[str, int], stood_still_until: int
) -> None:
    """Milliseconds. What came meanwhile is heard when he goes on, before he looks."""
    lag, breath = 20, Breath(ASKED)
    heard = sorted((max(at, stood_still_until), asked) for asked, at in came.items())
    look: int | None = None
    missing: list[str] | None = None
    for at, asked in heard:
        if look is not None and look < at and missing is None:
            missing = breath.missing()
        if breath.answer(asked):
            look = at + lag
    missing = breath.missing() if missing is None else missing
    first = min(came.values(), default=0)
    for asked in ASKED:
        if asked in came and came[asked] <= first + lag:
            assert asked not in missing
        if asked not in came:
            assert (asked in missing) == bool(came)


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
