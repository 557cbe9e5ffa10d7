"""Whether a message of OpenFlow 1.3 holds together, before Ryu reads it.

Ryu's parsers walk over lists of elements that each give their own length, and believe it: a length
of zero makes them loop for ever, one that is too short or too long makes them read one element's
octets as another's. Here every length that they read is compared with what it stands in, and with
the least that its element can be; where Ryu takes a size for granted, the length must be that size.

Sizes and type numbers are those of OpenFlow 1.3.5; what they are made of is in `walks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from struct import Struct

from flows.openflow.walks import (
    U16,
    Element,
    MalformedError,
    Walk,
    anything,
    array,
    at_least,
    behind,
    elements,
    exactly,
    padded,
    typed,
    whole,
)

VERSION = 4
"""OpenFlow 1.3, as a header says it."""

HEADER = Struct("!BBHI")
"""Version, type, length, transaction id."""

LONGEST_GREETING = 1024
"""Octets. One of today has 16; Ryu makes 31 numbers of each four octets of a bitmap."""

MOST_FIELDS = 256
"""In one match: more than there are, with all of Open vSwitch's tunnel options."""

NICIRA = 0x2320
"""The number of the experimenter whose actions Open vSwitch speaks."""

_U32 = Struct("!I").unpack_from


class Kind(IntEnum):
    """The messages that a controller reads (section 7.1). A switch sends all but `FLOW_MOD`."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REPLY = 6
    GET_CONFIG_REPLY = 8
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    FLOW_MOD = 14
    MULTIPART_REPLY = 19
    BARRIER_REPLY = 21
    QUEUE_GET_CONFIG_REPLY = 23
    ROLE_REPLY = 25
    GET_ASYNC_REPLY = 27


class Part(IntEnum):
    """What a multipart reply tells of (section 7.3.5)."""

    DESC = 0
    FLOW = 1
    AGGREGATE = 2
    TABLE = 3
    PORT_STATS = 4
    QUEUE = 5
    GROUP = 6
    GROUP_DESC = 7
    GROUP_FEATURES = 8
    METER = 9
    METER_CONFIG = 10
    METER_FEATURES = 11
    TABLE_FEATURES = 12
    PORT_DESC = 13
    EXPERIMENTER = 0xFFFF


MULTIPART_HEADER = 16
"""Octets before the entries of a multipart reply."""

EXPERIMENTER = 0xFFFF
"""The type of what an experimenter defined, of whatever kind."""


def check(frame: bytes) -> None:
    """Look through one whole message.

    Raises MalformedError with what is wrong, and where.
    """
    if len(frame) < HEADER.size:
        raise MalformedError(f"a message of {len(frame)} octets")
    version, kind, length, _ = HEADER.unpack_from(frame)
    if length != len(frame):
        raise MalformedError(f"a message of {len(frame)} octets that says {length}")
    if version != VERSION and kind not in (Kind.HELLO, Kind.ERROR):
        raise MalformedError(f"message {kind} of OpenFlow version {version}")
    if kind not in _MESSAGES:
        raise MalformedError(f"message {kind}, which no switch sends")
    _MESSAGES[kind](frame, HEADER.size, length)


def part_of(frame: bytes) -> int:
    """What a multipart reply tells of.

    Raises MalformedError if its header is cut short.
    """
    whole("multipart reply", 0, len(frame), MULTIPART_HEADER)
    part: int = U16(frame, HEADER.size)[0]
    return part


def entry_length(part: int, frame: bytes, at: int) -> int | None:
    """The length of an entry of a multipart reply, as it says itself or as all of its part have;
    None where the part is no list of entries.

    Raises MalformedError where it does not fit.
    """
    if size := _SIZES.get(part):
        return whole(f"entry of multipart reply {part}", at, len(frame), size)
    if part not in _ENTRIES:
        return None
    element, _ = _ENTRIES[part]
    return element.length(frame, at, len(frame))


# Matches (section 7.2.3).


_MATCH = Element("match", 2, 4)


def _field(data: bytes, at: int, end: int) -> int:
    """One OXM field; its length, header and all. An experimenter's has a longer header."""
    whole("field of a match", at, end, 4)
    length = 4 + data[at + 3]
    head = 4
    if data[at] == data[at + 1] == 0xFF:
        head = 10 if data[at + 2] >> 1 == 0 else 8
    if not head < length <= end - at:
        raise MalformedError(
            f"field of a match of {length} octets at octet {at}, {head + 1} to {end - at} expected"
        )
    return length


