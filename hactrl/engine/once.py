"""Questions about a state, each worked out once for each state.

A state never changes, so a question about it has one answer; but many rules ask the same ones, and
within one event most of them ask them of the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from hactrl.engine.state import State

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def once(
    question: Callable[Concatenate[State, Arguments], Answer],
) -> Callable[Concatenate[State, Arguments], Answer]:
    """A pure function of a state and of positional arguments that can be hashed: its answers are
    kept as long as the state is."""

    @wraps(question)
    def answer(state: State, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        assert not named, "answers are kept by position"
        key = (question, arguments)
        known: dict[object, Answer] = state.known
        try:
            return known[key]
        except KeyError:
            return known.setdefault(key, question(state, *arguments, **named))

    return answer
