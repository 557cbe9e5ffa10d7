"""The soak's pure parts: its plan, who could serve whom, and what it makes of what happened."""

from __future__ import annotations

import io
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hactrl.client import HistoryEntry
from hactrl.site import load
from mininet_lab.isolate import CHECKOUT
from mininet_lab.mail.ledger import Kind as Entry
from mininet_lab.mail.ledger import Ledger, MailRecord
from mininet_lab.power import PowerSwitch
from mininet_lab.scenarios.soak import moves
from mininet_lab.soak import diary as diaries
from mininet_lab.soak import score, witness
from mininet_lab.soak.diary import Diary, Event, Line
from mininet_lab.soak.fences import BrokenFence
from mininet_lab.soak.kinds import FENCED, FENCES, SERVING, TRAITS, Kind
from mininet_lab.soak.plan import Fault, plan
from mininet_lab.soak.possible import Lack, What, possible, serves
from mininet_lab.soak.rounds import CHANNELS, Attendant, Tail
from mininet_lab.soak.score import BOOT, EXPLAINS, LEASE, UNSERVED, Conditions, Move, Span
from mininet_lab.soak.strikes import STRIKES, Striker
from mininet_lab.soak.struck import NotStruckError, undone_by
from mininet_lab.stage import Stage

SITE = load(CHECKOUT / "examples" / "frontier.yaml")
HOME = {"mailrelay": "mailrelay", "smtp_pop": "smtp_pop", "web": "mailrelay"}
ALL_WAYS = {"a", "b", "c"}

seeds, minutes = st.integers(0, 2**32), st.floats(0.1, 60.0)


def faults_of(seed: int, length: float) -> list[Fault]:
    return [fault for round_ in plan(SITE, seed, length) for fault in round_.faults]


# The plan.


@given(seeds, minutes)
def test_the_same_seed_and_minutes_bring_the_same_faults(seed: int, length: float) -> None:
    assert plan(SITE, seed, length) == plan(SITE, seed, length)


def test_another_seed_brings_others() -> None:
    assert plan(SITE, 1, 30.0) != plan(SITE, 2, 30.0)


@given(seeds, minutes)
def test_a_longer_plan_begins_as_a_shorter_one(seed: int, length: float) -> None:
    short = plan(SITE, seed, length)
    assert plan(SITE, seed, 2 * length)[: len(short)] == short


@given(seeds, minutes)
def test_every_fault_strikes_what_there_is_and_lasts_as_its_kind_does(
    seed: int, length: float
) -> None:
    for number, fault in enumerate(faults_of(seed, length)):
        trait = TRAITS[fault.kind]
        assert fault.number == number
        assert fault.target in trait.targets(SITE)
        if fault.kind not in FENCES:
            assert trait.lasts[0] <= fault.lasts <= trait.lasts[1]


@given(seeds, minutes)
def test_a_second_fault_strikes_while_the_first_lasts_or_at_once(seed: int, length: float) -> None:
    for round_ in plan(SITE, seed, length):
        first, *others = round_.faults
        assert first.after == 0.0
        assert len(others) <= 1
        for second in others:
            assert second.kind is not first.kind or second.kind in FENCED
            assert 0.0 <= second.after <= max(1.0, first.lasts)


@given(seeds, minutes)
def test_a_broken_fence_is_needed_while_it_is_broken(seed: int, length: float) -> None:
    for round_ in plan(SITE, seed, length):
        for fence in (fault for fault in round_.faults if fault.kind in FENCES):
            other = next(fault for fault in round_.faults if fault is not fence)
            assert other.kind in FENCED
            assert other.target == SERVING
            assert fence.after <= other.after
            assert fence.lasts >= other.after + other.lasts


@given(seeds)
def test_an_operator_confirms_that_a_server_is_off_where_one_may_be(seed: int) -> None:
    for round_ in plan(SITE, seed, 30.0):
        if round_.faults[-1].kind is Kind.ASKED_CONFIRM_OFF:
            assert round_.faults[0].kind in FENCED


@given(seeds, minutes)
def test_an_operator_asks_only_in_the_middle_of_something(seed: int, length: float) -> None:
    for round_ in plan(SITE, seed, length):
        assert not TRAITS[round_.faults[0].kind].after


@given(seeds)
def test_half_an_hour_has_every_kind(seed: int) -> None:
    assert {fault.kind for fault in faults_of(seed, 30.0)} == set(Kind)


