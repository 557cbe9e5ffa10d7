"""What people read of a trace."""

from __future__ import annotations

from flows.explain import describe, explain
from flows.packet import Packet, arp_request, icmp, tcp, udp
from flows.rules import (
    CONTROLLER,
    IN_PORT,
    Action,
    Bucket,
    Group,
    GroupType,
    Learn,
    Match,
    Output,
    Rule,
    RuleSet,
    SetField,
    ToGroup,
)
from flows.walker import walk
from topology.model import Attachment, Link

ETH = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PACKET = tcp(ETH, ("192.0.2.7", 40000), ("192.0.2.25", 25))
LINK = Link(Attachment("o1", 2), Attachment("o2", 2))


def explained(rule_sets: dict[str, RuleSet], packet: Packet = PACKET) -> str:
    trace = walk(rule_sets, [LINK], lambda a: a.port != 4, packet, Attachment("o1", 1))
    return "\n".join(explain(trace, {Attachment("o2", 3): "D'"}))


def rule(*apply: Action, intent: str = "") -> RuleSet:
    return RuleSet.of([Rule(0, 9, Match.of(eth_type=0x800), apply, intent=intent)])


def test_says_who_sends_what_to_whom() -> None:
    ports = ("192.0.2.7", 1), ("192.0.2.25", 2)
    assert [
        describe(PACKET).split(" (")[0],
        describe(udp(ETH, *ports)).split(" (")[0],
        describe(icmp(ETH, "2001:db8::1", "2001:db8::2", 2, 0)).split(" (")[0],
        describe(arp_request((ETH[0], "192.0.2.7"), "192.0.2.25")).split(" (")[0],
    ] == [
        "TCP 192.0.2.7 port 40000 to 192.0.2.25 port 25",
        "UDP 192.0.2.7 port 1 to 192.0.2.25 port 2",
        "ICMP type 2 code 0 2001:db8::1 to 2001:db8::2",
        "ARP request 192.0.2.7 to 192.0.2.25",
    ]


def test_follows_the_packet_over_links_to_what_is_plugged_in() -> None:
    text = explained({"o1": rule(SetField("eth_dst", 5), Output(2)), "o2": rule(Output(3))})
    assert "eth_dst becomes 00:00:00:00:00:05 (was 02:00:00:00:00:02)" in text
    assert "over the link o1:2-o2:2" in text
    assert text.endswith("Result: delivered at o2:3 (D').")


def test_names_the_intent_and_why_a_packet_is_dropped() -> None:
    text = explained({"o1": rule(intent="nothing else reaches mailrelay")})
    assert "table 0, priority 9: eth_type=0x800 [nothing else reaches mailrelay]" in text
    assert text.endswith("Result: dropped (that is what the rule says).")


def test_says_which_way_of_a_group_is_taken() -> None:
    ways = (Bucket((Output(4),), watch_port=4), Bucket((Output(3),), watch_port=3))
    group = Group(7, GroupType.FAST_FAILOVER, ways, intent="steer mailrelay")
    held = RuleSet.of([Rule(0, 1, Match(), (ToGroup(7),))], [group])
    text = explained({"o1": held})
    assert "group 0x7 takes its first live way [steer mailrelay]\n    way 2 of 2:" in text


def test_either_of_two_places_is_said_where_a_group_selects() -> None:
    ways = (Bucket((Output(3),), weight=1), Bucket((Output(5),), weight=1))
    held = RuleSet.of([Rule(0, 1, Match(), (ToGroup(7),))], [Group(7, GroupType.SELECT, ways)])
    assert explained({"o1": held}).endswith("Result: delivered at o1:3 or o1:5.")


def test_has_words_for_every_other_end() -> None:
    learn = Learn(7, 1, 60, 0, 5)
    text = explained(
        {"o1": rule(learn, Output(CONTROLLER), Output(2)), "o2": rule(Output(IN_PORT))}
    )
    assert "the switch learns: table 7, priority 1: eth_dst=02:00:00:00:00:01 [learnt]" in text
    assert "Result: sent to the controller." in text
    assert "dropped: the way out is the port that it came in by" not in text
