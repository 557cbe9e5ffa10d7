"""Walks a packet through rule sets, as switches would, and tells all that could become of it.

Pure: no switch is asked. The walker obeys OpenFlow 1.3 as Open vSwitch carries it out
(ofproto/ofproto-dpif-xlate.c), which tests compare with Open vSwitch's own `ofproto/trace`:

- A rule applies its actions in order, then adds to the packet's action set, then goes to its next
  table. When the pipeline ends, also at a table in which nothing matches, the action set runs.
- An action set, and each bucket, runs all its set-fields and moves in order, and after them only
  the last of one kind: group, else output, else resubmit.
- A group works on a copy: what its buckets rewrote is undone behind it. A bucket's way goes on
  only by its own output or resubmit.
- Fast-failover takes the first live bucket. Select takes some live bucket of positive weight; we
  follow each, as alternatives of which one happens. All takes every bucket, live or not.
- Setting or moving a field that the packet has no header for does nothing.
- Output to the port of entry does nothing; `IN_PORT` is the way back. Setting `in_port` to zero
  beforehand lifts that.

A meter lets everything pass here. `Learn` is shown in the trace, and `with_learnt` gives the rule
sets as they are afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace

from flows.oxm import REGISTERS
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
from flows.walk.lookup import Tables
from flows.walk.packet import Packet, has_field
from flows.walk.trace import (
    Branch,
    Crossed,
    Delivered,
    Dropped,
    EndReason,
    Grouped,
    Learnt,
    Looped,
    Matched,
    Rewritten,
    ToController,
    Trace,
    TraceStep,
    Visit,
    inside,
)
from topology.model import Attachment, Link

#: More links than this on one way count as a loop.
MOST_HOPS = 64

#: Open vSwitch's bounds (MAX_DEPTH and MAX_RESUBMITS in ofproto-dpif-xlate.c): behind them it
#: drops the packet and everything that it had planned for it.
MOST_DEPTH = 64
MOST_RESUBMITS = 4096


def walk(
    rule_sets: Mapping[str, RuleSet],
    links: Iterable[Link],
    port_up: Callable[[Attachment], bool],
    packet: Packet,
    at: Attachment,
) -> Trace:
    """Follow a packet that enters at `at`, over all switches, to every end.

    Args:
        rule_sets: by switch; a switch without one drops everything.
        links: cables between switches; one carries only while both its ends are up.
        port_up: whether a port's link is up, seen from its switch.

    Raises:
        ValueError: a rule or a group that no switch would take: a field matched without its
            prerequisites, or an action toward a group that does not exist.
    """
    return Walker(rule_sets, links).walk(port_up, packet, at)


class Walker:
    """Many walks over the same rule sets: they are sorted for it once. Arguments as in `walk`."""

    def __init__(self, rule_sets: Mapping[str, RuleSet], links: Iterable[Link]) -> None:
        self._held = dict(rule_sets)
        self._tables = {name: Tables(name, held) for name, held in rule_sets.items()}
        self._ends = {end: link for link in links for end in (link.a, link.b)}

    def replaced(self, switch: str, held: RuleSet) -> Walker:
        """One in which this switch holds something else. Only tables that differ are sorted."""
        other = copy(self)
        other._held = self._held | {switch: held}
        other._tables = self._tables | {switch: Tables(switch, held, self._tables.get(switch))}
        return other

    def walk(self, port_up: Callable[[Attachment], bool], packet: Packet, at: Attachment) -> Trace:
        world = _World(self._tables, self._held, self._ends, port_up)
        return Trace(_visited(world, _Arrival(at, packet.on_the_wire())))


def with_learnt(rule_sets: Mapping[str, RuleSet], trace: Trace) -> dict[str, RuleSet]:
    """The rule sets as the switches hold them after the packets of `trace` have passed."""
    after = dict(rule_sets)
    for learnt in trace.learnt:
        rules = after[learnt.switch].rules
        after[learnt.switch] = replace(
            after[learnt.switch], rules={**rules, learnt.rule.key: learnt.rule}
        )
    return after


@dataclass(frozen=True)
class _World:
    tables: Mapping[str, Tables]
    held: Mapping[str, RuleSet]
    ends: Mapping[Attachment, Link]
    port_up: Callable[[Attachment], bool]


@dataclass(frozen=True)
class _Arrival:
    at: Attachment
    packet: Packet


def _visited(world: _World, first: _Arrival) -> Visit:
    """Depth first, and without recursion, because a way may be longer than Python's stack is deep.
    What several ways meet in is visited once: there may be very many equal ones."""
    done: dict[_Arrival, Visit] = {}
    way: dict[_Arrival, tuple[TraceStep, ...]] = {}
    todo = [first]
    while todo:
        arrival = todo[-1]
        if arrival in way:  # all that it leads to has been visited
            steps = _joined(way.pop(arrival), done)
            done[arrival] = Visit(arrival.at, arrival.packet, steps)
        if arrival in done or len(way) > MOST_HOPS:
            todo.pop()
            continue
        way[arrival] = _Pipeline(world, arrival).run()
        crossed = [step.visit for step in inside(way[arrival]) if isinstance(step, Crossed)]
        onward = (_Arrival(visit.at, visit.packet) for visit in reversed(crossed))
        todo += [each for each in onward if each not in done and each not in way]
    return done[first]


def _joined(steps: Iterable[TraceStep], done: Mapping[_Arrival, Visit]) -> tuple[TraceStep, ...]:
    """With the visits at further switches. One that is not done leads back, or goes too far."""
    return tuple(_join(step, done) for step in steps)


def _join(step: TraceStep, done: Mapping[_Arrival, Visit]) -> TraceStep:
    match step:
        case Crossed(link, Visit(at, packet)):
            looped = Visit(at, packet, (Looped(at, packet),))
            return Crossed(link, done.get(_Arrival(at, packet), looped))
        case Grouped(group, branches):
            joined = (Branch(branch.bucket, _joined(branch.steps, done)) for branch in branches)
            return Grouped(group, tuple(joined))
        case _:
            return step


class _TooDeepError(Exception):
    """The switch gives up on this packet."""


class _Pipeline:
    """One packet's way through one switch's tables. It changes as the packet does. Visits that it
    leads to are without steps."""

    def __init__(self, world: _World, arrival: _Arrival) -> None:
        self._world = world
        self._switch = arrival.at.switch
        self._values = dict.fromkeys(REGISTERS, 0) | dict(arrival.packet)
        self._values["in_port"] = arrival.at.port
        self._shown: Packet | None = None
        self._action_set: list[Action] = []
        self._last: Rule | None = None
        self._depth = 0
        self._resubmits = 0

    def run(self) -> tuple[TraceStep, ...]:
        try:
            steps = [*self._table(0), *self._run_action_set()]
        except _TooDeepError:
            return (self._dropped(EndReason.TOO_DEEP),)
        if all(isinstance(step, Matched | Rewritten | Learnt) for step in steps):
            steps.append(self._dropped(EndReason.RULE))
        return tuple(steps)

    def _packet(self) -> Packet:
        if self._shown is None:
            self._shown = Packet(tuple(sorted(self._values.items()))).on_the_wire()
        return self._shown

    def _dropped(self, reason: EndReason) -> Dropped:
        return Dropped(self._switch, reason, self._last, self._packet())

    def _lookup(self, table: int) -> Rule | None:
        tables = self._world.tables.get(self._switch)
        return tables.find(table, self._values) if tables else None

    def _table(self, table: int) -> list[TraceStep]:
        rule = self._lookup(table)
        if rule is None:
            return [self._dropped(EndReason.NO_RULE)]
        self._last = rule
        steps: list[TraceStep] = [Matched(rule, self._packet())]
        steps += self._execute(rule.apply)
        self._action_set += rule.write
        if rule.goto is not None:
            steps += self._table(rule.goto)
        return steps

    def _run_action_set(self) -> list[TraceStep]:
        actions, self._action_set = in_set_order(self._action_set), []
        return self._execute(actions)

    def _execute(self, actions: Iterable[Action]) -> list[TraceStep]:
        return [step for action in actions for step in self._act(action)]

    def _act(self, action: Action) -> list[TraceStep]:
        match action:
            case Output(port):
                return [self._output(port)]
            case ToGroup(number):
                return [self._group(number)]
            case SetField(name, value, mask):
                every = -1 if mask is None else mask
                return self._rewrite(name, self._values.get(name, 0) & ~every | value & every)
            case Move(source, destination, bits):
                return self._move(source, destination, bits)
            case Resubmit(table):
                return self._resubmit(table)
            case Learn():
                return [Learnt(self._switch, self._learnt_rule(action))]

    def _rewrite(self, name: str, value: int) -> list[TraceStep]:
        before = self._values.get(name, 0)
        if value == before or not has_field(self._values, name):
            return []
        self._values[name], self._shown = value, None
        return [Rewritten(name, before, value)]

    def _move(self, source: str, destination: str, bits: int) -> list[TraceStep]:
        if not has_field(self._values, source):
            return []
        low = (1 << bits) - 1
        kept = self._values.get(destination, 0) & ~low
        return self._rewrite(destination, kept | self._values.get(source, 0) & low)

    def _resubmit(self, table: int) -> list[TraceStep]:
        self._resubmits += 1
        # Open vSwitch counts only resubmission that does not go forward as depth.
        backward = self._last is not None and table <= self._last.table
        return self._deeper(lambda: self._table(table), deepens=backward)

    def _deeper(
        self, work: Callable[[], list[TraceStep]], *, deepens: bool = True
    ) -> list[TraceStep]:
        if self._depth >= MOST_DEPTH or self._resubmits > MOST_RESUBMITS:
            raise _TooDeepError
        self._depth += deepens
        came_from = self._last
        steps = work()
        self._last = came_from
        self._depth -= deepens
        return steps

    def _group(self, number: int) -> TraceStep:
        if (group := self._world.held[self._switch].groups.get(number)) is None:
            raise ValueError(f"{self._switch}: {self._last} uses group {number:#x}: there is none")
        chosen = [(place, group.buckets[place]) for place in self._chosen(group)]
        if not chosen:
            return self._dropped(EndReason.NO_LIVE_BUCKET)
        return Grouped(
            group, tuple(Branch(place, self._bucket(bucket)) for place, bucket in chosen)
        )

    def _chosen(self, group: Group) -> list[int]:
        """The places of the buckets that run, or one of which runs in a select group."""
        places = list(range(len(group.buckets)))
        if group.type in {GroupType.ALL, GroupType.INDIRECT}:
            return places
        alive = [place for place in places if self._alive(group.buckets[place])]
        if group.type is GroupType.FAST_FAILOVER:
            return alive[:1]
        return [place for place in alive if group.buckets[place].weight > 0]

    def _alive(self, bucket: Bucket) -> bool:
        port = bucket.watch_port
        return port is None or self._world.port_up(Attachment(self._switch, port))

    def _bucket(self, bucket: Bucket) -> tuple[TraceStep, ...]:
        before = dict(self._values)
        steps = self._deeper(lambda: self._execute(in_set_order(bucket.actions)))
        self._values, self._shown = before, None
        return tuple(steps)

    def _learnt_rule(self, learn: Learn) -> Rule:
        return Rule(
            table=learn.table,
            priority=learn.priority,
            match=Match.of(eth_dst=self._values["eth_src"]),
            apply=(Output(self._values["in_port"]),),
            cookie=learn.cookie,
            intent="learnt",
        )

    def _output(self, port: int) -> TraceStep:
        if port == CONTROLLER:
            return ToController(self._switch, self._packet())
        if port == self._values["in_port"]:
            return self._dropped(EndReason.PORT_OF_ENTRY)
        out = Attachment(self._switch, self._values["in_port"] if port == IN_PORT else port)
        if not self._world.port_up(out):
            return self._dropped(EndReason.PORT_DOWN)
        link = self._world.ends.get(out)
        if link is None:
            return Delivered(out, self._packet())
        far = link.b if out == link.a else link.a
        if not self._world.port_up(far):
            return self._dropped(EndReason.PORT_DOWN)
        return Crossed(link, Visit(far, self._packet(), ()))


def in_set_order(actions: Iterable[Action]) -> tuple[Action, ...]:
    """What a switch makes of a written action set or of a bucket (specification 1.3.5, section
    5.10): the rewrites in order, then the last of one kind only; nothing at all if there is
    none of these."""
    actions = tuple(actions)
    for kind in (ToGroup, Output, Resubmit):
        if final := [action for action in actions if isinstance(action, kind)]:
            rewrites = (action for action in actions if isinstance(action, SetField | Move))
            return (*rewrites, final[-1])
    return ()
