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
from hactrl.site.model import Site

LOG = logging.getLogger(__name__)

HELLO_TIMEOUT = 2.0
ACCEPT_PAUSE = 0.1
"""Seconds before the next try when a connection could not be accepted."""

LONGEST_QUEUE = 100
"""Messages waiting for a peer that does not read."""

PING_PATIENCE = 0.05
"""Seconds after which an agent that was asked for its status counts as silent. It answers from its
memory; what it said before it was asked proves no life now."""

OPEN_REQUESTS = 50
"""Lease requests of one guard that the engine has not answered; older ones are dropped."""


def read_tokens(path: Path) -> dict[str, str]:
    """The tokens of all servers, from lines `server: token`. Lines with # are comments.

    Raises ValueError, naming file and line, for anything else; OSError if unreadable.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
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
        self._listener: Any = None

    @property
    def port(self) -> int:
        """Where it listens; of use where the site file says 0."""
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        """Listen, and accept in a greenlet. Raises OSError if the address is not to be had."""
        listen = self._site.controller.agents
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._listener = eventlet.listen((listen.host, listen.port), family=family)
        eventlet.spawn_n(self._accept, self._listener)

    def stop(self) -> None:
        """Close everything; peers see the end of their connections."""
        self._listener.close()
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
        if order.verb is Verb.STATUS:
            eventlet.spawn_after(PING_PATIENCE, self._give_up_ping, order)

    def _give_up_ping(self, order: AskAgent) -> None:
        """A later answer is let through, and says nothing any more."""
        eventlet.sleep(0)  # what has arrived while the hub was busy is read first
        if order.operation in self._asked:
            self._answer(order, Outcome.TIMED_OUT)

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

    def _accept(self, listener: Any) -> None:
        while True:
            try:
                sock, address = listener.accept()
            except OSError as error:
                if listener.fileno() < 0:
                    return  # closed by `stop`
                # Out of file descriptors, as when somebody opens connections without end.
                LOG.error("no agent can connect: %s; trying again", error)
                eventlet.sleep(ACCEPT_PAUSE)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(sock, str(address[0]), self._site.timers.agent_heartbeat)
            eventlet.spawn_n(self._serve, connection)

    def _serve(self, connection: _Connection) -> None:
        timers = self._site.timers
        self._connections.add(connection)
        try:
            hello = connection.read(HELLO_TIMEOUT)
            self._admit(hello)
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
            connection.close()

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
                message = connection.read(self._site.timers.agent_timeout)
                if self._agents.get(server) is not connection:
                    raise _EndedError("a newer connection is here: words of this one are void")
                self._hear_agent(server, message)
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

    def __init__(self, sock: Any, peer: str, heartbeat: float) -> None:
        self.peer = peer
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
