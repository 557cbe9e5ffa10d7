"""Rules, groups and meters as plain values: what a switch holds, or should hold.

This is the meeting point of the compiler (which makes them), the diff (which compares them),
the codec (which speaks them) and the walker (which obeys them). Field names and value forms
are those of OpenFlow 1.3's OXM fields and of Open vSwitch's extensions; every value is an
integer, also addresses and MACs, so that equal rules compare equal however they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TypeVar

from flows.oxm import WIDTHS

TableEntry = TypeVar("TableEntry")
Key = TypeVar("Key")

#: Reserved port numbers of OpenFlow 1.3, section A.2.1.
IN_PORT = 0xFFFFFFF8
CONTROLLER = 0xFFFFFFFD
ANY_PORT = 0xFFFFFFFF

#: Our cookies: these 16 bits above, then 16 bits of kind, then 32 bits of the intent's digest.
COOKIE_PREFIX = 0x4AC7 << 48
COOKIE_MASK = 0xFFFF << 48

#: Cookies of rules that switches learnt by themselves (`Learn`): ours, of this kind. Their low 32
#: bits are a digest of the tree that the segment floods along: when it changes, on whichever
#: switch, the diff sees another `Learn` and flushes what was learnt under the old tree.
LEARNT_COOKIE = COOKIE_PREFIX | 0xFF << 32
LEARNT_MASK = 0xFFFF_FFFF << 32

#: Groups and meters carry no cookie, so ours are those within this range.
OWN_IDS = range(0x4A_000000, 0x4B_000000)


@dataclass(frozen=True, order=True)
class Field:
    """One match field: value and mask (None: exact)."""

    name: str
    value: int
    mask: int | None = None


@dataclass(frozen=True)
class Match:
    """Fields, sorted by name; an empty one matches every packet."""

    fields: tuple[Field, ...] = ()

    @classmethod
    def of(cls, **values: int | tuple[int, int]) -> Match:
        """`Match.of(eth_type=0x800, ipv4_dst=(value, mask))`, in the one form that equal matches
        have: nothing outside of a mask, no mask that is all ones, no field that is all masked.

        Raises:
            ValueError: a name that is no field, or a value too large for it.
        """
        fields = (
            _normal(name, *(value if isinstance(value, tuple) else (value, None)))
            for name, value in values.items()
        )
        return cls(tuple(sorted(field for field in fields if field.mask != 0)))

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Rules are looked up by their matches all the time."""
        return hash(self.fields)


def _normal(name: str, value: int, mask: int | None) -> Field:
    every = (1 << WIDTHS.get(name, 0)) - 1
    mask = every if mask is None else mask
    if name not in WIDTHS or not 0 <= value <= every or not 0 <= mask <= every:
        raise ValueError(f"nothing can match {name}={value:#x}/{mask:#x}")
    return Field(name, value & mask, None if mask == every else mask)


@dataclass(frozen=True)
class Output:
    """Send out of a port; `max_len` matters for CONTROLLER only."""

    port: int
    max_len: int = 0


@dataclass(frozen=True)
class ToGroup:
    group: int


@dataclass(frozen=True)
class SetField:
    """Set a whole field, or with a mask the masked bits."""

    name: str
    value: int
    mask: int | None = None


CLEARED_IN_PORT = SetField("in_port", 0)
"""Lets a packet leave by the port that it came in by, which a switch drops otherwise
(OpenFlow 1.3.5, section 4.5, on `IN_PORT`; ovs-actions(7), on `output`)."""


@dataclass(frozen=True)
class Move:
    """Copy `bits` bits from one field's start to another's (Nicira NXAST_REG_MOVE)."""

    source: str
    destination: str
    bits: int


@dataclass(frozen=True)
class Resubmit:
    """Look the packet up again in a table, then go on with the next action (Nicira)."""

    table: int


