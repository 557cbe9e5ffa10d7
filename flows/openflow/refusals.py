"""Keeps a peer that comes again and again from filling the log."""

from __future__ import annotations

INTERVAL = 10.0
"""Seconds between two lines about one address."""

MOST = 1_000
"""Addresses to remember; of more, those longest ago are forgotten."""


class Refusals:
    """When each address was last told of, and how often it was refused since."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, int]] = {}

    def tell(self, address: str, now: float) -> int | None:
        """It is refused. None if that need not be told now; else how often it was refused since
        the last time it was."""
        told_at, untold = self._told.get(address, (now - INTERVAL, 0))
        if now - told_at < INTERVAL:
            self._told[address] = (told_at, untold + 1)
            return None
        self._told.pop(address, None)
        self._told[address] = (now, 0)
        if len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        return untold
