"""The switchboard: whoever wants something of a switch asks here, and what switches say of what
they hold is told from here.

    rulebooks ── want ─────────────┐                     ┌── installed ──► runtime, backbone ports
    backbone ports ── emit, ───────┼──► session of the ──┼── counted ────► reply counts
                      resubmit     │    switch, if it is └── restored ───► journal
    reply counts ── count_answers ─┘    connected

Nobody waits here, and of a switch that is not connected nothing is wanted: when it connects, it is
handed what it should hold then, and frames that it was to send are out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from flows.openflow import Counts
from hactrl.switches.session import Counters, Session, Wanted, Wire

#: Takes the switch's name, and what it says.
Installed = Callable[[str, Wanted], None]
Counted = Callable[[str, Counts], None]
Restored = Callable[[str, int], None]


@dataclass(frozen=True)
class Listeners:
    """Whom the switchboard tells, in order: `installed` what a switch has confirmed, `counted` what
    it has counted, `restored` how many changes mended what somebody had done behind its back."""

    installed: tuple[Installed, ...] = ()
    counted: tuple[Counted, ...] = ()
    restored: tuple[Restored, ...] = ()


class Switchboard:
    """Has the sessions of those of `switches` that are connected. `counters`: what was sent to
    each, over all its connections."""

    def __init__(self, switches: Iterable[str]) -> None:
        self.counters: Mapping[str, Counters] = {name: Counters() for name in switches}
        self._sessions: dict[str, Session] = {}
        self._listeners = Listeners()

    def tell(self, listeners: Listeners) -> None:
        """From now on these are told."""
        self._listeners = listeners

    def session(self, switch: str, wire: Wire) -> Session:
        """One that is to keep a switch right over this connection, once it is plugged in."""
        return Session(
            switch,
            wire,
            partial(self._installed, switch),
            partial(self._counted, switch),
            self.counters[switch],
            restored=partial(self._restored, switch),
        )

    def plug(self, session: Session) -> None:
        """The switch is ours, by this session."""
        self._sessions[session.switch] = session

    def unplug(self, session: Session) -> None:
        """It is not, or no longer."""
        if self._sessions.get(session.switch) is session:
            del self._sessions[session.switch]

    def want(self, switch: str, wanted: Wanted) -> None:
        """The switch should hold exactly this; the latest call wins."""
        if session := self._sessions.get(switch):
            session.want(wanted)

    def emit(self, switch: str, frame: bytes, port: int) -> None:
        """Send the frame out of this port."""
        if session := self._sessions.get(switch):
            session.emit(frame, port)

    def resubmit(self, switch: str, frame: bytes, port: int) -> None:
        """Treat the frame as if it had just come in by this port."""
        if session := self._sessions.get(switch):
            session.resubmit(frame, port)

    def count_answers(self, switch: str) -> None:
        """Ask the switch for all its counters; the listeners get the answer."""
        if session := self._sessions.get(switch):
            session.count_answers()

    def _installed(self, switch: str, wanted: Wanted) -> None:
        for listener in self._listeners.installed:
            listener(switch, wanted)

    def _counted(self, switch: str, counts: Counts) -> None:
        for listener in self._listeners.counted:
            listener(switch, counts)

    def _restored(self, switch: str, changes: int) -> None:
        for listener in self._listeners.restored:
            listener(switch, changes)
