"""What Open vSwitch gives back is what we sent, for every match and action that we use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from private_ovs import Bridge, Channel, PrivateOvs

from flows.diff import AddRule, Change, DeleteRule, FlushLearnt, diff
from flows.openflow import error_text, messages
from flows.openflow.ryu_mended import parser
from flows.oxm import WIDTHS
from flows.rules import (
    CONTROLLER,
    COOKIE_PREFIX,
    IN_PORT,
    LEARNT_COOKIE,
    LEARNT_MASK,
    OWN_IDS,
    Action,
    Bucket,
    Group,
    GroupType,
    Learn,
    Match,
    Meter,
    Move,
    Output,
    Resubmit,
    Rule,
    RuleSet,
    SetField,
    ToGroup,
)
from flows.walk.packet import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP, mac

pytestmark = pytest.mark.integration

GROUP = OWN_IDS[5]
METER = OWN_IDS[5]
MAC = mac("02:00:00:00:00:99")
SIX = int(ip_address("2001:db8::25"))


@pytest.fixture(scope="module")
def bridge(ovs: PrivateOvs) -> Bridge:
    return ovs.add_bridge("codec", 0x11, ports=(1, 2, 3))


@pytest.fixture
def channel(bridge: Bridge) -> Iterator[Channel]:
    """A connection to a bridge that holds nothing."""
    bridge.ofctl("del-flows")
    bridge.ofctl("del-groups")
    bridge.ofctl("del-meters")
    with bridge.connect() as connection:
        yield connection


def send(channel: Channel, changes: Iterable[Change]) -> list[str]:
    """Carry out; gives the switch's complaints."""
    sent = [message for change in changes for message in messages(channel.datapath, change)]
    answers = channel.barrier(*sent)
    return [error_text(a) for a in answers if isinstance(a, parser.OFPErrorMsg)]


def install(channel: Channel, wanted: RuleSet) -> None:
    for batch in diff(channel.read_back(), wanted):
        assert send(channel, batch) == []


IPV4, IPV6 = {"eth_type": ETH_IPV4}, {"eth_type": ETH_IPV6}
ARP = {"eth_type": ETH_ARP}
TCP4, TCP6 = IPV4 | {"ip_proto": TCP}, IPV6 | {"ip_proto": TCP}
ICMP6 = IPV6 | {"ip_proto": ICMPV6}
SOLICITATION = ICMP6 | {"icmpv6_type": 135, "icmpv6_code": 0}
ADVERTISEMENT = ICMP6 | {"icmpv6_type": 136, "icmpv6_code": 0}
NETWORK4 = (0xC0000200, 0xFFFFFF00)
NETWORK6 = (0x2001_0DB8 << 96, 0xFFFF_FFFF << 96)

MATCHES: list[dict[str, Any]] = [
    {},
    {"in_port": 1},
    {"eth_src": MAC, "eth_dst": MAC},
    {"eth_dst": (1 << 40, 1 << 40)},
    {"eth_src": (0x020000000000, 0xFFFF00000000)},
    {"metadata": (5, 0xF)},
    {"reg0": 7, "reg15": (8, 0xFF)},
    IPV4,
    IPV6,
    IPV4 | {"ipv4_src": 0x0A000001, "ipv4_dst": NETWORK4},
    IPV6 | {"ipv6_src": SIX, "ipv6_dst": NETWORK6},
    IPV4 | {"ip_dscp": 46, "ip_ecn": 1},
    IPV4 | {"ip_frag": (1, 1)},
    IPV4 | {"ip_frag": 3},
    IPV4 | {"ip_frag": 0},
    IPV6 | {"nw_ttl": 255, "ip_frag": 1},
    TCP4 | {"tcp_src": 25},
    TCP4 | {"tcp_src": 25, "tcp_flags": (0x10, 0x10)},
    TCP4 | {"tcp_dst": (0x400, 0xFC00), "tcp_flags": 2},
    TCP6 | {"tcp_dst": 587, "tcp_flags": (0x4, 0x6)},
    IPV4 | {"ip_proto": UDP, "udp_src": 53, "udp_dst": 1},
    IPV6 | {"ip_proto": UDP, "udp_dst": 0},
    IPV4 | {"ip_proto": ICMP, "icmpv4_type": 3, "icmpv4_code": 4},
    ICMP6 | {"icmpv6_type": 2},
    SOLICITATION | {"ipv6_nd_target": SIX, "ipv6_nd_sll": MAC},
    SOLICITATION | {"ipv6_nd_target": NETWORK6},
    ADVERTISEMENT | {"ipv6_nd_target": SIX, "ipv6_nd_tll": MAC},
    ADVERTISEMENT | {"nd_options_type": 2, "nd_reserved": 0x60000000},
    ARP | {"arp_op": 1, "arp_spa": 0x0A000001, "arp_tpa": NETWORK4},
    ARP | {"arp_op": 2, "arp_sha": MAC, "arp_tha": MAC},
    ARP | {"arp_spa": (0, 0xFFFFFFFF)},
]

