"""A connection that gets what a peer sends: what it passes on, and how it ends."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import openflow_frames
import pytest
from openflow_frames import Octets, frames, message, multipart, plain

from flows.openflow import connection
from flows.openflow.budget import HANDSHAKE_TIME, MOST_PORTS
from flows.openflow.connection import OpenFlowConnection
from flows.openflow.framework import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    app_manager,
    hub,
    ofp_event,
)
from flows.openflow.ryu_mended import ofproto, parser
from flows.sparing import Sparing

Given = bytes | Exception
Asked = Iterable[tuple[int, int, int | None]]
Serve = Callable[..., OpenFlowConnection]

PEER = ("192.0.2.7", 40_000)


class FakeSocket:
    """Gives what it was given, or raises it; closed by the peer then."""

    def __init__(self, *given: bytes | Exception) -> None:
        self.given = list(given)
        self.closed = False

    def recv(self, _: int) -> bytes:
        found = self.given.pop(0) if self.given else b""
        if isinstance(found, Exception):
            raise found
        return found

    def setsockopt(self, *_: int) -> None:
        pass

    def settimeout(self, _: float) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Events:
    """In the place of Ryu's service that hands events to applications."""

    def __init__(self) -> None:
        self.passed_on: list[Any] = []
        self.event_handlers: dict[Any, list[Any]] = {}
        self.observers: dict[Any, dict[str, set[str]]] = {}

    def observe(self, *classes: Any) -> None:
        for observed in classes:
            self.observers[observed] = {"test": set()}

    def send_event_to_observers(self, event: Any, _state: str) -> None:
        if type(event) in self.observers:
            self.passed_on.append(getattr(event, "msg", event))

    def get_handlers(self, event: Any, _state: str) -> list[Any]:
        return self.event_handlers.get(type(event), [])


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    found = Events()
    found.observe(ofp_event.EventOFPHello, ofp_event.EventOFPPortStatus)
    monkeypatch.setitem(app_manager.SERVICE_BRICKS, "ofp_event", found)
    monkeypatch.setattr(connection, "DISCONNECTIONS", Sparing(10.0))
    monkeypatch.setattr(connection, "clock", lambda: 0.0)
    return found


@pytest.fixture
def serve(events: Events) -> Serve:  # noqa: ARG001 (only has to be there)
    """Read all of this, in this state, having asked for these."""

    def served(
        *given: bytes | Exception, state: str = MAIN_DISPATCHER, ask: Any = ()
    ) -> OpenFlowConnection:
        made = OpenFlowConnection(FakeSocket(*given), PEER)
        made.set_state(state)
        for kind, number, part in ask:
            made._questions.ask(kind, number, part, connection.clock())
        made._recv_loop()
        assert made.socket.closed
        return made

    return served


MORE_THAN_A_GREETING = message(ofproto.OFPT_HELLO, Octets(bytes(2_000))).data
FLOWS = Octets(openflow_frames.flow(openflow_frames.matched()).data * 1_000)
ASKED_FOR_FLOWS = [(ofproto.OFPT_MULTIPART_REQUEST, 9, ofproto.OFPMP_FLOW)]


