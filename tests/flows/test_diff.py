"""The diff's laws: it arrives, changes nothing else, and never breaks what stands."""

from __future__ import annotations

from functools import reduce
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.diff import (
    AddGroup,
    AddMeter,
    AddRule,
    Change,
    DeleteGroup,
    DeleteMeter,
    DeleteRule,
    FlushLearnt,
    ModifyGroup,
    ModifyMeter,
    apply,
    apply_all,
    diff,
    missing,
)
from flows.rules import (
    LEARNT_COOKIE,
    Bucket,
    Group,
    GroupType,
    Learn,
    Match,
    Meter,
    Output,
    Rule,
    RuleSet,
    ToGroup,
)

LEARN = Learn(7, 1, 60, 0, LEARNT_COOKIE | 1)


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    """Small ones, so that two of them have much in common. Groups send to lower ones only."""
    ids = draw(st.sets(st.integers(1, 4)))
    groups = []
    for number in sorted(ids):
        inner = st.sampled_from(sorted(i for i in ids if i < number) or [0])
        sends = [ToGroup(draw(inner))] if draw(st.booleans()) else []
        action = next((s for s in sends if s.group), Output(draw(st.integers(1, 2))))
        kind = draw(st.sampled_from([GroupType.INDIRECT, GroupType.ALL]))
        groups.append(Group(number, kind, (Bucket((action,)),)))
    meters = [Meter(i, draw(st.integers(1, 2)), 1) for i in draw(st.sets(st.integers(1, 2)))]
    keys = st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(0, 2))
    actions = [Output(1), LEARN, *(ToGroup(i) for i in sorted(ids))]
    rules = [
        Rule(
            table,
            priority,
            Match.of(eth_dst=destination),
            (draw(st.sampled_from(actions)),),
            meter=draw(st.sampled_from([None, *(m.id for m in meters)])),
            cookie=draw(st.integers(1, 2)),
        )
        for table, priority, destination in draw(st.sets(keys, max_size=6))
    ]
    return RuleSet.of(rules, groups, meters)


def every_change(installed: RuleSet, wanted: RuleSet) -> list[Change]:
    return [change for batch in diff(installed, wanted) for change in batch]


def states(installed: RuleSet, wanted: RuleSet) -> list[RuleSet]:
    """What the switch holds before the first change, and after each."""
    return list(accumulate(every_change(installed, wanted), apply, initial=installed))


@given(rule_sets(), rule_sets())
def test_all_changes_together_give_what_is_wanted(installed: RuleSet, wanted: RuleSet) -> None:
    assert states(installed, wanted)[-1] == wanted


@given(rule_sets(), rule_sets(), st.randoms(use_true_random=False))
def test_changes_together_give_what_they_give_one_by_one_in_whatever_order(
    installed: RuleSet, wanted: RuleSet, random: Random
) -> None:
    changes = [*every_change(installed, wanted), *every_change(wanted, installed)]
    random.shuffle(changes)
    assert apply_all(installed, changes) == reduce(apply, changes, installed)


@given(rule_sets())
def test_equal_sets_need_no_change(held: RuleSet) -> None:
    assert diff(held, held) == ()


@given(rule_sets(), rule_sets())
def test_nothing_ever_refers_to_what_is_not_there(installed: RuleSet, wanted: RuleSet) -> None:
    assert not any(missing(held) for held in states(installed, wanted))


@given(rule_sets(), rule_sets())
def test_no_moment_has_a_rule_that_is_neither_old_nor_new(
    installed: RuleSet, wanted: RuleSet
) -> None:
    for held in states(installed, wanted):
        for key, rule in held.rules.items():
            assert rule in (installed.rules.get(key), wanted.rules.get(key))


@given(rule_sets(), rule_sets())
def test_a_rule_that_both_sets_have_is_there_all_the_time(
    installed: RuleSet, wanted: RuleSet
) -> None:
    for held in states(installed, wanted):
        assert installed.rules.keys() & wanted.rules.keys() <= held.rules.keys()


@given(rule_sets(), rule_sets())
def test_no_old_rule_goes_before_every_new_one_stands(installed: RuleSet, wanted: RuleSet) -> None:
    kinds = [type(change) for change in every_change(installed, wanted)]
    deletions = [place for place, kind in enumerate(kinds) if kind is DeleteRule]
    additions = [place for place, kind in enumerate(kinds) if kind is AddRule]
    assert max(additions, default=-1) < min(deletions, default=len(kinds))


@given(rule_sets(), rule_sets())
def test_what_both_sets_have_alike_is_not_touched(installed: RuleSet, wanted: RuleSet) -> None:
    for change in every_change(installed, wanted):
        match change:
            case AddRule(rule):
                assert installed.rules.get(rule.key) != rule
            case AddGroup(group):
                assert group.id not in installed.groups
            case ModifyGroup(group):
                assert installed.groups[group.id] != group
            case AddMeter(meter):
                assert meter.id not in installed.meters
            case ModifyMeter(meter):
                assert installed.meters[meter.id] != meter
            case DeleteRule(rule):
                assert rule.key not in wanted.rules
            case DeleteGroup(group):
                assert group.id not in wanted.groups
            case DeleteMeter(meter):
                assert meter.id not in wanted.meters


@given(rule_sets(), rule_sets())
def test_no_stage_is_empty(installed: RuleSet, wanted: RuleSet) -> None:
    assert all(diff(installed, wanted))


def failover(port: int) -> Group:
    return Group(1, GroupType.FAST_FAILOVER, (Bucket((Output(port),), watch_port=port),))


def test_a_failover_is_one_group_modification() -> None:
    rules = [Rule(0, 1, Match.of(eth_dst=n), (ToGroup(1),)) for n in range(20)]
    before, after = RuleSet.of(rules, [failover(1)]), RuleSet.of(rules, [failover(2)])
    assert diff(before, after) == ((ModifyGroup(failover(2)),),)


def test_groups_that_send_to_each_other_are_refused() -> None:
    circle = [Group(a, GroupType.INDIRECT, (Bucket((ToGroup(b),)),)) for a, b in ((1, 2), (2, 1))]
    with pytest.raises(ValueError, match="circle"):
        diff(RuleSet(), RuleSet.of(groups=circle))


def learning(cookie: int, *flood: int) -> RuleSet:
    group = Group(1, GroupType.ALL, tuple(Bucket((Output(port),)) for port in flood))
    return RuleSet.of([Rule(0, 1, Match(), (Learn(7, 1, 60, 0, cookie),))], [group])


OLD, NEW = LEARNT_COOKIE | 1, LEARNT_COOKIE | 2


def flushes(installed: RuleSet, wanted: RuleSet) -> list[FlushLearnt]:
    return [c for c in every_change(installed, wanted) if isinstance(c, FlushLearnt)]


def test_another_tree_flushes_what_was_learnt_under_the_old_one() -> None:
    (flush,) = flushes(learning(OLD, 1, 2), learning(NEW, 1, 2))
    assert (OLD & flush.mask, NEW & flush.mask) == (flush.cookie, NEW)


def test_other_ports_to_flood_to_flush_everything_learnt() -> None:
    (flush,) = flushes(learning(OLD, 1, 2), learning(OLD, 1, 3))
    assert flush.cookie == OLD & flush.mask == NEW & flush.mask


def test_the_same_tree_flushes_nothing() -> None:
    assert flushes(learning(OLD, 1, 2), learning(OLD, 1, 2)) == []


def test_rules_are_not_learnt_rules() -> None:
    held = learning(OLD, 1)
    assert apply(held, FlushLearnt(LEARNT_COOKIE, 0)) == held