def test_about_half_of_the_rounds_have_two_faults() -> None:
    rounds = [round_ for seed in range(20) for round_ in plan(SITE, seed, 30.0)]
    together = sum(len(round_.faults) == 2 for round_ in rounds)
    assert 0.4 <= together / len(rounds) <= 0.6


def test_a_soak_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="there must be some"):
        plan(SITE, 1, 0.0)


def test_every_kind_can_strike() -> None:
    assert set(STRIKES) == set(Kind) == set(TRAITS)


# Who could serve.


def lacks(*found: tuple[What, str]) -> frozenset[Lack]:
    return frozenset(Lack(what, name) for what, name in found)


@pytest.mark.parametrize(
    ("out_of_order", "ways"),
    [
        (lacks(), ALL_WAYS),
        (lacks((What.SERVER, "smtp_pop")), ALL_WAYS),
        (lacks((What.SERVER, "smtp_pop"), (What.SERVER, "mailrelay")), set()),
        (lacks((What.SERVER, "smtp_pop"), (What.HANDS, "mailrelay")), set()),
        (lacks((What.HANDS, "smtp_pop")), ALL_WAYS),
        (lacks((What.SERVER, "smtp_pop"), (What.CONTROLLER, "")), set()),
        (lacks((What.SERVER, "mailrelay"), (What.CONTROLLER, "")), {"b", "c"}),
        (lacks((What.CONTROLLER, "")), ALL_WAYS),
        (lacks((What.SPOOL, "")), {"b"}),
        (lacks((What.DISK, "smtp_pop")), ALL_WAYS),
        (lacks((What.DISK, "smtp_pop"), (What.SERVER, "mailrelay")), set()),
        (lacks((What.SWITCH, "o1")), {"b", "c"}),
        (lacks((What.SWITCH, "o2")), ALL_WAYS),
        (lacks((What.SWITCH, "i3")), {"a", "c"}),
        (lacks((What.SWITCH, "i1"), (What.SWITCH, "i2")), set()),
        (lacks((What.LINK, "i1:11-i2:11")), ALL_WAYS),
        (lacks((What.CARD, "A"), (What.CARD, "A'")), {"a", "b", "c"}),
        (lacks((What.CARD, "C"), (What.CARD, "B'"), (What.SERVER, "mailrelay")), set()),
    ],
)
def test_ways_that_could_be_served(out_of_order: frozenset[Lack], ways: set[str]) -> None:
    assert possible(SITE, out_of_order, HOME) == ways


def test_without_a_controller_a_role_can_be_served_only_where_it_is() -> None:
    moved = HOME | {"smtp_pop": "mailrelay"}
    assert possible(SITE, lacks((What.SERVER, "smtp_pop"), (What.CONTROLLER, "")), moved) == {
        "a",
        "b",
        "c",
    }


@pytest.mark.parametrize(
    "out_of_order",
    [
        lacks((What.CARD, "C")),
        lacks((What.LINK, "o1:11-o2:11")),
        lacks((What.HANDS, "smtp_pop")),
        lacks((What.SPOOL, "")),
        lacks((What.SERVER, "mailrelay")),
        lacks((What.SWITCH, "i3")),
        lacks((What.ROLE, "web on smtp_pop")),
    ],
)
def test_a_server_serves_although(out_of_order: frozenset[Lack]) -> None:
    assert serves(SITE, out_of_order, "smtp_pop", "smtp_pop")


@pytest.mark.parametrize(
    "out_of_order",
    [
        lacks((What.SERVER, "smtp_pop")),
        lacks((What.ROLE, "smtp_pop on smtp_pop")),
        lacks((What.DISK, "smtp_pop")),
        lacks((What.CARD, "C"), (What.CARD, "B'")),
        lacks((What.CARD, "D"), (What.CARD, "A'")),
    ],
)
def test_a_server_does_not_serve_because(out_of_order: frozenset[Lack]) -> None:
    assert not serves(SITE, out_of_order, "smtp_pop", "smtp_pop")


# What was out of order, from the diary.


def struck(kind: Kind, at: float, *where: str, number: int = 0) -> Line:
    return Line(Event.STRUCK, at, number, kind.value, "", where)


def mended(at: float, number: int = 0) -> Line:
    return Line(Event.MENDED, at, number)


