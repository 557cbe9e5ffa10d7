"""A packet meets the rule that it would meet if all were tried in turn."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.rules import Match, Output, Rule, RuleSet
from flows.walk.lookup import Tables
from flows.walk.packet import has_field

SMALL = st.integers(0, 3)
VALUES = st.fixed_dictionaries(
    {}, optional={"eth_dst": SMALL, "in_port": SMALL, "eth_type": st.sampled_from((0x0800, 0x86DD))}
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    fields: dict[str, int | tuple[int, int]] = {}
    if draw(st.booleans()):
        fields["eth_dst"] = (draw(SMALL), draw(st.integers(1, 3)))
    if draw(st.booleans()):
        fields["in_port"] = draw(SMALL)
    if draw(st.booleans()):
        fields |= {"eth_type": 0x0800, "ipv4_dst": draw(st.integers(0, 1))}
    table, priority, port = draw(SMALL), draw(SMALL), draw(st.integers(1, 9))
    return Rule(table, priority, Match.of(**fields), (Output(port),))


def meets(rule: Rule, values: Mapping[str, int]) -> bool:
    return all(
        has_field(values, field.name)
        and values.get(field.name, 0) & (-1 if field.mask is None else field.mask) == field.value
        for field in rule.match
    )


@given(st.lists(rules(), max_size=12, unique_by=lambda rule: rule.key), VALUES, SMALL)
def test_of_all_that_match_the_highest_then_the_first_is_found(
    held: list[Rule], values: dict[str, int], table: int
) -> None:
    met = [rule for rule in held if rule.table == table and meets(rule, values)]
    highest = max(met, key=lambda rule: rule.priority, default=None)
    assert Tables("s", RuleSet.of(held)).find(table, values) == highest


def test_a_match_without_its_prerequisites_is_refused() -> None:
    with pytest.raises(ValueError, match="prerequisites"):
        Tables("s", RuleSet.of([Rule(0, 1, Match.of(ipv4_dst=1))]))
