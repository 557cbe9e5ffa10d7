"""What would happen to a packet, in words: walks it through the wanted rules, switch by switch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from flows.pipeline import PIPELINE
from flows.rules import Group, GroupType, RuleSet
from flows.walk.packet import show
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
from flows.walk.walker import walk
from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.state import State
from hactrl.explain import names
from hactrl.explain.callers import Callers
from hactrl.explain.packets import sent
from hactrl.explain.questions import PacketError, TraceQuestion
from topology.model import Attachment
from topology.paths.what_if import UnknownFailureError

_TABLES = {table.number: table.name for table in PIPELINE}

_DROPPED: Mapping[EndReason, str] = {
    EndReason.NO_RULE: "no rule takes it",
    EndReason.RULE: "this rule drops it",
    EndReason.PORT_OF_ENTRY: "it would leave by the port that it came in on",
    EndReason.PORT_DOWN: "the port is down",
    EndReason.NO_LIVE_BUCKET: "every way is down",
    EndReason.TOO_DEEP: "the switch gives up: too many lookups",
}

_FLOODED_NOWHERE = "it is flooded, and no port of a host is known to be up"


@dataclass(frozen=True)
class Story:
    """`lines` tell it in order, the last one in short; `delivered` are the edge ports that it can
    come out of. Of `ways` it takes one, as the switches' hashes choose."""

    lines: tuple[str, ...]
    delivered: tuple[str, ...]
    ways: int


def tell(state: State, rule_sets: Mapping[str, RuleSet], question: TraceQuestion) -> Story:
    """Walk the packet that is asked about through these rules, and say what happens to it.

    Raises:
        UnknownNameError: a name that nothing has, or a host that nobody has seen.
        PacketError: there is no such packet, or no such failure.
    """
    packet = sent(state, question)
    down, opening = _failed(state, question)
    lines = [packet.words, *opening]

    def port_up(port: Attachment) -> bool:
        failed = port in down or question.what_if == f"switch:{port.switch}"
        return not failed and state.port_up(port)

    if not port_up(packet.at):
        lines.append(f"in short: {packet.at} is down, so that nothing comes in there")
        return Story(tuple(lines), (), 0)
    links = network_now(state.site.network, state.cabling).links
    trace = walk(rule_sets, links, port_up, packet.packet, packet.at)
    teller = _Teller(state, trace)
    lines += [line for visit in trace.visits() for line in teller.visit(visit)]
    lines.append(f"in short: {teller.in_short()}")
    return Story(tuple(lines), tuple(str(place) for place in sorted(trace.places)), teller.ways)


def _failed(state: State, question: TraceQuestion) -> tuple[frozenset[Attachment], tuple[str, ...]]:
    """The ports that are taken for dead, and what is to be said of that."""
    if not question.what_if:
        return frozenset(), ()
    try:
        found = names.failure(state, question.what_if)
    except UnknownFailureError as error:
        raise PacketError(str(error)) from error
    said = f"if {question.what_if} fails, before the controller has changed a rule:"
    return found.down, (said,)


