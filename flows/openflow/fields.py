"""Matches and single values, between ours (integers) and Ryu's (text and integers)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from flows.openflow.ryu_mended import field_type, ofproto, parser
from flows.oxm import WIDTHS
from flows.rules import Field, Match


def to_ryu(name: str, value: int) -> Any:
    """Ryu's form of a value: text for addresses and MACs."""
    kind = field_type(name)
    return kind.to_user(value.to_bytes(kind.size))


def from_ryu(name: str, value: Any) -> int:
    """
    Raises:
        KeyError: Ryu knows no such field.
    """
    return int.from_bytes(field_type(name).from_user(value))


@lru_cache(maxsize=1 << 12)
def encode_match(match: Match) -> Any:
    """Each field behind those that it presupposes, or a switch refuses it (specification 1.3.5,
    section 7.2.3.6). Ryu's own order, by number, puts Nicira's fields before all others.

    Remembered, because the same rules come and go when a role moves to and fro."""
    ordered = sorted(match, key=lambda field: _PLACES.get(field.name, len(_PLACES)))
    return _Match(_ordered_fields=[(field.name, _encode_field(field)) for field in ordered])


class _Match(parser.OFPMatch):  # type: ignore[misc]
    """Fields are the same in many rules, so their octets are remembered: each takeover waits until
    its rules are written."""

    def serialize(self, buf: bytearray, offset: int) -> int:
        """Write it behind what is in the buffer; returns how many octets it takes there."""
        octets = b"".join(_octets(name, value) for name, value in self._fields2)
        self.length = _HEADER.size + len(octets)
        padding = bytes(-self.length % 8)
        buf[offset:] = _HEADER.pack(ofproto.OFPMT_OXM, self.length) + octets + padding
        return self.length + len(padding)


#: Of a match: its type and its length without padding (OpenFlow 1.3.5, section 7.2.2).
_HEADER = struct.Struct("!HH")


@lru_cache(maxsize=1 << 14)
def _octets(name: str, value: Any) -> bytes:
    """One field, as Ryu writes it."""
    buffer = bytearray()
    ofproto.oxm_serialize(*ofproto.oxm_from_user(name, value), buffer, 0)
    return bytes(buffer)


_PLACES = {name: place for place, name in enumerate(WIDTHS)}


@lru_cache(maxsize=1 << 14)
def _encode_field(field: Field) -> Any:
    value = to_ryu(field.name, field.value)
    return value if field.mask is None else (value, to_ryu(field.name, field.mask))


def decode_match(match: Any) -> Match:
    """
    Raises:
        KeyError: it has a field that Ryu does not know.
    """
    fields = (_decode_field(name, value) for name, value in match.items())
    return Match(tuple(sorted(field for field in fields if field.mask != 0)))


def _decode_field(name: str, value: Any) -> Field:
    """Fields that we never match are read all the same, so that they can be deleted."""
    if not isinstance(value, tuple):
        return Field(name, from_ryu(name, value))
    exact, mask = (from_ryu(name, part) for part in value)
    width = WIDTHS.get(name, field_type(name).size * 8)
    every = (1 << width) - 1
    return Field(name, exact & mask, None if mask & every == every else mask)