def test_a_diary_is_read_as_it_was_written(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.jsonl")
    lines = [struck(Kind.CARD_SWITCH_SIDE, 2.0, "A"), mended(1.0)]
    for line in lines:
        diary.write(line)
    assert diaries.read(diary.file) == lines[::-1]


def test_a_card_is_out_of_order_until_its_cable_is_back() -> None:
    diary = [struck(Kind.CARD_SWITCH_SIDE, 10.0, "A"), mended(15.0)]
    assert score.spans(SITE, diary) == (Span(Lack(What.CARD, "A"), 10.0, 15.0),)


def test_what_is_never_mended_is_out_of_order_for_ever() -> None:
    (span,) = score.spans(SITE, [struck(Kind.TRUNK_DOWN, 10.0, "o1:11-o2:11")])
    assert span.until == inf


def test_whose_power_is_cut_by_a_fence_is_off_until_it_has_booted() -> None:
    off = Line(Event.POWER_OFF, 10.0, target="smtp_pop")
    on = Line(Event.POWER_ON, 20.0, target="smtp_pop")
    lack = Lack(What.SERVER, "smtp_pop")
    assert score.spans(SITE, [off, on]) == (Span(lack, 10.0, 20.0 + BOOT),)


def test_without_management_a_leased_role_ends_with_its_lease() -> None:
    spans = score.spans(SITE, [struck(Kind.MANAGEMENT_CUT, 10.0, "smtp_pop"), mended(40.0)])
    since = {span.lack: span.since for span in spans}
    assert since[Lack(What.ROLE, "smtp_pop on smtp_pop")] == 10.0 + LEASE
    assert since[Lack(What.HANDS, "smtp_pop")] == 10.0


@pytest.mark.parametrize(("role", "lacks_it"), [("smtp_pop", True), ("web", False)])
def test_a_frozen_guard_ends_only_a_role_with_a_lease(role: str, lacks_it: bool) -> None:
    where = f"{role} on mailrelay"
    found = conditions(struck(Kind.GUARD_FROZEN, 10.0, where), mended(40.0))
    assert (Lack(What.ROLE, where) in found.lacks_at(10.0 + LEASE)) == lacks_it


def test_a_shorter_absence_of_the_controller_ends_no_role() -> None:
    spans = score.spans(SITE, [struck(Kind.CONTROLLER_KILLED, 10.0), mended(12.0)])
    conditions = Conditions(SITE, spans, ())
    assert conditions.lacks_at(11.0) == lacks((What.CONTROLLER, ""))


# Excuses and needless moves.


def move(at: float, origin: str = "smtp_pop", requested: bool = False) -> Move:
    target = "mailrelay" if origin == "smtp_pop" else "smtp_pop"
    return Move(at, "smtp_pop", origin, target, "not_held", requested)


def conditions(*diary: Line, placed: tuple[Move, ...] = ()) -> Conditions:
    return Conditions(SITE, score.spans(SITE, diary), placed)


def test_time_is_excused_only_while_nobody_could_serve() -> None:
    found = conditions(
        Line(Event.POWER_OFF, 10.0, target="smtp_pop"),
        Line(Event.POWER_OFF, 12.0, target="mailrelay"),
        Line(Event.POWER_ON, 20.0, target="smtp_pop"),
    )
    assert found.excused("b", 0.0, 100.0) == pytest.approx(20.0 + BOOT - 12.0)


def test_nobody_is_excused_for_a_server_whose_role_could_move() -> None:
    assert conditions(Line(Event.POWER_OFF, 10.0, target="smtp_pop")).excused("b", 0, 99) == 0.0


def test_where_a_role_has_moved_counts_while_no_controller_decides() -> None:
    diary = (struck(Kind.CONTROLLER_KILLED, 10.0), Line(Event.POWER_OFF, 10.0, target="smtp_pop"))
    assert conditions(*diary).excused("b", 10.0, 12.0) == 2.0
    assert conditions(*diary, placed=(move(5.0),)).excused("b", 10.0, 12.0) == 0.0


def test_a_move_from_a_server_that_works_is_needless() -> None:
    assert conditions().needless([move(50.0)]) == [move(50.0)]


def test_a_move_that_an_operator_wants_is_not_needless() -> None:
    assert conditions().needless([move(50.0, requested=True)]) == []


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Kind.POWER_CUT, "smtp_pop"),
        (Kind.SERVER_FROZEN, "smtp_pop"),
        (Kind.DAEMON_KILLED, "smtp_pop on smtp_pop"),
        (Kind.DAEMON_FROZEN, "smtp_pop on smtp_pop"),
        (Kind.GUARD_KILLED, "smtp_pop on smtp_pop"),
        (Kind.CARDS_SWITCH_SIDE, "smtp_pop"),
        (Kind.CARDS_SERVER_SIDE, "smtp_pop"),
        (Kind.SPOOL_FAILING, "smtp_pop"),
        (Kind.SPOOL_READ_ONLY, "smtp_pop"),
    ],
)
def test_what_keeps_a_server_from_serving_explains_a_move_for_a_while(
    kind: Kind, where: str
) -> None:
    found = conditions(struck(kind, 10.0, where), mended(12.0))
    assert found.needless([move(11.0)]) == []
    late = move(12.0 + EXPLAINS + BOOT + 1.0)
    assert found.needless([late]) == [late]


