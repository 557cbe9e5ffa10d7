"""How often something is said that others can bring about as often as they like.

Whoever can connect can be refused a thousand times a second, and under as many addresses as he
has. Neither log nor memory may grow with that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

APART = 1_000
"""Causes that are told apart at a time, unless somebody says otherwise."""


@dataclass(slots=True)
class _Cause:
    """What was said of it since `began`, and how often it was not."""

    began: float
    said: int = 0
    left_out: int = 0


class Sparing:
    """Lets each cause be said `most` times in `pause` seconds. Of those that come in this time the
    first `apart` are told apart; to all others together the same applies as to one."""

    def __init__(
        self,
        pause: float,
        most: int = 1,
        apart: int = APART,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause = pause
        self._most = most
        self._apart = apart
        self._clock = clock
        self._causes: dict[Hashable, _Cause] = {}  # those that began first, first
        self._others = object()

    def tell(self, cause: Hashable) -> int | None:
        """None if it is not to be said now; else how often it was left out since it last was."""
        now = self._clock()
        found = self._causes.get(cause)
        if found is None and len(self._causes) >= self._apart and not self._forgets_one(now):
            cause = self._others
            found = self._causes.get(cause)
        left_out = 0
        if found is None or now - found.began >= self._pause:
            left_out = found.left_out if found else 0
            self._causes.pop(cause, None)
            found = self._causes[cause] = _Cause(now)
        if found.said >= self._most:
            found.left_out += 1
            return None
        found.said += 1
        return left_out

    def log(self, cause: Hashable, log: Callable[..., None], text: str, *values: object) -> bool:
        """Say it by a method of a logger, if it may be said, and how often it was left out.
        Returns whether it was said."""
        left_out = self.tell(cause)
        if left_out is None:
            return False
        more = f" ({left_out} more since the last such line)" if left_out else ""
        log(text + more, *values)
        return True

    def _forgets_one(self, now: float) -> bool:
        """Make room, if there is a cause whose time is over."""
        oldest = next(iter(self._causes))
        over = now - self._causes[oldest].began >= self._pause
        if over:
            del self._causes[oldest]
        return over
