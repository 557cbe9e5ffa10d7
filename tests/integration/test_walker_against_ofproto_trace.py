"""The walker and Open vSwitch's own `ofproto/trace` agree, on random rules and packets.

Both get the same rules; what Open vSwitch says it would do (its datapath actions) must be what
the walker says, ports and rewritten headers alike. Where a select group chooses, Open vSwitch's
choice must be one of the walker's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

import pytest
from ofproto_trace import delivered, ofproto_trace
from private_ovs import Bridge, PrivateOvs

from flows.diff import diff
from flows.openflow import error_text, messages
from flows.openflow.ryu_mended import parser
from flows.rules import (
    IN_PORT,
    OWN_IDS,
    Action,
    Bucket,
    Group,
    GroupType,
    Match,
    Move,
    Output,
    Resubmit,
    Rule,
    RuleSet,
    SetField,
    ToGroup,
)
from flows.walk.packet import (
    ACK,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    TCP,
    Packet,
    arp_request,
    icmp,
    mac,
    tcp,
)
from flows.walk.walker import Walker
from topology.model import Attachment

pytestmark = pytest.mark.integration

Item = TypeVar("Item")

PORTS = (1, 2, 3, 4)
DOWN = 4
TABLES = 5
MACS = [f"02:00:00:00:00:0{n}" for n in range(1, 5)]
FOURS = ["192.0.2.1", "192.0.2.2", "10.0.0.1"]
SIXES = ["2001:db8::1", "2001:db8::2"]

RULE_SETS = 40
PACKETS = 12


@pytest.fixture(scope="module")
def bridge(ovs: PrivateOvs) -> Bridge:
    bridge = ovs.add_bridge("walk", 0x31, PORTS)
    bridge.set_port(DOWN, up=False)
    return bridge


class Maker:
    """Random rules and packets that have something to do with each other."""

    def __init__(self, seed: int, kinds: list[GroupType]) -> None:
        self.random = random.Random(seed)
        self.kinds = kinds
        self.groups: list[Group] = []

    def pick(self, items: list[Item]) -> Item:
        return self.random.choice(items)

    def match(self) -> Match:
        fields: dict[str, int | tuple[int, int]] = {}
        if self.random.random() < 0.3:
            fields["in_port"] = self.pick([1, 2])
        if self.random.random() < 0.3:
            fields["eth_dst"] = mac(self.pick(MACS))
        if self.random.random() < 0.2:
            fields["reg1"] = (self.random.randrange(4), self.pick([1, 3]))
        fields |= self.pick(
            [
                dict,
                lambda: {"eth_type": ETH_IPV4, "ipv4_dst": self.masked(FOURS, 32, 24)},
                lambda: {"eth_type": ETH_IPV6, "ipv6_dst": self.masked(SIXES, 128, 127)},
                lambda: {"eth_type": ETH_ARP, "arp_op": self.pick([1, 2])},
                lambda: {"eth_type": ETH_IPV4, "ip_proto": TCP, "tcp_dst": self.pick([25, 80])},
                lambda: {"eth_type": ETH_IPV4, "ip_proto": TCP, "tcp_flags": (ACK, ACK)},
                lambda: {"eth_type": ETH_IPV4, "ip_proto": 1, "icmpv4_type": 3},
            ]
        )()
        return Match.of(**fields)

    def masked(self, addresses: list[str], width: int, prefix: int) -> tuple[int, int]:
        every = (1 << width) - 1
        mask = self.pick([every, every << width - prefix & every])
        return int(ip_address(self.pick(addresses))) & mask, mask

    def rewrite(self) -> Action:
        return self.pick(
            [
                lambda: SetField("eth_dst", mac(self.pick(MACS))),
                lambda: SetField("eth_src", mac(self.pick(MACS))),
                lambda: SetField("reg1", self.random.randrange(4)),
                lambda: SetField("reg1", self.random.randrange(2), 1),
                lambda: SetField("in_port", 0),
                lambda: Move("eth_src", "eth_dst", self.pick([48, 16])),
            ]
        )()

    def output(self) -> Action:
        return Output(self.pick([*PORTS, 9, IN_PORT]))

    def sending(self) -> Action:
        if self.groups and self.random.random() < 0.5:
            return ToGroup(self.pick(self.groups).id)
        return self.output()

    def actions(self, table: int) -> tuple[Action, ...]:
        makers: list[Callable[[], Action]] = [self.rewrite, self.sending, self.sending]
        if table + 1 < TABLES:
            makers.append(lambda: Resubmit(self.random.randrange(table + 1, TABLES)))
        return tuple(self.pick(makers)() for _ in range(self.random.randrange(4)))

    def rule(self) -> Rule:
        table = self.pick([0, 0, *range(TABLES)])
        match = self.match() if self.random.random() < 0.7 else Match()
        goto = self.pick([None, *range(table + 1, TABLES)])
        write = self.actions(TABLES) if self.random.random() < 0.3 else ()
        priority = self.random.randrange(1, 1000)
        return Rule(table, priority, match, self.actions(table), write, goto)

    def bucket(self) -> Bucket:
        last = self.pick([self.output, lambda: Resubmit(TABLES - 1)])()
        actions = [*(self.rewrite() for _ in range(self.random.randrange(3))), last]
        if self.random.random() < 0.3:
            actions.append(self.output())
        return Bucket(tuple(actions), self.pick([1, 2, DOWN]))

    def group(self, number: int) -> Group:
        kind = self.pick(self.kinds)
        count = 1 if kind is GroupType.INDIRECT else self.random.randrange(1, 4)
        buckets = [self.bucket() for _ in range(count)]
        if kind in {GroupType.ALL, GroupType.INDIRECT}:
            buckets = [Bucket(bucket.actions) for bucket in buckets]
        if kind is GroupType.SELECT:
            buckets = [replace(bucket, weight=self.random.randrange(3)) for bucket in buckets]
        return Group(OWN_IDS[number], kind, tuple(buckets))

    def rule_set(self) -> RuleSet:
        self.groups = [self.group(number) for number in range(4)]
        rules = {rule.key: rule for rule in (self.rule() for _ in range(16))}
        # The table that buckets resubmit to never sends to a group: that would be a circle.
        inside = [Output(2), SetField("eth_dst", mac(MACS[0]))]
        last = Rule(TABLES - 1, 0, Match(), (self.pick(inside), Output(3)))
        kept = [rule for rule in rules.values() if rule.table != TABLES - 1]
        return RuleSet.of([*kept, last, Rule(0, 0, Match(), goto=1)], self.groups)

    def packet(self) -> Packet:
        eth = (self.pick(MACS), self.pick(MACS))
        four, other = self.pick(FOURS), self.pick(FOURS)
        return self.pick(
            [
                lambda: tcp(eth, (four, 1025), (other, self.pick([25, 80])), self.pick([2, 16])),
                lambda: tcp(eth, (SIXES[0], 1025), (self.pick(SIXES), 25)),
                lambda: arp_request((eth[0], four), other),
                lambda: icmp(eth, four, other, 3, 4),
            ]
        )()


@pytest.fixture
def install(bridge: Bridge) -> Iterator[Callable[[RuleSet], None]]:
    with bridge.connect() as channel:

        def put(wanted: RuleSet) -> None:
            bridge.ofctl("del-flows")
            bridge.ofctl("del-groups")
            for batch in diff(RuleSet(), wanted):
                sends = [m for change in batch for m in messages(channel.datapath, change)]
                errors = channel.barrier(*sends)
                assert [error_text(e) for e in errors if isinstance(e, parser.OFPErrorMsg)] == []

        yield put


def compare(bridge: Bridge, held: RuleSet, maker: Maker) -> None:
    """Fails where the two disagree."""
    walker = Walker({"s": held}, ())
    exists = {Attachment("s", port) for port in PORTS}
    live = exists - {Attachment("s", DOWN)}
    for _ in range(PACKETS):
        packet, port = maker.packet(), maker.pick([1, 2, 3])
        trace, happens = ofproto_trace(bridge, packet, port, maker.random.randrange(1, 1 << 32))
        happens = [(out, seen) for out, seen in happens if out != DOWN]
        walked = walker.walk(live.__contains__, packet, Attachment("s", port))
        possible = [delivered(outcome) for outcome in walked.outcomes()]
        assert happens in possible, f"{packet} at {port}: {possible}\n{trace}"


ONE_WAY = [GroupType.ALL, GroupType.INDIRECT, GroupType.FAST_FAILOVER]


@pytest.mark.parametrize("seed", range(RULE_SETS))
def test_walker_and_switch_agree(
    bridge: Bridge, install: Callable[[RuleSet], None], seed: int
) -> None:
    maker = Maker(seed, ONE_WAY)
    held = maker.rule_set()
    install(held)
    compare(bridge, held, maker)


@pytest.mark.parametrize("seed", range(RULE_SETS))
def test_what_the_switch_selects_is_what_the_walker_holds_possible(
    bridge: Bridge, install: Callable[[RuleSet], None], seed: int
) -> None:
    maker = Maker(seed, [GroupType.SELECT])
    held = maker.rule_set()
    install(held)
    compare(bridge, held, maker)