@pytest.mark.parametrize("kind", [Kind.POWER_CUT, Kind.SERVER_FROZEN, Kind.SPOOL_FAILING])
def test_a_fault_of_one_server_does_not_explain_that_a_role_leaves_the_other(kind: Kind) -> None:
    found = conditions(struck(kind, 10.0, "mailrelay"), mended(12.0))
    assert found.needless([move(11.0)]) == [move(11.0)]


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Kind.AGENT_KILLED, "smtp_pop"),
        (Kind.AGENT_FROZEN, "smtp_pop"),
        (Kind.CARD_SWITCH_SIDE, "C"),
        (Kind.TRUNK_DOWN, "o1:11-o2:11"),
        (Kind.SWITCH_ALONE, "i2"),
        (Kind.PROBER_KILLED, ""),
        (Kind.PROBER_FROZEN, ""),
        (Kind.SPOOL_FULL, ""),
        (Kind.FENCE_HANGS, ""),
        (Kind.CONTROLLER_FROZEN, ""),
        (Kind.MANAGEMENT_CUT, "smtp_pop"),
    ],
)
def test_what_takes_nothing_from_users_explains_nothing(kind: Kind, where: str) -> None:
    found = conditions(struck(kind, 10.0, where), mended(14.0))
    assert found.needless([move(12.0)]) == [move(12.0)]


def test_a_lease_that_could_not_be_renewed_explains_a_move() -> None:
    found = conditions(struck(Kind.MANAGEMENT_CUT, 10.0, "smtp_pop"), mended(40.0))
    assert found.needless([move(10.0 + LEASE + 2.0)]) == []


def entry(kind: str, at: float, origin: str, target: str, **details: str) -> HistoryEntry:
    said = {"origin": origin, "target": target, "cause": "not_held", "request": ""} | details
    return HistoryEntry(1, at, kind, "smtp_pop", said, "")


def test_moves_are_the_takeovers_that_change_the_server_since_the_soak_began() -> None:
    history = [
        entry("takeover.started", 5.0, "smtp_pop", "mailrelay"),
        entry("takeover.started", 20.0, "", "smtp_pop"),
        entry("takeover.started", 30.0, "smtp_pop", "smtp_pop"),
        entry("takeover.finished", 40.0, "smtp_pop", "mailrelay"),
        entry("takeover.started", 50.0, "smtp_pop", "mailrelay"),
    ]
    assert moves(history, "takeover.started", since=110.0, offset=100.0) == [move(150.0)]


def test_an_operator_wants_a_move_by_a_request_or_by_disabling_a_server() -> None:
    history = [
        entry("takeover.started", 50.0, "smtp_pop", "mailrelay", request="r1", cause="failover"),
        entry("takeover.started", 60.0, "smtp_pop", "mailrelay", cause="server_disabled"),
    ]
    assert all(each.requested for each in moves(history, "takeover.started", 0.0, 0.0))


# Times until served.


def test_a_way_that_never_fails_is_served_with_its_first_success_after_the_strike() -> None:
    steady = [(at * 0.5, at * 0.5 + 0.1) for at in range(100)]
    assert score.served_for_good(steady, 10.2, 45.0) == pytest.approx(0.4)


def test_a_success_that_began_before_the_strike_does_not_count() -> None:
    assert score.served_for_good([(9.9, 10.5), (11.0, 11.1)], 10.0, 11.5) == pytest.approx(1.1)