def _fields(data: bytes, at: int, end: int) -> None:
    """All of one match. None may come twice (section 7.2.3.6)."""
    seen: set[tuple[bytes, int, bytes]] = set()
    while at < end:
        length = _field(data, at, end)
        experimenter = data[at + 4 : at + 10] if data[at] == data[at + 1] == 0xFF else b""
        key = (data[at : at + 2], data[at + 2] >> 1, experimenter)
        if key in seen or len(seen) == MOST_FIELDS:
            raise MalformedError(f"field of a match at octet {at} comes twice, or is one too many")
        seen.add(key)
        at += length


def _match(data: bytes, at: int, end: int) -> int:
    """A match and its padding; where it ends."""
    length = _MATCH.length(data, at, end)
    _fields(data, at + 4, at + length)
    return at + whole("match with padding", at, end, padded(length))


def _match_and(head: int, then: Walk) -> Walk:
    """A head of so many octets, a match, and what follows."""

    def walk(data: bytes, at: int, end: int) -> None:
        then(data, _match(data, at + head, end), end)

    return walk


# Actions and instructions (sections 7.2.4 and 7.2.5).


def _set_field(data: bytes, at: int, end: int) -> None:
    _field(data, at + 4, end)


def _experimenter_action(data: bytes, at: int, end: int) -> None:
    if _U32(data, at + 4)[0] == NICIRA:
        whole("Nicira's action", at, end, 16)


_ACTIONS = typed(
    "action",
    8,
    {
        0: 16,  # OUTPUT
        **dict.fromkeys((11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27), 8),
        25: _set_field,
        EXPERIMENTER: _experimenter_action,
    },
)

_INSTRUCTIONS = typed(
    "instruction",
    8,
    {
        1: 8,  # GOTO_TABLE
        2: 24,  # WRITE_METADATA
        **dict.fromkeys((3, 4, 5), behind(8, _ACTIONS)),  # WRITE, APPLY, CLEAR
        6: 8,  # METER
    },
)

# What is in groups, meters, tables and queues.

_BUCKETS = elements(Element("bucket", 0, 16), behind(16, _ACTIONS))
_BANDS = typed("meter band", 12, {1: 16, 2: 16, EXPERIMENTER: 16})

_IDS = elements(Element("instruction or action of a table", 2, 4), anything)


def _field_ids(data: bytes, at: int, end: int) -> None:
    while at < end:
        whole("field of a table", at, end, 4)
        at += whole("field of a table", at, end, 8 if U16(data, at)[0] == 0xFFFF else 4)


def _experimenter_property(data: bytes, at: int, end: int) -> None:
    whole("experimenter's property", at, end, 12)
    array("experimenter's property", 4)(data, at + 12, end)


_TABLE_PROPERTIES = typed(
    "property of a table",
    4,
    {
        **dict.fromkeys((0, 1, 4, 5, 6, 7), behind(4, _IDS)),
        **dict.fromkeys((2, 3), anything),  # tables, of one octet each
        **dict.fromkeys((8, 10, 12, 13, 14, 15), behind(4, _field_ids)),
        **dict.fromkeys((0xFFFE, 0xFFFF), _experimenter_property),
    },
    pad=True,
)

_QUEUE_PROPERTIES = typed(
    "property of a queue", 8, {1: 16, 2: 16, EXPERIMENTER: at_least("property of a queue", 16)}
)
_QUEUES = elements(Element("queue", 8, 16), behind(16, _QUEUE_PROPERTIES))

