"""What a switch was asked, so that nothing is read that nobody asked for."""

from __future__ import annotations

from dataclasses import dataclass

from flows.openflow.budget import ANSWER_OCTETS, ANSWER_TIME, ExcessError
from flows.openflow.frame_check import HEADER, Kind, part_of
from flows.openflow.framing import MORE
from flows.openflow.walks import U16, MalformedError

MOST = 10_000
"""Questions that wait for an answer; of more, the oldest are forgotten."""

ANSWERS = frozenset(
    {
        Kind.ECHO_REPLY,
        Kind.FEATURES_REPLY,
        Kind.GET_CONFIG_REPLY,
        Kind.MULTIPART_REPLY,
        Kind.BARRIER_REPLY,
        Kind.QUEUE_GET_CONFIG_REPLY,
        Kind.ROLE_REPLY,
        Kind.GET_ASYNC_REPLY,
    }
)
"""The number of each is one more than that of its question."""


@dataclass
class _Question:
    answer: int
    part: int | None
    asked_at: float
    octets: int = 0


class Questions:
    """Those of one connection that wait for an answer, by transaction id."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Question] = {}
        self._refusable = 0

    def ask(self, kind: int, number: int, part: int | None, now: float) -> None:
        """A message was sent: its type, its transaction id, and what a multipart request asks for.
        Of those that are no questions only their number matters."""
        self._refusable += 1
        if kind + 1 not in ANSWERS:
            return
        self._waiting[number] = _Question(kind + 1, part, now)
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]

    def take(self, frame: bytes, now: float) -> None:
        """A whole message came; what is none of an answer changes nothing.

        Raises MalformedError for an answer that nobody waits for, or more errors than messages were
        sent, and ExcessError for an answer that does not end.
        """
        _, kind, length, number = HEADER.unpack_from(frame)
        if kind == Kind.ERROR:
            self._waiting.pop(number, None)
            self._refusable -= 1
            if self._refusable < 0:
                raise MalformedError("more errors than it was sent messages")
        if kind not in ANSWERS:
            return
        question = self._waiting.get(number)
        part = part_of(frame) if kind == Kind.MULTIPART_REPLY else None
        if question is None or (question.answer, question.part) != (kind, part):
            raise MalformedError(f"an answer (message {kind}) to nothing that was asked")
        question.octets += length
        if question.octets > ANSWER_OCTETS:
            raise ExcessError(f"an answer of more than {ANSWER_OCTETS} octets")
        if part is None or not U16(frame, HEADER.size + 2)[0] & MORE:
            del self._waiting[number]
        elif now - question.asked_at > ANSWER_TIME:
            raise ExcessError(f"an answer that has not ended after {ANSWER_TIME:g} s")
