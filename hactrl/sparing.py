"""How often something may be said that a peer can cause as often as it likes."""

from __future__ import annotations

import time
from collections.abc import Hashable


class Sparing:
    """Says yes `most` times in `pause` seconds for each cause."""

    def __init__(self, pause: float, most: int) -> None:
        self._pause = pause
        self._most = most
        self._began = time.monotonic()
        self._counts: dict[Hashable, int] = {}

    def __call__(self, cause: Hashable) -> bool:
        now = time.monotonic()
        if now >= self._began + self._pause:
            self._began = now
            self._counts.clear()
        self._counts[cause] = self._counts.get(cause, 0) + 1
        return self._counts[cause] <= self._most
