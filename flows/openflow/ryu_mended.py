"""Ryu's OpenFlow 1.3, 4.34's and os-ken's, with what it lacks, and checked before it reads.

Import `ofproto` and `parser` from here. Everything is done in memory when this module is
imported; nothing on disk is changed.

Two fields are added. Open vSwitch has them in an OXM class of Ericsson's (number 0x1000;
ovs-fields(7), ERICOXM_OF_ICMPV6_ND_RESERVED and ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE).

`NXActionRegLoad2` pads what it sends only up to 14 octets and fails on longer fields; it gets a
serializer that pads to the next multiple of 8, as all actions are. `NXActionLearn` says that it is
padded and is not, so that a group which ends with one is cut short.

Ryu's parsers believe every length that a switch sends (faucetsdn/ryu issues 188, 189, 190, 192 and
196). Every message is looked through by `frame_check` first, whichever way it comes to them. We
speak version 1.3 only, so all but greetings and errors of other versions is refused.

Ryu takes addresses through netaddr, and numbers octet by octet; both go by what Python has for it,
in a tenth of the time, because each takeover waits for it.

What we never use, and Ryu reads in a way of its own or into more memory than it is worth, it
passes on unread: all of Nicira's actions but ours, and what experimenters have in messages of
their own. Greetings are read here, because Ryu overlooks the padding of their elements.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from flows.openflow import frame_check
from flows.openflow.framework import (
    ProtocolDesc,  # noqa: F401  (its module registers the parsers of every version)
    ofproto,
    ofproto_parser,
    oxm_fields,
    parser,
    type_desc,
)
from flows.openflow.walks import MalformedError, padded

__all__ = [
    "MalformedError",
    "field_type",
    "message_class",
    "ofproto",
    "parser",
    "read_message",
]


class _EricssonExtended(oxm_fields._OxmClass):  # type: ignore[misc]
    _class = 0x1000


def _add_fields() -> None:
    ofproto.oxm_types += [
        _EricssonExtended("nd_reserved", 1, type_desc.Int4),
        _EricssonExtended("nd_options_type", 2, type_desc.Int1),
    ]
    oxm_fields.generate(ofproto.__name__)


def _masked_load_body(action: Any) -> bytearray:
    """The body of NXAST_REG_LOAD2, behind the 10 octets of a Nicira action's header."""
    body = bytearray()
    value = action.value if action.mask is None else (action.value, action.mask)
    ofproto.oxm_serialize(*ofproto.oxm_from_user(action.dst, value), body, 0)
    return _padded(body)


def _padded(body: bytearray) -> bytearray:
    return body + bytes(-(10 + len(body)) % 8)


def _padding(serialize_body: Callable[[Any], bytearray]) -> Callable[[Any], bytearray]:
    return lambda action: _padded(serialize_body(action))


def field_type(name: str) -> Any:
    """How Ryu reads and writes a field; its `size` is in octets, as on the wire.

    Raises:
        KeyError: Ryu knows no such field. It reads one by its number alone, and cannot write it.
    """
    _, kind = ofproto.oxm_get_field_info_by_name(name)
    if kind is type_desc.UnknownType:
        raise KeyError(name)
    return kind


def read_message(datapath: Any, frame: bytes) -> Any:
    """One whole message, as Ryu's object.

    Raises MalformedError for what cannot be read.
    """
    frame_check.check(frame)
    version, kind, length, number = frame_check.HEADER.unpack_from(frame)
    try:
        message = parser._MSG_PARSERS[kind](datapath, version, kind, length, number, frame)
    except Exception as error:  # Ryu raises whatever it stumbles over
        what = f"{type(error).__name__}: {error}"
        raise MalformedError(f"message {kind} is unreadable ({what})") from error
    if kind == ofproto.OFPT_PACKET_IN and "in_port" not in message.match:
        raise MalformedError("a packet-in that names no port of entry")
    return message


