"""The codec by itself: round trips over the wire format, and what broken messages do.

What Open vSwitch makes of it is tried in tests/integration/test_codec_on_ovs.py.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.diff import AddGroup, AddRule, FlushLearnt
from flows.numbers import CookieKind
from flows.openflow import (
    Count,
    Reading,
    error_text,
    is_plugged,
    messages,
    port_change,
    ports_up,
    rule_set,
)
from flows.openflow.actions import decode_actions, decode_instructions
from flows.openflow.fields import decode_match, encode_match
from flows.openflow.framework import ProtocolDesc, ofproto_parser, type_desc
from flows.openflow.ryu_mended import MalformedError, ofproto, parser
from flows.oxm import WIDTHS
from flows.rules import (
    COOKIE_PREFIX,
    IN_PORT,
    LEARNT_COOKIE,
    OWN_IDS,
    Action,
    Bucket,
    Group,
    GroupType,
    Learn,
    Match,
    Move,
    Output,
    Resubmit,
    Rule,
    SetField,
    ToGroup,
)
from topology.model import Address

DATAPATH = ProtocolDesc(version=ofproto.OFP_VERSION)
names = st.sampled_from(sorted(WIDTHS))


@st.composite
def matches(draw: st.DrawFn) -> Match:
    values: dict[str, Any] = {}
    for name in draw(st.sets(names, max_size=6)):
        bits = st.integers(0, (1 << WIDTHS[name]) - 1)
        values[name] = draw(st.one_of(bits, st.tuples(bits, bits)))
    return Match.of(**values)


@st.composite
def set_fields(draw: st.DrawFn) -> SetField:
    name = draw(names.filter(lambda n: n != "in_port"))
    return SetField(name, draw(st.integers(0, (1 << WIDTHS[name]) - 1)))


actions = st.one_of(
    st.builds(Output, st.sampled_from([1, 2, IN_PORT])),
    st.builds(ToGroup, st.sampled_from(OWN_IDS[:3])),
    set_fields(),
    st.builds(SetField, st.just("in_port"), st.just(0)),
    st.builds(SetField, st.just("ipv6_dst"), st.just(5), st.just(0xFF)),
    st.builds(SetField, st.just("reg4"), st.just(5), st.just(0xFF)),
    st.builds(Resubmit, st.integers(0, 250)),
    st.builds(Move, st.just("eth_src"), st.just("eth_dst"), st.integers(1, 48)),
    st.builds(Learn, st.just(7), st.just(1), st.integers(0, 99), st.just(0), st.just(77)),
)
some_actions = st.lists(actions, max_size=4).map(tuple)
rules = st.builds(
    Rule,
    table=st.integers(0, 250),
    priority=st.integers(0, 0xFFFF),
    match=matches(),
    apply=some_actions,
    write=some_actions,
    goto=st.none() | st.integers(0, 250),
    meter=st.none() | st.sampled_from(OWN_IDS[:3]),
    cookie=st.integers(0, 0xFFFF).map(lambda low: COOKIE_PREFIX | low),
)


def header(kind: int, body: bytes, version: int = ofproto.OFP_VERSION) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), 1) + body


def multipart(kind: int, body: bytes) -> bytes:
    return header(ofproto.OFPT_MULTIPART_REPLY, struct.pack("!HH4x", kind, 0) + body)


def parsed(data: bytes) -> Any:
    version, kind, length, xid = ofproto_parser.header(data)
    return ofproto_parser.msg(DATAPATH, version, kind, length, xid, data)


def over_the_wire(message: Any) -> Any:
    message.set_xid(1)
    message.serialize()
    return parsed(bytes(message.buf))


def stats_of(message: Any, **changed: Any) -> SimpleNamespace:
    """What a switch that took this flow-mod answers to a statistics request."""
    fields = {name: getattr(message, name) for name in ("table_id", "priority", "cookie", "match")}
    fields |= {"instructions": message.instructions, "flags": message.flags}
    fields |= {"idle_timeout": message.idle_timeout, "hard_timeout": message.hard_timeout}
    return SimpleNamespace(**fields | changed)


@given(rules)
def test_a_rule_that_is_sent_and_read_is_the_same_rule(rule: Rule) -> None:
    (sent,) = messages(DATAPATH, AddRule(rule))
    read = rule_set([stats_of(over_the_wire(sent))], [], [])
    assert list(read.rules.values()) == [rule]


@given(st.lists(some_actions, max_size=3), st.sampled_from(GroupType))
def test_a_group_that_is_sent_and_read_is_the_same_group(
    buckets: list[tuple[Action, ...]], kind: GroupType
) -> None:
    group = Group(
        OWN_IDS[1], kind, tuple(Bucket(b, place, place) for place, b in enumerate(buckets))
    )
    (sent,) = messages(DATAPATH, AddGroup(group))
    sent.serialize()
    in_wire_format = bytes(sent.buf)[16:]
    head = struct.pack("!HBxI", 8 + len(in_wire_format), kind.value, group.id)
    reply = parsed(multipart(ofproto.OFPMP_GROUP_DESC, head + in_wire_format))
    assert list(rule_set([], reply.body, []).groups.values()) == [group]


@given(matches())
def test_fields_are_sent_behind_those_that_they_presuppose(match: Match) -> None:
    order = [name for name, _ in encode_match(match).items()]
    assert order == sorted(order, key=list(WIDTHS).index)


RULE = Rule(1, 2, Match.of(in_port=1), (Output(2),))


def one_stats(**changed: Any) -> SimpleNamespace:
    (sent,) = messages(DATAPATH, AddRule(RULE))
    return stats_of(over_the_wire(sent), **changed)


@given(matches(), st.integers(0, 9))
def test_a_match_is_written_as_ryu_writes_it(match: Match, before: int) -> None:
    quick = encode_match(match)
    slow = parser.OFPMatch(_ordered_fields=quick.items())
    buffers = bytearray(before), bytearray(before)
    lengths = [
        one.serialize(buffer, before) for one, buffer in zip((quick, slow), buffers, strict=True)
    ]
    assert buffers[0] == buffers[1]
    assert lengths == [len(buffers[0]) - before] * 2
    assert quick.length == slow.length


@given(st.binary(min_size=6, max_size=6), st.ip_addresses())
def test_macs_and_addresses_are_text_as_everywhere_else(octets: bytes, address: Address) -> None:
    mac = ":".join(f"{octet:02x}" for octet in octets)
    assert type_desc.MacAddr.to_user(octets) == mac
    assert type_desc.MacAddr.from_user(mac) == octets
    kind = type_desc.IPv4Addr if address.version == 4 else type_desc.IPv6Addr
    assert ip_address(kind.to_user(address.packed)) == address
    assert kind.from_user(str(address)) == address.packed


@pytest.mark.parametrize("cookie", [0, 0x4AC8 << 48, LEARNT_COOKIE, LEARNT_COOKIE | 5])
def test_foreign_and_learnt_entries_are_not_ours(cookie: int) -> None:
    assert not rule_set([one_stats(cookie=cookie)], [], []).rules


@pytest.mark.parametrize("group", [0, OWN_IDS.start - 1, OWN_IDS.stop])
def test_groups_out_of_our_range_are_not_ours(group: int) -> None:
    desc = SimpleNamespace(group_id=group, type=0, buckets=[])
    assert not rule_set([], [desc], []).groups


@pytest.mark.parametrize("changed", [{"idle_timeout": 5}, {"hard_timeout": 5}, {"flags": 1}])
def test_an_entry_with_more_than_we_send_differs(changed: dict[str, int]) -> None:
    (read,) = rule_set([one_stats(**changed)], [], []).rules.values()
    assert read.key == RULE.key
    assert read != RULE


def test_an_instruction_that_we_never_send_is_no_empty_rule() -> None:
    clear = parser.OFPInstructionActions(ofproto.OFPIT_CLEAR_ACTIONS, [])
    assert decode_instructions([clear]).apply != ()


def test_an_action_that_we_never_send_equals_none_of_ours() -> None:
    pop = parser.OFPInstructionActions(
        ofproto.OFPIT_APPLY_ACTIONS, [parser.OFPActionPopVlan(), parser.OFPActionOutput(2, 0)]
    )
    assert decode_instructions([pop]).apply != RULE.apply


@pytest.mark.reported("C1")
def test_a_learn_action_that_sends_out_of_a_constant_port_equals_none_of_ours() -> None:
    """It raised an error in the session, which ended the controller."""
    spec = parser.NXFlowSpecOutput(src=7, dst="", n_bits=16)
    strange = decode_actions([parser.NXActionLearn(table_id=1, specs=[spec])])
    assert not any(isinstance(action, Learn) for action in strange)


def test_a_foreign_field_is_read_so_that_it_can_be_deleted() -> None:
    match = decode_match(parser.OFPMatch(tunnel_id=5))
    assert dict(encode_match(match).items()) == {"tunnel_id": 5}


def unknown_field(mask: bytes) -> Any:
    """Of the class of OpenFlow's basic fields, with a number that no version has."""
    value = bytes(4) + mask
    head = struct.pack("!HHHBB", 1, 8 + len(value), 0x8000, 60 << 1 | bool(mask), len(value))
    return parser.OFPMatch.parser(head + value + bytes(8), 0)


