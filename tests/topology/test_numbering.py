"""Numbers for names: each has its own, and keeps it as far as can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology.numbering import digest, numbers, places


@given(st.sets(st.text(max_size=4), max_size=30), st.integers(30, 40))
def test_every_name_has_a_number_of_its_own_below_the_room(names: set[str], room: int) -> None:
    found = numbers(names, room)
    assert found.keys() == names
    assert len(set(found.values())) == len(names)
    assert all(0 <= number < room for number in found.values())


@given(st.sets(st.text(max_size=4), min_size=1, max_size=30))
def test_where_none_fall_together_a_number_is_that_of_the_name_alone(names: set[str]) -> None:
    room = 1 << 32
    assert numbers(names, room) == {name: digest(name) for name in names}


def test_who_falls_together_with_an_earlier_name_takes_the_next_free_number() -> None:
    """Of names that all want the one place, in a room with as many."""
    wanting = [name for name in map(str, range(1000)) if digest(name) % 3 == 2][:3]
    first, second, third = sorted(wanting)
    assert numbers(wanting, 3) == {first: 2, second: 0, third: 1}


def test_the_places_of_a_text_are_all_there_are_from_its_own_on() -> None:
    own = digest("text") % 5
    assert list(places("text", 5)) == [(own + further) % 5 for further in range(5)]
