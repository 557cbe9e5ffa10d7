"""The clock that all of hactrl's processes on one machine share."""

from __future__ import annotations

import time


def boot_time() -> float:
    """Seconds since boot, suspend included (CLOCK_BOOTTIME): it never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