ACTIONS: list[tuple[dict[str, Any], tuple[Action, ...]]] = [
    ({}, ()),
    ({}, (Output(2), Output(3))),
    ({}, (Output(IN_PORT),)),
    ({}, (Output(CONTROLLER, max_len=128),)),
    ({}, (Output(CONTROLLER, max_len=0xFFFF),)),
    ({}, (ToGroup(GROUP),)),
    ({}, (SetField("eth_dst", MAC), SetField("eth_src", MAC), Output(2))),
    ({}, (SetField("in_port", 0), Output(2))),
    ({}, (SetField("reg3", 9), SetField("metadata", 1 << 40))),
    ({}, (SetField("reg3", 5, 0xFF), SetField("eth_dst", 1, 0xFF))),
    ({}, (SetField("reg3", 5, 0xF0F), SetField("metadata", 0, 0xFF))),
    ({}, (Resubmit(7), Output(2))),
    ({}, (Move("eth_src", "eth_dst", 48), Move("reg1", "reg2", 16))),
    ({}, (Learn(7, 3, 300, 0, LEARNT_COOKIE | 77), Output(2))),
    ({}, (Learn(7, 3, 0, 60, LEARNT_COOKIE), Resubmit(7))),
    (IPV4, (SetField("ipv4_src", 0x0A000001), SetField("ipv4_dst", 0xC0000219), Output(2))),
    (IPV4, (SetField("ip_dscp", 46), SetField("nw_ttl", 9))),
    (IPV6, (SetField("ipv6_src", SIX), SetField("ipv6_dst", SIX), Move("eth_src", "reg0", 32))),
    (IPV6, (Move("ipv6_src", "ipv6_dst", 128), Output(IN_PORT))),
    (TCP4, (SetField("tcp_src", 1), SetField("tcp_dst", 25), Output(2))),
    (
        ARP,
        (
            Move("eth_src", "eth_dst", 48),
            SetField("eth_src", MAC),
            SetField("arp_op", 2),
            Move("arp_sha", "arp_tha", 48),
            SetField("arp_sha", MAC),
            Move("arp_spa", "arp_tpa", 32),
            SetField("arp_spa", 0x0A000019),
            Output(IN_PORT),
        ),
    ),
    (SOLICITATION, (SetField("icmpv6_type", 136), SetField("nd_options_type", 2), Resubmit(3))),
    (
        ADVERTISEMENT,
        (
            Move("ipv6_src", "ipv6_dst", 128),
            SetField("ipv6_src", SIX),
            SetField("ipv6_nd_tll", MAC),
            SetField("nd_reserved", 0x60000000),
            SetField("nd_options_type", 2),
            SetField("ipv6_nd_target", SIX),
            Output(IN_PORT),
        ),
    ),
]

GROUPS = [
    Group(OWN_IDS[0], GroupType.ALL, (Bucket((Output(1),)), Bucket((Output(2),)))),
    Group(OWN_IDS[1], GroupType.INDIRECT, (Bucket((SetField("eth_dst", MAC), Output(2))),)),
    Group(
        OWN_IDS[2],
        GroupType.SELECT,
        (Bucket((Output(1),), watch_port=1, weight=1), Bucket((Output(2),), 2, weight=3)),
    ),
    Group(
        OWN_IDS[3],
        GroupType.FAST_FAILOVER,
        (
            Bucket((SetField("eth_dst", MAC), Output(1)), watch_port=1),
            Bucket((SetField("in_port", 0), SetField("eth_dst", MAC), Output(2)), watch_port=2),
            Bucket((Output(IN_PORT),), watch_port=3),
            Bucket((SetField("eth_dst", MAC), Resubmit(5)), watch_port=3),
        ),
    ),
    Group(OWN_IDS[4], GroupType.FAST_FAILOVER, ()),
    Group(OWN_IDS[-1], GroupType.ALL, (Bucket((ToGroup(OWN_IDS[0]),)),)),
]


@pytest.mark.parametrize("match", MATCHES, ids=lambda m: ",".join(m) or "everything")
def test_every_match_is_read_back_as_it_was_sent(channel: Channel, match: dict[str, Any]) -> None:
    wanted = RuleSet.of([Rule(1, 7, Match.of(**match), (Output(2),), cookie=COOKIE_PREFIX | 1)])
    install(channel, wanted)
    assert channel.read_back() == wanted


@pytest.mark.parametrize(("match", "actions"), ACTIONS, ids=lambda value: str(value)[:60])
def test_every_action_is_read_back_as_it_was_sent(
    channel: Channel, match: dict[str, Any], actions: tuple[Action, ...]
) -> None:
    group = Group(GROUP, GroupType.INDIRECT, (Bucket((Output(2),)),))
    wanted = RuleSet.of([Rule(1, 7, Match.of(**match), actions)], [group])
    install(channel, wanted)
    assert channel.read_back() == wanted