def test_a_way_that_fails_later_is_served_when_it_is_for_good() -> None:
    times = [10.5, 11.0, 11.0 + UNSERVED + 1.0, 15.0]
    assert score.served_for_good([(at, at) for at in times], 10.0, 15.5) == pytest.approx(4.0)


def test_a_way_that_is_unserved_at_the_end_is_never_served() -> None:
    assert score.served_for_good([(10.5, 10.6)], 10.0, 10.7 + UNSERVED) is None
    assert score.served_for_good([], 10.0, 11.0) is None


def test_a_way_that_nobody_could_have_served_was_not_unserved() -> None:
    diary = [
        Line(Event.ROUND_BEGAN, 10.0, 0),
        struck(Kind.SPOOL_FULL, 10.0),
        mended(14.0),
        Line(Event.ROUND_READY, 20.0, 0),
    ]
    steady = [(at * 0.5, at * 0.5 + 0.1) for at in range(60)]
    writing = [each for each in steady if not 10.0 <= each[0] < 16.0]
    (full,) = score.served(conditions(*diary), diary, {("a", "smtp", 4): writing})
    assert full.seconds == pytest.approx(6.1)
    assert full.unserved == pytest.approx(2.1)


def record(way: str, protocol: str, address: str, at: float, kind: Entry) -> MailRecord:
    return MailRecord(kind, way, "x", protocol, address, at, at + 0.1)


def test_each_protocol_and_family_of_a_way_must_be_served() -> None:
    entries = [
        record("b", "pop3", "10.0.0.25", 1.0, Entry.SERVED),
        record("b", "imap", "2001:db8:0:2::25", 2.0, Entry.ERROR),
    ]
    found = score.channels(entries)
    assert found == {("b", "pop3", 4): [(1.0, 1.1)], ("b", "imap", 6): []}


def test_a_fault_lasts_until_the_slowest_channel_and_to_the_end_of_its_round() -> None:
    diary = [
        Line(Event.ROUND_BEGAN, 10.0, 0),
        struck(Kind.POWER_CUT, 10.0, "smtp_pop"),
        mended(12.0),
        Line(Event.ROUND_READY, 20.0, 0),
        Line(Event.ROUND_BEGAN, 21.0, 1),
        struck(Kind.AGENT_KILLED, 21.0, "smtp_pop", number=1),
        struck(Kind.SPOOL_FULL, 21.5, number=2),
        Line(Event.ROUND_READY, 30.0, 1),
    ]
    quick = [(at * 0.5, at * 0.5 + 0.1) for at in range(60)]
    slow = [each for each in quick if not 10.0 <= each[0] < 15.0]
    found = score.served(
        conditions(*diary), diary, {("a", "smtp", 4): quick, ("b", "imap", 6): slow}
    )
    cut, *others = found
    assert (cut.kind, cut.alone, cut.channel) == (Kind.POWER_CUT, True, ("b", "imap", 6))
    assert cut.seconds == cut.unserved == pytest.approx(5.1)
    assert [each.alone for each in others] == [False, False]


