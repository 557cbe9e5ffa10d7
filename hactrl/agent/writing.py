"""Writing to a peer that may have stopped reading."""

from __future__ import annotations

import asyncio

MOST_UNREAD = 1_000_000
"""Bytes that wait for a peer, beside what the kernel keeps for it: ten times what an agent with a
hundred roles says when it is welcomed."""


def write(writer: asyncio.StreamWriter, line: bytes) -> bool:
    """Queue a line; it is lost if the connection has ended, as whoever reads there is told.

    Returns False where `MOST_UNREAD` bytes wait: the connection has been ended, and they are lost.
    Whoever connects anew is told the present state.
    """
    if writer.transport.get_write_buffer_size() >= MOST_UNREAD:
        writer.transport.abort()
        return False
    if not writer.is_closing():
        writer.write(line)
    return True
