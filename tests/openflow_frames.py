"""Frames of every kind that Ryu's OpenFlow 1.3 reads, made from its registries of parsers, and the
same frames with wrong lengths.

`frames()` are right; each remembers where the lengths in it stand, those of whatever is nested in
it too. `wrong_lengths()` sets each of them to each of a number of values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from flows.openflow.framework import nicira_ext
from flows.openflow.ryu_mended import ofproto, parser

Places = tuple[tuple[int, int], ...]
"""Where a length stands, and in how many octets."""


@dataclass(frozen=True)
class Octets:
    """Octets, and the places of the lengths in them."""

    data: bytes
    lengths: Places = ()

    def __add__(self, other: Octets) -> Octets:
        moved = tuple((at + len(self.data), size) for at, size in other.lengths)
        return Octets(self.data + other.data, self.lengths + moved)


NOTHING = Octets(b"")


def plain(form: str, *values: Any) -> Octets:
    return Octets(struct.pack(f"!{form}", *values))


def measured(head: Octets, at: int, body: Octets = NOTHING) -> Octets:
    """Head and body, with the length of both at this place of the head."""
    data = bytearray((head + body).data)
    struct.pack_into("!H", data, at, len(data))
    return Octets(bytes(data), ((at, 2), *(head + body).lengths))


def padded(octets: Octets) -> Octets:
    return octets + Octets(bytes(-len(octets.data) % 8))


def field(number: int, size: int, masked: bool = False) -> Octets:
    payload = bytes(range(1, 1 + size)) * (2 if masked else 1)
    head = struct.pack("!HBB", number >> 7, (number & 0x7F) << 1 | masked, len(payload))
    return Octets(head + payload, ((3, 1),))


def fields() -> Iterator[tuple[str, Octets]]:
    """Every field that Ryu knows, without and with a mask."""
    for known in ofproto.oxm_types:
        if isinstance(known.num, tuple):
            head = struct.pack("!I", known.experimenter_id)
            if known.exp_type == 2560:
                head += struct.pack("!H", known.num[1])
            payload = head + bytes(known.type.size)
            number = known.oxm_type
            name = struct.pack("!HBB", number >> 7, (number & 0x7F) << 1, len(payload))
            yield known.name, Octets(name + payload, ((3, 1),))
        else:
            yield known.name, field(known.oxm_type, known.type.size)
            yield f"{known.name}/", field(known.oxm_type, known.type.size, masked=True)


IN_PORT = field(0x8000 << 7, 4)


def matched(*contents: Octets) -> Octets:
    return padded(measured(plain("HH", 1, 0), 2, sum(contents, NOTHING)))


def nicira(subtype: int, body: Octets) -> Octets:
    return measured(padded(plain("HHIH", 0xFFFF, 0, 0x2320, subtype) + body), 2)


def nicira_bodies() -> Iterator[tuple[str, Octets]]:
    """All of Nicira's actions, also those that are not read any more."""
    for name, action in sorted(vars(parser).items()):
        if not (name.startswith("NXAction") and hasattr(action, "_subtype")):
            continue
        if action in (parser.NXActionRegLoad2, parser.NXActionRegMove):
            continue  # below, with fields
        yield name, nicira(action._subtype, Octets(bytes(38)))
    for kind in (*controller_properties(), 77):
        name = f"NXActionController2/{kind}"
        property_ = measured(plain("HH4x", kind, 0), 2)
        yield name, nicira(parser.NXActionController2._subtype, plain("6x") + property_)
    hidden = measured(plain("HH4xHH4x", 77, 0, 3, 0), 2)
    yield "NXActionController2/hidden", nicira(37, plain("6x") + hidden)
    nested = nicira(parser.NXActionCT._subtype, plain("14x") + output())
    for depth in range(3):
        yield f"NXActionCT/{depth}", nested
        nested = nicira(parser.NXActionCT._subtype, plain("14x") + nested)
    learn = plain("HHHQHBxHH", 1, 2, 3, 4, 0, 5, 0, 0)
    copy = plain("HIHIH", 0x2000 | 48, 0x0406, 0, 0x0206, 0)
    yield "NXActionLearn/copy", nicira(parser.NXActionLearn._subtype, learn + copy)
    register = field(0x0001 << 7 | 4, 4, masked=True)
    yield "NXActionRegLoad2", nicira(parser.NXActionRegLoad2._subtype, register)
    ends = plain("HHHII", 48, 0, 0, 0x80000606, 0x80000806)
    yield "NXActionRegMove", nicira(parser.NXActionRegMove._subtype, ends)


def controller_properties() -> list[int]:
    """The kinds of what NXAST_CONTROLLER2 holds."""
    return sorted(n for name, n in vars(nicira_ext).items() if name.startswith("NXAC2PT_"))


