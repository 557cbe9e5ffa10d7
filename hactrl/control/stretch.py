"""How long a greenlet works at a stretch (law 6: the hub never blocks)."""

from __future__ import annotations

import time
from collections.abc import Callable

from hactrl import hub

#: Seconds. Less than the 5 ms of the law, because what lies between two pauses comes on top.
LONGEST = 0.002


class Stretch:
    """Of one greenlet, from now on."""

    def __init__(
        self, longest: float = LONGEST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest = longest
        self._clock = clock
        self._end = clock() + longest

    def pause(self) -> None:
        """Let others run, if the stretch has been long enough. Costs next to nothing otherwise,
        so it may be called often."""
        if self._clock() >= self._end:
            hub.sleep(0)
            self._end = self._clock() + self._longest
