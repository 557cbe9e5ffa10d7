"""From what a switch answers to our values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flows.openflow.actions import Unreadable, decode_actions, decode_instructions
from flows.openflow.fields import decode_match
from flows.openflow.ryu_mended import ofproto, parser
from flows.rules import (
    COOKIE_MASK,
    COOKIE_PREFIX,
    LEARNT_COOKIE,
    LEARNT_MASK,
    OWN_IDS,
    Action,
    Bucket,
    Group,
    GroupType,
    Meter,
    Rule,
    RuleSet,
)

#: All tables together are asked for in this many parts, by the last bits of the cookies.
PARTS = 16

#: All of ours but what switches learnt: only that has this bit of the kind set. How much a switch
#: learns is up to the hosts.
NOT_LEARNT = COOKIE_MASK | 0x80 << 32

_GROUP_TYPES = frozenset(kind.value for kind in GroupType)


class Reading:
    """One reading of all that is ours on a switch, without what it learnt by itself.

    In small parts, because Ryu takes 0.1 ms to parse one flow entry and nothing else runs
    meanwhile: send `next_request` (its transaction id is set then), give every multipart reply of
    the connection to `take`, and go on until `next_request` is None; `found` is the result.
    """

    def __init__(self, datapath: Any) -> None:
        self._datapath = datapath
        self._waiting = [self._flows(part) for part in range(PARTS)]
        self._waiting += [parser.OFPGroupDescStatsRequest, parser.OFPMeterConfigStatsRequest]
        self._asked: Any = None
        self._parts: list[RuleSet] = []

    def next_request(self) -> Any | None:
        """The message to send next; None when everything has been asked."""
        self._asked = self._waiting.pop(0)(self._datapath) if self._waiting else None
        return self._asked

    def take(self, reply: Any) -> bool:
        """True when this reply was the last part of the answer to the last request; replies to
        other requests change nothing."""
        if self._asked is None or reply.xid != self._asked.xid:
            return False
        match self._asked:
            case parser.OFPFlowStatsRequest():
                self._parts.append(rule_set(reply.body))
            case parser.OFPGroupDescStatsRequest():
                self._parts.append(rule_set(group_descs=reply.body))
            case parser.OFPMeterConfigStatsRequest():
                self._parts.append(rule_set(meter_configs=reply.body))
        return not reply.flags & ofproto.OFPMPF_REPLY_MORE

    def found(self) -> RuleSet:
        """All that is ours, without what the switch learnt by itself. What has changed since the
        reading began may have been read in two parts: then the later one is right."""
        return _collected(
            (rule for part in self._parts for rule in part.rules.values()),
            (group for part in self._parts for group in part.groups.values()),
            (meter for part in self._parts for meter in part.meters.values()),
        )

    @staticmethod
    def _flows(part: int) -> Callable[[Any], Any]:
        return lambda datapath: parser.OFPFlowStatsRequest(
            datapath,
            table_id=ofproto.OFPTT_ALL,
            cookie=COOKIE_PREFIX | part,
            cookie_mask=NOT_LEARNT | (PARTS - 1),
            match=parser.OFPMatch(),
        )


class Count:
    """How many rules of ours a switch holds, less what it learnt by itself; that costs it and us
    next to nothing.

    Used like `Reading`.
    """

    def __init__(self, datapath: Any) -> None:
        self._datapath = datapath
        self._asked: Any = None
        self._found: int | None = None

    def next_request(self) -> Any | None:
        """See `Reading.next_request`."""
        if self._found is not None:
            return None
        self._asked = parser.OFPAggregateStatsRequest(
            self._datapath,
            0,
            ofproto.OFPTT_ALL,
            ofproto.OFPP_ANY,
            ofproto.OFPG_ANY,
            COOKIE_PREFIX,
            NOT_LEARNT,
            parser.OFPMatch(),
        )
        return self._asked

    def take(self, reply: Any) -> bool:
        """See `Reading.take`."""
        if self._asked is None or reply.xid != self._asked.xid:
            return False
        self._found = int(reply.body.flow_count)
        return True

    def found(self) -> int:
        """The number."""
        assert self._found is not None, "nothing was taken"
        return self._found


def rule_set(
    flow_stats: Iterable[Any] = (),
    group_descs: Iterable[Any] = (),
    meter_configs: Iterable[Any] = (),
) -> RuleSet:
    """What of these entries is ours, without what the switch learnt by itself."""
    return _collected(
        (rule for stats in flow_stats if _is_ours(stats) for rule in _rule(stats)),
        (_group(desc) for desc in group_descs if desc.group_id in OWN_IDS),
        (_meter(config) for config in meter_configs if config.meter_id in OWN_IDS),
    )


def _collected(rules: Iterable[Rule], groups: Iterable[Group], meters: Iterable[Meter]) -> RuleSet:
    """Unlike `RuleSet.of` it takes the later of two entries of one key: what a switch says, however
    strange, is no defect of ours."""
    return RuleSet(
        {rule.key: rule for rule in rules},
        {group.id: group for group in groups},
        {meter.id: meter for meter in meters},
    )


def ports_up(descriptions: Iterable[Any]) -> frozenset[int]:
    """The switch's real ports whose link is up, from a port description reply."""
    return frozenset(p.port_no for p in descriptions if p.port_no <= ofproto.OFPP_MAX and _up(p))


