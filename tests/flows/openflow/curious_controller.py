"""An application that has asked every switch for everything, and uses every answer as hactrl does.

Started by `framework_manager.py`. Prints how many messages it has used when it is told to end.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from flows import openflow
from flows.openflow import connection
from flows.openflow.counting import Counting
from flows.openflow.frame_check import Kind
from flows.openflow.framework import (
    CONFIG_DISPATCHER,
    MAIN_DISPATCHER,
    Application,
    ofp_event,
    set_ev_cls,
)
from flows.openflow.questions import ANSWERS, Questions
from flows.openflow.ryu_mended import ofproto, parser
from flows.rules import COOKIE_PREFIX, OWN_IDS


class AskedForAll(Questions):
    """Whatever comes was asked for just before."""

    def take(self, frame: bytes, now: float) -> None:
        kind, number = frame[1], int.from_bytes(frame[4:8])
        part = int.from_bytes(frame[8:10]) if kind == Kind.MULTIPART_REPLY else None
        self.ask(kind - 1 if kind in ANSWERS else kind, number, part, now)
        super().take(frame, now)


class CuriousConnection(connection.OpenFlowConnection):
    def __init__(self, *peer: Any) -> None:
        super().__init__(*peer)
        self._questions = AskedForAll()


connection.OpenFlowConnection = CuriousConnection  # type: ignore[misc]

EVENTS = [
    event
    for name, event in sorted(ofp_event._OFP_MSG_EVENTS.items())
    if getattr(parser, name.removeprefix("Event"), None) is not None
    and getattr(parser, name.removeprefix("Event")).cls_msg_type in set(Kind) - {Kind.HELLO}
]


class Curious(Application):  # type: ignore[misc]
    OFP_VERSIONS = [ofproto.OFP_VERSION]  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.used = 0
        signal.signal(signal.SIGTERM, self.tell)

    def tell(self, *_: Any) -> None:
        print(self.used, flush=True)
        os._exit(0)

    @set_ev_cls(EVENTS, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def use(self, event: Any) -> None:
        self.used += 1
        use(event.msg)


def use(message: Any) -> None:  # noqa: C901 (one for each kind)
    """As hactrl does, and as if all that the switch holds were ours."""
    match message:
        case parser.OFPFlowStatsReply():
            counting = Counting(message.datapath)
            counting.next_request().xid = message.xid
            counting.take(message)
            for entry in message.body:
                entry.cookie = COOKIE_PREFIX
            openflow.rule_set(message.body)
        case parser.OFPGroupDescStatsReply():
            for group in message.body:
                group.group_id = OWN_IDS[0]
            openflow.rule_set(group_descs=message.body)
        case parser.OFPMeterConfigStatsReply():
            for meter in message.body:
                meter.meter_id = OWN_IDS[0]
            openflow.rule_set(meter_configs=message.body)
        case parser.OFPAggregateStatsReply():
            int(message.body.flow_count)
        case parser.OFPPortDescStatsReply():
            openflow.ports_up(message.body)
        case parser.OFPPortStatus():
            openflow.port_change(message)
        case parser.OFPPacketIn():
            openflow.frame_in(message)
        case parser.OFPErrorMsg():
            openflow.error_text(message)
