"""Who is silent while others answer? Pure; moments are seconds of one clock.

All are asked in the same breath. Who has not answered `lag` seconds after somebody else did has
missed it, and who misses several in a row is condemned. Any answer acquits, a late one too.

So nobody is condemned because the asker stood still, because the network was busy or slow for all,
or because nobody at all can be reached: what is compared are answers, never an answer with a clock.
Timeouts of the same length condemn a hundred times an hour on a busy machine; this did not once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

Asked = TypeVar("Asked", bound=Hashable)


class Breath(Generic[Asked]):
    """Questions that were asked at the same moment: `asked` says of each through which interface.
    Those through the same one are no comparison for each other."""

    def __init__(self, asked: Mapping[Asked, str]) -> None:
        self._open = dict(asked)
        self._first: dict[str, float] = {}

    def answer(self, asked: Asked, interface: str, at: float) -> bool:
        """Note an answer. True if it is one of the two from which somebody may be late: the first
        through any interface, and the first through another one."""
        self._open.pop(asked, None)
        if interface in self._first:
            return False
        self._first[interface] = at
        return len(self._first) <= 2

    def missing(self, answered: float) -> list[Asked]:
        """Who has missed it, `lag` after somebody else's answer at the moment `answered`; each is
        named once."""
        missing = [
            asked
            for asked, interface in self._open.items()
            if any(other != interface and at <= answered for other, at in self._first.items())
        ]
        for asked in missing:
            del self._open[asked]
        return missing


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
