"""From changes to the messages that make a switch carry them out."""

from __future__ import annotations

from typing import Any

from flows.diff import (
    AddGroup,
    AddMeter,
    AddRule,
    Change,
    DeleteGroup,
    DeleteMeter,
    DeleteRule,
    FlushLearnt,
    ModifyGroup,
    ModifyMeter,
)
from flows.openflow.actions import encode_actions, encode_instructions
from flows.openflow.fields import encode_match
from flows.openflow.ryu_mended import ofproto, parser
from flows.rules import Bucket, Group, Meter, Rule

_EVERY_BIT = (1 << 64) - 1


def messages(datapath: Any, change: Change) -> list[Any]:  # noqa: PLR0911 (one for each change)
    """The messages for one change, in order; their transaction ids are set when they are sent.

    `datapath` is the connection, Ryu's `Datapath`.
    """
    match change:
        case AddRule(rule):
            return [_add_rule(datapath, rule)]
        case DeleteRule(rule):
            return [_delete_rule(datapath, rule)]
        case AddGroup(group):
            return [_group(datapath, ofproto.OFPGC_ADD, group)]
        case ModifyGroup(group):
            return [_group(datapath, ofproto.OFPGC_MODIFY, group)]
        case DeleteGroup(group):
            return [_group(datapath, ofproto.OFPGC_DELETE, group)]
        case AddMeter(meter):
            return [_meter(datapath, ofproto.OFPMC_ADD, meter)]
        case ModifyMeter(meter):
            return [_meter(datapath, ofproto.OFPMC_MODIFY, meter)]
        case DeleteMeter(meter):
            return [_meter(datapath, ofproto.OFPMC_DELETE, meter)]
        case FlushLearnt(cookie, mask):
            return [_flush(datapath, cookie, mask)]


def _add_rule(datapath: Any, rule: Rule) -> Any:
    return parser.OFPFlowMod(
        datapath,
        command=ofproto.OFPFC_ADD,
        table_id=rule.table,
        priority=rule.priority,
        cookie=rule.cookie,
        match=encode_match(rule.match),
        instructions=encode_instructions(rule),
    )


def _delete_rule(datapath: Any, rule: Rule) -> Any:
    return parser.OFPFlowMod(
        datapath,
        command=ofproto.OFPFC_DELETE_STRICT,
        table_id=rule.table,
        priority=rule.priority,
        cookie=rule.cookie,
        cookie_mask=_EVERY_BIT,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
        match=encode_match(rule.match),
    )


def _flush(datapath: Any, cookie: int, mask: int) -> Any:
    return parser.OFPFlowMod(
        datapath,
        command=ofproto.OFPFC_DELETE,
        table_id=ofproto.OFPTT_ALL,
        cookie=cookie,
        cookie_mask=mask,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
    )


def _group(datapath: Any, command: int, group: Group) -> Any:
    buckets = [] if command == ofproto.OFPGC_DELETE else [_bucket(b) for b in group.buckets]
    return parser.OFPGroupMod(datapath, command, group.type.value, group.id, buckets)


def _bucket(bucket: Bucket) -> Any:
    watched = ofproto.OFPP_ANY if bucket.watch_port is None else bucket.watch_port
    return parser.OFPBucket(
        weight=bucket.weight, watch_port=watched, actions=encode_actions(bucket.actions)
    )


def _meter(datapath: Any, command: int, meter: Meter) -> Any:
    return parser.OFPMeterMod(
        datapath,
        command=command,
        flags=ofproto.OFPMF_PKTPS | ofproto.OFPMF_BURST,
        meter_id=meter.id,
        bands=[parser.OFPMeterBandDrop(rate=meter.rate, burst_size=meter.burst)],
    )
