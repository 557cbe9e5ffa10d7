"""The tables, and what each may do.

A packet enters at `admit`. From an edge port it goes down the whole list; from a trunk port, where
another switch of ours has done all that, straight to `forward`.

    edge ──► admit ─► arp ─► policy ─► source ─► steer ─► forward ─┬► hosts ─┬─► flood
               │       └──► advertise                          ▲     └► tree ──┘
    trunk ─────┴───────────────────────────────────────────────┘

Every rule is made by `Table.rule`, which refuses what its table has not declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from flows.numbers import CookieKind, cookie
from flows.rules import (
    IN_PORT,
    Action,
    Learn,
    Match,
    Move,
    Output,
    Resubmit,
    Rule,
    SetField,
    ToGroup,
)

Fields = Mapping[str, int | tuple[int, int]]


class PipelineError(ValueError):
    """A rule does what its table has not declared: a defect in the compiler."""


@dataclass(frozen=True, eq=False)
class Table:
    """One flow table: what it is for, the fields it may match, the actions it may apply (named as
    by `action_name`), and the tables that it may send a packet on to."""

    number: int
    name: str
    purpose: str
    matches: frozenset[str]
    actions: frozenset[str]
    next: frozenset[int]
    kind: CookieKind

    def rule(
        self,
        priority: int,
        intent: str,
        match: Fields,
        *apply: Action,
        goto: Table | None = None,
        meter: int | None = None,
        kind: CookieKind | None = None,
    ) -> Rule:
        """A rule of this table; without actions and `goto` it drops. `kind`: for rules that are
        asked for apart from the others of their table.

        Raises:
            PipelineError: the table may not do this.
        """
        return _rule(self, priority, intent, tuple(match.items()), apply, goto, meter, kind)

    def check(self, rule: Rule) -> None:
        """
        Raises:
            PipelineError: the table may not do this.
        """
        undeclared = [f"match {f.name}" for f in rule.match if f.name not in self.matches]
        used = {action_name(action) for action in rule.apply + rule.write}
        used |= set() if rule.meter is None else {"meter"}
        undeclared += sorted(used - self.actions)
        if rule.goto is not None and rule.goto not in self.next:
            undeclared.append(f"go to {rule.goto}")
        if undeclared:
            raise PipelineError(f"table {self.name} may not {', '.join(undeclared)}: {rule}")


@lru_cache(maxsize=1 << 16)
def _rule(  # noqa: PLR0917 - a cache wants them so
    table: Table,
    priority: int,
    intent: str,
    match: tuple[tuple[str, int | tuple[int, int]], ...],
    apply: tuple[Action, ...],
    goto: Table | None,
    meter: int | None,
    kind: CookieKind | None,
) -> Rule:
    """From one compilation to the next nearly all rules are the same."""
    rule = Rule(
        table=table.number,
        priority=priority,
        match=_match(match),
        apply=apply,
        goto=None if goto is None else goto.number,
        meter=meter,
        cookie=cookie(kind or table.kind, intent),
        intent=intent,
    )
    table.check(rule)
    return rule


@lru_cache(maxsize=1 << 16)
def _match(fields: tuple[tuple[str, int | tuple[int, int]], ...]) -> Match:
    """Where to a packet goes differs from switch to switch, what it matches does not."""
    return Match.of(**dict(fields))


def action_name(action: Action) -> str:
    """What kind of action this is, in the words of the declarations."""
    match action:
        case Output(port=port):
            return "answer" if port == IN_PORT else "output"
        case ToGroup():
            return "group"
        case SetField(name=name) | Move(destination=name):
            return f"set {name}"
        case Resubmit():
            return "resubmit"
        case Learn():
            return "learn"


_ETHERNET = {"in_port", "eth_src", "eth_dst", "eth_type"}
_IP = {"ip_proto", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"}
_ARP = {"arp_op", "arp_spa", "arp_tpa", "arp_sha"}
_ICMP = {"icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code"}
_ND = {"icmpv6_type", "ipv6_nd_target"}
_TRANSPORT = {"tcp_src", "tcp_dst", "tcp_flags", "udp_src", "udp_dst"}

#: From the end to the beginning, because each names those behind it.
TREE = Table(
    number=8,
    name="tree",
    purpose="hosts to hosts, learnt on the spanning tree; to others a flood along it",
    matches=frozenset({"eth_dst"}),
    actions=frozenset({"output", "group"}),
    next=frozenset(),
    kind=CookieKind.TREE,
)
HOSTS = Table(
    number=7,
    name="hosts",
    purpose="roles to hosts, the way that these came; to others a flood along the tree",
    matches=frozenset({"eth_dst"}),
    actions=frozenset({"output", "group", "set eth_dst"}),
    next=frozenset(),
    kind=CookieKind.HOSTS,
)
FORWARD = Table(
    number=6,
    name="forward",
    purpose="toward cards and prober by shortest paths; broadcasts along the spanning tree",
    matches=frozenset(_ETHERNET | {"ip_proto", "arp_op", "icmpv6_type"}),
    actions=frozenset({"output", "group", "learn", "set eth_dst", "set in_port"}),
    next=frozenset({HOSTS.number, TREE.number}),
    kind=CookieKind.FORWARD,
)
STEER = Table(
    number=5,
    name="steer",
    purpose="service address to the group that knows where its role is",
    matches=frozenset({"eth_dst", "eth_type", "ipv4_dst", "ipv6_dst"}),
    actions=frozenset({"set eth_dst", "group"}),
    next=frozenset({FORWARD.number}),
    kind=CookieKind.STEER,
)
SOURCE = Table(
    number=4,
    name="source",
    purpose="what a role sends gets its virtual MAC as source",
    matches=frozenset({"in_port", "eth_src"}),
    actions=frozenset({"set eth_src"}),
    next=frozenset({STEER.number}),
    kind=CookieKind.SOURCE,
)
POLICY = Table(
    number=3,
    name="policy",
    purpose="who may reach which service, what a role may open, and the answers to both;"
    " counts what file servers send",
    matches=frozenset(_ETHERNET | _IP | _TRANSPORT | _ICMP),
    actions=frozenset({"meter"}),
    next=frozenset({SOURCE.number}),
    kind=CookieKind.POLICY,
)
ADVERTISE = Table(
    number=2,
    name="advertise",
    purpose="second half of a neighbour discovery answer: its link-layer address",
    matches=frozenset({"eth_type", "ip_proto"} | _ND),
    actions=frozenset({"set ipv6_nd_tll", "answer"}),
    next=frozenset(),
    kind=CookieKind.ADVERTISE,
)
ARP = Table(
    number=1,
    name="arp",
    purpose="answers ARP and neighbour discovery for service addresses and the prober's",
    matches=frozenset(_ETHERNET | _ARP | _ND | {"ip_proto", "ipv6_src"}),
    actions=frozenset(
        {f"set {field}" for field in ("eth_src", "eth_dst", "ipv6_src", "ipv6_dst")}
        | {f"set {field}" for field in ("arp_op", "arp_sha", "arp_tha", "arp_spa", "arp_tpa")}
        | {f"set {field}" for field in ("icmpv6_type", "ipv6_nd_sll")}
        | {f"set {field}" for field in ("nd_options_type", "nd_reserved")}
        | {"set ipv6_nd_tll", "answer"}
    ),
    next=frozenset({ADVERTISE.number, POLICY.number, FORWARD.number}),
    kind=CookieKind.ARP,
)
ADMIT = Table(
    number=0,
    name="admit",
    purpose="fences, port security, probes, trunks; learns where hosts are",
    matches=frozenset(_ETHERNET | _IP | _ARP | _ND | _TRANSPORT | {"icmpv4_type"}),
    actions=frozenset({"learn", "set eth_dst", "output", "meter"}),
    next=frozenset({ARP.number, POLICY.number, SOURCE.number, FORWARD.number}),
    kind=CookieKind.ADMIT,
)

#: All tables, in the order in which a packet meets them.
PIPELINE: tuple[Table, ...] = (
    ADMIT,
    ARP,
    ADVERTISE,
    POLICY,
    SOURCE,
    STEER,
    FORWARD,
    HOSTS,
    TREE,
)
