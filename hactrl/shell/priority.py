"""The controller goes before what is ordinary on its machine, as routing daemons do: users wait
while it waits for a processor. Not by real-time scheduling, which keeps even a switch on the same
machine waiting."""

from __future__ import annotations

import os

NICENESS = -10
"""See sched(7): nine times the share of an ordinary process where they compete. In a race with Open
vSwitch on two cores, this took 2 to 5 of 14 ms from a failover, and real-time scheduling added 6
(`mininet_lab race`)."""


def go_first() -> str:
    """Take that niceness for the calling thread and all that it starts, unless somebody has chosen
    one already. Says for the log what the niceness is, and why it is no better."""
    chosen = os.getpriority(os.PRIO_PROCESS, 0)
    if chosen:
        return f"niceness {chosen}, as chosen"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except PermissionError as error:
        return f"ordinary niceness: {error}; allow CAP_SYS_NICE to go before others"
    return f"niceness {NICENESS}"