@pytest.mark.reported("C6")
@pytest.mark.parametrize(
    ("sent", "state", "said"),
    [
        (frames()["hello"].data[:2] + b"\0\7" + bytes(4), "handshake", "a message of 7 octets"),
        (MORE_THAN_A_GREETING, "handshake", "a greeting of 2008 octets"),
        (message(ofproto.OFPT_HELLO).data.replace(b"\4", b"\1", 1), "handshake", "versions [1]"),
        (multipart(1, Octets(bytes(60_000))).data, "main", "to nothing that was asked"),
        (message(200).data, "main", "message 200, which no switch sends"),
        (message(ofproto.OFPT_FLOW_MOD, Octets(bytes(60))).data, "main", "no switch sends"),
        (frames()["echo"].data * 60_000, "main", "more than 50000 messages"),
        (frames()["echo"].data * 2_000, "config", "more than 1000 messages"),
        (message(ofproto.OFPT_PORT_STATUS, Octets(bytes(3))).data, "main", "port-status of 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else len(value),
)
def test_a_peer_that_sends_what_it_may_not_is_disconnected_with_one_line_that_names_it(
    serve: Serve, caplog: pytest.LogCaptureFixture, sent: bytes, state: str, said: str
) -> None:
    serve(sent, state=state)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert str(PEER) in record.message
    assert said in record.message
    assert len(record.message) < 300


@pytest.mark.reported("C6")
def test_a_peer_that_comes_again_and_again_is_one_line_and_told_once(
    serve: Serve, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    events.observe(connection.Disconnected)
    for _ in range(100):
        serve(MORE_THAN_A_GREETING)
        serve(message(200).data)
    assert len(caplog.records) == 1
    (told,) = events.passed_on
    assert told.datapath.address == PEER
    assert told.reason == "a greeting of 2008 octets, at most 1024 expected"


@pytest.mark.reported("C6")
def test_a_long_answer_lets_others_run_in_between(
    serve: Serve, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.observe(ofp_event.EventOFPFlowStatsReply)
    turns: list[int] = []
    monkeypatch.setattr(hub, "sleep", lambda _: turns.append(len(events.passed_on)))
    monkeypatch.setattr(connection, "SLICE", 0.0)
    serve(multipart(1, FLOWS).data, ask=ASKED_FOR_FLOWS)
    assert sum(len(reply.body) for reply in events.passed_on) == 1_000
    assert len(turns) > 20
    assert turns[:20] == list(range(20))


@pytest.mark.reported("C6")
def test_many_busy_peers_hold_up_others_no_longer_than_one(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.observe(ofp_event.EventOFPFlowStatsReply)
    monkeypatch.setattr(connection, "SLICE", 0.0)
    peers = [OpenFlowConnection(FakeSocket(multipart(1, FLOWS).data), PEER) for _ in range(20)]
    for peer in peers:
        peer.set_state(MAIN_DISPATCHER)
        peer._questions.ask(*ASKED_FOR_FLOWS[0], 0.0)
        hub.spawn(peer._recv_loop)
    read_between_turns = []
    while not all(peer.socket.closed for peer in peers):
        before = len(events.passed_on)
        hub.sleep(0)
        read_between_turns.append(len(events.passed_on) - before)
    assert sum(read_between_turns) > 400
    assert max(read_between_turns) <= 3


@pytest.mark.reported("C6")
def test_what_nobody_waits_for_is_not_read(serve: Serve, events: Events) -> None:
    events.observe(ofp_event.EventOFPBarrierReply)
    broken = message(ofproto.OFPT_PACKET_IN, Octets(bytes(50))).data
    barrier = frames()["barrier"].data
    serve(broken + barrier, ask=[(ofproto.OFPT_BARRIER_REQUEST, 9, None)])
    assert [type(message) for message in events.passed_on] == [parser.OFPBarrierReply]


@pytest.mark.reported("C6")
def test_a_peer_that_is_silent_before_it_is_a_switch_is_given_up(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter(float(second) for second in range(1_000))
    monkeypatch.setattr(connection, "clock", lambda: next(times))
    serve(*[TimeoutError()] * 100, state=CONFIG_DISPATCHER)
    assert f"no switch after {HANDSHAKE_TIME:g} s" in caplog.text
    assert next(times) < HANDSHAKE_TIME + 10


@pytest.mark.reported("C6")
def test_a_switch_with_ever_more_ports_is_given_up(
    serve: Serve, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    def remember(event: Any) -> None:
        event.msg.datapath.ports.update({port: None for port in range(MOST_PORTS + 1)})

    remember.callers = {  # type: ignore[attr-defined]
        ofp_event.EventOFPPortStatus: type("Caller", (), {"dispatchers": {MAIN_DISPATCHER}})
    }
    events.event_handlers[ofp_event.EventOFPPortStatus] = [remember]
    serve(frames()["port-status"].data)
    assert f"more than {MOST_PORTS} ports" in caplog.text


@pytest.mark.reported("C1")
def test_a_broken_tls_record_ends_the_connection_and_is_not_read_for_ever(
    serve: Serve,
) -> None:
    broken = ssl.SSLError(1, "decryption failed or bad record mac")
    assert serve(*[broken] * 10).socket.given == [broken] * 9


def test_a_silent_switch_keeps_its_connection(
    serve: Serve, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    events.observe(ofp_event.EventOFPPortStatus)
    serve(TimeoutError(), TimeoutError(), frames()["port-status"].data)
    assert len(events.passed_on) == 1
    assert not caplog.records


def test_a_switch_may_tell_its_features_and_ports_before_it_is_asked(
    serve: Serve, events: Events
) -> None:
    events.observe(ofp_event.EventOFPSwitchFeatures, ofp_event.EventOFPPortDescStatsReply)
    ports = multipart(ofproto.OFPMP_PORT_DESC, openflow_frames.port()).data
    serve(frames()["features"].data + ports, state=CONFIG_DISPATCHER)
    assert len(events.passed_on) == 2


def test_a_switch_with_three_hundred_ports_and_five_thousand_rules_is_served(
    serve: Serve, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    events.observe(ofp_event.EventOFPFlowStatsReply, ofp_event.EventOFPPortDescStatsReply)
    ports = multipart(ofproto.OFPMP_PORT_DESC, Octets(openflow_frames.port().data * 300)).data
    serve(ports, state=CONFIG_DISPATCHER)
    assert sum(len(reply.body) for reply in events.passed_on) == 300
    events.passed_on.clear()
    flow = Octets(frames()["1: flow with NXActionLearn/copy applied"].data[16:] * 400)
    parts = [multipart(1, flow, more=part < 12).data for part in range(13)]
    serve(*parts, ask=ASKED_FOR_FLOWS)
    assert sum(len(reply.body) for reply in events.passed_on) == 5_200
    assert not caplog.records


def test_a_connection_that_was_closed_reads_no_further(serve: Serve, events: Events) -> None:
    events.observe(ofp_event.EventOFPPortStatus)
    serve(frames()["port-status"].data, state=DEAD_DISPATCHER)
    assert events.passed_on == []


def test_the_answer_to_what_was_sent_is_awaited(events: Events) -> None:
    events.observe(ofp_event.EventOFPBarrierReply)
    made = OpenFlowConnection(FakeSocket(message(ofproto.OFPT_BARRIER_REPLY, number=77).data), PEER)
    made.set_version(ofproto.OFP_VERSION)
    made.state = MAIN_DISPATCHER
    request = parser.OFPBarrierRequest(made)
    request.set_xid(77)
    made.send_msg(request)
    made._recv_loop()
    assert [reply.xid for reply in events.passed_on] == [77]


def test_an_error_is_passed_on_whatever_it_holds(
    serve: Serve, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    """Ryu's own handler of errors takes what is in one for ASCII."""
    events.observe(ofp_event.EventOFPErrorMsg)
    error = message(ofproto.OFPT_ERROR, plain("HHI", 0, 0, 0xFFFFFFFF)).data
    serve(error, ask=[(ofproto.OFPT_HELLO, 1, None)])
    assert len(events.passed_on) == 1
    assert not caplog.records