@pytest.mark.parametrize("mask", [b"", bytes([0, 0, 0, 1])])
def test_an_entry_with_a_field_that_cannot_be_written_is_left_alone(mask: bytes) -> None:
    assert not rule_set([one_stats(match=unknown_field(mask))]).rules


def test_a_group_of_a_type_that_we_do_not_know_differs_from_all_of_ours() -> None:
    desc = SimpleNamespace(group_id=OWN_IDS[0], type=200, buckets=[])
    (read,) = rule_set([], [desc]).groups.values()
    assert read not in [Group(OWN_IDS[0], kind, ()) for kind in GroupType]


def test_of_two_entries_with_one_key_the_later_one_is_taken() -> None:
    twice = [one_stats(cookie=COOKIE_PREFIX | number) for number in (1, 2)]
    assert [rule.cookie for rule in rule_set(twice).rules.values()] == [COOKIE_PREFIX | 2]


def test_a_flush_reaches_every_table() -> None:
    (sent,) = messages(DATAPATH, FlushLearnt(LEARNT_COOKIE, 0xFF << 32))
    assert (sent.command, sent.table_id) == (ofproto.OFPFC_DELETE, ofproto.OFPTT_ALL)


def reply(xid: int, *body: Any, more: bool = False) -> SimpleNamespace:
    return SimpleNamespace(xid=xid, body=list(body), flags=int(more))


