"""How a session keeps a switch at the wanted rules.

The switch here is a fake that does what `flows.diff.apply_all` says; the integration tests of the
codec and of the controller's restart hold that against Open vSwitch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import eventlet
import pytest
from eventlet.event import Event

from flows.diff import AddRule, Change, DeleteRule, ModifyGroup, apply_all
from flows.openflow import Counts
from flows.rules import (
    COOKIE_PREFIX,
    OWN_IDS,
    Bucket,
    Group,
    GroupType,
    Match,
    Output,
    Rule,
    RuleSet,
)
from hactrl.switches.session import (
    AUDIT_INTERVAL,
    MOST_WAITING,
    REFUSAL_PAUSE,
    Counters,
    Session,
    Wanted,
)


def rule(port: int, to: int) -> Rule:
    return Rule(0, 1, Match.of(in_port=port), (Output(to),), cookie=COOKIE_PREFIX | 1 << 32)


def group(*ports: int) -> Group:
    buckets = tuple(Bucket((Output(port),), port) for port in ports)
    return Group(OWN_IDS[0], GroupType.FAST_FAILOVER, buckets)


ONE = RuleSet.of([rule(1, 2), rule(2, 1)], [group(1, 2)])


#: What the fake switch answers, and the transaction id of what it was asked.
COUNTS: Counts = {(1, 2): 3}
QUESTION = 1 << 30


class FakeSwitch:
    """Implements `Wire`; answers everything at once, unless `silent`."""

    def __init__(self, holds: RuleSet) -> None:
        self.holds = holds
        self.sent: list[Change] = []
        self.counts: list[Counts] = []
        self.restored: list[int] = []
        self.refuses: type[Change] | None = None
        self.reads = 0
        self.fails_to_tell = False
        self.taken = 0
        self.session: Session | None = None
        self._xids = count(1)

    def send(self, change: Change) -> list[int]:
        xid = next(self._xids)
        self.sent.append(change)
        assert self.session is not None
        if self.refuses is not None and isinstance(change, self.refuses):
            self.session.refused(xid, "OFPFMFC_TABLE_FULL")
        else:
            self.holds = apply_all(self.holds, (change,))
        return [xid]

    def barrier(self) -> int:
        xid = next(self._xids)
        assert self.session is not None
        self.session.barrier_done(xid)
        return xid

    def read(self) -> int:
        self.reads += 1
        assert self.session is not None
        if self.fails_to_tell:
            self.session.refused(QUESTION, "OFPBRC_BAD_LEN")
        else:
            self.session.replied((self.reads, self.holds))
        return self.reads

    def count(self) -> int:
        assert self.session is not None
        self.session.replied((0, len(self.holds.rules)))
        return 0

    def take_reply(self, message: Any) -> tuple[int, RuleSet | int] | None:
        self.taken += 1
        number, found = message
        return number, found

    def question_failed(self, xid: int) -> bool:
        return xid == QUESTION

    def emit(self, _frame: bytes, _port: int) -> None:
        raise NotImplementedError

    resubmit = emit

    def count_answers(self) -> None:
        assert self.session is not None
        self.session.replied(COUNTS)

    def take_counts(self, message: Any) -> Counts | None:
        return COUNTS if message is COUNTS else None


class Clock:
    """Stands still: a session audits when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def connected(
    switch: FakeSwitch, clock: Clock | None = None
) -> Iterator[tuple[Session, list[int]]]:
    confirmed: list[int] = []
    session = Session(
        "s1",
        switch,
        lambda wanted: confirmed.append(wanted.version),
        switch.counts.append,
        Counters(),
        restored=switch.restored.append,
        clock=clock or Clock(),
    )
    switch.session = session
    greenlet = eventlet.spawn(session.run)
    yield session, confirmed
    greenlet.kill()


def let_run() -> None:
    """Until every greenlet waits: nothing here waits for time."""
    for _ in range(10):
        eventlet.sleep(0)


def test_a_switch_that_holds_what_is_wanted_is_sent_nothing() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, confirmed):
        session.want(Wanted(ONE, 7, provisional=False))
        let_run()
    assert switch.sent == []
    assert confirmed == [7]


def test_only_the_difference_is_sent() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, _):
        session.want(Wanted(RuleSet.of([rule(1, 2), rule(2, 3)], [group(1, 2)]), 1, False))
        let_run()
    assert switch.sent == [AddRule(rule(2, 3))]


