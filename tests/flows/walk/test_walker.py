"""What the walker says becomes of a packet in one switch, and over several."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

from flows.rules import (
    CONTROLLER,
    IN_PORT,
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
    RuleSet,
    SetField,
    ToGroup,
)
from flows.walk.lookup import matches
from flows.walk.packet import (
    ETH_IPV4,
    ETH_IPV6,
    Packet,
    arp_request,
    mac,
    neighbour_solicitation,
    tcp,
)
from flows.walk.trace import Delivered, Dropped, EndReason, Looped, Rewritten, Trace
from flows.walk.walker import MOST_HOPS, Walker, walk, with_learnt
from topology.model import Attachment, Link

ETH = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PACKET = tcp(ETH, ("192.0.2.7", 40000), ("192.0.2.25", 25))
NEW_MAC = mac("02:00:00:00:00:99")
ANY = Match()


def rule(
    *apply: Action,
    table: int = 0,
    priority: int = 1,
    match: Match = ANY,
    goto: int | None = None,
    write: tuple[Action, ...] = (),
) -> Rule:
    return Rule(table, priority, match, apply, write, goto)


def one_switch(
    *rules: Rule,
    groups: Iterable[Group] = (),
    packet: Packet = PACKET,
    down: frozenset[int] = frozenset(),
) -> Trace:
    """Walk from port 1 of a switch."""
    held = {"s": RuleSet.of(rules, groups)}
    return walk(held, (), lambda a: a.port not in down, packet, Attachment("s", 1))


def ports(trace: Trace) -> set[int]:
    return {place.port for place in trace.places}


def reasons(trace: Trace) -> set[EndReason]:
    return {drop.reason for drop in trace.drops}


def bucket(*actions: Action, watch: int | None = None, weight: int = 0) -> Bucket:
    return Bucket(actions, watch, weight)


class TestTables:
    def test_of_two_matching_rules_the_higher_priority_wins(self) -> None:
        assert ports(one_switch(rule(Output(2), priority=1), rule(Output(3), priority=2))) == {3}

    def test_goto_goes_on_in_the_next_table(self) -> None:
        assert ports(one_switch(rule(goto=4), rule(Output(3), table=4))) == {3}

    def test_what_no_rule_matches_is_dropped(self) -> None:
        trace = one_switch(rule(Output(2), match=Match.of(eth_type=ETH_IPV6)))
        assert reasons(trace) == {EndReason.NO_RULE}

    def test_a_rule_without_actions_drops_and_is_named(self) -> None:
        drop = rule()
        assert {d.rule for d in one_switch(drop).drops} == {drop}

    def test_a_rule_that_only_rewrites_drops(self) -> None:
        assert reasons(one_switch(rule(SetField("eth_dst", 1)))) == {EndReason.RULE}

    def test_written_actions_run_when_the_pipeline_ends(self) -> None:
        trace = one_switch(rule(write=(Output(2),), goto=1), rule(Output(3), table=1))
        assert ports(trace) == {2, 3}

    def test_written_actions_run_also_when_a_later_table_has_no_rule(self) -> None:
        assert ports(one_switch(rule(write=(Output(2),), goto=1))) == {2}

    def test_the_last_written_output_wins(self) -> None:
        trace = one_switch(rule(write=(Output(2),), goto=1), rule(table=1, write=(Output(3),)))
        assert ports(trace) == {3}

    def test_a_written_group_wins_over_a_written_output(self) -> None:
        group = Group(1, GroupType.INDIRECT, (bucket(Output(3)),))
        trace = one_switch(rule(write=(ToGroup(1), Output(2))), groups=[group])
        assert ports(trace) == {3}

    def test_a_rule_that_no_switch_would_take_is_refused(self) -> None:
        with pytest.raises(ValueError, match="prerequisites"):
            one_switch(rule(Output(2), match=Match.of(tcp_dst=25)))

    def test_resubmission_without_end_drops_all_that_was_planned(self) -> None:
        trace = one_switch(rule(Output(2), Resubmit(0)))
        assert (ports(trace), reasons(trace)) == (set(), {EndReason.TOO_DEEP})


class TestMatches:
    def test_only_masked_bits_count(self) -> None:
        network = Match.of(eth_type=ETH_IPV4, ipv4_dst=(0xC0000200, 0xFFFFFF00))
        assert matches(network, dict(PACKET))

    def test_a_differing_masked_bit_does_not_match(self) -> None:
        network = Match.of(eth_type=ETH_IPV4, ipv4_dst=(0xC0000300, 0xFFFFFF00))
        assert not matches(network, dict(PACKET))

    def test_a_zero_port_is_not_that_of_a_packet_without_ports(self) -> None:
        request = arp_request(("02:00:00:00:00:01", "192.0.2.7"), "192.0.2.25")
        assert not matches(Match.of(tcp_src=0), dict(request))

    def test_registers_start_as_zero(self) -> None:
        assert matches(Match.of(reg3=0), {})


class TestRewrites:
    def test_set_field_changes_what_is_delivered(self) -> None:
        trace = one_switch(rule(SetField("eth_dst", NEW_MAC), Output(2)))
        assert {d.packet["eth_dst"] for d in trace.deliveries} == {NEW_MAC}

    def test_actions_run_in_order(self) -> None:
        trace = one_switch(rule(Output(2), SetField("eth_dst", NEW_MAC), Output(3)))
        by_port = {d.attachment.port: d.packet["eth_dst"] for d in trace.deliveries}
        assert by_port == {2: mac(ETH[1]), 3: NEW_MAC}

    def test_a_masked_set_field_keeps_the_other_bits(self) -> None:
        trace = one_switch(rule(SetField("eth_dst", 0xFF, 0xFF), Output(2)))
        assert {d.packet["eth_dst"] for d in trace.deliveries} == {mac("02:00:00:00:00:ff")}

    def test_a_field_of_a_header_that_is_not_there_stays_away(self) -> None:
        trace = one_switch(rule(SetField("arp_op", 2), Output(2)))
        assert not [s for s in trace.steps() if isinstance(s, Rewritten)]

    def test_move_copies_the_low_bits(self) -> None:
        trace = one_switch(rule(Move("eth_src", "eth_dst", 48), Output(2)))
        assert {d.packet["eth_dst"] for d in trace.deliveries} == {mac(ETH[0])}

    def test_a_solicitation_turned_into_an_advertisement_has_another_option(self) -> None:
        asked = neighbour_solicitation((ETH[0], "2001:db8::7"), "2001:db8::25")
        set_type = SetField("icmpv6_type", 136)
        trace = one_switch(rule(set_type, SetField("ipv6_nd_tll", 5), Output(2)), packet=asked)
        assert {d.packet["ipv6_nd_tll"] for d in trace.deliveries} == {5}

    def test_registers_stay_inside(self) -> None:
        trace = one_switch(rule(SetField("reg0", 5), Output(2)))
        assert {d.packet["reg0"] for d in trace.deliveries} == {0}


class TestResubmit:
    def test_goes_on_with_the_next_action_and_keeps_rewrites(self) -> None:
        trace = one_switch(
            rule(Resubmit(3), Output(2)), rule(SetField("eth_dst", NEW_MAC), table=3)
        )
        assert {(d.attachment.port, d.packet["eth_dst"]) for d in trace.deliveries} == {
            (2, NEW_MAC)
        }

    def test_to_a_table_without_a_matching_rule_hinders_nothing(self) -> None:
        assert ports(one_switch(rule(Resubmit(3), Output(2)))) == {2}


class TestPorts:
    def test_output_to_the_port_of_entry_is_dropped(self) -> None:
        assert reasons(one_switch(rule(Output(1)))) == {EndReason.PORT_OF_ENTRY}

    def test_in_port_is_the_way_back(self) -> None:
        assert ports(one_switch(rule(Output(IN_PORT)))) == {1}

    def test_a_cleared_port_of_entry_lifts_that(self) -> None:
        assert ports(one_switch(rule(SetField("in_port", 0), Output(1)))) == {1}

    def test_a_port_that_is_down_delivers_nothing(self) -> None:
        assert reasons(one_switch(rule(Output(2)), down=frozenset({2}))) == {EndReason.PORT_DOWN}

    def test_the_controller_is_no_port(self) -> None:
        trace = one_switch(rule(Output(CONTROLLER)))
        assert (len(trace.to_controller), trace.deliveries) == (1, frozenset())


class TestGroups:
    def test_fast_failover_takes_the_first_live_bucket(self) -> None:
        group = Group(
            1, GroupType.FAST_FAILOVER, (bucket(Output(2), watch=2), bucket(Output(3), watch=3))
        )
        answers = {
            down: ports(one_switch(rule(ToGroup(1)), groups=[group], down=down))
            for down in (frozenset[int](), frozenset({2}), frozenset({2, 3}))
        }
        assert list(answers.values()) == [{2}, {3}, set()]

    def test_fast_failover_with_nothing_alive_says_so(self) -> None:
        group = Group(1, GroupType.FAST_FAILOVER, (bucket(Output(2), watch=2),))
        trace = one_switch(rule(ToGroup(1)), groups=[group], down=frozenset({2}))
        assert reasons(trace) == {EndReason.NO_LIVE_BUCKET}

    def test_of_a_select_group_each_live_bucket_is_a_possible_outcome(self) -> None:
        buckets = [bucket(Output(p), watch=p, weight=1) for p in (2, 3, 4)]
        group = Group(1, GroupType.SELECT, tuple(buckets))
        trace = one_switch(rule(ToGroup(1)), groups=[group], down=frozenset({3}))
        assert {
            tuple(e.attachment.port for e in outcome if isinstance(e, Delivered))
            for outcome in trace.outcomes()
        } == {(2,), (4,)}

    def test_a_select_bucket_without_weight_is_never_chosen(self) -> None:
        group = Group(1, GroupType.SELECT, (bucket(Output(2)), bucket(Output(3), weight=1)))
        assert ports(one_switch(rule(ToGroup(1)), groups=[group])) == {3}

    def test_all_sends_a_copy_by_every_bucket_in_one_outcome(self) -> None:
        group = Group(1, GroupType.ALL, (bucket(Output(2)), bucket(Output(3))))
        (outcome,) = one_switch(rule(ToGroup(1)), groups=[group]).outcomes()
        assert len(outcome) == 2

    def test_the_same_delivery_twice_is_seen_twice(self) -> None:
        (outcome,) = one_switch(rule(Output(2), Output(2))).outcomes()
        assert len(outcome) == 2

    def test_what_a_bucket_rewrote_is_undone_behind_the_group(self) -> None:
        group = Group(1, GroupType.INDIRECT, (bucket(SetField("eth_dst", NEW_MAC), Output(2)),))
        trace = one_switch(rule(ToGroup(1), Output(3)), groups=[group])
        by_port = {d.attachment.port: d.packet["eth_dst"] for d in trace.deliveries}
        assert by_port == {2: NEW_MAC, 3: mac(ETH[1])}

    def test_a_bucket_rewrites_before_it_sends_however_it_is_written(self) -> None:
        group = Group(1, GroupType.INDIRECT, (bucket(Output(2), SetField("eth_dst", NEW_MAC)),))
        trace = one_switch(rule(ToGroup(1)), groups=[group])
        assert {d.packet["eth_dst"] for d in trace.deliveries} == {NEW_MAC}

    def test_a_bucket_sends_the_packet_on_by_resubmission(self) -> None:
        group = Group(1, GroupType.INDIRECT, (bucket(SetField("eth_dst", 7), Resubmit(5)),))
        on = rule(Output(4), table=5, match=Match.of(eth_dst=7))
        assert ports(one_switch(rule(ToGroup(1)), on, groups=[group])) == {4}

    def test_a_bucket_with_output_and_resubmission_only_outputs(self) -> None:
        group = Group(1, GroupType.INDIRECT, (bucket(Resubmit(5), Output(2)),))
        trace = one_switch(rule(ToGroup(1)), rule(Output(4), table=5), groups=[group])
        assert ports(trace) == {2}

    def test_a_missing_group_is_refused(self) -> None:
        with pytest.raises(ValueError, match="group 0x9"):
            one_switch(rule(ToGroup(9)))


A2, B2 = Attachment("a", 2), Attachment("b", 2)
CABLE = Link(A2, B2)


class TestSeveralSwitches:
    def test_a_packet_crosses_a_link_and_its_registers_do_not(self) -> None:
        held = {
            "a": RuleSet.of([rule(SetField("reg0", 1), SetField("eth_dst", NEW_MAC), Output(2))]),
            "b": RuleSet.of([rule(Output(9), match=Match.of(reg0=0, eth_dst=NEW_MAC, in_port=2))]),
        }
        trace = walk(held, [CABLE], lambda _: True, PACKET, Attachment("a", 1))
        assert trace.places == {Attachment("b", 9)}

    @pytest.mark.parametrize("end", [A2, B2])
    def test_a_cable_with_one_end_down_carries_nothing(self, end: Attachment) -> None:
        held = {"a": RuleSet.of([rule(Output(2))]), "b": RuleSet.of([rule(Output(9))])}
        trace = walk(held, [CABLE], lambda a: a != end, PACKET, Attachment("a", 1))
        assert reasons(trace) == {EndReason.PORT_DOWN}

    def test_a_switch_that_holds_nothing_drops(self) -> None:
        held = {"a": RuleSet.of([rule(Output(2))])}
        trace = walk(held, [CABLE], lambda _: True, PACKET, Attachment("a", 1))
        assert trace.drops == {Dropped("b", EndReason.NO_RULE, None, PACKET)}

    def test_a_packet_that_comes_round_again_is_a_loop(self) -> None:
        held = {name: RuleSet.of([rule(Output(IN_PORT))]) for name in "ab"}
        trace = walk(held, [CABLE], lambda _: True, PACKET, A2)
        assert trace.loops == {Looped(A2, PACKET)}

    def test_a_packet_that_changes_on_each_round_is_a_loop_in_the_end(self) -> None:
        names = [str(number) for number in range(MOST_HOPS + 2)]
        links = [Link(Attachment(near, 2), Attachment(far, 1)) for near, far in pairwise(names)]
        held = {name: RuleSet.of([rule(Output(2))]) for name in names}
        trace = walk(held, links, lambda _: True, PACKET, Attachment("0", 1))
        assert {loop.attachment.switch for loop in trace.loops} == {str(MOST_HOPS + 1)}


def test_a_switch_is_replaced_and_the_walker_of_before_stays_as_it_was() -> None:
    cable = Link(Attachment("s", 2), Attachment("t", 1))
    first = RuleSet.of([rule(Output(2))])
    before = Walker({"s": first, "t": RuleSet.of([rule(Output(3))])}, [cable])
    other = before.replaced("t", RuleSet.of([rule(Output(4))]))
    for walker, port in ((before, 3), (other, 4), (other.replaced("s", first), 4)):
        trace = walker.walk(lambda _: True, PACKET, Attachment("s", 1))
        assert trace.places == {Attachment("t", port)}


def test_a_replaced_switch_may_have_other_groups_for_the_same_rules() -> None:
    def held(port: int) -> RuleSet:
        return RuleSet.of([rule(ToGroup(1))], [Group(1, GroupType.ALL, (bucket(Output(port)),))])

    walker = Walker({"s": held(2)}, ()).replaced("s", held(3))
    assert ports(walker.walk(lambda _: True, PACKET, Attachment("s", 1))) == {3}


def test_two_ways_that_meet_again_are_both_in_the_trace() -> None:
    cables = [Link(Attachment("s", n), Attachment("t", n)) for n in (2, 3)]
    onward = Link(Attachment("t", 4), Attachment("u", 1))
    both = Group(1, GroupType.ALL, (bucket(Output(2)), bucket(Output(3))))
    rule_sets = {
        "s": RuleSet.of([rule(ToGroup(1))], [both]),
        "t": RuleSet.of([rule(Output(4))]),
        "u": RuleSet.of([rule(Output(2))]),
    }
    trace = walk(rule_sets, [*cables, onward], lambda _: True, PACKET, Attachment("s", 1))
    assert [type(s) for s in trace.steps()].count(Delivered) == 2


def ladder(rungs: int) -> Trace:
    """Through so many switches, with two equal links from each to the next."""
    names = [str(number) for number in range(rungs)]
    links = [
        Link(Attachment(near, port), Attachment(far, port + 10))
        for near, far in pairwise(names)
        for port in (2, 3)
    ]
    either = Group(1, GroupType.SELECT, tuple(bucket(Output(port), weight=1) for port in (2, 3)))
    held = {name: RuleSet.of([rule(ToGroup(1))], [either]) for name in names}
    held[names[-1]] = RuleSet.of([rule(Output(9))])
    return walk(held, links, lambda _: True, PACKET, Attachment("0", 1))


def test_very_many_equal_ways_are_walked_at_once() -> None:
    trace = ladder(MOST_HOPS)  # 2 ** 63 ways
    assert trace.places == {Attachment(str(MOST_HOPS - 1), 9)}
    assert not trace.loops


def test_each_visit_is_given_once_before_those_that_it_leads_to() -> None:
    assert [str(visit.at) for visit in ladder(3).visits()] == [
        "0:1",
        "1:12",
        "1:13",
        "2:12",
        "2:13",
    ]


def test_a_learnt_host_is_found_by_the_next_packet() -> None:
    learn = rule(Learn(7, 5, 60, 0, 0x99), goto=7)
    held = {"s": RuleSet.of([learn, rule(Output(8), table=7)])}
    first = walk(held, (), lambda _: True, PACKET, Attachment("s", 1))
    answer = tcp((ETH[1], ETH[0]), ("192.0.2.25", 25), ("192.0.2.7", 40000))
    after = with_learnt(held, first)
    second = walk(after, (), lambda _: True, answer, Attachment("s", 2))
    assert (ports(first), ports(second)) == ({8}, {1})
