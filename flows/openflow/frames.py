"""Whole frames, from and to a switch: packet-in and packet-out (OpenFlow 1.3.5, sections 7.4.1
and 7.3.7)."""

from __future__ import annotations

from typing import Any

from flows.openflow.ryu_mended import ofproto, parser


def frame_in(message: Any) -> tuple[int, bytes]:
    """The port at which a packet-in's frame entered, and the frame."""
    port: int = message.match["in_port"]
    return port, bytes(message.data)


def is_plugged(port: int) -> bool:
    """Whether it is a port that something can be plugged into, and none of those that stand for
    something else, as LOCAL does for the switch itself (OpenFlow 1.3.5, section 4.5)."""
    return bool(port <= ofproto.OFPP_MAX)


def frame_out(datapath: Any, frame: bytes, port: int) -> Any:
    """The message that sends a frame out of a port."""
    return _packet_out(datapath, frame, ofproto.OFPP_CONTROLLER, port)


def frame_again(datapath: Any, frame: bytes, port: int) -> Any:
    """The message that has a frame go through the tables as if it had entered at this port."""
    return _packet_out(datapath, frame, port, ofproto.OFPP_TABLE)


def _packet_out(datapath: Any, frame: bytes, entered: int, out: int) -> Any:
    actions = [parser.OFPActionOutput(out)]
    nowhere = ofproto.OFP_NO_BUFFER
    return parser.OFPPacketOut(datapath, nowhere, entered, actions, frame)
