"""Was this machine paused? Seen by a clock that has jumped against another.

Suspended, CLOCK_BOOTTIME gets ahead of CLOCK_MONOTONIC. In a virtual machine that was stopped for
a snapshot or moved, both have stood still, and only the wall clock is set right afterwards, by its
tools or by NTP: then all deadlines of this machine are later than they should be. Nobody can tell
that from a wall clock that was merely wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hactrl.agent import linux
from hactrl.clock import boot_time

LEAST = 0.5
"""Seconds of a jump that counts: more than any clock drifts between two looks."""

Clocks = tuple[float, float, float]
"""Wall, boot and monotonic."""


def clocks() -> Clocks:
    """All at about the same moment."""
    return (
        time.clock_gettime(time.CLOCK_REALTIME),
        boot_time(),
        time.clock_gettime(time.CLOCK_MONOTONIC),
    )


class Pauses:
    """Compares whenever it is asked, and when the wall clock is set."""

    def __init__(self, seen: Callable[[float], None], read: Callable[[], Clocks] = clocks) -> None:
        """`seen` is told how long a pause probably was, in seconds."""
        self._seen = seen
        self._read = read
        self._last = read()
        self._settings = linux.ClockSettings()

    def watch(self) -> None:
        """From now on `look` whenever the wall clock is set."""
        asyncio.get_running_loop().add_reader(self._settings, self._set)

    def forget(self) -> None:
        """What has been until now is no matter."""
        self._last = self._read()

    def look(self) -> None:
        """Has a clock jumped since the last look?"""
        wall, boot, monotonic = now = self._read()
        last_wall, last_boot, last_monotonic = self._last
        self._last = now
        suspended = (boot - last_boot) - (monotonic - last_monotonic)
        late = (wall - last_wall) - (boot - last_boot)
        if max(suspended, late) >= LEAST:
            self._seen(max(suspended, late))

    def _set(self) -> None:
        self._settings.rearm()
        self.look()
