"""Actions and instructions, between ours and Ryu's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flows.openflow.fields import from_ryu, to_ryu
from flows.openflow.ryu_mended import ofproto, parser
from flows.rules import (
    Action,
    Learn,
    Move,
    Output,
    Resubmit,
    Rule,
    SetField,
    ToGroup,
)

#: The port number by which Nicira's actions, of OpenFlow 1.0's time, mean the port of entry.
_NICIRA_IN_PORT = 0xFFF8


@dataclass(frozen=True)
class Unreadable(SetField):
    """Something in an entry of ours that we never put there; its name is what it was.

    It equals none of our actions, so the diff sees a difference and replaces the entry.
    """

    @classmethod
    def of(cls, thing: Any) -> Unreadable:
        return cls(str(thing), 0)


def encode_actions(actions: Iterable[Action]) -> list[Any]:
    return [_encode(action) for action in actions]


def decode_actions(actions: Iterable[Any]) -> tuple[Action, ...]:
    return tuple(_decode(action) for action in actions)


def encode_instructions(rule: Rule) -> list[Any]:
    """In the order in which a switch carries them out (specification 1.3.5, section 5.9)."""
    instructions = []
    if rule.meter is not None:
        instructions.append(parser.OFPInstructionMeter(rule.meter))
    kinds = ((ofproto.OFPIT_APPLY_ACTIONS, rule.apply), (ofproto.OFPIT_WRITE_ACTIONS, rule.write))
    for kind, actions in kinds:
        if actions:
            instructions.append(parser.OFPInstructionActions(kind, encode_actions(actions)))
    if rule.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(rule.goto))
    return instructions


@dataclass(frozen=True)
class Instructions:
    """What a rule's instructions say."""

    apply: tuple[Action, ...] = ()
    write: tuple[Action, ...] = ()
    goto: int | None = None
    meter: int | None = None


def decode_instructions(instructions: Iterable[Any]) -> Instructions:
    apply: tuple[Action, ...] = ()
    write: tuple[Action, ...] = ()
    goto = meter = None
    for instruction in instructions:
        match instruction.type:
            case ofproto.OFPIT_APPLY_ACTIONS:
                apply += decode_actions(instruction.actions)
            case ofproto.OFPIT_WRITE_ACTIONS:
                write += decode_actions(instruction.actions)
            case ofproto.OFPIT_GOTO_TABLE:
                goto = instruction.table_id
            case ofproto.OFPIT_METER:
                meter = instruction.meter_id
            case _:
                apply += (Unreadable.of(instruction),)
    return Instructions(apply, write, goto, meter)


@lru_cache(maxsize=1 << 14)
def _encode(action: Action) -> Any:  # noqa: PLR0911 (one for each kind)
    match action:
        case Output(port, max_len):
            return parser.OFPActionOutput(port, max_len)
        case ToGroup(group):
            return parser.OFPActionGroup(group)
        case SetField("in_port", value, None):
            # Open vSwitch takes zero, which is no port, only by the old field of 16 bits.
            return parser.OFPActionSetField(in_port_nxm=value)
        case SetField(name, value, None):
            return parser.OFPActionSetField(**{name: to_ryu(name, value)})
        case SetField(name, value, int() as mask):
            # OpenFlow 1.3's own set-field takes no mask. Bits outside of it are refused.
            return parser.NXActionRegLoad2(name, to_ryu(name, value & mask), to_ryu(name, mask))
        case Move(source, destination, bits):
            return parser.NXActionRegMove(src_field=source, dst_field=destination, n_bits=bits)
        case Resubmit(table):
            return parser.NXActionResubmitTable(_NICIRA_IN_PORT, table)
        case Learn():
            return _encode_learn(action)


def _encode_learn(learn: Learn) -> Any:
    return parser.NXActionLearn(
        table_id=learn.table,
        priority=learn.priority,
        idle_timeout=learn.idle_timeout,
        hard_timeout=learn.hard_timeout,
        cookie=learn.cookie,
        specs=[
            parser.NXFlowSpecMatch(src=("eth_src_nxm", 0), dst=("eth_dst_nxm", 0), n_bits=48),
            parser.NXFlowSpecOutput(src=("in_port_nxm", 0), dst="", n_bits=16),
        ],
    )


def _decode(action: Any) -> Action:
    read: Action | None = None
    match action:
        case parser.OFPActionOutput(port=port):
            read = Output(port, action.max_len if port == ofproto.OFPP_CONTROLLER else 0)
        case parser.OFPActionGroup(group_id=group):
            read = ToGroup(group)
        case parser.OFPActionSetField():
            read = _decode_set_field(action)
        case parser.NXActionRegLoad2():
            read = _decode_masked(action)
        case parser.NXActionRegMove(src_ofs=0, dst_ofs=0):
            read = Move(_plain(action.src_field), _plain(action.dst_field), action.n_bits)
        case parser.NXActionResubmitTable(in_port=in_port) if in_port == _NICIRA_IN_PORT:
            read = Resubmit(action.table_id)
        case parser.NXActionLearn():
            read = _decode_learn(action)
    return Unreadable.of(action) if read is None else read


def _decode_set_field(action: Any) -> Action | None:
    try:
        return SetField(_plain(action.key), from_ryu(action.key, action.value))
    except KeyError:
        return None


def _decode_masked(action: Any) -> Action | None:
    try:
        value = from_ryu(action.dst, action.value)
        mask = None if action.mask is None else from_ryu(action.dst, action.mask)
    except KeyError:
        return None
    return SetField(_plain(action.dst), value, mask)


def _decode_learn(action: Any) -> Learn | None:
    learn = Learn(
        action.table_id,
        action.priority,
        action.idle_timeout,
        action.hard_timeout,
        action.cookie,
    )
    plain = action.flags == action.fin_idle_timeout == action.fin_hard_timeout == 0
    ours = [_spec(spec) for spec in _encode_learn(learn).specs]
    return learn if plain and [_spec(spec) for spec in action.specs] == ours else None


def _spec(spec: Any) -> tuple[str, str, str]:
    """What a flow spec of `learn` says, whichever name of a field it uses."""
    kind = type(spec).__name__
    source, target = (
        f"{_plain(end[0])}[{end[1]}]" if isinstance(end, tuple) else str(end)
        for end in (spec.src, spec.dst)
    )
    return kind, source, target


def _plain(name: str) -> str:
    """Nicira has names of its own for OpenFlow's fields; Open vSwitch answers with either."""
    return name.removesuffix("_nxm")
