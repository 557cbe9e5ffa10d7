"""The Ryu application: OpenFlow events in, OpenFlow messages out, and all parts wired together.

    ryu-manager hactrl --hactrl-site site.yaml

What is decided is decided in `hactrl.engine`; what a switch must hold is compiled in `flows`.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from ryu import cfg
from ryu.app.wsgi import ControllerBase, WSGIApplication
from ryu.base import app_manager
from ryu.base.app_manager import lookup_service_brick
from ryu.controller import ofp_event
from ryu.controller.event import EventBase
from ryu.controller.handler import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    set_ev_cls,
)
from ryu.ofproto import ofproto_v1_3

from flows import openflow
from flows.openflow.connection import Disconnected
from hactrl import hub
from hactrl.clock import boot_time
from hactrl.engine.events import PortChanged
from hactrl.hub import LightQueue
from hactrl.listeners import OPEN, OPENFLOW
from hactrl.shell.assembly import Assembly
from hactrl.shell.priority import go_first
from hactrl.shell.watchdog import Watchdog
from hactrl.site import load
from hactrl.switches.board import Switchboard
from hactrl.switches.connections import Connections, SwitchConnection
from topology.backbones import backbone_switches
from topology.model import Attachment

LOG = logging.getLogger(__name__)

#: Seconds that a controller that is stopped takes to write its journal.
LAST_WORDS = 1.0


Handler = TypeVar("Handler", bound=Callable[..., None])


def handles(events: Any, states: Any) -> Callable[[Handler], Handler]:
    """Ryu's `set_ev_cls`, with a type."""
    decorator: Callable[[Handler], Handler] = set_ev_cls(events, states)
    return decorator


class _AreServed(EventBase):  # type: ignore[misc]
    """The watchdog's question to the greenlet that serves OpenFlow events."""


