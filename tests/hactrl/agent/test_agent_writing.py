"""A peer that does not read holds nobody up, and is left."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from hactrl.agent.writing import MOST_UNREAD, write

LINE = b"x" * 1023 + b"\n"


async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket]:
    """Our end, and the socket of a peer that reads nothing by itself."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    return reader, writer, theirs


def test_the_connection_with_who_does_not_read_ends_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        reader, writer, theirs = await connected()
        with theirs:
            for _ in range(10 * MOST_UNREAD // len(LINE)):
                write(writer, LINE)
            assert writer.transport.get_write_buffer_size() == 0
            assert await reader.read() == b""

    with caplog.at_level(logging.WARNING):
        asyncio.run(play())
    assert [record.getMessage() for record in caplog.records] == [
        "a peer on this machine does not read what it is sent; its connection is ended"
    ]


def test_who_reads_late_is_told_all() -> None:
    async def play() -> int:
        _, writer, theirs = await connected()
        lines = MOST_UNREAD // len(LINE)
        for _ in range(lines):
            write(writer, LINE)
        with theirs:
            theirs.setblocking(False)
            heard, loop = 0, asyncio.get_running_loop()
            while heard < lines * len(LINE):
                heard += len(await loop.sock_recv(theirs, 1 << 16))
        writer.transport.abort()
        return heard

    assert asyncio.run(play()) == MOST_UNREAD // len(LINE) * len(LINE)