# Multipart replies: entries that give their lengths, entries of one size, and single structures.

_ENTRIES: Mapping[int, tuple[Element, Walk]] = {
    Part.FLOW: (Element("flow entry", 0, 56), _match_and(48, _INSTRUCTIONS)),
    Part.GROUP: (Element("group's statistics", 0, 40), array("bucket counters", 16, after=40)),
    Part.GROUP_DESC: (Element("group", 0, 8), behind(8, _BUCKETS)),
    Part.METER: (Element("meter's statistics", 4, 40), array("band counters", 16, after=40)),
    Part.METER_CONFIG: (Element("meter", 0, 8), behind(8, _BANDS)),
    Part.TABLE_FEATURES: (Element("table", 0, 64), behind(64, _TABLE_PROPERTIES)),
}
_SIZES: Mapping[int, int] = {
    Part.TABLE: 24,
    Part.PORT_STATS: 112,
    Part.QUEUE: 40,
    Part.PORT_DESC: 64,
}
_SINGLE: Mapping[int, int] = {
    Part.DESC: 1056,
    Part.AGGREGATE: 24,
    Part.GROUP_FEATURES: 40,
    Part.METER_FEATURES: 16,
}

_PARTS: Mapping[int, Walk] = {
    **{part: elements(*entry) for part, entry in _ENTRIES.items()},
    **{part: array(f"multipart reply {part}", size) for part, size in _SIZES.items()},
    **{part: exactly(f"multipart reply {part}", size) for part, size in _SINGLE.items()},
    Part.EXPERIMENTER: at_least("experimenter's multipart reply", 8),
}

# Whole messages, from behind their header.


_GREETING_ELEMENTS = elements(Element("element of a greeting", 2, 4), anything, pad=True)


def _hello(data: bytes, at: int, end: int) -> None:
    if end > LONGEST_GREETING:
        raise MalformedError(f"a greeting of {end} octets, at most {LONGEST_GREETING} expected")
    _GREETING_ELEMENTS(data, at, end)


def _error(data: bytes, at: int, end: int) -> None:
    whole("error", at, end, 4)
    whole("error", at, end, 8 if U16(data, at)[0] == EXPERIMENTER else 4)


def _packet_in(data: bytes, at: int, end: int) -> None:
    whole("packet-in", _match(data, at + 16, end), end, 2)


def _multipart_reply(data: bytes, at: int, end: int) -> None:
    whole("multipart reply", at, end, 8)
    part: int = U16(data, at)[0]
    if part not in _PARTS:
        raise MalformedError(f"multipart reply of unknown type {part}")
    _PARTS[part](data, at + 8, end)


def _queue_config(data: bytes, at: int, end: int) -> None:
    whole("queues of a port", at, end, 8)
    _QUEUES(data, at + 8, end)


_MESSAGES: Mapping[int, Walk] = {
    Kind.HELLO: _hello,
    Kind.ERROR: _error,
    Kind.ECHO_REQUEST: anything,
    Kind.ECHO_REPLY: anything,
    Kind.EXPERIMENTER: at_least("experimenter's message", 8),
    Kind.FEATURES_REPLY: exactly("features", 24),
    Kind.GET_CONFIG_REPLY: exactly("configuration", 4),
    Kind.PACKET_IN: _packet_in,
    Kind.FLOW_REMOVED: _match_and(40, exactly("the end of a flow-removed", 0)),
    Kind.PORT_STATUS: exactly("port-status", 72),
    Kind.FLOW_MOD: _match_and(40, _INSTRUCTIONS),
    Kind.MULTIPART_REPLY: _multipart_reply,
    Kind.BARRIER_REPLY: exactly("barrier reply", 0),
    Kind.QUEUE_GET_CONFIG_REPLY: _queue_config,
    Kind.ROLE_REPLY: exactly("role reply", 16),
    Kind.GET_ASYNC_REPLY: exactly("asynchronous configuration", 24),
}