def port_change(status: Any) -> tuple[int, bool]:
    """From a port-status message: the port, and whether it is there and up now."""
    return status.desc.port_no, status.reason != ofproto.OFPPR_DELETE and _up(status.desc)


def error_text(error: Any) -> str:
    """What an `OFPErrorMsg` complains of, by the names of the specification."""
    if error.type == ofproto.OFPET_EXPERIMENTER:
        return f"experimenter error {error.experimenter:#x}/{error.exp_type}"
    kind = ofproto.ofp_error_type_to_str(error.type)
    return f"{kind}, {ofproto.ofp_error_code_to_str(error.type, error.code)}"


def _up(port: Any) -> bool:
    return not (port.config & ofproto.OFPPC_PORT_DOWN or port.state & ofproto.OFPPS_LINK_DOWN)


def _is_ours(stats: Any) -> bool:
    learnt = stats.cookie & LEARNT_MASK == LEARNT_COOKIE
    return bool(stats.cookie & COOKIE_MASK == COOKIE_PREFIX and not learnt)


def _rule(stats: Any) -> list[Rule]:
    """One rule; none where the match has a field that cannot be named, and so not deleted: such
    an entry is not of our making, and is left alone like any other's."""
    try:
        match = decode_match(stats.match)
    except KeyError:
        return []
    said = decode_instructions(stats.instructions)
    strange: tuple[Action, ...] = ()
    if stats.idle_timeout or stats.hard_timeout or stats.flags:
        strange = (Unreadable(f"{stats.idle_timeout}/{stats.hard_timeout}/{stats.flags}", 0),)
    return [
        Rule(
            table=stats.table_id,
            priority=stats.priority,
            match=match,
            apply=said.apply + strange,
            write=said.write,
            goto=said.goto,
            meter=said.meter,
            cookie=stats.cookie,
        )
    ]


def _group(desc: Any) -> Group:
    """One of a type that we do not know (an experimenter's) equals none of ours."""
    if desc.type not in _GROUP_TYPES:
        strange = Bucket((Unreadable(f"group of type {desc.type}", 0),))
        return Group(desc.group_id, GroupType.ALL, (strange,))
    return Group(desc.group_id, GroupType(desc.type), tuple(_bucket(b) for b in desc.buckets))


def _bucket(bucket: Any) -> Bucket:
    strange: tuple[Action, ...] = ()
    if bucket.watch_group != ofproto.OFPG_ANY:
        strange = (Unreadable(f"watch group {bucket.watch_group}", 0),)
    watched = None if bucket.watch_port == ofproto.OFPP_ANY else bucket.watch_port
    return Bucket(decode_actions(bucket.actions) + strange, watched, bucket.weight)


def _meter(config: Any) -> Meter:
    """A meter that is not of our one shape gets rates below zero, which no wanted one has."""
    shape = ofproto.OFPMF_PKTPS | ofproto.OFPMF_BURST
    bands = config.bands
    if config.flags & ~ofproto.OFPMF_STATS != shape or len(bands) != 1:
        return Meter(config.meter_id, -1, -1)
    if not isinstance(bands[0], parser.OFPMeterBandDrop):
        return Meter(config.meter_id, -1, -1)
    return Meter(config.meter_id, bands[0].rate, bands[0].burst_size)
