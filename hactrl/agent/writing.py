"""Writing to a peer that may have stopped reading."""

from __future__ import annotations

import asyncio
import logging

LOG = logging.getLogger(__name__)

MOST_UNREAD = 1 << 20
"""Octets that wait for a peer at most; what is sent in an hour is less."""


def write(writer: asyncio.StreamWriter, line: bytes) -> None:
    """Send a line, without waiting. The connection with who leaves `MOST_UNREAD` octets unread is
    aborted, which its reader sees; he may come again, and is told all anew."""
    if writer.is_closing():
        return
    writer.write(line)
    if writer.transport.get_write_buffer_size() > MOST_UNREAD:
        peer = writer.get_extra_info("peername") or "a peer on this machine"
        LOG.warning("%s does not read what it is sent; its connection is ended", peer)
        writer.transport.abort()