def output() -> Octets:
    return measured(plain("HHIH6x", 0, 0, 1, 0), 2)


def actions() -> Iterator[tuple[str, Octets]]:
    for kind, action in sorted(parser.OFPAction._ACTION_TYPES.items()):
        if kind not in (ofproto.OFPAT_SET_FIELD, ofproto.OFPAT_EXPERIMENTER):
            size = action.cls_action_len
            yield action.__name__, measured(plain(f"HH{size - 4}x", kind, 0), 2)
    for name, content in fields():
        if not name.endswith("/"):
            yield f"set {name}", measured(padded(plain("HH", 25, 0) + content), 2)
    yield "experimenter", measured(plain("HHIQ", 0xFFFF, 0, 77, 0), 2)
    yield from nicira_bodies()


def instructions() -> Iterator[tuple[str, Octets]]:
    sizes = {ofproto.OFPIT_GOTO_TABLE: 8, ofproto.OFPIT_WRITE_METADATA: 24, ofproto.OFPIT_METER: 8}
    for kind, instruction in sorted(parser.OFPInstruction._INSTRUCTION_TYPES.items()):
        if kind in sizes:
            head = plain(f"HH{sizes[kind] - 4}x", kind, 0)
            yield instruction.__name__, measured(head, 2)
        else:
            yield f"{instruction.__name__} {kind}", instructed(output(), kind)
    for name, action in actions():
        yield f"{name} applied", instructed(action)


def instructed(action: Octets, kind: int = ofproto.OFPIT_APPLY_ACTIONS) -> Octets:
    return measured(plain("HH4x", kind, 0), 2, action)


def flow(match: Octets, instruction: Octets = NOTHING) -> Octets:
    head = plain("HBxIIHHHH4xQQQ", 0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9)
    return measured(head, 0, match + instruction)


def group(*contents: Octets) -> Octets:
    buckets = [measured(plain("HHII4x", 0, 0, 1, 2), 0, action) for action in contents]
    return measured(plain("HBxI", 0, 0, 1), 0, sum(buckets, NOTHING))


def meters() -> Iterator[tuple[str, Octets]]:
    for kind, band in sorted(parser.OFPMeterBandHeader._METER_BAND.items()):
        size = band.cls_meter_band_len
        content = measured(plain(f"HHII{size - 12}x", kind, 0, 1, 2), 2)
        yield band.__name__, measured(plain("HHI", 0, 0, 1), 0, content)


def tables() -> Iterator[tuple[str, Octets]]:
    instruction, action = (measured(plain("HH", kind, 0), 2) for kind in (1, 0))
    identifier = plain("HBB", 0x8000, 0, 4)
    for kind, kept in sorted(parser.OFPTableFeatureProp._TYPES.items()):
        body = {"Instructions": instruction, "NextTables": plain("BB", 1, 2), "Actions": action}
        content = body.get(kept.__name__.removeprefix("OFPTableFeatureProp"), identifier)
        if kind >= 0xFFFE:
            content = plain("III", 1, 2, 3)
        property_ = padded(measured(plain("HH", kind, 0), 2, content))
        yield f"{kept.__name__} {kind}", measured(plain("HB61x", 0, 1), 0, property_)


def queues() -> Iterator[tuple[str, Octets]]:
    for kind, kept in sorted(parser.OFPQueueProp._QUEUE_PROP_PROPERTIES.items()):
        property_ = measured(plain("HH4xQ", kind, 0, 5), 2)
        yield kept.__name__, measured(plain("IIH6x", 1, 2, 0), 8, property_)


def entries() -> Iterator[tuple[str, int, Octets]]:
    """What multipart replies can hold, each with the number of its kind."""
    sizes = {0: 1056, 2: 24, 3: 24, 4: 112, 5: 40, 8: 40, 11: 16, 13: 64}
    counted = {6: ("H2xII4xQQII", (0, 1, 2, 3, 4, 5, 6), 0), 9: ("IH6xIQQII", (1, *[0] * 6), 4)}
    for kind, reply in sorted(parser.OFPMultipartReply._STATS_MSG_TYPES.items()):
        if kind in sizes:
            yield reply.__name__, kind, plain(f"{sizes[kind]}x")
        elif kind in counted:
            form, values, at = counted[kind]
            yield reply.__name__, kind, measured(plain(form, *values), at, plain("QQQQ", *[1] * 4))
    yield "flow without match", ofproto.OFPMP_FLOW, flow(matched())
    for name, content in fields():
        yield f"flow with {name}", ofproto.OFPMP_FLOW, flow(matched(content))
    for name, content in instructions():
        yield f"flow with {name}", ofproto.OFPMP_FLOW, flow(matched(IN_PORT), content)
    for name, content in actions():
        yield f"group with {name}", ofproto.OFPMP_GROUP_DESC, group(content, output())
    for kind, found in (
        (ofproto.OFPMP_METER_CONFIG, meters()),
        (ofproto.OFPMP_TABLE_FEATURES, tables()),
    ):
        for name, content in found:
            yield name, kind, content
    yield "experimenter's", ofproto.OFPMP_EXPERIMENTER, plain("II24x", 1, 2)


