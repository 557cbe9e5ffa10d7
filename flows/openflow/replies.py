"""From what a switch answers to our values."""

from __future__ import annotations

from collections.abc import Iterable
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


class Reading:
    """One reading of all that is ours on a switch.

    Send `requests` (their transaction ids are set then), and give every multipart reply of the
    connection to `take`, until it returns the rule set.
    """

    def __init__(self, datapath: Any) -> None:
        self.requests = (
            parser.OFPFlowStatsRequest(
                datapath, cookie=COOKIE_PREFIX, cookie_mask=COOKIE_MASK, match=parser.OFPMatch()
            ),
            parser.OFPGroupDescStatsRequest(datapath),
            parser.OFPMeterConfigStatsRequest(datapath),
        )
        self._entries: tuple[list[Any], ...] = ([], [], [])
        self._open = {0, 1, 2}

    def take(self, reply: Any) -> RuleSet | None:
        """The rule set, when this reply was the last one missing; replies to other requests
        change nothing."""
        place = next((i for i, r in enumerate(self.requests) if r.xid == reply.xid), None)
        if place is None or place not in self._open:
            return None
        self._entries[place].extend(reply.body)
        if reply.flags & ofproto.OFPMPF_REPLY_MORE:
            return None
        self._open.remove(place)
        return None if self._open else rule_set(*self._entries)


def rule_set(
    flow_stats: Iterable[Any], group_descs: Iterable[Any], meter_configs: Iterable[Any]
) -> RuleSet:
    """What of these entries is ours, without what the switch learnt by itself."""
    return RuleSet.of(
        (rule for stats in flow_stats if _is_ours(stats) for rule in _rule(stats)),
        (_group(desc) for desc in group_descs if desc.group_id in OWN_IDS),
        (_meter(config) for config in meter_configs if config.meter_id in OWN_IDS),
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