def ask(question: Reading | Count) -> int:
    """The transaction id of the request that it would send next; 0 if none."""
    request = question.next_request()
    if request is None:
        return 0
    ask.last += 1  # type: ignore[attr-defined]
    request.set_xid(ask.last)  # type: ignore[attr-defined]
    return int(request.xid)


ask.last = 10  # type: ignore[attr-defined]


class TestReading:
    def test_asks_for_the_next_thing_when_the_last_part_of_an_answer_is_here(self) -> None:
        reading = Reading(DATAPATH)
        xid = ask(reading)
        assert not reading.take(reply(xid, one_stats(priority=3), more=True))
        assert reading.take(reply(xid, one_stats(priority=4)))
        while xid := ask(reading):
            assert reading.take(reply(xid))
        assert {rule.priority for rule in reading.found().rules.values()} == {3, 4}

    def test_takes_the_later_one_of_what_changes_meanwhile(self) -> None:
        reading = Reading(DATAPATH)
        before, after = COOKIE_PREFIX | 1, COOKIE_PREFIX | 2
        for cookie in (before, after):
            assert reading.take(reply(ask(reading), one_stats(cookie=cookie)))
        while xid := ask(reading):
            assert reading.take(reply(xid))
        assert [rule.cookie for rule in reading.found().rules.values()] == [after]

    def test_takes_no_notice_of_others_replies(self) -> None:
        reading = Reading(DATAPATH)
        xid = ask(reading)
        assert not reading.take(reply(xid + 1000, one_stats()))


def test_readings_and_counts_leave_out_what_was_learnt_and_nothing_else_of_ours() -> None:
    reading = Reading(DATAPATH)
    requests = []
    while (request := reading.next_request()) is not None:
        requests.append(request)
    flows = [r for r in requests if isinstance(r, parser.OFPFlowStatsRequest)]
    counting = Count(DATAPATH).next_request()

    def asked(cookie: int) -> list[Any]:
        return [r for r in flows if r.cookie == cookie & r.cookie_mask]

    for digest in range(64):
        for kind in CookieKind:
            ours = COOKIE_PREFIX | kind << 32 | digest
            assert [r.table_id for r in asked(ours)] == [ofproto.OFPTT_ALL]
            assert counting.cookie == ours & counting.cookie_mask
        assert not asked(LEARNT_COOKIE | digest)
        assert counting.cookie != (LEARNT_COOKIE | digest) & counting.cookie_mask


