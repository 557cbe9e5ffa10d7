"""An application that has one of hactrl's sessions bring the switch `o1` of the report's network to
its rules. Prints `installed` when the switch has confirmed them, or what it refuses.

Started by `framework_manager.py`, so that it runs on either framework.
"""

from __future__ import annotations

from typing import Any

from report_network import Situation

from flows.openflow import error_text
from flows.openflow.framework import (
    MAIN_DISPATCHER,
    NAME,
    Application,
    ofp_event,
    ofproto,
    set_ev_cls,
)
from hactrl import hub
from hactrl.switches.session import Counters, Session, Wanted
from hactrl.switches.wire import DatapathWire

SWITCH = "o1"


def say(text: str) -> None:
    print(f"{NAME}: {text}", flush=True)


class OneSession(Application):  # type: ignore[misc]
    OFP_VERSIONS = [ofproto.OFP_VERSION]  # noqa: RUF012

    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
    def arrived(self, event: Any) -> None:
        self.session = Session(
            SWITCH,
            DatapathWire(event.datapath),
            lambda _wanted: say("installed"),
            lambda _counts: None,
            Counters(),
            restored=lambda _count: None,
        )
        self.session.want(Wanted(Situation().compiled()[SWITCH], version=1, provisional=False))
        hub.spawn(self.session.run)

    @set_ev_cls(
        [
            ofp_event.EventOFPFlowStatsReply,
            ofp_event.EventOFPAggregateStatsReply,
            ofp_event.EventOFPGroupDescStatsReply,
            ofp_event.EventOFPMeterConfigStatsReply,
        ],
        MAIN_DISPATCHER,
    )
    def replied(self, event: Any) -> None:
        self.session.replied(event.msg)

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def barrier_done(self, event: Any) -> None:
        self.session.barrier_done(event.msg.xid)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, MAIN_DISPATCHER)
    def refused(self, event: Any) -> None:
        say(error_text(event.msg))
        self.session.refused(event.msg.xid, error_text(event.msg))
