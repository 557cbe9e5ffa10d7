"""Questions about a state are worked out once for each state, and anew for the next."""

from __future__ import annotations

from dataclasses import replace

from simulation import make_site

from hactrl.engine.decide import initial
from hactrl.engine.once import once
from hactrl.engine.state import State


def test_a_question_is_worked_out_once_for_each_state_and_arguments() -> None:
    asked: list[tuple[int, str]] = []

    @once
    def question(state: State, server: str) -> str:
        asked.append((state.version, server))
        return f"{server} at {state.version}"

    first = initial(make_site(), {}, 0.0)
    second = replace(first, version=2)
    for _ in range(2):
        assert question(first, "alpha") == "alpha at 1"
        assert question(first, "beta") == "beta at 1"
        assert question(second, "alpha") == "alpha at 2"
    assert asked == [(1, "alpha"), (1, "beta"), (2, "alpha")]


def test_what_was_worked_out_is_no_part_of_the_state() -> None:
    first, second = (initial(make_site(), {}, 0.0) for _ in range(2))
    once(lambda state: state.version)(first)
    assert first == second
    assert replace(first, version=1).known == {}