def message(kind: int, body: Octets = NOTHING, number: int = 9) -> Octets:
    """A frame; the length in its header is no place to set wrong, it is where the next begins."""
    whole = plain("BBHI", ofproto.OFP_VERSION, kind, 8 + len(body.data), number) + body
    assert len(whole.data) < 1 << 16
    return whole


def multipart(part: int, body: Octets, number: int = 9, more: bool = False) -> Octets:
    return message(ofproto.OFPT_MULTIPART_REPLY, plain("HH4x", part, more) + body, number)


def experimenters() -> Iterator[tuple[str, Octets]]:
    """Bundles, the one kind of experimenter's message that Ryu reads."""
    property_ = measured(plain("HHII", 0xFFFF, 0, 1, 2), 2, plain("4x"))
    body = plain("IIIHH", 0x4F4E4600, 2300, 1, 1, 0) + property_
    yield "bundle control", message(ofproto.OFPT_EXPERIMENTER, body)
    yield "experimenter's message", message(ofproto.OFPT_EXPERIMENTER, plain("II8x", 1, 2))


def port() -> Octets:
    return plain("I4x6s2x16s8I", 1, b"\2" * 6, b"port", *[0] * 8)


@cache
def frames() -> dict[str, Octets]:
    """One right frame for each parser of Ryu's."""
    bitmap = measured(plain("HHI", 1, 0, 1 << 4), 2)
    other = padded(measured(plain("HHB", 7, 0, 0), 2))
    ingress = matched(IN_PORT)
    found = {
        "hello": message(ofproto.OFPT_HELLO, bitmap),
        "hello with more": message(ofproto.OFPT_HELLO, other + bitmap),
        "error": message(ofproto.OFPT_ERROR, plain("HH8x", 1, 1)),
        "experimenter's error": message(ofproto.OFPT_ERROR, plain("HHI", 0xFFFF, 1, 1)),
        "echo": message(ofproto.OFPT_ECHO_REQUEST, plain("3x")),
        "echo reply": message(ofproto.OFPT_ECHO_REPLY),
        "features": message(ofproto.OFPT_FEATURES_REPLY, plain("QIBB2xII", 0x99, *[0] * 5)),
        "configuration": message(ofproto.OFPT_GET_CONFIG_REPLY, plain("HH", 0, 0)),
        "packet-in": message(
            ofproto.OFPT_PACKET_IN,
            plain("IHBBQ", 1, 64, 0, 0, 0) + ingress + plain("2x64x"),
        ),
        "flow-removed": message(
            ofproto.OFPT_FLOW_REMOVED, plain("QHBBIIHHQQ", *[0] * 10) + ingress
        ),
        "port-status": message(ofproto.OFPT_PORT_STATUS, plain("B7x", 2) + port()),
        "flow-mod": message(
            ofproto.OFPT_FLOW_MOD,
            plain("QQBBHHHIIIH2x", *[0] * 11) + ingress + instructed(output()),
        ),
        "barrier": message(ofproto.OFPT_BARRIER_REPLY),
        "role": message(ofproto.OFPT_ROLE_REPLY, plain("I4xQ", 2, 1)),
        "asynchronous": message(ofproto.OFPT_GET_ASYNC_REPLY, plain("24x")),
        **dict(experimenters()),
    }
    for name, content in queues():
        body = plain("I4x", 1) + content
        found[name] = message(ofproto.OFPT_QUEUE_GET_CONFIG_REPLY, body)
    for name, part, content in entries():
        found[f"{part}: {name}"] = multipart(part, content)
    return found


def wrong_lengths(octets: Octets) -> Iterator[tuple[int, int, bytes]]:
    """Each length in the frame set to others: place, value and the frame."""
    for at, size in octets.lengths:
        right = int.from_bytes(octets.data[at : at + size])
        near = (right + step for step in (-16, -8, -4, -2, -1, 1, 2, 4, 8, 16))
        most = (1 << 8 * size) - 1
        for value in sorted({0, 1, 2, 3, 4, 5, 7, 8, 12, most, most - 7, *near} - {right}):
            if 0 <= value <= most:
                changed = octets.data[:at] + value.to_bytes(size) + octets.data[at + size :]
                yield at, value, changed
