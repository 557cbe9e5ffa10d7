"""One call of `decide` under way: the state as changed so far, and the effects so far.

A `Turn` lives for one call and is seen by nobody outside it, so `decide` stays a pure function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from hactrl.engine.effects import Effect, Record
from hactrl.engine.outlook import outlook
from hactrl.engine.state import Ask, State, Takeover
from hactrl.vocabulary import EntryKind

Value = TypeVar("Value")
Key = TypeVar("Key")


class Turn:
    """`moments` are the times at which some guard could change its answer; the earliest becomes
    the next `Wake`. Every comparison with the clock goes through `reached`, so that no moment
    can be forgotten."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.effects: list[Effect] = []
        self.moments: set[float] = set()

    def update(self, **changes: Any) -> None:
        self.state = self.state.changed(**changes)

    def do(self, effect: Effect) -> None:
        self.effects.append(effect)

    def record(self, kind: EntryKind, role: str = "", **details: str | int | float) -> None:
        self.do(Record(kind, role, tuple(details.items())))

    def reached(self, moment: float) -> bool:
        """Is it that late? If not, look again then."""
        if self.now >= moment:
            return True
        self.moments.add(moment)
        return False

    def start_ask(self, ask: Ask) -> int:
        """Note an operation that is being started; its number."""
        operation = self.state.operation + 1
        self.update(operation=operation, asks=with_item(self.state.asks, operation, ask))
        return operation

    def refresh_version(self) -> None:
        """A new version, if what the wanted rules depend on has changed."""
        seen = outlook(self.state)
        if seen != self.state.outlook:
            self.update(outlook=seen, version=self.state.version + 1)

    def put_takeover(self, takeover: Takeover) -> None:
        self.update(takeovers=with_item(self.state.takeovers, takeover.role, takeover))


def with_item(mapping: Mapping[Key, Value], key: Key, value: Value) -> dict[Key, Value]:
    return {**mapping, key: value}


def without(mapping: Mapping[Key, Value], key: Key) -> dict[Key, Value]:
    return {k: v for k, v in mapping.items() if k != key}
