"""Whether the answers of file servers take the short way: which interface a server answers by is
its own choice, and what it sends is most of the traffic.

What was sent to the hosts of one switch is judged together, because each has nearest interfaces
of its own. It counts as it was last seen: while nobody fetches anything, nothing is known to have
changed. No rule depends on this.
"""

from __future__ import annotations

from enum import Enum

from hactrl.engine.events import AnswersCounted, AnswerWays
from hactrl.engine.state import AnswerCounts, State
from hactrl.engine.turn import Turn, with_item
from hactrl.vocabulary import EntryKind

#: Of what is sent to a switch, this part may take another way: a connection that has just moved,
#: what the server itself begins.
TOLERATED = 0.1

#: Bytes over one interval; of fewer nobody is told.
ENOUGH = 100_000


class Manner(Enum):
    """How answers go. UNKNOWN: too few have been counted since the controller started."""

    UNKNOWN = "unknown"
    SHORT = "short"
    ROUNDABOUT = "roundabout"


def counted(turn: Turn, event: AnswersCounted) -> None:
    """Take in one interval; the journal is told when a server's manner changes."""
    before = turn.state.answers.get(event.server, AnswerCounts())
    judged = {way.switch: way for way in event.ways if _manner(way) is not Manner.UNKNOWN}
    after = AnswerCounts(
        before.short + sum(way.short for way in event.ways),
        before.roundabout + sum(way.roundabout for way in event.ways),
        {**before.latest, **judged},
    )
    turn.update(answers=with_item(turn.state.answers, event.server, after))
    was, now = _of(before), _of(after)
    if now is Manner.ROUNDABOUT and was is not Manner.ROUNDABOUT:
        worst = detours(after)[0]
        turn.record(
            EntryKind.ANSWERS_ROUNDABOUT,
            server=event.server,
            switch=worst.switch,
            percent=round(100 * share(worst)),
            interfaces=", ".join(worst.interfaces),
        )
    elif was is Manner.ROUNDABOUT and now is Manner.SHORT:
        turn.record(EntryKind.ANSWERS_SHORT, server=event.server)


def manner(state: State, server: str) -> Manner:
    """How a server's answers go: not the short way if any switch gets them otherwise."""
    return _of(state.answers.get(server, AnswerCounts()))


def roundabout_share(state: State, server: str) -> float | None:
    """The part of a server's answers that takes a roundabout way; None while nothing is known."""
    latest = state.answers.get(server, AnswerCounts()).latest.values()
    total = sum(way.short + way.roundabout for way in latest)
    return sum(way.roundabout for way in latest) / total if total else None


def detours(answers: AnswerCounts) -> list[AnswerWays]:
    """The switches whose hosts get answers by a roundabout way, the worst first."""
    found = (way for way in answers.latest.values() if _manner(way) is Manner.ROUNDABOUT)
    return sorted(found, key=lambda way: (-way.roundabout, way.switch))


def share(way: AnswerWays) -> float:
    """The part of what was sent that took a roundabout way."""
    return way.roundabout / (way.short + way.roundabout)


def _of(answers: AnswerCounts) -> Manner:
    if detours(answers):
        return Manner.ROUNDABOUT
    return Manner.SHORT if answers.latest else Manner.UNKNOWN


def _manner(way: AnswerWays) -> Manner:
    if way.short + way.roundabout < ENOUGH:
        return Manner.UNKNOWN
    if share(way) <= TOLERATED:
        return Manner.SHORT
    return Manner.ROUNDABOUT if way.roundabout > ENOUGH else Manner.UNKNOWN