def test_a_count_says_how_many_flows_the_switch_counted() -> None:
    counting = Count(DATAPATH)
    answer = SimpleNamespace(xid=ask(counting), body=SimpleNamespace(flow_count=42), flags=0)
    assert counting.take(answer)
    assert ask(counting) == 0
    assert counting.found() == 42


def port(number: int, config: int = 0, state: int = 0) -> SimpleNamespace:
    return SimpleNamespace(port_no=number, config=config, state=state)


def test_a_port_is_up_that_neither_link_nor_operator_has_down() -> None:
    ports = [
        port(1, state=ofproto.OFPPS_LIVE),
        port(2, state=ofproto.OFPPS_LINK_DOWN),
        port(3, config=ofproto.OFPPC_PORT_DOWN),
        port(ofproto.OFPP_LOCAL),
    ]
    assert ports_up(ports) == {1}


@pytest.mark.parametrize(
    ("reason", "up"),
    [(ofproto.OFPPR_ADD, True), (ofproto.OFPPR_MODIFY, True), (ofproto.OFPPR_DELETE, False)],
)
def test_a_deleted_port_is_down(reason: int, up: bool) -> None:
    assert port_change(SimpleNamespace(reason=reason, desc=port(4))) == (4, up)


def test_an_error_has_the_names_of_the_specification() -> None:
    error = parser.OFPErrorMsg(DATAPATH, ofproto.OFPET_FLOW_MOD_FAILED, ofproto.OFPFMFC_TABLE_FULL)
    assert error_text(error) == "OFPET_FLOW_MOD_FAILED(5), OFPFMFC_TABLE_FULL(1)"


def flow_stats(instructions: bytes) -> bytes:
    match = struct.pack("!HH4x", 1, 4)
    counters = struct.pack("!BxIIHHHH4xQQQ", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    return (
        struct.pack("!H", 2 + len(counters) + 8 + len(instructions))
        + counters
        + match
        + instructions
    )


ZEROS = bytes(64)


@pytest.mark.parametrize(
    "message",
    [
        header(ofproto.OFPT_HELLO, struct.pack("!HH", 7, 0)),
        header(ofproto.OFPT_HELLO, struct.pack("!HH", 7, 0), version=5),
        multipart(ofproto.OFPMP_FLOW, ZEROS),
        multipart(ofproto.OFPMP_FLOW, flow_stats(struct.pack("!HH4x", 1, 0))),
        multipart(ofproto.OFPMP_FLOW, flow_stats(struct.pack("!HH4xHH4x", 4, 16, 0, 0))),
        multipart(ofproto.OFPMP_GROUP_DESC, ZEROS),
        multipart(ofproto.OFPMP_GROUP_DESC, struct.pack("!HBxI", 24, 0, 1) + bytes(16)),
        multipart(ofproto.OFPMP_METER_CONFIG, ZEROS),
        multipart(ofproto.OFPMP_METER_CONFIG, struct.pack("!HHI", 24, 0, 1) + bytes(16)),
        multipart(ofproto.OFPMP_GROUP, ZEROS),
        multipart(ofproto.OFPMP_TABLE_FEATURES, ZEROS),
        header(ofproto.OFPT_QUEUE_GET_CONFIG_REPLY, ZEROS),
        header(ofproto.OFPT_FEATURES_REPLY, ZEROS, version=6),
    ],
    ids=lambda message: message[:18].hex(),
)
def test_a_message_with_a_length_of_zero_is_refused_and_not_read_for_ever(
    message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert parsed(message) is None
    assert caplog.records[-1].exc_info is not None
    assert caplog.records[-1].exc_info[0] is MalformedError


@pytest.mark.parametrize("port", [ofproto.OFPP_LOCAL, ofproto.OFPP_CONTROLLER, ofproto.OFPP_ANY])
def test_nothing_is_plugged_into_a_port_that_stands_for_something_else(port: int) -> None:
    assert not is_plugged(port)
    assert is_plugged(ofproto.OFPP_MAX)
