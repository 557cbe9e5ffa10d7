"""The octets of a connection as messages, and long answers in short pieces."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from flows.openflow.frame_check import (
    HEADER,
    MULTIPART_HEADER,
    Kind,
    entry_length,
    part_of,
)
from flows.openflow.walks import U16, MalformedError

PIECE = 2048
"""Octets of entries after which a piece ends. Ryu takes some 0.1 ms for 100 octets of flow entries,
and nothing else runs meanwhile."""

MORE = 1
"""The flag of a multipart reply that is not the last of its answer (section 7.3.5)."""

_PART_HEADER = Struct("!HH4x")


class Framing:
    """Octets in, whole messages out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """The messages that are whole with these octets. Go over all of them before the next call.

        Raises MalformedError for one that is shorter than its header.
        """
        data, at = self._rest + octets, 0
        while len(data) - at >= HEADER.size:
            length = U16(data, at + 2)[0]
            if length < HEADER.size:
                raise MalformedError(f"a message of {length} octets")
            if len(data) - at < length:
                break
            yield data[at : at + length]
            at += length
        self._rest = data[at:]


def pieces(frame: bytes) -> Iterator[bytes]:
    """One whole message; if it is a long multipart reply, as several short ones that say the same.

    Raises MalformedError where an entry does not fit, after the pieces before it.
    """
    if len(frame) <= MULTIPART_HEADER + PIECE or frame[1] != Kind.MULTIPART_REPLY:
        yield frame
        return
    at = begin = MULTIPART_HEADER
    flags: int = U16(frame, HEADER.size + 2)[0]
    while at < len(frame) and (length := entry_length(part_of(frame), frame, at)):
        at += length
        if at - begin >= PIECE and at < len(frame):
            yield _with_header(frame, flags | MORE, frame[begin:at])
            begin = at
    yield _with_header(frame, flags, frame[begin:])


def _with_header(frame: bytes, flags: int, entries: bytes) -> bytes:
    version, kind, _, number = HEADER.unpack_from(frame)
    header = HEADER.pack(version, kind, MULTIPART_HEADER + len(entries), number)
    return header + _PART_HEADER.pack(part_of(frame), flags) + entries
