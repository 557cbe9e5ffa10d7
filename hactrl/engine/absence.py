"""A controller that did not run for a while (stopped, swapped out, a frozen machine) finds every
deadline passed when it goes on. Nobody was late but itself: what it waits for gets the time back.

Leases get none: they ran on, and so did everything that they prove. But nobody could renew them,
and agents have gone: so what has ended meanwhile counts when they can be back (`leases.RETURN`).
A controller that misses time again before that gives them what it missed, and no more: else one on
a machine that is too busy would never let a lease end.
"""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.roles.leases import RETURN
from hactrl.engine.turn import Turn
from hactrl.vocabulary import EntryKind

#: Seconds by which a `Tick` is late only if nothing ran: a busy hub is late by tenths of one.
LATE = 1.0


def note(turn: Turn) -> None:
    """Move the deadlines of what is under way by the time that was missed, if any was."""
    wake = turn.state.wake
    if wake is None or turn.now - wake < LATE:
        return
    missed = turn.now - wake
    asks = {
        operation: replace(ask, deadline=ask.deadline + missed)
        for operation, ask in turn.state.asks.items()
    }
    takeovers = {
        role: replace(
            takeover,
            entered=takeover.entered + missed,
            deadline=takeover.deadline + missed,
            interrupted=True,
        )
        for role, takeover in turn.state.takeovers.items()
    }
    before = turn.state.running_since
    since = before + missed if wake - before <= RETURN else turn.now
    turn.update(asks=asks, takeovers=takeovers, running_since=since)
    turn.record(EntryKind.CONTROLLER_ABSENT, seconds=missed)
