"""Keep one switch at the wanted rules: read back, compare, send the difference.

A session lives as long as the switch's connection. It first asks what the switch holds, then
sends only what differs, so that a controller's restart changes nothing on a switch that is
right. From then on it knows what the switch must hold (what it was sent last) and compares
against that without asking, so that a failover waits for no reading. Now and then it audits:
reads again and mends what somebody changed behind its back.

        want ──► [wanted]                ┌──► changes, barriers ──► switch
                     └──► diff ──────────┤
     replies ──► [installed] ◄── wanted ─┘

All input comes through one queue and is handled by one greenlet; nothing else sends, neither
changes nor whole frames, so a switch that does not take what it is sent holds up its own session
only.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flows.diff import Change, diff
from flows.openflow import Counts
from flows.rules import RuleSet
from hactrl import hub
from hactrl.hub import LightQueue

LOG = logging.getLogger(__name__)

#: Seconds between two audits of a switch that nobody complained about. Most of them only count
#: its rules: a reading of 400 takes 14 ms of the hub.
AUDIT_INTERVAL = 5.0
COUNTS_BETWEEN_READINGS = 11
#: Seconds before a switch is read again that refused a change, and at most, if it refuses again
#: and again: a full table stays full, and each try costs the hub as much as a first installation.
REFUSAL_PAUSE = 1.0
LONGEST_REFUSAL_PAUSE = 60.0
#: Notes that wait for a session which waits for its switch; further frames are lost, as on a
#: network that is full, and whoever asked for them asks again.
MOST_WAITING = 1_000


class Wire(Protocol):
    """What a session needs of the connection; messages leave in the order of the calls."""

    def send(self, change: Change) -> list[int]:
        """Send a change; the transaction ids of its messages."""

    def barrier(self) -> int:
        """Ask for a barrier; its transaction id."""

    def read(self) -> int:
        """Ask for all that the switch holds of ours; `take_reply` gives the answer, with the
        number returned here."""

    def count(self) -> int:
        """Ask how many rules of ours the switch holds; answered likewise."""

    def take_reply(self, message: Any) -> tuple[int, RuleSet | int] | None:
        """Take a part of an answer, which may send for the next part; the answer once it is
        whole."""

    def question_failed(self, xid: int) -> bool:
        """Whether an error with this transaction id answers `read` or `count`; no other answer
        comes then."""

    def emit(self, frame: bytes, port: int) -> None:
        """Send the frame out of this port."""

    def resubmit(self, frame: bytes, port: int) -> None:
        """Treat the frame as if it had just come in by this port."""

    def count_answers(self) -> None:
        """Ask for all counters of file servers' answers; `take_counts` gives the answer."""

    def take_counts(self, message: Any) -> Counts | None:
        """Take a part of the answer to `count_answers`, which may send for the next part; all
        of it once it is whole."""


@dataclass(frozen=True)
class Wanted:
    """What a switch should hold at a version of the state. Provisional rules are better than
    none, and no reason to change what a switch has. Rules that are not `final` are a step on the
    way to those of the version."""

    rules: RuleSet
    version: int
    provisional: bool
    final: bool = True


@dataclass(frozen=True)
class _Newest:
    """Something else is wanted."""


@dataclass(frozen=True)
class _Ring:
    """The alarm: it may be time for an audit."""


@dataclass(frozen=True)
class _Reply:
    """To whatever was asked."""

    message: Any


@dataclass(frozen=True)
class _BarrierDone:
    xid: int


@dataclass(frozen=True)
class _Refused:
    xid: int
    error: str


@dataclass(frozen=True)
class _Send:
    """What is no change of rules."""

    send: Callable[[], None]


_Item = _Newest | _Ring | _Reply | _BarrierDone | _Refused | _Send


@dataclass
class Counters:
    """What was sent to a switch since the controller started; exported as metrics."""

    changes: int = 0
    refusals: int = 0
    drifts: int = 0
    readings: int = 0


