"""What a switch may cost, what it was asked, and how its octets become messages: all of it by
itself, without a connection."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import openflow_frames
import pytest
from openflow_frames import NOTHING, Octets, frames, message, multipart

from flows.openflow.budget import (
    ANSWER_OCTETS,
    ANSWER_TIME,
    OF_STRANGERS,
    OF_SWITCHES,
    Allowance,
    Budget,
    ExcessError,
    Limits,
)
from flows.openflow.frame_check import Kind, Part
from flows.openflow.framework import ProtocolDesc
from flows.openflow.framing import PIECE, Framing, pieces
from flows.openflow.questions import ANSWERS, Questions
from flows.openflow.ryu_mended import ofproto, read_message
from flows.openflow.walks import MalformedError

pytestmark = pytest.mark.reported("C6")

DATAPATH = ProtocolDesc(version=ofproto.OFP_VERSION)
LIMITS = Limits(messages=Allowance(10, 2), octets=Allowance(100, 10), work=Allowance(1.0, 0.5))


class TestBudget:
    @pytest.mark.parametrize("spent", [{"messages": 11}, {"octets": 101}, {"work": 1.01}])
    def test_is_exceeded_by_more_than_may_come_at_once(self, spent: dict[str, float]) -> None:
        with pytest.raises(ExcessError, match="more than"):
            Budget.of(LIMITS, 0.0).spend(0.0, **spent)  # type: ignore[arg-type]

    def test_lasts_for_ever_at_what_is_given_back_each_second(self) -> None:
        budget = Budget.of(LIMITS, 0.0).spend(0.0, messages=8, octets=90, work=0.5)
        for second in range(1, 100):
            budget = budget.spend(float(second), messages=2, octets=10, work=0.5)
        assert (budget.messages, budget.octets, budget.work) == (2, 10, 0.5)

    def test_never_grows_beyond_what_may_come_at_once(self) -> None:
        with pytest.raises(ExcessError):
            Budget.of(LIMITS, 0.0).spend(1000.0, messages=11)

    def test_of_a_stranger_is_never_given_back(self) -> None:
        budget = Budget.of(OF_STRANGERS, 0.0).spend(0.0, messages=1_000)
        with pytest.raises(ExcessError, match=r"more than 1000 messages$"):
            budget.spend(1e9, messages=1)

    def test_of_a_stranger_suffices_for_three_hundred_ports(self) -> None:
        Budget.of(OF_STRANGERS, 0.0).spend(0.0, messages=50, octets=300 * 64 + 2_000, work=0.5)

    def test_of_a_switch_suffices_for_readings_of_ten_thousand_rules_each_minute(self) -> None:
        budget = Budget.of(OF_SWITCHES, 0.0)
        for minute in range(60):
            budget = budget.spend(60.0 * minute, messages=1_000, octets=3_000_000, work=5.0)


class TestQuestions:
    @pytest.mark.parametrize("kind", sorted(ANSWERS - {Kind.MULTIPART_REPLY}))
    def test_an_answer_is_taken_once(self, kind: int) -> None:
        questions = Questions()
        questions.ask(kind - 1, 7, None, 0.0)
        frame = message(kind, number=7).data
        questions.take(frame, 0.0)
        with pytest.raises(MalformedError, match="nothing that was asked"):
            questions.take(frame, 0.0)

    @pytest.mark.parametrize(
        "frame",
        [
            multipart(Part.FLOW, NOTHING, number=8),
            multipart(Part.GROUP_DESC, NOTHING, number=7),
            message(Kind.BARRIER_REPLY, number=7),
            message(Kind.MULTIPART_REPLY, number=7),
        ],
        ids=["another number", "another part", "another kind", "no part"],
    )
    def test_what_answers_something_else_is_refused(self, frame: Octets) -> None:
        with pytest.raises(MalformedError):
            self.asked_for_flows().take(frame.data, 0.0)

    def test_an_answer_of_many_parts_is_taken_to_its_end(self) -> None:
        questions = self.asked_for_flows()
        for more in (True, True, False):
            questions.take(multipart(Part.FLOW, NOTHING, number=7, more=more).data, 1.0)
        with pytest.raises(MalformedError):
            questions.take(multipart(Part.FLOW, NOTHING, number=7).data, 1.0)

    def test_an_answer_that_grows_without_end_is_refused(self) -> None:
        questions = self.asked_for_flows()
        part = multipart(Part.FLOW, Octets(bytes(ANSWER_OCTETS // 50)), number=7, more=True).data
        for _ in range(49):
            questions.take(part, 0.0)
        with pytest.raises(ExcessError, match=str(ANSWER_OCTETS)):
            questions.take(part, 0.0)

    def test_an_answer_that_goes_on_and_on_is_refused(self) -> None:
        questions = self.asked_for_flows()
        part = multipart(Part.FLOW, NOTHING, number=7, more=True).data
        questions.take(part, ANSWER_TIME)
        with pytest.raises(ExcessError, match="not ended"):
            questions.take(part, ANSWER_TIME + 0.1)

    def test_what_a_switch_tells_of_itself_needs_no_question(self) -> None:
        for kind in (Kind.HELLO, Kind.PACKET_IN, Kind.PORT_STATUS, Kind.ECHO_REQUEST):
            Questions().take(message(kind).data, 0.0)

    def test_each_message_is_refused_by_one_error_at_most(self) -> None:
        questions = Questions()
        questions.ask(ofproto.OFPT_FLOW_MOD, 7, None, 0.0)
        questions.take(frames()["error"].data, 0.0)
        with pytest.raises(MalformedError, match="more errors"):
            questions.take(frames()["error"].data, 0.0)

    def test_a_question_that_was_refused_has_no_other_answer(self) -> None:
        questions = self.asked_for_flows()
        questions.take(message(Kind.ERROR, number=7).data, 0.0)
        with pytest.raises(MalformedError):
            questions.take(multipart(Part.FLOW, NOTHING, number=7).data, 0.0)

    def asked_for_flows(self) -> Questions:
        questions = Questions()
        questions.ask(ofproto.OFPT_MULTIPART_REQUEST, 7, Part.FLOW, 0.0)
        return questions


class TestFraming:
    WHOLE = (frames()["hello"].data, frames()["barrier"].data, frames()["port-status"].data)

    @pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 1000])
    def test_cuts_octets_into_messages_however_they_come(self, size: int) -> None:
        octets, framing = b"".join(self.WHOLE), Framing()
        chunks = [octets[at : at + size] for at in range(0, len(octets), size)]
        assert [frame for chunk in chunks for frame in framing.feed(chunk)] == list(self.WHOLE)

    @pytest.mark.parametrize("length", range(8))
    def test_refuses_a_message_that_is_shorter_than_its_header(self, length: int) -> None:
        with pytest.raises(MalformedError):
            list(Framing().feed(struct.pack("!BBHI", 4, 0, length, 1)))


class TestPieces:
    def reply(self, part: int, entry: Octets, count: int, more: bool = False) -> bytes:
        return multipart(part, Octets(entry.data * count), number=3, more=more).data

    def read(self, frames: Iterable[bytes]) -> list[tuple[int, int, list[str]]]:
        found = [read_message(DATAPATH, frame) for frame in frames]
        return [(m.xid, m.flags, [str(entry) for entry in m.body]) for m in found]

    @pytest.mark.parametrize("more", [False, True])
    @pytest.mark.parametrize(
        "name", ["1: flow without match", "7: group with experimenter", "13: OFPPortDescStatsReply"]
    )
    def test_say_the_same_as_the_whole(self, name: str, more: bool) -> None:
        whole = frames()[name].data
        frame = self.reply(whole[9], Octets(whole[16:]), 60_000 // len(whole), more)
        ((number, flags, entries),) = self.read([frame])
        parts = self.read(pieces(frame))
        assert len(parts) > 10
        assert [entry for part in parts for entry in part[2]] == entries
        assert {part[0] for part in parts} == {number}
        assert [part[1] for part in parts] == [1] * (len(parts) - 1) + [flags]

    def test_are_short(self) -> None:
        frame = self.reply(Part.FLOW, openflow_frames.flow(openflow_frames.matched()), 1_000)
        assert max(map(len, pieces(frame))) < PIECE + 100

    @pytest.mark.parametrize("name", ["hello", "1: flow without match", "echo"])
    def test_of_what_is_short_are_the_whole(self, name: str) -> None:
        assert list(pieces(frames()[name].data)) == [frames()[name].data]

    def test_of_what_is_one_thing_are_the_whole(self) -> None:
        frame = multipart(Part.EXPERIMENTER, Octets(bytes(9_000))).data
        assert list(pieces(frame)) == [frame]

    def test_end_where_an_entry_does_not_fit(self) -> None:
        frame = self.reply(Part.FLOW, Octets(bytes(64)), 100)
        with pytest.raises(MalformedError, match="flow entry of 0 octets"):
            list(pieces(frame))
