"""Rule sets as plain data and as text, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flows.pipeline import PIPELINE
from flows.rules import (
    CONTROLLER,
    IN_PORT,
    Action,
    Field,
    Group,
    Learn,
    Meter,
    Move,
    Output,
    Resubmit,
    Rule,
    RuleSet,
    SetField,
    ToGroup,
)
from flows.walk.packet import show

Json = dict[str, Any]

_NAMES = {table.number: table.name for table in PIPELINE}


def rule_sets_json(rule_sets: Mapping[str, RuleSet]) -> Json:
    """What each switch should hold, by its name."""
    return {
        switch: {
            "rules": [rule_json(rule) for rule in in_order(held.rules.values())],
            "groups": [_group(group) for _, group in sorted(held.groups.items())],
            "meters": [_meter(meter) for _, meter in sorted(held.meters.items())],
        }
        for switch, held in rule_sets.items()
    }


def pipeline_json() -> list[Json]:
    """The tables, in the order in which a packet meets them, and what each may do."""
    return [
        {
            "table": table.number,
            "name": table.name,
            "purpose": table.purpose,
            "matches": sorted(table.matches),
            "actions": sorted(table.actions),
            "next": sorted(_NAMES[number] for number in table.next),
        }
        for table in PIPELINE
    ]


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """By table, and in each the rule that is tried first first."""
    return sorted(rules, key=lambda r: (r.table, -r.priority, str(r.match)))


def rule_json(rule: Rule) -> Json:
    return {
        "table": rule.table,
        "table_name": _NAMES.get(rule.table, str(rule.table)),
        "priority": rule.priority,
        "match": {field.name: field_text(field) for field in rule.match},
        "actions": list(_instructions(rule)),
        "cookie": f"{rule.cookie:#x}",
        "intent": rule.intent,
    }


def rule_lines(document: Json) -> Iterator[str]:
    """One switch's part of `rule_sets_json` as text."""
    table = None
    for rule in document["rules"]:
        if rule["table"] != table:
            table = rule["table"]
            yield f"table {table} ({rule['table_name']})"
        match = ",".join(f"{name}={value}" for name, value in rule["match"].items()) or "any"
        actions = ",".join(rule["actions"]) or "drop"
        yield f"  {rule['priority']:>5}  {match}  ->  {actions}    # {rule['intent']}"
    for group in document["groups"]:
        yield f"group {group['group']} ({group['type']})    # {group['intent']}"
        for bucket in group["buckets"]:
            watched = bucket["watch_port"]
            condition = "" if watched is None else f"if port {watched} is up: "
            yield f"  {condition}{','.join(bucket['actions']) or 'drop'}"
    for meter in document["meters"]:
        rate = f"{meter['rate']} packets/s, burst {meter['burst']}"
        yield f"meter {meter['meter']}: {rate}    # {meter['intent']}"


def field_text(field: Field) -> str:
    """A match field's value as people write it, with its mask if it has one."""
    text = show(field.name, field.value)
    return text if field.mask is None else f"{text}/{show(field.name, field.mask)}"


def action_text(action: Action) -> str:
    """One action, in the manner of ovs-ofctl."""
    match action:
        case Output(port=port):
            names = {IN_PORT: "in_port", CONTROLLER: "controller"}
            return names.get(port, f"output:{port}")
        case ToGroup(group=group):
            return f"group:{group:#x}"
        case SetField(name=name, value=value, mask=mask):
            suffix = "" if mask is None else f"/{show(name, mask)}"
            return f"set {name}={show(name, value)}{suffix}"
        case Move(source=source, destination=destination, bits=bits):
            return f"copy {source} to {destination} ({bits} bits)"
        case Resubmit(table=table):
            return f"resubmit:{_NAMES.get(table, table)}"
        case Learn(table=table):
            return f"learn in {_NAMES.get(table, table)}"


def _instructions(rule: Rule) -> Iterator[str]:
    if rule.meter is not None:
        yield f"meter:{rule.meter:#x}"
    yield from (action_text(action) for action in rule.apply)
    yield from (f"at the end {action_text(action)}" for action in rule.write)
    if rule.goto is not None:
        yield f"goto:{_NAMES.get(rule.goto, rule.goto)}"


def _group(group: Group) -> Json:
    return {
        "group": f"{group.id:#x}",
        "type": group.type.name.lower(),
        "buckets": [
            {
                "watch_port": bucket.watch_port,
                "weight": bucket.weight,
                "actions": [action_text(action) for action in bucket.actions],
            }
            for bucket in group.buckets
        ],
        "intent": group.intent,
    }


def _meter(meter: Meter) -> Json:
    return {
        "meter": f"{meter.id:#x}",
        "rate": meter.rate,
        "burst": meter.burst,
        "intent": meter.intent,
    }