class Hactrl(app_manager.RyuApp):  # type: ignore[misc]
    """One for each controller. A defect in it ends the process: the rules in the switches keep
    working, and whoever supervises the controller starts it again, which changes no rule. A defect
    in serving what a switch says ends that switch's connection only: one switch must not be able to
    end the controller again and again, and when it is here again all is set up anew.

    One greenlet serves the events of all switches, so no handler may wait: each puts notes into
    queues without an end. What sends to a switch or closes it is in greenlets of its own."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]  # noqa: RUF012 - Ryu's way to say it
    _CONTEXTS = {"wsgi": WSGIApplication}  # noqa: RUF012

    def __init__(self, *args: Any, wsgi: WSGIApplication, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        LOG.info("scheduled with %s", go_first())
        # Has no end of its own: what switches say waits before it where many messages are in it
        # (see `_send_event`), an end is told once for each connection, of which there are as many
        # as the door has room for, and the watchdog has one question in it at most.
        self.events = LightQueue()
        site = load(cfg.CONF.hactrl_site)
        self._names = {s.datapath_id: s.name for s in site.network.switches.values()}
        board = Switchboard(site.network.switches)
        self._assembly = Assembly(site, boot_time, board)
        self._runtime = self._assembly.runtime
        self._backbones = backbone_switches(site.network)
        self._connections = Connections(
            self._names,
            board,
            self._runtime.post,
            spawn=supervised,
            generation_id=self._assembly.generation_id,
            clock=boot_time,
        )
        mount(wsgi, self._assembly.api)

    def start(self) -> None:
        super().start()
        lookup_service_brick("ofp_event").register_observer(Disconnected, self.name)
        self.register_handler(Disconnected, self._disconnected)
        supervised("engine", self._runtime.run)
        supervised("settling", self._runtime.settle)
        for rulebook in self._runtime.rulebooks:
            supervised("rulebook", rulebook.run)
        self._assembly.start(supervised)
        watchdog = Watchdog(lambda: self._send_event(_AreServed(), None), self.threads[0])
        self.register_handler(_AreServed, lambda _event: watchdog.answer())
        supervised("watchdog", watchdog.run)
        for number in (signal.SIGTERM, signal.SIGINT):
            # SIGINT is ignored in a job that a shell does not wait for.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda told, _: supervised("stop", lambda: self._stop(told)))

    def _stop(self, number: int) -> None:
        """End by the signal that told it to, with the journal on disk: so a supervisor or a shell
        learns that it did not end by itself."""
        with hub.Timeout(LAST_WORDS, False):
            self._assembly.flush()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _send_event(self, event: Any, state: str | None) -> None:
        """Ryu's, but only what switches say waits for room in the queue. Whoever closes a
        connection tells so by an event: this application's own greenlet would wait for itself,
        and one that Ryu ends while it waits would leave the connection open for ever."""
        if isinstance(event, ofp_event.EventOFPMsgBase):
            self._events_sem.acquire()
        self.events.put((event, state))

    def _event_loop(self) -> None:
        """Ryu's, for `_send_event`."""
        supervise("serving OpenFlow events", self._serve_events)

    def _serve_events(self) -> None:
        while self.is_active or not self.events.empty():
            event, state = self.events.get()
            if isinstance(event, ofp_event.EventOFPMsgBase):
                self._events_sem.release()
            for handler in self.get_handlers(event, state):
                try:
                    handler(event)
                except Exception:
                    if not is_of_live_switch(event):
                        raise
                    self._connections.failed(datapath_of(event), type(event).__name__)

    def _of(self, datapath: Any) -> SwitchConnection | None:
        return self._connections.of(datapath)

    @handles(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def _state_changed(self, event: Any) -> None:
        if event.state == MAIN_DISPATCHER:
            self._connections.arrived(event.datapath)
        else:
            self._connections.left(event.datapath)

    def _disconnected(self, event: Disconnected) -> None:
        self._connections.misbehaved(event.datapath, event.reason)

    @handles(ofp_event.EventOFPRoleReply, MAIN_DISPATCHER)
    def _mastered(self, event: Any) -> None:
        datapath = event.msg.datapath
        if (connection := self._of(datapath)) and connection.wire.take_role_reply(event.msg):
            OPEN[OPENFLOW].busy(datapath.address)
            self._connections.mastered(connection, openflow.ports_up(datapath.ports.values()))
            self._runtime.hand_out(connection.switch)

    @handles(ofp_event.EventOFPEchoReply, MAIN_DISPATCHER)
    def _echo_reply(self, event: Any) -> None:
        if connection := self._of(event.msg.datapath):
            connection.wire.take_echo_reply(event.msg.xid)

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
            connection.session.replied(event.msg)

    @handles(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def _barrier(self, event: Any) -> None:
        if connection := self._of(event.msg.datapath):
            connection.session.barrier_done(event.msg.xid)

    @handles(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def _error(self, event: Any) -> None:
        if connection := self._of(event.msg.datapath):
            error = openflow.error_text(event.msg)
            if connection.wire.take_role_reply(event.msg):
                LOG.error(
                    "switch %s refuses generation id %d (%s): it knows a newer controller, and is"
                    " not touched; stop that one, or start this one again to be the newer",
                    *(connection.switch, self._assembly.generation_id, error),
                )
            else:
                connection.session.refused(event.msg.xid, error)


def datapath_of(event: Any) -> Any:
    """Whose connection an event of Ryu's is about; None if it is about none."""
    return getattr(getattr(event, "msg", event), "datapath", None)


def is_of_live_switch(event: Any) -> bool:
    """Whether to end a connection makes up for it that the event was not served. It does not for
    the end of that connection itself: what should have ended with it would go on for ever."""
    return datapath_of(event) is not None and getattr(event, "state", None) != DEAD_DISPATCHER


def supervised(name: str, function: Callable[[], None]) -> Any:
    """Run in a greenlet, which is given back, whose unexpected end is the end of the controller."""
    return hub.spawn(supervise, name, function)


def supervise(name: str, function: Callable[[], None]) -> None:
    """Run what may return, and must not fail: then the controller ends."""
    try:
        function()
    except Exception:
        LOG.exception("%s failed; the controller ends", name)
        logging.shutdown()
        os._exit(os.EX_SOFTWARE)


def mount(wsgi: WSGIApplication, api: Callable[..., Any]) -> None:
    """Hand every request of Ryu's WSGI server to our own router."""

    class Gateway(ControllerBase):  # type: ignore[misc]
        def index(self, request: Any, **_route: Any) -> Any:
            return request.get_response(api)

    wsgi.mapper.connect("hactrl", "/{path:.*}", controller=Gateway, action="index")