class _Teller:
    """Tells a trace visit by visit, each of them once: what several ways have in common is not
    told again."""

    def __init__(self, state: State, trace: Trace) -> None:
        self._trace = trace
        self._callers = Callers(state)
        self._places = _places(trace)
        self.ways = _ways(trace)

    def visit(self, visit: Visit) -> Iterator[str]:
        port = self._places[id(visit)].removeprefix(f"{visit.at.switch}:")
        yield f"{visit.at.switch}: comes in at port {port}"
        yield from self._steps(visit.steps, visit.at.switch, 1)

    def _steps(self, steps: Iterable[TraceStep], switch: str, depth: int) -> Iterator[str]:
        for step in steps:
            match step:
                case Grouped(group, branches):
                    yield _indented(depth, _chosen(group, branches))
                    for branch in branches:
                        inner = depth
                        if len(branches) > 1:
                            yield _indented(depth + 1, f"way {branch.bucket + 1}:")
                            inner += 2
                        yield from self._steps(branch.steps, switch, inner)
                case Rewritten("in_port", _, _):  # only permits to leave by the port of entry
                    pass
                case _:
                    yield _indented(depth, self._sentence(step))

    def _sentence(self, step: TraceStep) -> str:  # noqa: PLR0911 - one sentence for each kind
        match step:
            case Matched(rule, _):
                return f"{_TABLES.get(rule.table, rule.table)}: {rule.intent}"
            case Rewritten(field, before, after):
                called = self._callers.mac(after) if field in {"eth_src", "eth_dst"} else ""
                to = f"{show(field, after)}{f', {called}' if called else ''}"
                return f"{field} {show(field, before)} becomes {to}"
            case Learnt(switch, _):
                return f"{switch} learns where the sender is"
            case Crossed(link, visit):
                return f"crosses the link {link} to {self._places[id(visit)]}"
            case Delivered(attachment, _):
                return f"DELIVERED at {attachment}: {self._callers.receiver(step)}"
            case ToController(switch, _):
                return f"HANDED by {switch} to the controller"
            case Dropped(switch, reason, _, _):
                return f"DROPPED in {switch}: {_DROPPED[reason]}"
            case Looped(attachment, _):
                return f"LOOPS: comes to {attachment} once more"
            case _:
                raise AssertionError(f"not a single step: {step}")

    def in_short(self) -> str:
        """Where it ends, and why there. What a flood does not send back is not worth a word."""
        ends = list(dict.fromkeys(self._endings()))
        if not self._trace.deliveries:
            return f"nobody gets it, so nothing answers: {'; '.join(ends) or _FLOODED_NOWHERE}"
        several = self.ways > 1
        told = _listed(ends, " or " if several else " and ")
        if several:
            return f"by one of {self.ways} ways, as the switches' hashes choose, {told}"
        return f"{self._passed()}{told}"

    def _passed(self) -> str:
        """The switches, where they are in a row."""
        visits = list(self._trace.visits())
        crossings = [
            sum(isinstance(step, Crossed) for step in inside(visit.steps)) for visit in visits
        ]
        if any(count > 1 for count in crossings):
            return ""
        return " → ".join(visit.at.switch for visit in visits) + ", "

    def _endings(self) -> Iterator[str]:
        ended = {drop.reason for drop in self._trace.drops} - {EndReason.PORT_OF_ENTRY}
        flooded = bool(self._trace.deliveries) or not ended
        for visit in self._trace.visits():
            for step in inside(visit.steps):
                match step:
                    case Delivered(attachment, _):
                        yield f"delivered at {attachment} to {self._callers.receiver(step)}"
                    case Dropped(_, EndReason.PORT_OF_ENTRY, _, _) if flooded:
                        pass
                    case Dropped(switch, reason, _, _):
                        why = self._callers.why_dropped(step) or _DROPPED[reason]
                        yield f"dropped in {switch}: {why}"
                    case ToController(switch, _):
                        yield f"handed by {switch} to the controller"
                    case Looped(attachment, _):
                        yield f"comes to {attachment} again and again"


def _places(trace: Trace) -> dict[int, str]:
    """Where visits come in, by their ids; if a packet comes in changed as well, with a number."""
    count: Counter[Attachment] = Counter()
    places = {}
    for visit in trace.visits():
        count[visit.at] += 1
        places[id(visit)] = f"{visit.at}{f' ({count[visit.at]})' if count[visit.at] > 1 else ''}"
    return places


def _ways(trace: Trace) -> int:
    """How many there are: of the live buckets of a select group one is taken."""
    onward: dict[int, int] = {}

    def ways(step: TraceStep) -> int:
        match step:
            case Crossed(_, visit):
                return onward[id(visit)]
            case Grouped(group, branches):
                each = [prod(map(ways, branch.steps)) for branch in branches]
                return sum(each) if group.type is GroupType.SELECT else prod(each)
            case _:
                return 1

    for visit in reversed(list(trace.visits())):
        onward[id(visit)] = prod(map(ways, visit.steps))
    return onward[id(trace.root)]


def _chosen(group: Group, branches: tuple[Branch, ...]) -> str:
    said, every, live = f"group {group.intent!r}:", len(group.buckets), len(branches)
    if every == 1:
        return f"{said} the only way"
    if group.type is GroupType.SELECT:
        if live == 1:
            return f"{said} way {branches[0].bucket + 1} of {every}, the only live one"
        of = f"{live} live ones of {every} ways" if live < every else f"{live} ways"
        return f"{said} one of {of}, by a hash of the packet"
    if group.type is GroupType.FAST_FAILOVER:
        return f"{said} way {branches[0].bucket + 1} of {every}, the first live one"
    return f"{said} each of {every} ways"


def _listed(ends: list[str], joint: str) -> str:
    """What follows another delivery need not say that it is one."""
    again = "delivered "
    later = (
        end.removeprefix(again) if former.startswith(again) else end
        for former, end in pairwise(ends)
    )
    return joint.join((ends[0], *later))


def _indented(depth: int, text: str) -> str:
    return "  " * depth + text
