"""The clock of faults, of what users meet, and of the controller's history."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds of CLOCK_BOOTTIME, which all processes of one machine share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