def test_a_second_change_is_compared_with_what_was_sent_and_waits_for_no_reading() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, confirmed):
        session.want(Wanted(RuleSet.of([rule(1, 2), rule(2, 1)], [group(2, 1)]), 1, False))
        let_run()
        session.want(Wanted(ONE, 2, provisional=False))
        let_run()
    assert switch.sent == [ModifyGroup(group(2, 1)), ModifyGroup(group(1, 2))]
    assert switch.reads == 1
    assert confirmed == [1, 2]


def test_provisional_rules_change_nothing_on_a_switch_that_is_set_up() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, confirmed):
        session.want(Wanted(RuleSet.of([rule(1, 9)]), 1, provisional=True))
        let_run()
    assert switch.sent == []
    assert confirmed == []


def test_provisional_rules_are_better_than_none() -> None:
    switch = FakeSwitch(RuleSet())
    with connected(switch) as (session, _):
        session.want(Wanted(ONE, 1, provisional=True))
        let_run()
    assert switch.holds == ONE


def test_of_what_is_wanted_while_the_session_waits_the_newest_alone_is_sent() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, confirmed):
        for version in range(1, 5):
            session.want(Wanted(RuleSet.of([rule(1, version + 10)]), version, provisional=False))
        session.want(Wanted(ONE, 5, provisional=False))
        session.want(Wanted(RuleSet(), 4, provisional=False))
        let_run()
    assert switch.sent == []
    assert confirmed == [5]


def test_frames_without_end_for_a_switch_that_takes_none_are_lost_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch, frames = FakeSwitch(ONE), list[int]()
    switch.emit = lambda _frame, port: frames.append(port)  # type: ignore[method-assign]
    with connected(switch) as (session, confirmed):
        for port in range(2 * MOST_WAITING):
            session.emit(b"frame", port)
        session.want(Wanted(ONE, 1, provisional=False))
        let_run()
    assert frames == list(range(MOST_WAITING))
    assert confirmed == [1]
    assert len(caplog.records) == 1


def test_an_older_version_never_replaces_a_newer_one() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, _):
        session.want(Wanted(ONE, 2, provisional=False))
        session.want(Wanted(RuleSet.of([rule(1, 9)]), 1, provisional=False))
        let_run()
    assert switch.holds == ONE


@pytest.mark.reported("A6")
def test_an_audit_brings_back_a_rule_that_somebody_deleted_and_that_alone() -> None:
    switch, clock = FakeSwitch(ONE), Clock()
    with connected(switch, clock) as (session, _):
        session.want(Wanted(ONE, 1, provisional=False))
        let_run()
        switch.holds = apply_all(switch.holds, (DeleteRule(rule(2, 1)),))
        clock.now = 1000.0
        session.want(Wanted(ONE, 1, provisional=False))  # any note wakes it; the audit is due
        let_run()
    assert switch.sent == [AddRule(rule(2, 1))]
    assert session.counters.drifts == 1
    assert switch.restored == [1]


def test_a_switch_that_refuses_a_change_confirms_nothing_and_is_read_again_after_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch, clock = FakeSwitch(RuleSet()), Clock()
    switch.refuses = AddRule
    with connected(switch, clock) as (session, confirmed):
        session.want(Wanted(ONE, 1, provisional=False))
        let_run()
        assert confirmed == []
        assert "OFPFMFC_TABLE_FULL" in caplog.text
        assert switch.reads == 1
        switch.refuses = None
        clock.now = 1000.0
        session.barrier_done(0)  # any note wakes it
        let_run()
    assert switch.holds == ONE
    assert confirmed == [1]


def test_an_error_to_what_changes_nothing_is_told_and_is_no_refusal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch = FakeSwitch(RuleSet())
    with connected(switch) as (session, confirmed):
        session.want(Wanted(ONE, 1, provisional=False))
        session.refused(QUESTION + 1, "OFPBAC_BAD_OUT_PORT")
        let_run()
    assert "OFPBAC_BAD_OUT_PORT" in caplog.text
    assert (session.counters.refusals, switch.reads, confirmed) == (0, 1, [1])


def test_a_switch_that_fails_to_tell_what_it_holds_is_asked_again_after_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch, clock = FakeSwitch(ONE), Clock()
    switch.fails_to_tell = True
    with connected(switch, clock) as (session, confirmed):
        session.want(Wanted(ONE, 1, provisional=False))
        let_run()
        assert (switch.reads, confirmed) == (1, [])
        assert "OFPBRC_BAD_LEN" in caplog.text
        switch.fails_to_tell = False
        clock.now += 2 * REFUSAL_PAUSE
        session.barrier_done(0)  # any note wakes it
        let_run()
    assert (switch.reads, confirmed, session.counters.refusals) == (2, [1], 0)