def test_ledgers_are_read_on_from_where_they_were_read(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    tail = Tail([file], {("a", "smtp", 4): 0.0, ("a", "smtp", 6): 0.0})
    with Ledger(file) as ledger:
        ledger.write(record("a", "smtp", "192.0.2.25", 1.0, Entry.ACKNOWLEDGED))
        ledger.write(record("a", "smtp", "2001:db8::25", 5.0, Entry.ERROR))
        assert tail.unserved_since(0.5) == [("a", "smtp", 6)]
        ledger.write(record("a", "smtp", "2001:db8::25", 6.0, Entry.ACKNOWLEDGED))
        assert tail.unserved_since(0.5) == []
        assert tail.unserved_since(2.0) == [("a", "smtp", 4)]


def test_whoever_was_not_asked_was_not_served(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    tail = Tail([file])
    with Ledger(file) as ledger:
        ledger.write(record("b", "imap", "10.0.0.25", 5.0, Entry.SERVED))
    assert set(tail.unserved_since(1.0)) == set(CHANNELS) - {("b", "imap", 4)}


def test_what_ends_the_attendant_is_raised(tmp_path: Path) -> None:
    stage = cast(Stage, SimpleNamespace(lab=SimpleNamespace()))  # it has no servers
    with (
        pytest.raises(AttributeError, match="servers"),
        Attendant(stage, Striker(stage), Diary(tmp_path / "diary.jsonl")),
    ):
        pass


# Strikes.


@pytest.mark.parametrize("error", [NotStruckError("only one of two"), OSError("no such process")])
def test_what_has_come_about_by_half_is_mended(error: Exception) -> None:
    mended: list[str] = []
    with pytest.raises(type(error)), undone_by(lambda: mended.append("all")):
        raise error
    assert mended == ["all"]


def test_what_has_struck_is_not_mended_yet() -> None:
    with undone_by(lambda: pytest.fail("mended")):
        pass


# The witness.


def test_a_file_system_counts_as_mounted_only_if_its_device_is_one_of_the_image(
    tmp_path: Path,
) -> None:
    journals, devices = tmp_path / "jbd2", tmp_path / "block"
    for name, file in (
        ("loop0", "/lab/spool.img"),
        ("loop1", "/lab/spool.img (deleted)"),
        ("loop2", "/other.img"),
        ("loop3", "/lab/spool.img"),
    ):
        (devices / name / "loop").mkdir(parents=True)
        (devices / name / "loop" / "backing_file").write_text(f"{file}\n")
    for name in ("loop0-8", "loop1-8", "loop2-8", "vda-8", "dm-0-8"):
        (journals / name).mkdir(parents=True)
    assert witness.mounted(Path("/lab/spool.img"), journals, devices) == ["loop0", "loop1"]


def test_a_witness_tells_doubles_and_its_own_stall(tmp_path: Path) -> None:
    log = tmp_path / "witness.jsonl"
    lines: list[dict[str, object]] = [
        {"at": 1.0, "devices": ["loop0"]},
        {"at": 2.0, "devices": ["loop0", "loop1"]},
        {"looks": 50, "stalled": 0.03},
    ]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = witness.read(log)
    assert [look.at for look in found.doubles] == [2.0]
    assert (found.looks, found.stalled) == (50, 0.03)


def test_a_witness_looks_every_20_ms_and_says_how_long_it_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its fourth look takes 300 ms, and its clock is the test's."""
    clock, log, ended = [0.0], io.StringIO(), list[int]()
    looked: list[float] = []

    def look(_image: Path) -> list[str]:
        looked.append(clock[0])
        if len(looked) == 4:
            clock[0] += 0.3
        if len(looked) == 6:
            ended.append(signal.SIGTERM)
        return []

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(witness, "now", lambda: clock[0])
    monkeypatch.setattr(witness, "mounted", look)
    monkeypatch.setattr(witness.time, "sleep", sleep)
    witness.watch(Path("/lab/spool.img"), log, ended)
    assert looked == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.36, 0.38])
    *_, last = map(json.loads, log.getvalue().splitlines())
    assert last == {"looks": 6, "stalled": pytest.approx(0.3)}


def test_a_witness_that_was_killed_is_not_taken_for_an_awake_one(tmp_path: Path) -> None:
    log = tmp_path / "witness.jsonl"
    log.write_text(f"{json.dumps({'at': 1.0, 'devices': []})}\n")
    assert witness.read(log).stalled is None


# Fences.


@pytest.fixture
def power(tmp_path: Path) -> PowerSwitch:
    return PowerSwitch({}, tmp_path)


def await_request(fence: BrokenFence) -> None:
    while not fence.under_way:
        time.sleep(0.001)


def test_a_fence_that_fails_says_so_until_it_is_mended(power: PowerSwitch) -> None:
    fence = BrokenFence(power, Kind.FENCE_FAILS)
    assert power.trouble("smtp_pop") == "the power switch is jammed"
    fence.mend()
    assert power.trouble("smtp_pop") == ""


def test_a_fence_that_hangs_cuts_no_power_when_it_is_mended(power: PowerSwitch) -> None:
    fence = BrokenFence(power, Kind.FENCE_HANGS)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(power.trouble, "smtp_pop")
        await_request(fence)
        fence.mend()
        assert asked.result(timeout=10.0) == "the power switch was mended"


def test_a_slow_fence_is_mended_only_when_it_has_answered_everybody(power: PowerSwitch) -> None:
    fence = BrokenFence(power, Kind.FENCE_SLOW, 0.1)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(power.trouble, "smtp_pop")
        await_request(fence)
        fence.mend()
        assert fence.under_way == 0
        assert asked.result(timeout=10.0) == ""