class Session:
    """One switch's connection, which keeps nobody waiting; `hactrl.switches.board` is how it is
    reached.

    `installed` is called with what was wanted when the switch has confirmed all of it, `counted`
    with what it has counted, `restored` with the number of changes that mended what somebody did
    behind its back.
    """

    def __init__(
        self,
        switch: str,
        wire: Wire,
        installed: Callable[[Wanted], None],
        counted: Callable[[Counts], None],
        counters: Counters,
        *,
        restored: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
        audit_interval: float = AUDIT_INTERVAL,
    ) -> None:
        self.switch = switch
        self.counters = counters
        self._wire = wire
        self._clock = clock
        self._confirm = installed
        self._counted = counted
        self._restored = restored
        self._audit_interval = audit_interval
        self._inbox: LightQueue = LightQueue()
        self._newest: Wanted | None = None  # waits in the inbox
        self._lossy = False  # frames have been lost since it last had nothing to do
        self._wanted: Wanted | None = None
        self._installed: RuleSet | None = None
        self._asked: int | None = None
        self._counts_left = 0
        self._next_audit = 0.0
        self._rings_at = math.inf
        self._alarm: hub.GreenThread | None = None
        self._refused = 0  # since the last reading
        self._complaints = 0  # likewise
        self._refusal_pause = REFUSAL_PAUSE
        self._pending: dict[int, Wanted] = {}  # by the barrier's xid
        self._sent: dict[int, tuple[int, Change]] = {}  # xid: (barrier's xid after it, change)

    # Called by others; each only puts a note into the queue. It fills where the switch takes
    # messages more slowly than there are some, because then the session waits for it. Of what is
    # wanted the newest alone waits; answers and errors are no more than was sent
    # (`flows.openflow.questions`); of frames and counts, which others ask for without end, those
    # are lost that find `MOST_WAITING` notes.

    def want(self, wanted: Wanted) -> None:
        """The switch should hold exactly this; the latest call wins."""
        if self._newest is None:
            self._inbox.put(_Newest())
        if self._newest is None or wanted.version >= self._newest.version:
            self._newest = wanted

    def replied(self, message: Any) -> None:
        """What the switch says to `Wire.read`, `Wire.count` or `Wire.count_answers`."""
        self._inbox.put(_Reply(message))

    def barrier_done(self, xid: int) -> None:
        self._inbox.put(_BarrierDone(xid))

    def refused(self, xid: int, error: str) -> None:
        self._inbox.put(_Refused(xid, error))

    def emit(self, frame: bytes, port: int) -> None:
        self._put_if_room(_Send(lambda: self._wire.emit(frame, port)))

    def resubmit(self, frame: bytes, port: int) -> None:
        self._put_if_room(_Send(lambda: self._wire.resubmit(frame, port)))

    def count_answers(self) -> None:
        self._put_if_room(_Send(self._wire.count_answers))

    def _put_if_room(self, item: _Send) -> None:
        if self._inbox.qsize() < MOST_WAITING:
            self._inbox.put(item)
        elif not self._lossy:
            self._lossy = True
            LOG.warning("switch %s takes messages too slowly: frames for it are lost", self.switch)

    # The session's own greenlet.

    def run(self) -> None:
        """Serve the queue for ever: whoever ends the connection ends this greenlet, which may wait
        for the switch to take a message."""
        try:
            self._read()
            while True:
                if self._inbox.empty() and self._clock() >= self._next_audit:
                    self._lossy = False
                    self._audit()
                self._serve(self._inbox.get())
        finally:
            self._silence()

    def _audit_at(self, moment: float) -> None:
        """Look at the switch then. The alarm that is set stays, if it rings before: setting one
        anew for each change would cost the hub a tenth of what the change does."""
        self._next_audit = moment
        if moment < self._rings_at:
            self._silence()
            self._set_alarm()

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _set_alarm(self) -> None:
        self._rings_at = self._next_audit
        delay = max(0.0, self._rings_at - self._clock())
        self._alarm = hub.spawn_after(delay, self._inbox.put, _Ring())

    def _ring(self) -> None:
        """It has woken us; an audit that is due follows, and sets the next one."""
        self._rings_at = math.inf
        if self._clock() < self._next_audit:
            self._set_alarm()

    def _serve(self, item: _Item) -> None:
        match item:
            case _Ring():
                self._ring()
            case _Newest():
                newest, self._newest = self._newest, None
                assert newest is not None
                self._take_wanted(newest)
            case _Reply():
                self._take_reply(item.message)
            case _BarrierDone():
                self._take_barrier(item.xid)
            case _Refused():
                self._take_refusal(item)
            case _Send():
                item.send()

    def _read(self) -> None:
        if self._refused > 1:
            LOG.error("switch %s refused %d more changes", self.switch, self._refused - 1)
        if self._complaints > 1:
            LOG.error("switch %s sent %d more errors", self.switch, self._complaints - 1)
        self._refused = self._complaints = 0
        self._counts_left = COUNTS_BETWEEN_READINGS
        self._audit_at(self._clock() + self._audit_interval)
        self._asked = self._wire.read()

    def _audit(self) -> None:
        if self._installed is None or not self._counts_left:
            self._read()
            return
        self._counts_left -= 1
        self._audit_at(self._clock() + self._audit_interval)
        self._asked = self._wire.count()

    def _take_wanted(self, wanted: Wanted) -> None:
        if self._wanted is None or wanted.version >= self._wanted.version:
            if self._wanted is not None and wanted.rules is not self._wanted.rules:
                self._try_soon()
            self._wanted = wanted
            self._reconcile()

    def _try_soon(self) -> None:
        """What a switch has refused says little about other rules."""
        self._refusal_pause = REFUSAL_PAUSE
        if self._refused:
            self._audit_at(min(self._next_audit, self._clock() + REFUSAL_PAUSE))

    def _take_reply(self, message: Any) -> None:
        """A reading that gets on is never begun anew, however long it takes: where all switches
        are read at once, as after a start, none would be read to its end."""
        if self._asked is not None:
            self._audit_at(self._clock() + self._audit_interval)
        if (counts := self._wire.take_counts(message)) is not None:
            self._counted(counts)
        elif answer := self._wire.take_reply(message):
            self._take_answer(*answer)

    def _take_answer(self, number: int, found: RuleSet | int) -> None:
        """One that a change has overtaken says nothing; the next audit looks again."""
        if number != self._asked:
            return
        self._asked = None
        if isinstance(found, RuleSet):
            self._take_reading(found)
        elif self._installed is not None and found != len(self._installed.rules):
            self._read()

    def _take_reading(self, found: RuleSet) -> None:
        self.counters.readings += 1
        if self._installed is not None and found != self._installed:
            self.counters.drifts += 1
            LOG.warning("switch %s holds other rules than we sent; mending", self.switch)
            self._restored(sum(len(batch) for batch in diff(found, self._installed)))
        self._installed = found
        self._reconcile()

    def _reconcile(self) -> None:
        if self._wanted is None or self._installed is None:
            return
        if self._wanted.provisional and self._installed.rules:
            return
        last_barrier: int | None = None
        for batch in diff(self._installed, self._wanted.rules):
            sent = [(xid, change) for change in batch for xid in self._wire.send(change)]
            last_barrier = self._wire.barrier()
            self._sent.update({xid: (last_barrier, change) for xid, change in sent})
            self.counters.changes += len(batch)
            self._asked = None
        self._installed = self._wanted.rules
        if last_barrier is None:
            last_barrier = self._wire.barrier()
        self._pending[last_barrier] = self._wanted

    def _take_barrier(self, xid: int) -> None:
        self._sent = {x: (b, c) for x, (b, c) in self._sent.items() if b != xid}
        if wanted := self._pending.pop(xid, None):
            self._refusal_pause = REFUSAL_PAUSE
            self._confirm(wanted)

    def _take_refusal(self, refusal: _Refused) -> None:
        """What the switch holds is now unknown: nothing after it is confirmed, and it is read
        again after a pause. Of many refusals in a row the first one is told, and their number."""
        if refusal.xid not in self._sent:
            self._take_complaint(refusal)
            return
        self.counters.refusals += 1
        self._refused += 1
        if self._refused == 1:
            _, change = self._sent[refusal.xid]
            LOG.error("switch %s refused %s: %s", self.switch, change, refusal.error)
            self._pause()
        self._pending.clear()
        self._installed = self._asked = None

    def _take_complaint(self, complaint: _Refused) -> None:
        """An error that answers no change. A question that failed is asked again after a pause."""
        self._complaints += 1
        if self._complaints == 1:
            said = "switch %s answers an error to a message that changes no rule: %s"
            LOG.error(said, self.switch, complaint.error)
        if self._wire.question_failed(complaint.xid):
            self._asked = None
            self._pause()

    def _pause(self) -> None:
        """Before the switch is asked the next time."""
        self._audit_at(self._clock() + self._refusal_pause)
        self._refusal_pause = min(2 * self._refusal_pause, LONGEST_REFUSAL_PAUSE)