def test_every_instruction_is_read_back_as_it_was_sent(channel: Channel) -> None:
    rule = Rule(0, 1, Match(), (Output(1),), (Output(2), ToGroup(GROUP)), goto=9, meter=METER)
    group = Group(GROUP, GroupType.INDIRECT, (Bucket((Output(2),)),))
    wanted = RuleSet.of([rule], [group], [Meter(METER, 100, 20)])
    install(channel, wanted)
    assert channel.read_back() == wanted


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.type.name)
def test_every_group_is_read_back_as_it_was_sent(channel: Channel, group: Group) -> None:
    wanted = RuleSet.of(groups={GROUPS[0].id: GROUPS[0], group.id: group}.values())
    install(channel, wanted)
    assert channel.read_back() == wanted


def test_changed_groups_and_meters_arrive(channel: Channel) -> None:
    first, second = GROUPS[1], GROUPS[3]
    install(channel, RuleSet.of(groups=[first], meters=[Meter(METER, 100, 20)]))
    changed = Group(first.id, second.type, second.buckets)
    wanted = RuleSet.of(groups=[changed], meters=[Meter(METER, 7, 1)])
    install(channel, wanted)
    assert channel.read_back() == wanted


def everything() -> RuleSet:
    rules = [Rule(1, i, Match.of(**match), (Output(2),)) for i, match in enumerate(MATCHES)]
    rules += [Rule(2, i, Match.of(**m), actions) for i, (m, actions) in enumerate(ACTIONS)]
    group = Group(GROUP, GroupType.INDIRECT, (Bucket((Output(2),)),))
    return RuleSet.of(rules, [*GROUPS, group], [Meter(METER, 100, 20)])


def test_what_is_there_needs_no_change(channel: Channel) -> None:
    install(channel, everything())
    assert diff(channel.read_back(), everything()) == ()


def test_everything_goes_away_again_and_leaves_what_is_not_ours(
    channel: Channel, bridge: Bridge
) -> None:
    bridge.ofctl("add-flow", "table=1,priority=7,cookie=0x1234,actions=output:3")
    bridge.ofctl("add-group", "group_id=5,type=all,bucket=output:1")
    install(channel, everything())
    install(channel, RuleSet())
    assert channel.read_back() == RuleSet()
    assert "cookie=0x1234" in bridge.ofctl("dump-flows")
    assert "group_id=5" in bridge.ofctl("dump-groups")


def test_a_deletion_spares_another_programs_rule_of_the_same_match(
    channel: Channel, bridge: Bridge
) -> None:
    bridge.ofctl("add-flow", "table=1,priority=7,cookie=0x1234,actions=output:3")
    assert send(channel, [DeleteRule(Rule(1, 7, Match()))]) == []
    assert "cookie=0x1234" in bridge.ofctl("dump-flows")


@pytest.mark.parametrize(
    "change",
    ["actions=output:3", "idle_timeout=9,actions=output:2", "actions=push_vlan:0x8100,output:2"],
)
def test_a_rule_changed_by_hand_is_seen_and_mended(
    channel: Channel, bridge: Bridge, change: str
) -> None:
    rule = Rule(1, 7, Match(), (Output(2),), cookie=COOKIE_PREFIX | 1)
    wanted = RuleSet.of([rule])
    install(channel, wanted)
    bridge.ofctl("add-flow", f"table=1,priority=7,cookie={rule.cookie:#x},{change}")
    assert diff(channel.read_back(), wanted) == ((AddRule(rule),),)
    install(channel, wanted)
    assert channel.read_back() == wanted


def test_learnt_rules_are_not_read_and_can_be_flushed(channel: Channel, bridge: Bridge) -> None:
    learning = RuleSet.of([Rule(0, 1, Match(), (Learn(7, 3, 300, 0, LEARNT_COOKIE | 9),))])
    install(channel, learning)
    bridge.ovs.appctl(
        "ofproto/trace", bridge.name, "in_port=2,dl_src=02:00:00:00:00:05", "-generate"
    )
    assert "dl_dst=02:00:00:00:00:05 actions=output:2" in bridge.ofctl("dump-flows", "table=7")
    assert channel.read_back() == learning
    assert send(channel, [FlushLearnt(LEARNT_COOKIE, LEARNT_MASK)]) == []
    assert "actions" not in bridge.ofctl("dump-flows", "table=7")


def test_a_refusal_names_the_error_and_the_message(channel: Channel) -> None:
    rule = Rule(1, 7, Match(), (ToGroup(GROUP),))
    (message,) = messages(channel.datapath, AddRule(rule))
    (error,) = channel.barrier(message)
    assert error.xid == message.xid
    assert error_text(error) == "OFPET_BAD_ACTION(2), OFPBAC_BAD_OUT_GROUP(9)"


def test_every_field_that_we_know_is_matched_here() -> None:
    """So that a field that is added is tried on a switch."""
    tried = {name for match in MATCHES for name in match}
    unused = {"vlan_vid", "vlan_pcp", "ipv6_flabel"} | {f"reg{n}" for n in range(1, 15)}
    assert tried == WIDTHS.keys() - unused
