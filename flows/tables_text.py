"""The pipeline in words, for `hactl tables`: each table, what it may do, and the rules in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from flows.pipeline import PIPELINE, Table
from flows.rules import RuleSet


def tables_text(rule_sets: Mapping[str, RuleSet]) -> str:
    """All tables in the order in which a packet meets them, with the number of rules that each
    switch holds in them, and of groups and meters."""
    lines = [line for table in PIPELINE for line in _table(table)]
    lines += ["", *_counts(rule_sets)]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> Iterator[str]:
    names = {other.number: other.name for other in PIPELINE}
    yield f"{table.number} {table.name}: {table.purpose}"
    yield f"    matches  {', '.join(sorted(table.matches))}"
    yield f"    may      {', '.join(sorted(table.actions)) or 'only send on or drop'}"
    yield f"    then     {', '.join(names[n] for n in sorted(table.next)) or 'nothing'}"


def _counts(rule_sets: Mapping[str, RuleSet]) -> Iterator[str]:
    columns = [table.name for table in PIPELINE] + ["groups", "meters"]
    width = max([len("switch"), *map(len, rule_sets)])
    yield "  ".join([f"{'switch':<{width}}", *columns])
    for switch, held in rule_sets.items():
        rules = Counter(rule.table for rule in held.rules.values())
        counts = [rules[t.number] for t in PIPELINE] + [len(held.groups), len(held.meters)]
        cells = [f"{n:>{len(c)}}" for n, c in zip(counts, columns, strict=True)]
        yield "  ".join([f"{switch:<{width}}", *cells])
