"""An agent's or guard's connection to a controller: kept up, or made again for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from hactrl.agent.config import host_and_port
from hactrl.agent.messages import LONGEST_LINE, ProtocolError
from hactrl.agent.protocol import FROM_CONTROLLER, TO_CONTROLLER, Heartbeat, Refused, Welcome

LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT = 1.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

Send = Callable[[Any], None]


class Peer(Protocol):
    """Who uses the connection. None of its methods may wait."""

    def hello(self) -> Any:
        """The first message, made anew for each connection."""

    def welcomed(self, send: Send) -> None:
        """The controller has accepted us; `send` works until `lost`."""

    def received(self, message: Any, send: Send) -> None:
        """Any message but `Welcome`, `Refused` and `Heartbeat`."""

    def lost(self, send: Send) -> None:
        """The end of a connection that was welcomed."""


class _EndedError(Exception):
    """With the reason, for people."""


async def keep_connected(address: str, peer: Peer) -> None:
    """Connect, speak until the connection ends, pause, and again.

    The pause doubles from `FIRST_PAUSE` to `LONGEST_PAUSE` until a controller says welcome.
    """
    pause = FIRST_PAUSE
    last = ""
    while True:
        try:
            async with _connected(address) as (reader, writer):
                await _speak(reader, writer, peer)
        except _InterruptedError as interruption:
            pause, last = FIRST_PAUSE, ""
            LOG.warning("controller %s: connection lost: %s", address, interruption)
        except (OSError, TimeoutError, ProtocolError, ValueError, _EndedError) as error:
            reason = str(error) or "no answer in time"
            if reason != last:
                LOG.warning("controller %s: %s; trying again", address, reason)
            last = reason
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)


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


async def _speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
    def send(message: Any) -> None:
        writer.write(TO_CONTROLLER.encode(message))

    send(peer.hello())
    welcome = await _read(reader, CONNECT_TIMEOUT)
    if not isinstance(welcome, Welcome):
        raise ProtocolError(f"expected Welcome, got {type(welcome).__name__}")
    beating = asyncio.create_task(_beat(send, welcome.heartbeat))
    try:
        peer.welcomed(send)
        while True:
            message = await _read(reader, welcome.timeout)
            if not isinstance(message, Heartbeat):
                peer.received(message, send)
    except (OSError, TimeoutError, ProtocolError, _EndedError) as error:
        raise _InterruptedError(str(error) or f"silent for {welcome.timeout} s") from error
    finally:
        beating.cancel()
        peer.lost(send)


async def _read(reader: asyncio.StreamReader, timeout: float) -> Any:
    async with asyncio.timeout(timeout):
        line = await reader.readline()
    if not line:
        raise _EndedError("closed by the controller")
    message = FROM_CONTROLLER.decode(line)
    if isinstance(message, Refused):
        raise _EndedError(f"refused ({message.refusal.value}): {message.explanation}")
    return message


async def _beat(send: Send, interval: float) -> None:
    while True:
        send(Heartbeat())
        await asyncio.sleep(interval)
