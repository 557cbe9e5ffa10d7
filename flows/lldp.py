"""Link layer discovery (IEEE 802.1AB) frames of our own making, which nobody else can make.

Chassis id and port id are locally assigned (subtype 7): the datapath id and the OpenFlow port
number that the frame leaves by. An organisationally specific TLV carries when it was made, and
an HMAC (RFC 2104, SHA-256 cut to 128 bits) over all that with a secret of this start of the
controller. So a host can neither make a frame, nor bring up one that it caught earlier.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from flows.frames import mac_octets
from topology.model import derived_mac

ETH_LLDP = 0x88CC
#: Nearest bridge group address: no bridge passes it on (IEEE 802.1AB, table 7-1).
DESTINATION = bytes.fromhex("0180c200000e")
#: Seconds for which a frame is good: from the controller to a switch, over a link, and back.
FRESHNESS = 2.0

_END, _CHASSIS, _PORT, _TTL, _SPECIFIC = 0, 1, 2, 3, 127
_LOCALLY_ASSIGNED = 7
#: A company id of the locally administered kind (IEEE RA): nobody's, as ours is.
_ORGANISATION = bytes.fromhex("0a4ac7")
_SUBTYPE = 1
_MAC_OCTETS = 16


class Unbelieved(Enum):
    """Why a frame is not believed. FOREIGN: a good LLDP frame of somebody else."""

    MALFORMED = "malformed"
    FOREIGN = "foreign"
    FORGED = "forged"
    STALE = "stale"


class LldpError(Exception):
    """The frame says nothing that may be believed; `why` says why."""

    def __init__(self, why: Unbelieved) -> None:
        super().__init__(f"LLDP frame is {why.value}")
        self.why = why


@dataclass(frozen=True)
class Announcement:
    """A frame left this port of this switch at `sent`, seconds of the controller's clock."""

    datapath_id: int
    port: int
    sent: float


def frame(announced: Announcement, ttl: int, secret: bytes) -> bytes:
    """An Ethernet frame that says so. `ttl`: seconds, for other readers of LLDP."""
    chassis = struct.pack("!BQ", _LOCALLY_ASSIGNED, announced.datapath_id)
    port = struct.pack("!BI", _LOCALLY_ASSIGNED, announced.port)
    sent = struct.pack("!Q", _microseconds(announced.sent))
    specific = _ORGANISATION + bytes([_SUBTYPE]) + sent + _digest(chassis + port + sent, secret)
    source = derived_mac(f"lldp {announced.datapath_id:#x} port {announced.port}")
    return (
        DESTINATION
        + mac_octets(source)
        + struct.pack("!H", ETH_LLDP)
        + _tlv(_CHASSIS, chassis)
        + _tlv(_PORT, port)
        + _tlv(_TTL, struct.pack("!H", min(ttl, 0xFFFF)))
        + _tlv(_SPECIFIC, specific)
        + _tlv(_END, b"")
    )


def read(data: bytes, secret: bytes, now: float) -> Announcement:
    """What a received frame says.

    Raises:
        LldpError: it is not one of ours, or not a fresh one.
    """
    if len(data) < 14 or data[12:14] != struct.pack("!H", ETH_LLDP):
        raise LldpError(Unbelieved.MALFORMED)
    tlvs = list(_tlvs(data[14:]))
    # The three mandatory TLVs come first, in this order (IEEE 802.1AB, 8.2).
    if [kind for kind, _ in tlvs[:3]] != [_CHASSIS, _PORT, _TTL]:
        raise LldpError(Unbelieved.MALFORMED)
    mark = _ORGANISATION + bytes([_SUBTYPE])
    ours = [value[4:] for kind, value in tlvs if kind == _SPECIFIC and value[:4] == mark]
    if not ours:
        raise LldpError(Unbelieved.FOREIGN)
    chassis, port, specific = tlvs[0][1], tlvs[1][1], ours[0]
    if (len(chassis), len(port), len(specific)) != (9, 5, 8 + _MAC_OCTETS):
        raise LldpError(Unbelieved.MALFORMED)
    sent = specific[:8]
    if not hmac.compare_digest(specific[8:], _digest(chassis + port + sent, secret)):
        raise LldpError(Unbelieved.FORGED)
    at = int.from_bytes(sent) / 1e6
    if not at <= now + 1e-6 <= at + FRESHNESS + 1e-6:
        raise LldpError(Unbelieved.STALE)
    return Announcement(int.from_bytes(chassis[1:]), int.from_bytes(port[1:]), at)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)


def _digest(content: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, content, "sha256")[:_MAC_OCTETS]


def _tlv(kind: int, value: bytes) -> bytes:
    """Seven bits of type, nine of length (IEEE 802.1AB, 8.4)."""
    return struct.pack("!H", kind << 9 | len(value)) + value


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 2 <= len(data):
        head = int.from_bytes(data[place : place + 2])
        kind, length = head >> 9, head & 0x1FF
        if kind == _END:
            return
        if place + 2 + length > len(data):
            raise LldpError(Unbelieved.MALFORMED)
        yield kind, data[place + 2 : place + 2 + length]
        place += 2 + length
