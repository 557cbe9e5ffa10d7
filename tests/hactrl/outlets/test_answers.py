"""Answers that take a roundabout way are noticed, and the server is named."""

from __future__ import annotations

from typing import Any

from campus_network import campus, site_of

from hactrl.engine.backbone import answers
from hactrl.engine.backbone.answers import Manner
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import Record
from hactrl.engine.events import AnswersCounted, AnswerWays
from hactrl.engine.state import State
from hactrl.explain import words

NETWORK = campus([("a", "b"), ("b", "c")], ["a", "c"])
MEGABYTE = 1_000_000


def after(*intervals: tuple[AnswerWays, ...]) -> tuple[State, list[str]]:
    """The state after these, and what the journal says of them."""
    state, said = initial(site_of(NETWORK), {}, 0.0), []
    for number, ways in enumerate(intervals, 1):
        state, effects = decide(state, AnswersCounted("files", ways), 10.0 * number)
        records = [effect for effect in effects if isinstance(effect, Record)]
        said += [words.entry(record.kind, dict(record.details)) for record in records]
    return state, said


def to(switch: str, short: int, roundabout: int = 0) -> AnswerWays:
    return AnswerWays(switch, short, roundabout, ("a-2",) if roundabout else ())


def seen(*intervals: tuple[AnswerWays, ...]) -> Manner:
    return answers.manner(after(*intervals)[0], "files")


def test_before_anything_is_counted_nothing_is_known() -> None:
    assert seen() is Manner.UNKNOWN
    assert answers.roundabout_share(after()[0], "files") is None


def test_answers_by_nearest_interfaces_take_the_short_way_and_nobody_is_told() -> None:
    state, said = after((to("a", MEGABYTE), to("c", MEGABYTE)))
    assert answers.manner(state, "files") is Manner.SHORT
    assert answers.roundabout_share(state, "files") == 0.0
    assert said == []


def test_a_server_that_answers_by_a_roundabout_way_is_named_once() -> None:
    ways = to("a", MEGABYTE), to("c", 380_000, 620_000)
    state, said = after(ways, ways)
    assert answers.manner(state, "files") is Manner.ROUNDABOUT
    assert answers.roundabout_share(state, "files") == 0.31
    assert said == ["answers of files to c take a roundabout way: 62 % leave by a-2"]


def test_a_server_that_does_better_is_well_again() -> None:
    state, said = after((to("c", 0, MEGABYTE),), (to("c", MEGABYTE),))
    assert answers.manner(state, "files") is Manner.SHORT
    assert said[1:] == ["answers of files take the short way again"]


def test_answers_to_others_say_nothing_of_those_that_took_a_roundabout_way() -> None:
    roundabout = (to("c", 0, MEGABYTE),)
    assert seen(roundabout, (to("a", MEGABYTE),)) is Manner.ROUNDABOUT
    assert seen(roundabout, (to("a", MEGABYTE), to("c", MEGABYTE))) is Manner.SHORT


def test_a_tenth_may_take_another_way() -> None:
    assert seen((to("c", 9 * MEGABYTE, MEGABYTE),)) is Manner.SHORT
    assert seen((to("c", 9 * MEGABYTE, MEGABYTE + 1),)) is Manner.ROUNDABOUT


def test_of_few_bytes_nobody_is_told() -> None:
    assert seen((to("c", 0, answers.ENOUGH),)) is Manner.UNKNOWN
    assert seen((to("c", 0, MEGABYTE),), (to("c", answers.ENOUGH - 1),)) is Manner.ROUNDABOUT
    assert seen((to("c", MEGABYTE),), (to("c", 0, answers.ENOUGH),)) is Manner.SHORT


def test_no_rule_depends_on_it() -> None:
    state, _ = after((to("c", 0, MEGABYTE),))
    assert state.version == after()[0].version


def test_bytes_of_all_intervals_are_added_up() -> None:
    state, _ = after((to("a", 5), to("c", 1, 2)), (to("a", 5, 1),))
    found: Any = state.answers["files"]
    assert (found.short, found.roundabout) == (11, 3)
