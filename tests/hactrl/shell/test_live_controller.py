"""What a controller that really runs does with switches that mean it no good."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from live_controller import (
    PATIENCE,
    START,
    Controller,
    controller,
    handshake,
    message,
    port,
    wait_until,
)
from ryu.ofproto import ofproto_v1_3 as ofproto

#: Of the example's switches o1 and o2, and of none.
O1, O2, NOBODY = 0x11, 0x12, 0xBAD

#: A switch of these tests answers an echo when the machine lets it.
PATIENT = (
    f"import hactrl.switches.connections; hactrl.switches.connections.ECHO_DEADLINE = {PATIENCE}\n"
)

#: What is told of this port is not dealt with.
DEFECTIVE = 99
DEFECT = f"""
from flows import openflow
told = openflow.port_change
openflow.port_change = lambda said: told(said if said.desc.port_no != {DEFECTIVE} else None)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with controller(tmp_path_factory.mktemp("controller"), PATIENT + DEFECT + START) as found:
        yield found


def serves(running: Controller) -> bool:
    """A switch is asked for the master's role."""
    switch = running.connect(O2)
    served = switch.answer(ofproto.OFPT_ROLE_REQUEST)
    switch.close()
    wait_until(lambda: not running.is_connected("o2"), "o2 to leave")
    return served


@pytest.mark.reported("C3")
def test_a_stranger_with_more_messages_than_the_queue_holds_stops_nobody(
    running: Controller,
) -> None:
    barriers = message(ofproto.OFPT_BARRIER_REPLY, 9) * 300
    with socket.create_connection(("127.0.0.1", running.openflow), timeout=PATIENCE) as stranger:
        stranger.sendall(handshake(NOBODY) + barriers)
        wait_until(lambda: running.journal("switch.unknown"), "the stranger to be journalled")
        assert serves(running)


@pytest.mark.reported("C3")
def test_a_switch_that_asks_for_echoes_and_is_gone_stops_nobody(running: Controller) -> None:
    running.send(handshake(O1) + message(ofproto.OFPT_ECHO_REQUEST, 9) * 13)
    assert serves(running)
    assert not running.is_connected("o1")


@pytest.mark.reported("C4")
def test_of_two_switches_with_one_id_the_first_stays_and_the_second_gets_no_rules(
    running: Controller,
) -> None:
    real = running.connect(O1)
    assert real.answer(ofproto.OFPT_ROLE_REQUEST)
    wait_until(lambda: running.is_connected("o1"), "o1 to be connected")
    stranger = running.connect(O1)
    while not running.journal("switch.refused"):
        assert real.answer(ofproto.OFPT_ECHO_REQUEST)
    (entry,) = running.journal("switch.refused")
    assert entry["details"]["connected"] == real.address
    assert not stranger.answer(ofproto.OFPT_ROLE_REQUEST)
    assert ofproto.OFPT_FLOW_MOD not in stranger.seen
    assert running.is_connected("o1")
    assert not [e for e in running.journal("switch.lost") if e["details"]["switch"] == "o1"]


@pytest.mark.reported("C3")
def test_a_switch_whose_news_cannot_be_dealt_with_is_hung_up_on_and_may_come_again(
    running: Controller,
) -> None:
    changed = struct.pack("!B7x", ofproto.OFPPR_MODIFY) + port(DEFECTIVE)
    switch = running.connect(O2)
    assert switch.answer(ofproto.OFPT_ROLE_REQUEST)
    wait_until(lambda: running.is_connected("o2"), "o2 to be connected")
    switch.socket.sendall(message(ofproto.OFPT_PORT_STATUS, 9, changed))
    assert not switch.answer(ofproto.OFPT_HELLO)
    (entry,) = running.journal("event.failed")
    details = {"event": "EventOFPPortStatus", "switch": "o2", "address": "127.0.0.1"}
    assert entry["details"] == details
    assert "Traceback" in running.log()
    assert serves(running)


@pytest.mark.reported("C6")
def test_a_stranger_that_sends_what_no_switch_sends_is_journalled(running: Controller) -> None:
    place, own = ("127.0.0.1", running.openflow), ("127.0.0.2", 0)
    details = {
        "peer": "stranger",
        "address": "127.0.0.2",  # unlike in other tests, because each is told for once in a while
        "reason": "message 200, which no switch sends",
    }

    def told() -> bool:
        entries = running.journal("openflow.disconnected")
        return details in [entry["details"] for entry in entries]

    with socket.create_connection(place, timeout=PATIENCE, source_address=own) as stranger:
        stranger.sendall(message(200, 1))
        wait_until(told, "the stranger to be journalled")
