"""The controller's side of `hactrl.agent.protocol`: agents and guards connect, events come out.

Runs in the hub. Nothing here waits for a peer: what is sent is queued, and a peer that does not
take it loses its connection.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eventlet
from eventlet.queue import Empty, Full, LightQueue

from hactrl.agent.messages import LONGEST_LINE, ProtocolError
from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    TO_CONTROLLER,
    VERSION,
    AgentHello,
    Answer,
    Assume,
    GuardHello,
    Heartbeat,
    LeaseDenied,
    LeaseGranted,
    LeaseRenew,
    Refusal,
    Refused,
    Release,
    Report,
    Status,
    Welcome,
)
from hactrl.engine.effects import AskAgent, GrantLease, Verb
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    Event,
    LeaseAsked,
    Outcome,
)
from hactrl.listeners import AGENTS, Door, Peer, open_door, rooms
from hactrl.site.model import Site
from hactrl.tokens import read_secret

LOG = logging.getLogger(__name__)

HELLO_TIMEOUT = 2.0
LONGEST_QUEUE = 100
"""Messages waiting for a peer that does not read."""

OPEN_REQUESTS = 50
"""Lease requests of one guard that the engine has not answered; older ones are dropped."""


def read_tokens(path: Path) -> dict[str, str]:
    """The tokens of all servers, from lines `server: token`. Lines with # are comments.

    Raises ValueError, naming file and line, for anything else, and if others may read the file;
    OSError if it cannot be read.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(read_secret(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        server, colon, token = (part.strip() for part in line.partition(":"))
        if not server or not colon or not token or len(token.split()) != 1:
            raise ValueError(f"{path}:{number}: expected `server: token`")
        if server in tokens:
            raise ValueError(f"{path}:{number}: {server} has a token already")
        tokens[server] = token
    return tokens


class _EndedError(Exception):
    """A connection has ended, with the reason for the log."""


class _RefusedError(Exception):
    """We end a connection, and say why."""

    def __init__(self, refusal: Refusal, explanation: str) -> None:
        super().__init__(explanation)
        self.message = Refused(refusal, explanation)


class AgentServer:
    """`emit` gets every event and must not wait. `start` before anything else."""

    def __init__(self, site: Site, tokens: dict[str, str], emit: Callable[[Event], None]) -> None:
        self._site = site
        self._tokens = tokens
        self._emit = emit
        self._agents: dict[str, _Connection] = {}
        self._asked: dict[int, tuple[AskAgent, _Connection]] = {}
        self._requests: dict[str, tuple[_Connection, int]] = {}
        self._last_request = 0
        self._connections: set[_Connection] = set()
        self._door: Door

    @property
    def port(self) -> int:
        """Where it listens; of use where the site file says 0."""
        return self._door.port

    def start(self) -> None:
        """Listen as the site file says, and accept in a greenlet. Raises ListenError."""
        door = open_door(AGENTS, self._site.controller.agents, rooms(self._site)[AGENTS])
        self._door = door
        eventlet.spawn_n(self.serve, door)

    def serve(self, door: Door) -> None:
        """Accept until `stop`. Raises ListenerEndedError if the listener ends otherwise."""
        self._door = door
        door.serve(self._welcome)

    def stop(self) -> None:
        """Close everything; peers see the end of their connections."""
        self._door.close()
        for connection in list(self._connections):
            connection.close()

    def ask(self, order: AskAgent) -> None:
        """Carry out an effect. `AgentAnswered` follows, unless the agent is silent and connected:
        then the engine's deadline decides."""
        connection = self._agents.get(order.server)
        if connection is None:
            self._answer(order, Outcome.TIMED_OUT)
            return
        self._asked[order.operation] = (order, connection)
        connection.send(self._message(order))

    def grant(self, answer: GrantLease) -> None:
        """Carry out an effect. A guard that has gone meanwhile gets nothing."""
        found = self._requests.pop(answer.request, None)
        if found is None:
            return
        connection, request = found
        connection.send(
            LeaseGranted(request, answer.duration) if answer.granted else LeaseDenied(request)
        )

    def _message(self, order: AskAgent) -> Assume | Release | Status:
        match order.verb:
            case Verb.ASSUME:
                if order.proof is None:
                    raise ValueError(f"assume {order.role} without a proof")
                leased = self._site.roles[order.role].lease is not None
                return Assume(order.operation, order.role, order.epoch, order.proof, leased)
            case Verb.RELEASE:
                return Release(order.operation, order.role, order.epoch)
            case Verb.STATUS:
                return Status(order.operation, order.role)

    def _welcome(self, sock: Any, address: Peer) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._serve(_Connection(sock, address, self._site.timers.agent_heartbeat))

    def _serve(self, connection: _Connection) -> None:
        timers = self._site.timers
        self._connections.add(connection)
        try:
            hello = connection.read(HELLO_TIMEOUT)
            self._admit(hello)
            self._door.busy(connection.address)
            connection.send(Welcome(timers.agent_heartbeat, timers.agent_timeout))
            if isinstance(hello, AgentHello):
                self._serve_agent(connection, hello)
            else:
                self._serve_guard(connection, hello)
        except _RefusedError as error:
            LOG.warning("agent at %s refused: %s", connection.peer, error)
            connection.refuse(error.message)
        except ProtocolError as error:
            LOG.warning("agent at %s breaks the protocol: %s", connection.peer, error)
            connection.refuse(Refused(Refusal.PROTOCOL, str(error)))
        except _EndedError as error:
            LOG.info("agent at %s: %s", connection.peer, error)
        finally:
            self._connections.discard(connection)
            connection.end()

    def _admit(self, hello: Any) -> None:
        if not isinstance(hello, AgentHello | GuardHello):
            raise ProtocolError(f"expected a hello, got {type(hello).__name__}")
        if hello.version != VERSION:
            raise _RefusedError(
                Refusal.VERSION, f"protocol version {hello.version}, expected {VERSION}"
            )
        # An unknown server takes as long as a wrong token, and is told the same.
        token = self._tokens.get(hello.server, "")
        same = hmac.compare_digest(token.encode(), hello.token.encode())
        if not token or not same:
            raise _RefusedError(
                Refusal.TOKEN,
                f"the token is not the one that the controller knows for {hello.server!r}; "
                f"compare the server's token_file with {self._site.controller.agent_tokens}",
            )

    def _serve_agent(self, connection: _Connection, hello: AgentHello) -> None:
        server = hello.server
        if (old := self._agents.get(server)) is not None:
            old.refuse(Refused(Refusal.SUPERSEDED, "a newer connection of this server is here"))
            self._lose(server, old)
        self._agents[server] = connection
        self._emit(AgentConnected(server, hello.boot, hello.roles))
        try:
            while True:
                self._hear_agent(server, connection.read(self._site.timers.agent_timeout))
        finally:
            self._lose(server, connection)

    def _hear_agent(self, server: str, message: Any) -> None:
        match message:
            case Heartbeat():
                pass
            case Report(held):
                self._emit(AgentReported(server, held))
            case Answer():
                asked = self._asked.pop(message.operation, None)
                if asked is None or asked[0].server != server:
                    raise ProtocolError(f"answer to operation {message.operation}, not asked")
                if message.explanation:
                    LOG.warning("agent %s: %s: %s", server, message.role, message.explanation)
                self._answer(asked[0], message.outcome, message.known_epoch)
            case _:
                raise ProtocolError(f"{type(message).__name__} is not for an agent to send")

    def _serve_guard(self, connection: _Connection, hello: GuardHello) -> None:
        open_requests: list[str] = []
        try:
            while True:
                message = connection.read(self._site.timers.agent_timeout)
                match message:
                    case Heartbeat():
                        continue
                    case LeaseRenew():
                        self._last_request += 1
                        request = f"{hello.server}/{hello.role}/{self._last_request}"
                        self._requests[request] = (connection, message.request)
                        open_requests.append(request)
                        if len(open_requests) > OPEN_REQUESTS:
                            self._requests.pop(open_requests.pop(0), None)
                        self._emit(LeaseAsked(request, hello.server, hello.role, message.epoch))
                    case _:
                        raise ProtocolError(f"{type(message).__name__} is not for a guard to send")
        finally:
            for request in open_requests:
                self._requests.pop(request, None)

    def _lose(self, server: str, connection: _Connection) -> None:
        """Once for each connection of an agent: what it was asked gets no answer any more."""
        if self._agents.get(server) is not connection:
            return
        del self._agents[server]
        self._emit(AgentLost(server))
        for operation, (order, where) in list(self._asked.items()):
            if where is connection:
                del self._asked[operation]
                self._answer(order, Outcome.TIMED_OUT)

    def _answer(self, order: AskAgent, outcome: Outcome, known_epoch: int = 0) -> None:
        self._emit(AgentAnswered(order.operation, order.server, order.role, outcome, known_epoch))


class _Connection:
    """One accepted socket. Written by a greenlet of its own, which also sends the heartbeats."""

    def __init__(self, sock: Any, address: Peer, heartbeat: float) -> None:
        self.address = address
        self.peer = str(address[0])
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._heartbeat = heartbeat
        self._queue: LightQueue = LightQueue(LONGEST_QUEUE)
        self._writer = eventlet.spawn(self._write)

    def send(self, message: Any) -> None:
        """Queue a message."""
        try:
            self._queue.put_nowait(FROM_CONTROLLER.encode(message))
        except Full:
            LOG.warning("agent at %s does not read what it is sent", self.peer)
            self.close()

    def refuse(self, message: Refused) -> None:
        """Say why, as far as the peer takes it at once, and close."""
        self._writer.kill()
        with contextlib.suppress(OSError, eventlet.Timeout), eventlet.Timeout(HELLO_TIMEOUT):
            self._sock.sendall(FROM_CONTROLLER.encode(message))
        self.close()

    def close(self) -> None:
        """End reading and writing; `read` raises in whoever waits."""
        self._writer.kill()
        with contextlib.suppress(OSError):  # the peer may have closed before
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def end(self) -> None:
        """`close` by who has read, and reads no more: else what it has read from would keep the
        descriptor until the garbage collector comes by."""
        self.close()
        self._lines.close()

    def read(self, timeout: float) -> Any:
        """The next message. Raises _EndedError at the end or after `timeout` seconds of silence,
        ProtocolError for what is no message."""
        try:
            with eventlet.Timeout(timeout):
                line = self._lines.readline(LONGEST_LINE + 1)
        except eventlet.Timeout:
            raise _EndedError(f"silent for {timeout} s") from None
        except (OSError, ValueError) as error:
            raise _EndedError(str(error)) from None
        if not line:
            raise _EndedError("closed")
        return TO_CONTROLLER.decode(line)

    def _write(self) -> None:
        beat = FROM_CONTROLLER.encode(Heartbeat())
        try:
            while True:
                try:
                    line = self._queue.get(timeout=self._heartbeat)
                except Empty:
                    line = beat
                self._sock.sendall(line)
        except OSError:
            self._sock.close()  # the reader sees it and ends the connection
