"""Which of two connections that claim to be one switch is it, and that nobody waits for either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from eventlet.event import Event as Occasion
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

from hactrl.engine.events import Event, Noticed, SwitchConnected, SwitchLost
from hactrl.journal import STRANGER_PAUSE, STRANGERS
from hactrl.switches.board import Switchboard
from hactrl.switches.connections import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_HELD,
    Connections,
    Doorkeeper,
)

ID = 0x11
REAL, STRANGER = "10.0.0.1", "10.0.0.66"


class Datapath:
    """Ryu's, as far as it matters here. `answers`: called with each message that is sent."""

    ofproto, ofproto_parser = ofproto, parser

    def __init__(self, host: str, datapath_id: int = ID) -> None:
        self.id, self.address = datapath_id, (host, 40000)
        self.sent: list[type] = []
        self.closed = False
        self.answers: Callable[[Any], None] = lambda _message: None
        self._xid = 0

    def set_xid(self, message: Any) -> None:
        self._xid += 1
        message.set_xid(self._xid)

    def send_msg(self, message: Any) -> None:
        self.sent.append(type(message))
        self.answers(message)

    def close(self) -> None:
        self.closed = True


@dataclass
class Door:
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    greenlets: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.board = Switchboard(["o1"])
        self.connections = Connections(
            {ID: "o1"},
            self.board,
            self.events.append,
            spawn=self._spawn,
            generation_id=7,
            clock=lambda: self.now,
        )

    def _spawn(self, _name: str, run: Callable[[], None]) -> Any:
        self.greenlets.append(eventlet.spawn(run))
        return self.greenlets[-1]

    def arrive(self, host: str, datapath_id: int = ID, *, answering: bool = True) -> Datapath:
        """A connection whose switch answers echoes, or is silent."""
        datapath = Datapath(host, datapath_id)

        def echo(message: Any) -> None:
            connection = self.connections.of(datapath)
            if isinstance(message, parser.OFPEchoRequest) and connection:
                connection.wire.take_echo_reply(message.xid)

        if answering:
            datapath.answers = echo
        self.connections.arrived(datapath)
        self.let_run()
        return datapath

    def take(self, datapath: Datapath) -> None:
        """It answers that we are its master."""
        connection = self.connections.of(datapath)
        assert connection is not None
        self.connections.mastered(connection, [1])
        self.let_run()

    def let_run(self) -> None:
        for _ in range(10):
            eventlet.sleep(0)

    def is_switch(self, datapath: Datapath) -> bool:
        return self.connections.of(datapath) is not None


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr("hactrl.switches.connections.ECHO_DEADLINE", 0.05)
    door = Door()
    with eventlet.Timeout(30):
        yield door
    for greenlet in door.greenlets:
        greenlet.kill()


pytestmark = pytest.mark.reported("C4")


def test_of_two_with_one_datapath_id_the_first_stays_while_it_answers(door: Door) -> None:
    real = door.arrive(REAL)
    door.take(real)
    stranger = door.arrive(STRANGER)
    assert (door.is_switch(real), real.closed) == (True, False)
    assert (door.is_switch(stranger), stranger.closed) == (False, True)
    assert stranger.sent == []  # neither a role nor a rule
    assert SwitchLost("o1") not in door.events


def test_who_is_refused_is_journalled_with_both_addresses(door: Door) -> None:
    door.take(door.arrive(REAL))
    door.arrive(STRANGER)
    details = ("switch", "o1"), ("refused", STRANGER), ("connected", f"{REAL}:40000")
    assert door.events[-1] == Noticed("switch.refused", details=details)


def test_who_was_refused_is_held_off_without_another_question_or_entry(door: Door) -> None:
    real = door.arrive(REAL)
    door.take(real)
    door.arrive(STRANGER)
    asked, told = len(real.sent), len(door.events)
    assert door.arrive(STRANGER).closed
    assert (len(real.sent), len(door.events)) == (asked, told)


def test_who_was_refused_does_not_slip_in_when_the_switch_is_away(door: Door) -> None:
    real = door.arrive(REAL)
    door.arrive(STRANGER)
    door.connections.left(real)
    assert door.arrive(STRANGER).closed
    assert door.is_switch(door.arrive(REAL))


def test_a_switch_whose_connection_died_unseen_takes_its_own_place(door: Door) -> None:
    dead = door.arrive(REAL, answering=False)
    door.take(dead)
    back = door.arrive(REAL)
    wait_for(lambda: door.is_switch(back))
    door.take(back)
    assert dead.closed
    assert door.events == [
        SwitchConnected("o1", frozenset({1})),
        SwitchLost("o1"),
        SwitchConnected("o1", frozenset({1}), replaces=True),
    ]


