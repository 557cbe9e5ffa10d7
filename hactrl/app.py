"""The Ryu application: OpenFlow events in, OpenFlow messages out, and all parts wired together.

    ryu-manager hactrl --hactrl-site site.yaml

What is decided is decided in `hactrl.engine`; what a switch must hold is compiled in `flows`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import eventlet
from ryu import cfg
from ryu.app.wsgi import ControllerBase, WSGIApplication
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    set_ev_cls,
)
from ryu.ofproto import ofproto_v1_3

from flows import openflow
from hactrl.assembly import Assembly
from hactrl.engine.events import PortChanged, SwitchConnected, SwitchLost
from hactrl.listeners import OPEN, OPENFLOW
from hactrl.site import load
from hactrl.switches import Session, Wanted
from hactrl.wire import DatapathWire
from topology.backbones import backbone_switches
from topology.model import Attachment

LOG = logging.getLogger(__name__)


Handler = TypeVar("Handler", bound=Callable[..., None])


def handles(events: Any, states: Any) -> Callable[[Handler], Handler]:
    """Ryu's `set_ev_cls`, with a type."""
    decorator: Callable[[Handler], Handler] = set_ev_cls(events, states)
    return decorator


def boot_time() -> float:
    """Seconds since boot, suspend included: a clock that never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Hactrl(app_manager.RyuApp):  # type: ignore[misc]
    """One for each controller. A defect in it ends the process: the rules in the switches keep
    working, and whoever supervises the controller starts it again, which changes no rule."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]  # noqa: RUF012 - Ryu's way to say it
    _CONTEXTS = {"wsgi": WSGIApplication}  # noqa: RUF012

    def __init__(self, *args: Any, wsgi: WSGIApplication, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        site = load(cfg.CONF.hactrl_site)
        self._assembly = Assembly(site, boot_time, self._want, self._session_of)
        self._runtime = self._assembly.runtime
        self._backbones = backbone_switches(site.network)
        self._names = {s.datapath_id: s.name for s in site.network.switches.values()}
        self._connections: dict[str, tuple[DatapathWire, Session]] = {}
        mount(wsgi, self._assembly.api)

    def start(self) -> None:
        super().start()
        supervised("engine", self._runtime.run)
        for rulebook in self._runtime.rulebooks:
            supervised("rulebook", rulebook.run)
        self._assembly.start(supervised)

    def _want(self, switch: str, wanted: Wanted) -> None:
        if connection := self._connections.get(switch):
            connection[1].want(wanted)

    def _session_of(self, switch: str) -> Session | None:
        connection = self._connections.get(switch)
        return connection[1] if connection else None

    def _of(self, datapath: Any) -> tuple[DatapathWire, Session] | None:
        """The connection that this datapath is; None if another one has taken its place."""
        connection = self._connections.get(self._names.get(datapath.id, ""))
        return connection if connection and connection[0].datapath is datapath else None

    @handles(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def _state_changed(self, event: Any) -> None:
        if event.state == MAIN_DISPATCHER:
            self._connected(event.datapath)
        else:
            self._lost(event.datapath)

    def _connected(self, datapath: Any) -> None:
        name = self._names.get(datapath.id)
        if name is None:
            LOG.error(
                "a switch with datapath id 0x%x at %s is not in the site file: not touched",
                datapath.id,
                datapath.address,
            )
            datapath.close()
            return
        if former := self._connections.get(name):
            # Whichever is the real one connects again; kept open, it would wait for ever.
            LOG.warning(
                "switch %s connects from %s and is connected from %s: the older connection ends",
                name,
                datapath.address,
                former[0].datapath.address,
            )
            self._end(name)
        wire = DatapathWire(datapath)
        session = Session(
            name,
            wire,
            lambda wanted: self._assembly.installed(name, wanted),
            lambda counts: self._assembly.answers.counted(name, counts),
            self._assembly.counters(name),
        )
        self._connections[name] = (wire, session)
        wire.take_master_role(self._assembly.generation_id)

    def _end(self, name: str) -> None:
        """Forget a switch's connection, and close it if it is still there."""
        wire, session = self._connections.pop(name)
        session.close()
        wire.datapath.close()
        self._runtime.post(SwitchLost(name))

    @handles(ofp_event.EventOFPRoleReply, MAIN_DISPATCHER)
    def _mastered(self, event: Any) -> None:
        """From here on the switch is ours. Before, it takes changes from whoever asks."""
        datapath = event.msg.datapath
        if (connection := self._of(datapath)) and connection[0].take_role_reply(event.msg):
            name = self._names[datapath.id]
            OPEN[OPENFLOW].busy(datapath.address)
            supervised(f"session of {name}", connection[1].run)
            self._runtime.hand_out(name)
            up = openflow.ports_up(datapath.ports.values())
            self._runtime.post(SwitchConnected(name, up))

    def _lost(self, datapath: Any) -> None:
        if datapath.id is not None and self._of(datapath):
            self._end(self._names[datapath.id])

    @handles(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def _port_status(self, event: Any) -> None:
        message = event.msg
        if self._of(message.datapath):
            port, up = openflow.port_change(message)
            switch = self._names[message.datapath.id]
            if not up:
                self._assembly.backbone.port_down(Attachment(switch, port))
            self._runtime.post(PortChanged(Attachment(switch, port), up))

    @handles(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def _packet_in(self, event: Any) -> None:
        message = event.msg
        switch = self._names.get(message.datapath.id, "")
        if self._of(message.datapath) and switch in self._backbones:
            port, frame = openflow.frame_in(message)
            if openflow.is_plugged(port):  # not what the switch's own system sends
                self._assembly.backbone.frame_in(Attachment(switch, port), frame)

    @handles(
        [
            ofp_event.EventOFPFlowStatsReply,
            ofp_event.EventOFPAggregateStatsReply,
            ofp_event.EventOFPGroupDescStatsReply,
            ofp_event.EventOFPMeterConfigStatsReply,
        ],
        MAIN_DISPATCHER,
    )
    def _statistics(self, event: Any) -> None:
        if connection := self._of(event.msg.datapath):
            connection[1].replied(event.msg)

    @handles(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def _barrier(self, event: Any) -> None:
        if connection := self._of(event.msg.datapath):
            connection[1].barrier_done(event.msg.xid)

    @handles(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def _error(self, event: Any) -> None:
        if connection := self._of(event.msg.datapath):
            error = openflow.error_text(event.msg)
            if connection[0].take_role_reply(event.msg):
                LOG.error(
                    "switch %s refuses generation id %d (%s): it knows a newer controller, and is"
                    " not touched; stop that one, or start this one again to be the newer",
                    *(connection[1].switch, self._assembly.generation_id, error),
                )
            else:
                connection[1].refused(event.msg.xid, error)


def supervised(name: str, function: Callable[[], None]) -> None:
    """Run in a greenlet whose unexpected end is the end of the controller."""

    def run() -> None:
        try:
            function()
        except Exception:
            LOG.exception("%s failed; the controller ends", name)
            logging.shutdown()
            os._exit(os.EX_SOFTWARE)

    eventlet.spawn(run)


def mount(wsgi: WSGIApplication, api: Callable[..., Any]) -> None:
    """Hand every request of Ryu's WSGI server to our own router."""

    class Gateway(ControllerBase):  # type: ignore[misc]
        def index(self, request: Any, **_route: Any) -> Any:
            return request.get_response(api)

    wsgi.mapper.connect("hactrl", "/{path:.*}", controller=Gateway, action="index")