def message_class(frame: bytes) -> Any:
    """The class of the message that `read_message` would make of this frame.

    Raises MalformedError if there is none.
    """
    _, kind, _, _ = frame_check.HEADER.unpack_from(frame)
    found = _CLASSES.get(kind)
    if kind == ofproto.OFPT_MULTIPART_REPLY:
        found = parser.OFPMultipartReply._STATS_MSG_TYPES.get(frame_check.part_of(frame))
    if found is None:
        raise MalformedError(f"message {kind}, which no switch sends")
    return found


_CLASSES = {
    kind: getattr(read, "__self__", None)
    for kind, read in parser._MSG_PARSERS.items()
    if kind not in (ofproto.OFPT_MULTIPART_REPLY, ofproto.OFPT_FLOW_MOD)
}


def _read_registered(
    datapath: Any, _version: int, _kind: int, length: int, _number: int, data: bytes
) -> Any:
    """`read_message` as a parser of Ryu's registry."""
    return read_message(datapath, bytes(data[:length]))


def _read_greeting(cls: Any, datapath: Any, *header_and_frame: Any) -> Any:
    """Elements of type and length, padded to 8 octets (OpenFlow 1.3.5, section 7.5.1)."""
    message = super(parser.OFPHello, cls).parser(datapath, *header_and_frame)
    message.elements = []
    at = ofproto.OFP_HEADER_SIZE
    while at < len(message.buf):
        kind, length = struct.unpack_from("!HH", message.buf, at)
        if kind == ofproto.OFPHET_VERSIONBITMAP:
            element = parser.OFPHelloElemVersionBitmap.parser(message.buf, at)
            message.elements.append(element)
        at += padded(length)
    return message


def _read_experimenter_part(cls: Any, data: bytes, offset: int) -> Any:
    """All that is left of the message; Ryu takes it for a list of them."""
    experimenter, kind = struct.unpack_from("!II", data, offset)
    part = cls(experimenter, kind, data[offset + 8 :])
    part.length = len(data) - offset
    return part


def _mac_octets(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _number_octets(kind: Any, number: int) -> bytes:
    octets: int = kind.size
    return (number & ((1 << 8 * octets) - 1)).to_bytes(octets)


def _quicken() -> None:
    """Text and numbers are the same as Ryu's."""
    type_desc.MacAddr.from_user = staticmethod(_mac_octets)
    type_desc.MacAddr.to_user = staticmethod(lambda octets: octets.hex(":"))
    families = {type_desc.IPv4Addr: socket.AF_INET, type_desc.IPv6Addr: socket.AF_INET6}
    for kind, family in families.items():
        kind.from_user = staticmethod(partial(socket.inet_pton, family))
        kind.to_user = staticmethod(partial(socket.inet_ntop, family))
    type_desc.IntDescr.from_user = _number_octets
    type_desc.IntDescr.to_user = lambda _kind, octets: int.from_bytes(octets)


#: Those of Nicira's actions that `flows.openflow.actions` sends.
_OUR_ACTIONS = (
    parser.NXActionRegLoad2,
    parser.NXActionRegMove,
    parser.NXActionResubmitTable,
    parser.NXActionLearn,
)


def _mend() -> None:
    _add_fields()
    _quicken()
    parser.NXActionRegLoad2.serialize_body = _masked_load_body
    parser.NXActionLearn.serialize_body = _padding(parser.NXActionLearn.serialize_body)
    parser.OFPHello.parser = classmethod(_read_greeting)
    parser._MSG_PARSERS[ofproto.OFPT_HELLO] = parser.OFPHello.parser
    parser.OFPExperimenterMultipart.parser = classmethod(_read_experimenter_part)
    parser.OFPExperimenter._subtypes.clear()
    parser.NXAction._subtypes = {action._subtype: action for action in _OUR_ACTIONS}
    for version in ofproto_parser._MSG_PARSERS:
        ofproto_parser._MSG_PARSERS[version] = _read_registered


if not hasattr(parser, "_hactrl_mended"):
    _mend()
    parser._hactrl_mended = True