def test_one_that_was_seen_to_end_is_not_replaced(door: Door) -> None:
    first = door.arrive(REAL)
    door.take(first)
    door.connections.left(first)
    door.take(door.arrive(REAL))
    assert door.events[-1] == SwitchConnected("o1", frozenset({1}), replaces=False)


def test_one_that_ends_while_it_is_asked_is_waited_for_no_longer(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hactrl.switches.connections.ECHO_DEADLINE", 1e6)
    first = door.arrive(REAL, answering=False)
    second = door.arrive(REAL)
    door.connections.left(first)
    door.let_run()
    assert door.is_switch(second)


def test_a_newcomer_that_leaves_while_the_first_is_asked_changes_nothing(door: Door) -> None:
    first = door.arrive(REAL, answering=False)
    newcomer = door.arrive(STRANGER)
    door.connections.left(newcomer)
    wait_for(lambda: all(greenlet.dead for greenlet in door.greenlets))
    assert door.is_switch(first)


def test_a_third_does_not_get_in_while_the_first_is_asked(door: Door) -> None:
    door.arrive(REAL, answering=False)
    second = door.arrive(REAL)
    assert door.arrive(STRANGER).closed
    wait_for(lambda: door.is_switch(second))


@pytest.mark.reported("A6")
def test_an_unknown_datapath_id_is_journalled_with_its_address_and_closed(door: Door) -> None:
    unknown = door.arrive(STRANGER, 0xBAD)
    assert unknown.closed
    details = ("datapath_id", "0xbad"), ("address", STRANGER)
    assert door.events == [Noticed("switch.unknown", details=details)]


@pytest.mark.reported("C3")
@pytest.mark.parametrize("datapath_id", [ID, 0xBAD])
def test_nothing_waits_for_a_connection_that_takes_nothing_and_does_not_close(
    door: Door, datapath_id: int
) -> None:
    never = Occasion()
    stuck = Datapath(REAL, datapath_id)
    stuck.answers = lambda _message: never.wait()
    stuck.close = never.wait  # type: ignore[method-assign]
    door.connections.arrived(stuck)
    door.connections.left(stuck)
    assert door.is_switch(door.arrive(STRANGER))


@pytest.mark.reported("C3")
def test_what_waits_to_send_to_a_switch_ends_with_its_connection(door: Door) -> None:
    never = Occasion()
    stuck = Datapath(REAL)
    stuck.answers = lambda _message: never.wait()
    door.connections.arrived(stuck)
    door.let_run()
    (asks,) = door.greenlets
    assert not asks.dead
    door.connections.left(stuck)
    door.let_run()
    assert asks.dead


@pytest.mark.reported("C4")
def test_newcomers_that_leave_at_once_do_not_spoil_the_question_about_the_next(door: Door) -> None:
    real = door.arrive(REAL)
    door.take(real)
    asked: list[int] = []
    real.answers = lambda message: asked.append(message.xid)
    wire = door.connections.of(real).wire
    for address in ("10.0.0.7", "10.0.0.8"):
        door.connections.left(door.arrive(address))
    eventlet.sleep(0.04)
    thief = door.arrive(STRANGER)
    eventlet.sleep(0.005)
    for xid in asked:
        wire.take_echo_reply(xid)
    eventlet.sleep(0.1)
    assert door.is_switch(real)
    assert thief.closed


@pytest.mark.reported("C4")
def test_who_takes_no_master_does_not_keep_a_switch_s_place(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hactrl.switches.connections.ROLE_DEADLINE", 0.05)
    mute = door.arrive(STRANGER)
    connection = door.connections.of(mute)
    assert connection is not None
    door.board.emit("o1", b"frame", 1)
    assert connection.session._inbox.empty()
    while not mute.closed:
        eventlet.sleep(0.005)
    assert [event.kind for event in door.events if isinstance(event, Noticed)] == ["switch.unruled"]
    real = door.arrive(REAL)
    door.take(real)
    assert door.is_switch(real)


class TestDoorkeeper:
    @pytest.fixture
    def clock(self) -> SimpleNamespace:
        return SimpleNamespace(now=0.0)

    @pytest.fixture
    def keeper(self, clock: SimpleNamespace) -> Doorkeeper:
        return Doorkeeper(lambda: float(clock.now))

    def pauses(self, keeper: Doorkeeper, clock: SimpleNamespace, number: int) -> list[float]:
        """The seconds for which it is held off, each time it comes as soon as it may."""
        found = []
        for _ in range(number):
            keeper.refuse(STRANGER, ID)
            began = clock.now
            while keeper.holds_off(STRANGER, ID):
                clock.now += FIRST_PAUSE
            found.append(clock.now - began)
        return found

    def test_pauses_double_up_to_the_longest(
        self, keeper: Doorkeeper, clock: SimpleNamespace
    ) -> None:
        pauses = self.pauses(keeper, clock, 9)
        assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
        assert pauses[-1] == LONGEST_PAUSE

    def test_a_long_quiet_time_makes_them_short_again(
        self, keeper: Doorkeeper, clock: SimpleNamespace
    ) -> None:
        self.pauses(keeper, clock, 4)
        clock.now += LONGEST_PAUSE
        assert self.pauses(keeper, clock, 1) == [FIRST_PAUSE]

    def test_others_at_the_address_are_not_held_off(self, keeper: Doorkeeper) -> None:
        keeper.refuse(STRANGER, ID)
        assert not keeper.holds_off(STRANGER, ID + 1)
        assert not keeper.holds_off(REAL, ID)

    def test_who_claims_many_ids_is_not_remembered_without_end(self, keeper: Doorkeeper) -> None:
        for number in range(MOST_HELD + 1):
            keeper.refuse(STRANGER, number)
        held = [number for number in range(MOST_HELD + 1) if keeper.holds_off(STRANGER, number)]
        assert held == list(range(1, MOST_HELD + 1))


def wait_for(holds: Callable[[], bool]) -> None:
    with eventlet.Timeout(20):
        while not holds():
            eventlet.sleep(0.01)


def not_served(door: Door, datapath: Datapath, defect: str = "a defect") -> None:
    try:
        raise ValueError(defect)
    except ValueError:
        door.connections.failed(datapath, "EventOFPPortStatus")
    door.let_run()


def test_a_switch_that_was_not_served_ends_and_may_come_again_at_once(door: Door) -> None:
    first = door.arrive(REAL)
    door.take(first)
    not_served(door, first)
    assert first.closed
    assert not door.is_switch(first)
    door.take(door.arrive(REAL))
    details = (("event", "EventOFPPortStatus"), ("switch", "o1"), ("address", REAL))
    assert door.events == [
        SwitchConnected("o1", frozenset({1}), replaces=False),
        Noticed("event.failed", details=details),
        SwitchLost("o1"),
        SwitchConnected("o1", frozenset({1}), replaces=False),
    ]


def test_a_stranger_that_was_not_served_is_closed_and_the_switch_stays(door: Door) -> None:
    real = door.arrive(REAL)
    stranger = Datapath(STRANGER)
    not_served(door, stranger)
    assert stranger.closed
    assert door.is_switch(real)


def test_a_defect_that_comes_again_and_again_is_one_traceback_and_one_entry_in_a_while(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        not_served(door, door.arrive(REAL))
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert "ValueError: a defect" in caplog.text
    assert len([e for e in door.events if isinstance(e, Noticed)]) == 1


def test_who_misbehaves_is_journalled_by_the_name_of_the_switch_that_it_is(door: Door) -> None:
    real = door.arrive(REAL)
    for datapath in (real, Datapath(STRANGER)):
        door.connections.misbehaved(datapath, "too much")
    assert [event.details for event in door.events if isinstance(event, Noticed)] == [
        (("peer", "o1"), ("address", REAL), ("reason", "too much")),
        (("peer", "stranger"), ("address", STRANGER), ("reason", "too much")),
    ]


@pytest.mark.reported("C6")
def test_who_makes_up_datapath_ids_causes_few_entries_and_hides_no_impostor(door: Door) -> None:
    door.take(door.arrive(REAL))
    for number in range(10 * STRANGERS):
        door.arrive(STRANGER, 0xBAD000 + number)
    door.arrive(STRANGER)
    while not (kinds := [e.kind for e in door.events if isinstance(e, Noticed)])[STRANGERS + 1 :]:
        eventlet.sleep(0.01)
    assert kinds == ["switch.unknown"] * (STRANGERS + 1) + ["switch.refused"]
    door.now += STRANGER_PAUSE
    door.arrive(STRANGER, 0xBAD)
    assert isinstance(door.events[-1], Noticed)
    assert ("datapath_id", "0xbad") in door.events[-1].details
