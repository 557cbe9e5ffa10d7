"""Who is silent while others answer? Pure.

All are asked in the same breath. Who has not answered a while after somebody else did has missed
it, and who misses several in a row is condemned. Any answer acquits, a late one too.

So nobody is condemned because the asker stood still, because the network was busy or slow for all,
or because nobody at all can be reached: what is compared are answers, never an answer with a clock.
Timeouts of the same length condemn a hundred times an hour on a busy machine; this did not once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Asked = TypeVar("Asked", bound=Hashable)


class Breath(Generic[Asked]):
    """Who was asked at the same moment, each perhaps several times: one answer is enough."""

    def __init__(self, asked: Iterable[Asked] = ()) -> None:
        self._open = dict.fromkeys(asked)
        self._answered: set[Asked] = set()
        self._missed: set[Asked] = set()

    @property
    def answered(self) -> bool:
        """Has anybody answered?"""
        return bool(self._answered)

    def ask(self, asked: Asked) -> None:
        """One more, or once more."""
        if asked not in self._answered and asked not in self._missed:
            self._open[asked] = None

    def answer(self, asked: Asked) -> bool:
        """Note an answer. True if it is the first of all: the others have a while from now on."""
        self._open.pop(asked, None)
        first = not self._answered
        self._answered.add(asked)
        return first

    def missing(self) -> list[Asked]:
        """Who has not answered, though somebody else has."""
        return list(self._open) if self._answered else []

    def miss(self, asked: Asked) -> bool:
        """Its time is up. True if it has not answered, the first time that this is asked."""
        if asked not in self._open:
            return False
        del self._open[asked]
        self._missed.add(asked)
        return True


class Misses(Generic[Asked]):
    """How many breaths each has missed in a row."""

    def __init__(self) -> None:
        self._missed: dict[Asked, int] = {}

    def acquit(self, asked: Asked) -> None:
        self._missed.pop(asked, None)

    def missed(self, asked: Asked) -> int:
        """It has missed another one; how many these are."""
        self._missed[asked] = self._missed.get(asked, 0) + 1
        return self._missed[asked]

    def keep(self, asked: Iterable[Asked]) -> None:
        """Forget all others."""
        self._missed = {each: self._missed[each] for each in asked if each in self._missed}
