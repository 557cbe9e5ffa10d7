"""Ryu's end of a switch's connection, with a receive loop that no peer holds up.

Ryu's own reads whatever comes, logs each malformed message in full, lets others run every 2,048
messages, and remembers what it is told without end. Here every message is cut, checked
(`frame_check`), compared with what was asked (`questions`) and paid for (`budget`); a peer that
sends what it may not is disconnected, with one line of log. Messages that no application has a
handler for are not read at all, and others run whenever `SLICE` has gone by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from flows.openflow.budget import (
    HANDSHAKE_TIME,
    MOST_PORTS,
    OF_STRANGERS,
    OF_SWITCHES,
    Budget,
    ExcessError,
)
from flows.openflow.frame_check import HEADER, VERSION, Kind, Part, part_of
from flows.openflow.framework import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    EventBase,
    controller,
    hub,
    ofp_event,
)
from flows.openflow.framing import Framing, pieces
from flows.openflow.questions import Questions
from flows.openflow.ryu_mended import message_class, read_message
from flows.openflow.walks import PeerError
from flows.sparing import Sparing

LOG = logging.getLogger(__name__)

SLICE = 0.002
"""Seconds of the thread's running time after which others get their turn."""

_BUSY = hub.Semaphore()
"""Held while waiting for the next turn. Of those who have more to read than one turn allows, one
at a time gets one, so that many of them hold up the others no longer than one does."""

CHUNK = 65_536
"""Octets to take from a socket at once."""

clock: Callable[[], float] = time.monotonic

INTERVAL = 10.0
"""Seconds between two times that is told who is disconnected, for each address."""

ADDRESSES = 100
"""Addresses that are told apart in this."""

DISCONNECTIONS = Sparing(INTERVAL, apart=ADDRESSES)


class Disconnected(EventBase):  # type: ignore[misc]
    """A peer has sent what it may not, or more than it may, and that is told: to the log, and to
    the applications that observe this at Ryu's `ofp_event`."""

    def __init__(self, datapath: Any, reason: str) -> None:
        super().__init__()
        self.datapath = datapath
        self.reason = reason


def install() -> None:
    """Have Ryu's controller serve every connection so."""
    controller.datapath_connection_factory = serve


def serve(socket: Any, address: Any) -> None:
    """Serve a connection to its end."""
    with closing(OpenFlowConnection(socket, address)) as connection:
        connection.serve()


class OpenFlowConnection(controller.Datapath):  # type: ignore[misc]
    """One for each connection; all it reads is read in its own greenlet."""

    def __init__(self, socket: Any, address: Any) -> None:
        self.ports: dict[int, Any] = {}
        self._began = clock()
        self._budget = Budget.of(OF_STRANGERS, self._began)
        self._questions = Questions()
        self._turn = 0.0
        super().__init__(socket, address)

    def send_msg(self, msg: Any, close_socket: bool = False) -> Any:
        if msg.xid is None:
            self.set_xid(msg)
        self._questions.ask(msg.cls_msg_type, msg.xid, getattr(msg, "type", None), clock())
        return super().send_msg(msg, close_socket=close_socket)

    def set_state(self, state: Any) -> None:
        if state == MAIN_DISPATCHER != self.state:
            self._budget = Budget.of(OF_SWITCHES, clock())
        super().set_state(state)

    def _recv_loop(self) -> None:
        try:
            self._receive()
        except PeerError as error:
            who = "a stranger" if self.id is None else f"switch 0x{self.id:x}"
            said = "disconnected %s at %s: %s"
            if DISCONNECTIONS.log(self.address[0], LOG.error, said, who, self.address, error):
                told = Disconnected(self, str(error))
                self.ofp_brick.send_event_to_observers(told, self.state)
        finally:
            with suppress(OSError):
                self.socket.close()

    def _receive(self) -> None:
        framing = Framing()
        while self.state != DEAD_DISPATCHER:
            octets = self._some_octets()
            if octets == b"":
                return
            if self.state != MAIN_DISPATCHER and clock() - self._began > HANDSHAKE_TIME:
                raise ExcessError(f"no switch after {HANDSHAKE_TIME:g} s")
            if octets is None:
                continue
            self._budget = self._budget.spend(clock(), octets=len(octets))
            for frame in framing.feed(octets):
                self._take(frame)
                if self.state == DEAD_DISPATCHER:
                    return

    def _some_octets(self) -> bytes | None:
        """What has come; nothing at the end of the connection, None if it was silent for long."""
        try:
            return bytes(self.socket.recv(CHUNK) or b"")
        except TimeoutError:
            return None
        except OSError:  # a broken TLS record too, which Ryu would read again for ever
            return b""

    def _take(self, frame: bytes) -> None:
        with self._turn_used():
            self._budget = self._budget.spend(clock(), messages=1)
            self._expect(frame)
            awaited = self._is_awaited(ofp_event.ofp_msg_to_ev_cls(message_class(frame)))
        for piece in pieces(frame) if awaited else ():
            with self._turn_used() as began:
                message = read_message(self, piece)
                self._budget = self._budget.spend(clock(), work=time.thread_time() - began)
                self._pass_on(message)

    @contextmanager
    def _turn_used(self) -> Iterator[float]:
        """Give way afterwards, if it was the last that this turn allowed."""
        began = time.thread_time()
        yield began
        self._turn += time.thread_time() - began
        if self._turn > SLICE:
            with _BUSY:
                hub.sleep(0)
            self._turn = 0.0

    def _expect(self, frame: bytes) -> None:
        """Refuse what nobody asked for. A switch may tell its features and ports of itself."""
        _, kind, _, _ = HEADER.unpack_from(frame)
        if self.state == CONFIG_DISPATCHER and (
            kind == Kind.FEATURES_REPLY
            or (kind == Kind.MULTIPART_REPLY and part_of(frame) == Part.PORT_DESC)
        ):
            return
        self._questions.take(frame, clock())

    def _is_awaited(self, event: Any) -> bool:
        """Whether an application wants such events now."""
        wanted = self.ofp_brick.observers.get(event, {}).values()
        handlers = self.ofp_brick.event_handlers.get(event, ())
        return any(not states or self.state in states for states in wanted) or any(
            self.state in handler.callers[event].dispatchers for handler in handlers
        )

    def _pass_on(self, message: Any) -> None:
        """As Ryu does; but what its own handler of errors does is to log them, and to fail at
        some."""
        if message.msg_type == Kind.HELLO:
            _check_greeting(message)
        event = ofp_event.ofp_msg_to_ev(message)
        self.ofp_brick.send_event_to_observers(event, self.state)
        if message.msg_type != Kind.ERROR:
            for handler in list(self.ofp_brick.get_handlers(event, self.state)):
                handler(event)
        if len(self.ports) > MOST_PORTS:
            raise ExcessError(f"more than {MOST_PORTS} ports")


def _check_greeting(message: Any) -> None:
    """Ryu would answer with an error, and fail at writing it."""
    offered = sorted({version for element in message.elements for version in element.versions})
    if VERSION in offered or (not offered and message.version >= VERSION):
        return
    raise PeerError(
        f"it speaks OpenFlow versions {offered or [message.version]} and not {VERSION}, which is"
        " OpenFlow 1.3; let it speak that too"
    )