def test_what_a_switch_has_counted_is_taken_and_told_by_its_own_session() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, _):
        session.count_answers()
        let_run()
    assert switch.counts == [COUNTS]


def test_a_switch_that_goes_on_refusing_is_tried_less_and_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch, clock = FakeSwitch(RuleSet()), Clock()
    switch.refuses = AddRule
    with connected(switch, clock) as (session, confirmed):
        session.want(Wanted(ONE, 1, provisional=False))
        for _ in range(600):
            clock.now += 1.0
            session.barrier_done(0)  # any note wakes it
            let_run()
        assert switch.reads < 20
        assert len(caplog.records) < 40
        assert "switch s1 refused 1 more changes" in caplog.text
        switch.refuses = None
        session.want(Wanted(RuleSet.of([rule(1, 9)]), 2, provisional=False))
        let_run()
        clock.now += 2 * REFUSAL_PAUSE
        session.barrier_done(0)
        let_run()
    assert confirmed == [2]


def test_a_reply_holds_up_nobody_but_the_session_that_takes_it() -> None:
    switch = FakeSwitch(ONE)
    with connected(switch) as (session, _):
        let_run()
        taken = switch.taken
        session.replied((99, ONE))
        assert switch.taken == taken
        let_run()
        assert switch.taken == taken + 1


class SlowSwitch(FakeSwitch):
    """Its answer to a reading comes in parts, when the test says so."""

    def read(self) -> int:
        self.reads += 1
        return self.reads

    def take_reply(self, message: Any) -> tuple[int, RuleSet | int] | None:
        return None if message is None else super().take_reply(message)


def test_a_reading_that_gets_on_is_never_begun_anew() -> None:
    switch, clock = SlowSwitch(ONE), Clock()
    with connected(switch, clock) as (session, confirmed):
        session.want(Wanted(ONE, 1, provisional=False))
        for _ in range(5):
            clock.now += 0.8 * AUDIT_INTERVAL
            session.replied(None)
            let_run()
        assert switch.reads == 1
        session.replied((1, ONE))
        let_run()
    assert confirmed == [1]


def test_a_reading_that_nobody_answers_is_begun_anew() -> None:
    switch, clock = SlowSwitch(ONE), Clock()
    with connected(switch, clock) as (session, _):
        let_run()
        clock.now += 1.2 * AUDIT_INTERVAL
        session.want(Wanted(ONE, 1, provisional=False))  # any note wakes it; the audit is due
        let_run()
    assert switch.reads == 2


class AuditedSwitch(FakeSwitch):
    """Says when its rules have been counted twice."""

    def __init__(self, holds: RuleSet) -> None:
        super().__init__(holds)
        self._left = 2
        self.audited = Event()

    def count(self) -> int:
        self._left -= 1
        if not self._left:
            self.audited.send()
        return super().count()


def test_one_audit_after_the_other_comes_by_itself() -> None:
    switch = AuditedSwitch(ONE)
    session = Session(
        "s1",
        switch,
        lambda _wanted: None,
        switch.counts.append,
        Counters(),
        restored=switch.restored.append,
        audit_interval=0.01,
    )
    switch.session = session
    session.want(Wanted(ONE, 1, provisional=False))
    greenlet = eventlet.spawn(session.run)
    with eventlet.Timeout(10.0):
        switch.audited.wait()
    greenlet.kill()


class StuckSwitch(FakeSwitch):
    """Takes no more messages until `gone`."""

    def __init__(self, holds: RuleSet) -> None:
        super().__init__(holds)
        self.gone = Event()
        self.stuck = 0

    def emit(self, _frame: bytes, _port: int) -> None:
        self.stuck += 1
        self.gone.wait()

    resubmit = emit

    def count_answers(self) -> None:
        self.emit(b"", 0)


def test_a_switch_that_takes_nothing_holds_up_nobody_who_has_a_frame_for_it() -> None:
    """The engine sends frames, and moves roles."""
    switch = StuckSwitch(ONE)
    with connected(switch) as (session, _), eventlet.Timeout(5):
        session.emit(b"frame", 1)
        session.resubmit(b"frame", 1)
        session.count_answers()
        let_run()
        assert switch.stuck == 1
        switch.gone.send()
        let_run()
        assert switch.stuck == 3
