"""The switchboard hands what is wanted of a switch to its session, and tells what that says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from flows.rules import RuleSet
from hactrl.switches.board import Listeners, Switchboard
from hactrl.switches.session import Session, Wanted

WANTED = Wanted(RuleSet(), 3, provisional=False)


@dataclass
class Wire:
    """A switch that holds nothing, takes all, and confirms when it is told to."""

    done: list[str] = field(default_factory=list)

    def read(self) -> int:
        return 0

    def barrier(self) -> int:
        self.done.append("barrier")
        return 1

    def take_counts(self, message: Any) -> Any:
        return message if isinstance(message, dict) else None

    def take_reply(self, message: Any) -> Any:
        return 0, message

    def emit(self, frame: bytes, port: int) -> None:
        self.done.append(f"{frame!r} out of {port}")

    def resubmit(self, frame: bytes, port: int) -> None:
        self.done.append(f"{frame!r} in by {port}")

    def count_answers(self) -> None:
        self.done.append("count")


class Served:
    """A switchboard whose sessions run when the test says so."""

    def __init__(self) -> None:
        self.board, self.wire, self.told = Switchboard(["s1", "s2"]), Wire(), list[Any]()
        self.session: Session = self.board.session("s1", self.wire)  # type: ignore[arg-type]
        self.board.tell(
            Listeners(
                installed=(self.note("first"), self.note("second")),
                counted=(self.note("counted"),),
                restored=(self.note("restored"),),
            )
        )

    def note(self, name: str) -> Any:
        return lambda switch, what: self.told.append((name, switch, what))

    def serve(self) -> None:
        """All that the session has been given."""
        self.session._read()
        while self.session._inbox.qsize():
            self.session._serve(self.session._inbox.get())


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_switch_that_is_plugged_in_gets_what_is_wanted_of_it(served: Served) -> None:
    served.board.plug(served.session)
    served.session.replied(RuleSet())
    served.board.want("s1", WANTED)
    served.board.emit("s1", b"hello", 4)
    served.board.resubmit("s1", b"again", 5)
    served.board.count_answers("s1")
    served.serve()
    assert served.wire.done == ["barrier", "b'hello' out of 4", "b'again' in by 5", "count"]


def test_of_a_switch_that_is_not_there_nothing_is_wanted(served: Served) -> None:
    served.board.want("s1", WANTED)
    served.board.plug(served.session)
    served.board.want("s2", WANTED)
    served.board.emit("s2", b"hello", 4)
    served.board.unplug(served.session)
    served.board.resubmit("s1", b"again", 5)
    served.board.count_answers("s1")
    served.serve()
    assert served.wire.done == []


def test_the_end_of_an_older_session_does_not_unplug_the_newer_one(served: Served) -> None:
    older = served.board.session("s1", served.wire)  # type: ignore[arg-type]
    served.board.plug(older)
    served.board.plug(served.session)
    served.board.unplug(older)
    served.board.emit("s1", b"hello", 4)
    served.serve()
    assert served.wire.done == ["b'hello' out of 4"]


def test_every_listener_is_told_of_which_switch_and_in_order(served: Served) -> None:
    served.board.plug(served.session)
    served.session.replied(RuleSet())
    served.board.want("s1", WANTED)
    served.session.barrier_done(1)
    served.session.replied({(1, 2): 3})
    served.serve()
    assert served.told == [
        ("first", "s1", WANTED),
        ("second", "s1", WANTED),
        ("counted", "s1", {(1, 2): 3}),
    ]


def test_what_is_counted_of_a_switch_stays_when_it_connects_again(served: Served) -> None:
    again = served.board.session("s1", served.wire)  # type: ignore[arg-type]
    assert again.counters is served.session.counters is served.board.counters["s1"]
