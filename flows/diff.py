"""What to send so that a switch that holds one rule set holds another.

    installed ──┐
                ├──► diff ──► batches: each is sent whole, then a barrier
    wanted ─────┘

1. Groups and meters that are new or changed, a group after those that it sends to.
2. Rules that are new or changed.
3. Rules that are no longer wanted, and what was learnt under a flood tree that is gone.
4. Groups and meters that are no longer wanted, a group before those that it sends to.

So no rule or group ever refers to what is not there, and at each moment a packet meets, in each
table, a rule of the old set or of the new one: nothing is deleted before its successor stands.

A changed rule is sent as an ADD, which in OpenFlow 1.3 replaces the entry of the same table,
priority and match as a whole (section 6.4). MODIFY_STRICT would keep its counters, but it does
not change the cookie, and the cookie says which intent the rule serves; counters of a rule that
does something else now would mislead anyway. A changed group is a MODIFY, which replaces all
buckets at once and keeps every rule that points to it; a group is never deleted to be changed,
because a switch deletes the rules that point to it with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from flows.rules import (
    LEARNT_COOKIE,
    LEARNT_MASK,
    Action,
    Group,
    GroupType,
    Key,
    Learn,
    Match,
    Meter,
    Rule,
    RuleSet,
    TableEntry,
    ToGroup,
)


@dataclass(frozen=True)
class AddRule:
    """Also replaces a rule of the same key."""

    rule: Rule


@dataclass(frozen=True)
class DeleteRule:
    """Exactly this one (DELETE_STRICT), and only if it still has the same cookie."""

    rule: Rule


@dataclass(frozen=True)
class AddGroup:
    group: Group


@dataclass(frozen=True)
class ModifyGroup:
    group: Group


@dataclass(frozen=True)
class DeleteGroup:
    group: Group


@dataclass(frozen=True)
class AddMeter:
    meter: Meter


@dataclass(frozen=True)
class ModifyMeter:
    meter: Meter


@dataclass(frozen=True)
class DeleteMeter:
    meter: Meter


@dataclass(frozen=True)
class FlushLearnt:
    """Delete the learnt rules whose cookie has these bits. They are in no `RuleSet`."""

    cookie: int
    mask: int


Change = (
    AddRule
    | DeleteRule
    | AddGroup
    | ModifyGroup
    | DeleteGroup
    | AddMeter
    | ModifyMeter
    | DeleteMeter
    | FlushLearnt
)

#: Changes that may be carried out in this order without a barrier between them.
Batch = tuple[Change, ...]


def diff(installed: RuleSet, wanted: RuleSet) -> tuple[Batch, ...]:
    """The batches, none of them empty; none at all where nothing differs. Of rule sets that were
    joined of as many parts, only those are compared that are not the same.

    Raises:
        ValueError: the wanted groups send to each other in a circle, which no switch takes.
    """
    whole = wanted
    installed, wanted = _without_common_parts(installed, wanted)
    batches: tuple[Batch, ...] = (
        (*_meters(installed, wanted), *_groups(installed, wanted)),
        tuple(AddRule(rule) for rule in _new(installed.rules, wanted.rules)),
        (
            *(DeleteRule(rule) for rule in _gone(installed.rules, wanted.rules)),
            *_flushes(installed, wanted, whole),
        ),
        (
            *(DeleteGroup(group) for group in _groups_gone(installed, wanted)),
            *(DeleteMeter(meter) for meter in _gone(installed.meters, wanted.meters)),
        ),
    )
    return tuple(batch for batch in batches if batch)


def _without_common_parts(one: RuleSet, other: RuleSet) -> tuple[RuleSet, RuleSet]:
    if not one.parts or not other.parts:
        return one, other
    if len(one.parts) != len(other.parts):
        return one, other
    pairs = zip(one.parts, other.parts, strict=True)
    changed = [(before, after) for before, after in pairs if before is not after]
    if len(changed) == 1:
        return changed[0]
    return _merged(before for before, _ in changed), _merged(after for _, after in changed)


def _merged(parts: Iterable[RuleSet]) -> RuleSet:
    """The rule set of a few parts: copied, because all of it is looked at."""
    rules: dict[tuple[int, int, Match], Rule] = {}
    groups: dict[int, Group] = {}
    meters: dict[int, Meter] = {}
    for part in parts:
        rules |= part.rules
        groups |= part.groups
        meters |= part.meters
    return RuleSet(rules, groups, meters)


def apply(held: RuleSet, change: Change) -> RuleSet:
    """What a switch holds after one change."""
    return apply_all(held, (change,))


def apply_all(held: RuleSet, changes: Iterable[Change]) -> RuleSet:
    """What a switch holds after these changes, in order.

    A switch that deletes a group deletes the rules that send to it with it (section 6.7), one
    that deletes a meter likewise (section 6.8).
    """
    rules, groups, meters = dict(held.rules), dict(held.groups), dict(held.meters)
    for _, alike in groupby(changes, type):
        run = tuple(alike)
        for change in run:
            _carry_out(change, rules, groups, meters)
        no_groups = {change.group.id for change in run if isinstance(change, DeleteGroup)}
        no_meters = {change.meter.id for change in run if isinstance(change, DeleteMeter)}
        if no_groups or no_meters:
            rules = {
                key: rule
                for key, rule in rules.items()
                if rule.meter not in no_meters and no_groups.isdisjoint(_rule_groups(rule))
            }
    return RuleSet(rules, groups, meters)


def _carry_out(
    change: Change,
    rules: dict[tuple[int, int, Match], Rule],
    groups: dict[int, Group],
    meters: dict[int, Meter],
) -> None:
    """What does not follow from it."""
    match change:
        case AddRule(rule):
            rules[rule.key] = rule
        case DeleteRule(rule):
            if rules.get(rule.key, rule).cookie == rule.cookie:
                rules.pop(rule.key, None)
        case AddGroup(group) | ModifyGroup(group):
            groups[group.id] = group
        case DeleteGroup(group):
            groups.pop(group.id, None)
        case AddMeter(meter) | ModifyMeter(meter):
            meters[meter.id] = meter
        case DeleteMeter(meter):
            meters.pop(meter.id, None)
        case FlushLearnt():
            pass


def missing(held: RuleSet) -> frozenset[int]:
    """Groups and meters that are sent to, and are not there."""
    groups = {group for rule in held.rules.values() for group in _rule_groups(rule)}
    groups |= {inner for group in held.groups.values() for inner in _inner(group)}
    meters = {rule.meter for rule in held.rules.values() if rule.meter is not None}
    return frozenset((groups - held.groups.keys()) | (meters - held.meters.keys()))


def _new(old: Mapping[Key, TableEntry], new: Mapping[Key, TableEntry]) -> list[TableEntry]:
    """Entries of `new` that are not in `old`, or differ there; nearly all are the same objects."""
    return [
        entry
        for key, entry in new.items()
        if (former := old.get(key)) is not entry and former != entry
    ]


def _gone(old: Mapping[Key, TableEntry], new: Mapping[Key, TableEntry]) -> list[TableEntry]:
    return [entry for key, entry in old.items() if key not in new]


def _meters(installed: RuleSet, wanted: RuleSet) -> list[Change]:
    return [
        ModifyMeter(meter) if meter.id in installed.meters else AddMeter(meter)
        for meter in _new(installed.meters, wanted.meters)
    ]


def _groups(installed: RuleSet, wanted: RuleSet) -> list[Change]:
    changed = _new(installed.groups, wanted.groups)
    return [
        ModifyGroup(group) if group.id in installed.groups else AddGroup(group)
        for group in _inner_first(changed)
    ]


def _groups_gone(installed: RuleSet, wanted: RuleSet) -> list[Group]:
    return _inner_first(_gone(installed.groups, wanted.groups))[::-1]


def _inner_first(groups: Iterable[Group]) -> list[Group]:
    """Each group after those of the others that it sends to."""
    waiting = {group.id: group for group in groups}
    done: list[Group] = []
    while waiting:
        ready = [g for g in waiting.values() if not _inner(g) & waiting.keys()]
        if not ready:
            raise ValueError(f"groups {sorted(waiting)} send to each other in a circle")
        done += ready
        for group in ready:
            del waiting[group.id]
    return done


def _inner(group: Group) -> frozenset[int]:
    return _sent_to(action for bucket in group.buckets for action in bucket.actions)


def _rule_groups(rule: Rule) -> frozenset[int]:
    return _sent_to((*rule.apply, *rule.write))


def _sent_to(actions: Iterable[Action]) -> frozenset[int]:
    return frozenset(action.group for action in actions if isinstance(action, ToGroup))


def _flushes(installed: RuleSet, wanted: RuleSet, whole: RuleSet) -> list[Change]:
    """What was learnt holds for one flood tree. It is gone when no rule of the `whole` that is
    wanted learns under its cookie any longer, or when this switch floods to other ports."""
    if _floods(installed) != _floods(wanted):
        return [FlushLearnt(LEARNT_COOKIE, LEARNT_MASK)]
    changed = (r for key, r in installed.rules.items() if wanted.rules.get(key) is not r)
    gone = _learning(changed)
    if gone:
        gone -= _learning(whole.rules.values())
    return [FlushLearnt(cookie, (1 << 64) - 1) for cookie in sorted(gone)]


def _floods(held: RuleSet) -> dict[int, Group]:
    return {g.id: g for g in held.groups.values() if g.type is GroupType.ALL}


def _learning(rules: Iterable[Rule]) -> frozenset[int]:
    return frozenset(
        action.cookie
        for rule in rules
        for action in (*rule.apply, *rule.write)
        if isinstance(action, Learn)
    )