@dataclass(frozen=True)
class Learn:
    """Add a rule in `table` that sends `eth_dst` = this packet's `eth_src` to its port of entry.

    Nicira NXAST_LEARN, in the one shape that we use. Learnt rules carry `cookie`, which is of
    the kind `LEARNT_COOKIE`.
    """

    table: int
    priority: int
    idle_timeout: int
    hard_timeout: int
    cookie: int


Action = Output | ToGroup | SetField | Move | Resubmit | Learn


@dataclass(frozen=True)
class Rule:
    """One flow entry. `intent` says in words which intent it serves; it is not sent."""

    table: int
    priority: int
    match: Match
    apply: tuple[Action, ...] = ()
    write: tuple[Action, ...] = ()
    goto: int | None = None
    meter: int | None = None
    cookie: int = COOKIE_PREFIX
    intent: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[int, int, Match]:
        """What identifies a flow entry on a switch."""
        return (self.table, self.priority, self.match)


class GroupType(Enum):
    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


@dataclass(frozen=True)
class Bucket:
    actions: tuple[Action, ...]
    watch_port: int | None = None
    weight: int = 0


@dataclass(frozen=True)
class Group:
    id: int
    type: GroupType
    buckets: tuple[Bucket, ...]
    intent: str = field(default="", compare=False)


@dataclass(frozen=True)
class Meter:
    """Drops above `rate` packets a second, with a burst of `burst` packets (at least 1: Open
    vSwitch takes 0 to mean as many as the rate)."""

    id: int
    rate: int
    burst: int
    intent: str = field(default="", compare=False)


class Joined(Mapping[Key, TableEntry]):
    """Several mappings without a common key, seen as one: what `of` takes of each part. They must
    not change any more. Most are never looked at, and cost nothing then."""

    def __init__(
        self, parts: Sequence[RuleSet], of: Callable[[RuleSet], Mapping[Key, TableEntry]]
    ) -> None:
        self._whole_parts = parts
        self._of = of

    @cached_property
    def _parts(self) -> list[Mapping[Key, TableEntry]]:
        return [mapping for mapping in map(self._of, self._whole_parts) if mapping]

    def __getitem__(self, key: Key) -> TableEntry:
        for part in self._parts:
            if key in part:
                return part[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[Key]:
        return chain.from_iterable(self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True)
class RuleSet:
    """All that one switch holds of ours. Keys are `Rule.key`, group ids and meter ids. `parts`,
    where it was joined of some: as long as one of them is the same object, nothing in it has
    changed."""

    rules: Mapping[tuple[int, int, Match], Rule] = field(default_factory=dict)
    groups: Mapping[int, Group] = field(default_factory=dict)
    meters: Mapping[int, Meter] = field(default_factory=dict)
    parts: tuple[RuleSet, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(
        cls,
        rules: Iterable[Rule] = (),
        groups: Iterable[Group] = (),
        meters: Iterable[Meter] = (),
    ) -> RuleSet:
        """Collect.

        Raises:
            ValueError: two different entries claim the same key.
        """
        return cls(
            _unique(rules, attrgetter("key")) if rules else {},
            _unique(groups, attrgetter("id")) if groups else {},
            _unique(meters, attrgetter("id")) if meters else {},
        )


def joined(parts: Iterable[RuleSet]) -> RuleSet:
    """The rule set of these parts, which have no entry in common. Nothing is copied."""
    each = tuple(parts)
    return RuleSet(
        Joined(each, attrgetter("rules")),
        Joined(each, attrgetter("groups")),
        Joined(each, attrgetter("meters")),
        each,
    )


def _unique(items: Iterable[TableEntry], key: Callable[[TableEntry], Key]) -> dict[Key, TableEntry]:
    collected: dict[Key, TableEntry] = {}
    for item in items:
        other = collected.setdefault(key(item), item)
        if other is not item and other != item:
            raise ValueError(f"two entries claim {key(item)}: {other} and {item}")
    return collected
