"""Ryu 4.34's OpenFlow 1.3, with what it lacks, and without its endless loops.

Import `ofproto` and `parser` from here. Everything is done in memory when this module is
imported; nothing on disk is changed.

Two fields are added. Open vSwitch has them in an OXM class of Ericsson's (number 0x1000;
ovs-fields(7), ERICOXM_OF_ICMPV6_ND_RESERVED and ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE).

`NXActionRegLoad2` pads what it sends only up to 14 octets and fails on longer fields; it gets a
serializer that pads to the next multiple of 8, as all actions are.

Ryu's parsers walk over lists of elements that each give their own length, and a length of zero
makes them loop for ever (faucetsdn/ryu issues 188, 189, 190, 192 and 196). Each such parser is
wrapped, so that an element shorter than its own header is refused. Ryu then logs the message as
malformed and goes on with the next. We speak version 1.3 only; but a switch chooses the parser by
the version that it writes into each message, so all but greetings and errors of other versions is
refused too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ryu.lib import type_desc
from ryu.ofproto import (
    ofproto_parser,
    ofproto_protocol,  # noqa: F401  (registers the parsers of every version)
    oxm_fields,
)
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

__all__ = ["MalformedError", "field_type", "ofproto", "parser"]


class MalformedError(ValueError):
    """A message from a switch has an element that is too short for what it is."""


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
    return body + bytes(-(10 + len(body)) % 8)


def field_type(name: str) -> Any:
    """How Ryu reads and writes a field; its `size` is in octets, as on the wire.

    Raises:
        KeyError: Ryu knows no such field. It reads one by its number alone, and cannot write it.
    """
    _, kind = ofproto.oxm_get_field_info_by_name(name)
    if kind is type_desc.UnknownType:
        raise KeyError(name)
    return kind


@dataclass(frozen=True)
class _Element:
    """Something in a list: where its 16-bit length stands, and the least that it can be."""

    owner: Any
    method: str
    length_at: int
    least: int


#: Sizes are those of the specification's structures.
_ELEMENTS = (
    _Element(parser.OFPAction, "parser", 2, 8),
    _Element(parser.OFPInstruction, "parser", 2, 8),
    _Element(parser.OFPBucket, "parser", 0, 16),
    _Element(parser.OFPMeterBandHeader, "parser", 2, 12),
    _Element(parser.OFPFlowStats, "parser", 0, 56),
    _Element(parser.OFPGroupStats, "parser", 0, 40),
    _Element(parser.OFPGroupDescStats, "parser", 0, 8),
    _Element(parser.OFPMeterStats, "parser", 4, 40),
    _Element(parser.OFPMeterConfigStats, "parser", 0, 8),
    _Element(parser.OFPTableFeaturesStats, "parser", 0, 64),
    _Element(parser.OFPTableFeatureProp, "parse", 2, 4),
    _Element(parser.OFPInstructionId, "parse", 2, 4),
    _Element(parser.OFPActionId, "parse", 2, 4),
    _Element(parser.OFPQueueProp, "parser", 2, 8),
    _Element(parser.OFPPacketQueue, "parser", 8, 16),
)


def _refuse_short(element: _Element) -> None:
    original: Callable[..., Any] = getattr(element.owner, element.method).__func__

    def guarded(cls: Any, data: Any, offset: int = 0, *rest: Any) -> Any:
        (length,) = struct.unpack_from("!H", data, offset + element.length_at)
        if length < element.least:
            name = element.owner.__name__
            raise MalformedError(f"{name} of {length} octets, at least {element.least} expected")
        where = (offset, *rest) if element.method == "parser" else ()
        return original(cls, data, *where)

    setattr(element.owner, element.method, classmethod(guarded))


def _refuse_strange(version: int, original: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(datapath: Any, spoken: int, kind: int, *rest: Any) -> Any:
        if kind == ofproto.OFPT_HELLO:
            length, _, data = rest
            _check_greeting(data[:length])
        elif version != ofproto.OFP_VERSION and kind != ofproto.OFPT_ERROR:
            raise MalformedError(f"message {kind} of OpenFlow version {version}")
        return original(datapath, spoken, kind, *rest)

    return guarded


def _check_greeting(data: bytes) -> None:
    """Specification 1.3.5, section 7.5.1: elements of type and length, padded to 8 octets."""
    offset = ofproto.OFP_HEADER_SIZE
    while offset < len(data):
        (length,) = struct.unpack_from("!H", data, offset + 2)
        if length < 4:
            raise MalformedError(f"element of {length} octets in a greeting")
        offset += length


if not hasattr(parser, "_hactrl_mended"):
    _add_fields()
    parser.NXActionRegLoad2.serialize_body = _masked_load_body
    for _element in _ELEMENTS:
        _refuse_short(_element)
    for _version, _parser in ofproto_parser._MSG_PARSERS.items():
        ofproto_parser._MSG_PARSERS[_version] = _refuse_strange(_version, _parser)
    parser._hactrl_mended = True
