"""An agent's or guard's connection to a controller: kept up, or made again for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from hactrl.agent.config import host_and_port
from hactrl.agent.messages import LONGEST_LINE, ProtocolError, UnknownMessageError
from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    OLDEST,
    TO_CONTROLLER,
    VERSION,
    Heartbeat,
    Ping,
    Pong,
    Refusal,
    Refused,
    Welcome,
)
from hactrl.agent.writing import MOST_UNREAD, write

LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT = 1.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

TWIN_PAUSE = 5.0
"""Seconds before the next try of who was told that there is another one under its name."""

Send = Callable[[Any], None]


class Peer(Protocol):
    """Who uses the connection. None of its methods may wait."""

    def hello(self) -> Any:
        """The first message, made anew for each connection. Its version is set here."""

    def welcomed(self, send: Send) -> None:
        """The controller has accepted us; `send` works until `lost`. It leaves out what the
        controller's version does not know."""

    def received(self, message: Any, send: Send) -> None:
        """Any message but `Welcome`, `Refused`, `Heartbeat` and `Ping`."""

    def lost(self, send: Send) -> None:
        """The end of a connection that was welcomed."""


class _EndedError(Exception):
    """With the reason, for people."""


class _RefusedError(_EndedError):
    def __init__(self, message: Refused) -> None:
        super().__init__(f"refused ({message.refusal.value}): {message.explanation}")
        self.refusal = message.refusal


async def keep_connected(address: str, peer: Peer) -> None:
    """Connect, speak until the connection ends, pause, and again.

    The pause doubles from `FIRST_PAUSE` to `LONGEST_PAUSE` until a controller says welcome. One
    that does not understand our version is spoken to in the oldest at once, and after that
    connection in ours again: it may have been replaced.
    """
    pause = FIRST_PAUSE
    last = ""
    version = VERSION
    while True:
        spoken, version = version, VERSION
        rest = pause
        pause = min(LONGEST_PAUSE, pause * 2)
        try:
            async with _connected(address) as (reader, writer):
                await _speak(reader, writer, peer, spoken)
        except _InterruptedError as interruption:
            rest, pause, last = FIRST_PAUSE, 2 * FIRST_PAUSE, ""
            LOG.warning("controller %s: connection lost: %s", address, interruption)
        except (OSError, TimeoutError, ProtocolError, ValueError, _EndedError) as error:
            reason = str(error) or "no answer in time"
            match error:
                case _RefusedError(refusal=Refusal.VERSION | Refusal.PROTOCOL) if spoken > OLDEST:
                    rest, version = 0.0, OLDEST
                case _RefusedError(refusal=Refusal.TWIN):
                    rest = TWIN_PAUSE
            if reason != last:
                LOG.warning("controller %s: %s; trying again", address, reason)
            last = reason
        await asyncio.sleep(rest)


class _InterruptedError(Exception):
    """The end of a connection that was welcomed."""


@asynccontextmanager
async def _connected(
    address: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = host_and_port(address)
    async with asyncio.timeout(CONNECT_TIMEOUT):
        reader, writer = await asyncio.open_connection(host, port, limit=LONGEST_LINE)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _speak(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, version: int
) -> None:
    def send(message: Any) -> None:
        if not TO_CONTROLLER.speaks(message, version):
            return
        if not write(writer, TO_CONTROLLER.encode(message, version)):
            reader.set_exception(_EndedError(f"it left {MOST_UNREAD} bytes unread"))

    send(replace(peer.hello(), version=version))
    welcome = await _read(reader, CONNECT_TIMEOUT, version)
    if not isinstance(welcome, Welcome):
        raise ProtocolError(f"expected Welcome, got {type(welcome).__name__}")
    beating = asyncio.create_task(_beat(send, welcome.heartbeat))
    try:
        peer.welcomed(send)
        while True:
            match await _read(reader, welcome.timeout, welcome.version):
                case Ping(number):
                    send(Pong(number))
                case Heartbeat() | None:
                    pass
                case message:
                    peer.received(message, send)
    except (OSError, TimeoutError, ProtocolError, _EndedError) as error:
        raise _InterruptedError(str(error) or f"silent for {welcome.timeout} s") from error
    finally:
        beating.cancel()
        peer.lost(send)


async def _read(reader: asyncio.StreamReader, timeout: float, version: int) -> Any:
    """The next message; None for one that only controllers of a newer `version` know."""
    async with asyncio.timeout(timeout):
        line = await reader.readline()
    if not line:
        raise _EndedError("closed by the controller")
    try:
        message = FROM_CONTROLLER.decode(line, version)
    except UnknownMessageError as error:
        LOG.warning("the controller speaks a newer version: %s", error)
        return None
    if isinstance(message, Refused):
        raise _RefusedError(message)
    return message


async def _beat(send: Send, interval: float) -> None:
    while True:
        send(Heartbeat())
        await asyncio.sleep(interval)
