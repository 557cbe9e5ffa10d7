"""Which rule of a table a packet meets, without trying them one by one.

Rules of the same priority that look at the same bits are kept together, and the values of these
bits lead to the rule (tuple space search: V. Srinivasan et al., SIGCOMM 1999). In a backbone's
table of hundreds of rules there are less than ten such kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from flows.rules import Field, Match, Rule, RuleSet
from flows.walk.packet import has_field, lacks_prerequisites

#: What a match looks at: fields, and which of their bits.
_Form = tuple[tuple[str, int], ...]


def matches(match: Match, values: Mapping[str, int]) -> bool:
    """Whether a packet with these fields has what `match` asks for."""
    form, wanted, _ = _read(match)
    seen = tuple(values.get(name, 0) & mask for name, mask in form)
    return seen == wanted and _has_all(form, values)


class Tables:
    """The rules of one switch. Of those of equal priority that a packet matches it meets the one
    that comes first in the rule set, which OpenFlow leaves open.

    Raises:
        ValueError: a field is matched without its prerequisites.
    """

    def __init__(self, switch: str, held: RuleSet, former: Tables | None = None) -> None:
        """`former`: what the switch held before, of which unchanged tables are taken over."""
        self._rules: dict[int, list[Rule]] = {}
        for rule in held.rules.values():
            self._rules.setdefault(rule.table, []).append(rule)
        self._kinds: dict[int, list[_Kind]] = {
            table: former._kinds[table]
            if former and former._rules.get(table) == rules
            else _kinds(switch, rules)
            for table, rules in self._rules.items()
        }

    def find(self, table: int, values: Mapping[str, int]) -> Rule | None:
        """The rule that a packet with these fields meets."""
        best: tuple[int, Rule] | None = None
        for kind in self._kinds.get(table, ()):
            if best is not None and kind.priority < best[1].priority:
                break
            seen = tuple([values.get(name, 0) & mask for name, mask in kind.form])
            found = kind.rules.get(seen)
            if found and (best is None or found[0] < best[0]) and _has_all(kind.form, values):
                best = found
        return best[1] if best is not None else None


@dataclass(frozen=True)
class _Kind:
    """Rules of one table that have the same priority and look at the same bits. With each, its
    place among all rules of the table, the highest priority first."""

    priority: int
    form: _Form
    rules: dict[tuple[int, ...], tuple[int, Rule]] = field(default_factory=dict)


def _kinds(switch: str, rules: list[Rule]) -> list[_Kind]:
    """Of one table, those of the highest priority first."""
    found: dict[tuple[int, _Form], _Kind] = {}
    for place, rule in enumerate(sorted(rules, key=lambda rule: -rule.priority)):
        form, values, lacking = _read(rule.match)
        if lacking:
            raise ValueError(f"{switch}: {rule} lacks the prerequisites of {lacking}")
        kind = found.get((rule.priority, form))
        if kind is None:
            kind = found[rule.priority, form] = _Kind(rule.priority, form)
        kind.rules.setdefault(values, (place, rule))
    return list(found.values())


def _has_all(form: _Form, values: Mapping[str, int]) -> bool:
    return all(has_field(values, name) for name, _ in form)


@lru_cache(maxsize=1 << 16)
def _read(match: Match) -> tuple[_Form, tuple[int, ...], tuple[Field, ...]]:
    """What it looks at, what it wants to see there, and what lacks its prerequisites. Switches
    share most of their matches, and keep them."""
    form = tuple((wanted.name, -1 if wanted.mask is None else wanted.mask) for wanted in match)
    values = tuple(w.value & mask for w, (_, mask) in zip(match, form, strict=True))
    return form, values, lacks_prerequisites(match)
