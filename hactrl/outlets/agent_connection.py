"""One accepted connection of an agent or a guard: lines in and out, and whether its peer answers.

Runs in the hub, and lets no peer hold it: who says too much is read more slowly, who does not take
what it is sent is cut off, and between any two messages others have their turn.
"""

from __future__ import annotations

import contextlib
import logging
import time
from socket import MSG_PEEK, SHUT_RDWR
from typing import Any

from flows.sparing import Sparing
from hactrl import hub
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
)
from hactrl.hub import Empty, Full, LightQueue
from hactrl.hub import Event as Answered

LOG = logging.getLogger(__name__)

LONGEST_QUEUE = 100
"""Messages waiting for a peer that does not read."""

SEND_TIMEOUT = 2.0
"""Seconds that a peer may take to accept one message."""

RATE = 50.0
BURST = 500.0
"""Messages of one peer that are read a second, and in one go after a quiet time. A guard sends some
ten a second, an agent with a hundred roles as many when it is welcomed."""

PING_TIMEOUT = 0.3
PING_LOOKS = 6
"""A ping's time is counted in so many parts: a controller that was stopped meanwhile looks at what
has come in before it gives its verdict."""

HEARTBEATS_MISSED = 3
"""A peer of version 1 knows no ping: it answers if it is heard within so many heartbeats."""


class EndedError(Exception):
    """A connection has ended, with the reason for the log."""


class AgentConnection:
    """Written by a greenlet of its own, which also sends the heartbeats.

    `version` is the one spoken on it, the oldest until the peer has said its own.
    """

    def __init__(
        self, sock: Any, address: tuple[Any, ...], heartbeat: float, sparing: Sparing
    ) -> None:
        """`address` is that of the peer, as `accept` gives it; `sparing` is for the log."""
        self.address = address
        self.peer = str(address[0])
        self.version = OLDEST
        self._their_version = OLDEST
        self._sock = sock
        self._heartbeat = heartbeat
        self._sparing = sparing
        self._buffer = bytearray()
        self._credit = BURST
        self._counted = time.monotonic()
        self._pings: dict[int, Answered] = {}
        self._last_ping = 0
        self._queue: LightQueue = LightQueue(LONGEST_QUEUE)
        self._writer = hub.spawn(self._write)

    def speak(self, version: int) -> None:
        """Go on in the newest version that both know; the peer's own is `version`."""
        self._their_version = version
        self.version = min(version, VERSION)

    def send(self, message: Any) -> None:
        """Queue a message."""
        try:
            self._queue.put_nowait(FROM_CONTROLLER.encode(message, self.version))
        except Full:
            self._say_unread()
            self.close()

    def _say_unread(self) -> None:
        said = "agent at %s does not read what it is sent"
        self._sparing.log(("full", self.peer), LOG.warning, said, self.peer)

    def refuse(self, refusal: Refusal, explanation: str) -> None:
        """Say why, as far as the peer takes it at once, and close."""
        if refusal is Refusal.TWIN and self.version < 2:
            refusal = Refusal.SUPERSEDED
        line = FROM_CONTROLLER.encode(Refused(refusal, explanation), self.version)
        self._writer.kill()
        with contextlib.suppress(OSError, hub.Timeout), hub.Timeout(SEND_TIMEOUT):
            self._sock.sendall(line)
        self.close()

    def close(self) -> None:
        """End reading and writing; `read` raises in whoever waits, and the door closes the socket
        when that greenlet ends."""
        self._writer.kill()
        self._end()
        self._settle(answers=False)

    def _end(self) -> None:
        """Whoever reads would not wake up if the socket was closed."""
        with contextlib.suppress(OSError):  # the peer may have closed before
            self._sock.shutdown(SHUT_RDWR)

    def read_first(self, timeout: float) -> Any:
        """The first message, whatever it is. Raises as `read` does."""
        message = self._decode(self._line(timeout))
        if message is None:
            raise ProtocolError("expected a hello")
        return message

    def read(self, timeout: float) -> Any:
        """The next message but a `Pong`.

        Raises EndedError at the end, or when no whole message came for `timeout` seconds;
        ProtocolError for what is no message.
        """
        while True:
            message = self._decode(self._line(timeout))
            self._pace()
            if self.version < 2:
                self._settle(answers=True)
            if isinstance(message, Pong):
                self._settle(answers=True, number=message.number)
            elif message is not None:
                return message

    def left(self) -> bool:
        """Is it known that the peer has gone? One that waited to be accepted may have."""
        try:
            gone: bool = self._sock.fd.recv(1, MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        return gone

    def answers(self) -> bool:
        """Ask the peer, and wait for its answer, for `PING_TIMEOUT` at most. Somebody else must be
        in `read` meanwhile."""
        self._last_ping += 1
        number = self._last_ping
        answered = self._pings[number] = Answered()
        patience = PING_TIMEOUT
        if self.version >= 2:
            self.send(Ping(number))
        else:
            patience = max(patience, HEARTBEATS_MISSED * self._heartbeat)
        for _ in range(PING_LOOKS):
            with hub.Timeout(patience / PING_LOOKS, False):
                answers: bool = answered.wait()
                return answers
        del self._pings[number]
        return False

    def _settle(self, answers: bool, number: int | None = None) -> None:
        """Tell who waits for this ping, or for any."""
        for ping in [number] if number is not None else list(self._pings):
            if (answered := self._pings.pop(ping, None)) is not None:
                answered.send(answers)

    def _line(self, timeout: float) -> bytes:
        while True:
            try:
                with hub.Timeout(timeout):
                    return self._receive()
            except hub.Timeout:
                # After this process was stopped, time is up before what has come is looked at.
                if not self._waiting():
                    raise EndedError(f"silent for {timeout} s") from None
            except (OSError, EOFError) as error:  # EOFError: closed by another greenlet
                raise EndedError(str(error) or "closed") from None

    def _receive(self) -> bytes:
        """One line. What has come of it stays in the buffer if somebody interrupts this."""
        while (end := self._buffer.find(b"\n") + 1) == 0:
            if len(self._buffer) > LONGEST_LINE:
                raise ProtocolError(f"line longer than {LONGEST_LINE} bytes")
            chunk = self._sock.recv(LONGEST_LINE)
            if not chunk:
                raise EndedError("closed")
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    def _waiting(self) -> bool:
        try:
            return bool(self._sock.fd.recv(1, MSG_PEEK))
        except OSError:
            return False

    def _decode(self, line: bytes) -> Any:
        """None for what only a newer version than ours knows."""
        try:
            return TO_CONTROLLER.decode(line, self._their_version)
        except UnknownMessageError as error:
            said = "agent at %s speaks a newer version: %s"
            self._sparing.log(("newer", self.peer), LOG.warning, said, self.peer, error)
            return None

    def _pace(self) -> None:
        now = time.monotonic()
        self._credit = min(BURST, self._credit + (now - self._counted) * RATE) - 1
        self._counted = now
        hub.sleep(0 if self._credit > 0 else 1 / RATE)

    def _write(self) -> None:
        beat = FROM_CONTROLLER.encode(Heartbeat(), OLDEST)
        try:
            while True:
                try:
                    line = self._queue.get(timeout=self._heartbeat)
                except Empty:
                    line = beat
                with hub.Timeout(SEND_TIMEOUT, TimeoutError("does not read")):
                    self._sock.sendall(line)
        except OSError as error:
            if isinstance(error, TimeoutError):
                self._say_unread()
            self._end()
