"""The session's side of an OpenFlow connection, on Ryu's own messages and without a switch."""

from __future__ import annotations

from typing import Any

from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser
from ryu.ofproto.ofproto_protocol import ProtocolDesc

from flows.diff import AddRule, DeleteRule
from flows.rules import COOKIE_PREFIX, Match, Output, Rule, RuleSet
from hactrl.switches.wire import DatapathWire

RULE = Rule(0, 1, Match.of(in_port=1), (Output(2),), cookie=COOKIE_PREFIX | 1 << 32)


class Datapath(ProtocolDesc):  # type: ignore[misc]
    """What a wire uses of Ryu's: transaction ids, and somewhere to send to."""

    def __init__(self) -> None:
        super().__init__(version=ofproto.OFP_VERSION)
        self.sent: list[Any] = []
        self._xid = 0

    def set_xid(self, message: Any) -> None:
        self._xid += 1
        message.set_xid(self._xid)

    def send_msg(self, message: Any) -> None:
        message.serialize()
        self.sent.append(message)


def answer(request: Any, body: Any = (), *, more: bool = False) -> Any:
    """An empty reply of the request's kind, or one with this body."""
    kinds = {
        parser.OFPFlowStatsRequest: parser.OFPFlowStatsReply,
        parser.OFPGroupDescStatsRequest: parser.OFPGroupDescStatsReply,
        parser.OFPMeterConfigStatsRequest: parser.OFPMeterConfigStatsReply,
        parser.OFPAggregateStatsRequest: parser.OFPAggregateStatsReply,
    }
    flags = ofproto.OFPMPF_REPLY_MORE if more else 0
    reply = kinds[type(request)](request.datapath, body=body, flags=flags)
    reply.set_xid(request.xid)
    return reply


def answer_all(wire: DatapathWire, datapath: Datapath) -> list[tuple[int, RuleSet | int]]:
    """Answer each request as it comes, with nothing; what the wire made of it."""
    results = []
    answered = datapath.sent.index(datapath.sent[-1])
    while answered < len(datapath.sent):
        result = wire.take_reply(answer(datapath.sent[answered]))
        results += [] if result is None else [result]
        answered += 1
    return results


def counted(request: Any, number: int) -> Any:
    body = parser.OFPAggregateStats(packet_count=0, byte_count=0, flow_count=number)
    return answer(request, body)


def test_messages_leave_in_order_each_with_the_transaction_id_that_is_given_back() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    xids = [*wire.send(AddRule(RULE)), *wire.send(DeleteRule(RULE)), wire.barrier()]
    assert [message.xid for message in datapath.sent] == xids
    assert len(set(xids)) == 3
    kinds = [getattr(message, "command", type(message)) for message in datapath.sent]
    assert kinds[1:] == [ofproto.OFPFC_DELETE_STRICT, parser.OFPBarrierRequest]


def test_the_masters_role_is_asked_for_with_the_generation_id() -> None:
    datapath = Datapath()
    DatapathWire(datapath).take_master_role(7)
    (request,) = datapath.sent
    assert (request.role, request.generation_id) == (ofproto.OFPCR_ROLE_MASTER, 7)


def test_only_the_answer_to_the_request_for_the_role_is_taken_for_it_and_once() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    wire.take_master_role(7)
    asked = datapath.sent[0].xid
    other, reply = parser.OFPErrorMsg(datapath), parser.OFPRoleReply(datapath)
    other.set_xid(asked + 1)
    reply.set_xid(asked)
    assert not wire.take_role_reply(other)
    assert wire.take_role_reply(reply)
    assert not wire.take_role_reply(reply)


def test_a_reading_asks_one_thing_after_the_other_and_is_there_when_all_is_answered() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    number = wire.read()
    assert len(datapath.sent) == 1
    assert answer_all(wire, datapath) == [(number, RuleSet())]
    assert isinstance(datapath.sent[-1], parser.OFPMeterConfigStatsRequest)


def test_an_answer_in_parts_is_not_there_before_its_last() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    wire.read()
    assert wire.take_reply(answer(datapath.sent[0], more=True)) is None
    assert len(datapath.sent) == 1
    wire.take_reply(answer(datapath.sent[0]))
    assert len(datapath.sent) == 2


def test_only_an_error_to_its_last_request_ends_a_question() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    assert not wire.question_failed(1)
    wire.read()
    wire.take_reply(answer(datapath.sent[0]))
    assert not wire.question_failed(datapath.sent[0].xid)
    assert wire.question_failed(datapath.sent[1].xid)
    assert wire.take_reply(answer(datapath.sent[1])) is None
    number = wire.read()
    assert answer_all(wire, datapath) == [(number, RuleSet())]


def test_a_count_is_one_question() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    number = wire.count()
    assert wire.take_reply(counted(datapath.sent[0], 42)) == (number, 42)
    assert len(datapath.sent) == 1


def test_a_later_question_takes_the_place_of_one_that_is_not_answered_yet() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    wire.read()
    number = wire.count()
    reading, count = datapath.sent
    assert wire.take_reply(answer(reading)) is None
    assert len(datapath.sent) == 2
    assert wire.take_reply(counted(count, 3)) == (number, 3)


def test_what_nobody_asked_for_is_nothing() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    request = parser.OFPGroupDescStatsRequest(datapath)
    request.set_xid(1)
    assert wire.take_reply(answer(request)) is None


def test_counters_are_asked_for_beside_a_reading_and_there_when_all_is_answered() -> None:
    datapath = Datapath()
    wire = DatapathWire(datapath)
    wire.read()
    wire.count_answers()
    reading, counting = datapath.sent
    assert wire.take_counts(answer(reading)) is None
    assert wire.take_counts(answer(counting)) is None
    assert len(datapath.sent) == 3
    while (found := wire.take_counts(answer(datapath.sent[-1]))) is None:
        assert len(datapath.sent) < 100
    assert found == {}
    assert wire.take_counts(answer(datapath.sent[-1])) is None
