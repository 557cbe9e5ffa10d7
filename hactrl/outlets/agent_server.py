"""The controller's side of `hactrl.agent.protocol`: agents and guards connect, events come out.

Runs in the hub. Nothing here waits for a peer but the greenlet of that peer's own connection.

A server has one agent, and each of its roles one guard. While the one that is connected answers,
another under the same name is a twin, a cloned machine most likely: it is refused, and proves
nothing. If the one before does not answer, the newcomer has its place at once. A boot id tells no
twin, because a copy of a machine's memory has the same.
"""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.sparing import Sparing
from hactrl import hub
from hactrl.agent.messages import ProtocolError
from hactrl.agent.protocol import (
    HIGHEST_CLAIM,
    OLDEST,
    VERSION,
    AgentHello,
    Answer,
    Assume,
    GuardHello,
    Heartbeat,
    LeaseDenied,
    LeaseGranted,
    LeaseRenew,
    Notice,
    NoticeKind,
    Refusal,
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
    GuardConnected,
    GuardLost,
    Held,
    LeaseAsked,
    Noticed,
)
from hactrl.engine.roles.ledger import fingerprint
from hactrl.journal import of_strangers
from hactrl.listeners import Door, Peer
from hactrl.outlets.agent_connection import AgentConnection, EndedError
from hactrl.site.model import Site
from hactrl.tokens import read_secret
from hactrl.vocabulary import EntryKind, Outcome

LOG = logging.getLogger(__name__)

HELLO_TIMEOUT = 2.0
"""Seconds for a peer's hello, and for its first word after it was welcomed."""

PING_PATIENCE = 0.05
"""Seconds after which an agent that was asked urgently for its status counts as silent. It answers
from its memory; what it said before it was asked proves no life now."""

BESIDE_PATIENCE = 0.02
"""Seconds after another agent's answer to such a question, if that is sooner: the controller and
the management network are not what is slow then."""

READ_FIRST = 5
"""Turns of the hub in which what has arrived while it was busy is read before that: one in which it
is seen, and one for each message, of which the answer may not be the first."""

OPEN_REQUESTS = 50
"""Lease requests of one guard that the engine has not answered; older ones are dropped."""

NOTICE_PAUSE = 10.0
"""Seconds between two entries of the journal, or lines of the log, for the same cause."""

NOTICES = 20
"""Notices of one server in `NOTICE_PAUSE` that reach journal and log."""

Place = tuple[str, str | None]
"""What there is one of: the agent of a server (None), or the guard of one of its roles. All roles
that are not in the site file share the name ""."""


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


#: What agents may tell, in the journal's words.
OF_NOTICE = {
    NoticeKind.DISK_FULL: EntryKind.DISK_FULL,
    NoticeKind.DISK_MENDED: EntryKind.DISK_MENDED,
    NoticeKind.MOUNT_USERS_KILLED: EntryKind.MOUNT_USERS_KILLED,
    NoticeKind.ROLE_CHECK_FAILED: EntryKind.ROLE_CHECK_FAILED,
    NoticeKind.STATE_UNWRITABLE: EntryKind.STATE_UNWRITABLE,
    NoticeKind.PAUSE_SEEN: EntryKind.PAUSE_SEEN,
}


class _RefusedError(Exception):
    """We end a connection, and say why."""

    def __init__(self, refusal: Refusal, explanation: str, standing: str = "") -> None:
        """`standing`: the address of who has the place."""
        super().__init__(explanation)
        self.refusal = refusal
        self.standing = standing


class AgentServer:
    """`emit` gets every event and must not wait. `named` tells the highest epoch of a role that the
    controller itself knows. `serve` before anything else."""

    def __init__(
        self,
        site: Site,
        tokens: dict[str, str],
        emit: Callable[[Event], None],
        named: Callable[[str], int] = lambda _role: 0,
    ) -> None:
        self._site = site
        self._tokens = tokens
        self._emit = emit
        self._named = named
        self._standing: dict[Place, AgentConnection] = {}
        self._asked: dict[int, tuple[AskAgent, AgentConnection]] = {}
        self._requests: dict[str, tuple[AgentConnection, int]] = {}
        self._last_request = 0
        self._connections: set[AgentConnection] = set()
        self._sparing = Sparing(NOTICE_PAUSE)
        self._strangers = of_strangers()
        self._notices = Sparing(NOTICE_PAUSE, NOTICES)
        self._door: Door

    @property
    def port(self) -> int:
        """Where it listens; of use where the site file says 0."""
        return self._door.port

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
        connection = self._standing.get((order.server, None))
        if connection is None:
            self._answer(order, Outcome.TIMED_OUT)
            return
        self._asked[order.operation] = (order, connection)
        connection.send(self._message(order))
        if order.urgent:
            hub.spawn_n(self._give_up_ping, order, PING_PATIENCE)

    def _give_up_ping(self, order: AskAgent, patience: float) -> None:
        """A later answer is let through, and says nothing any more. This is begun in a greenlet
        that comes after the one that sends the question: it is not sent before the hub is free."""
        hub.sleep(patience)
        for _ in range(READ_FIRST):
            hub.sleep(0)
        if order.operation in self._asked:
            self._answer(order, Outcome.TIMED_OUT)

    def _compare(self) -> None:
        """One has answered; who was asked urgently too has little time left."""
        for order, _ in self._asked.values():
            if order.urgent:
                hub.spawn_n(self._give_up_ping, order, BESIDE_PATIENCE)

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
        heartbeat = self._site.timers.agent_heartbeat
        self._serve(AgentConnection(sock, address, heartbeat, self._sparing))

    def _serve(self, connection: AgentConnection) -> None:
        self._connections.add(connection)
        try:
            hello = self._hello(connection)
            try:
                self._give_place(connection, hello)
            except _RefusedError as error:
                self._tell_refusal(connection, hello, error)
                connection.refuse(error.refusal, str(error))
        except ProtocolError as error:
            said = "agent at %s breaks the protocol: %s"
            cause = "protocol", connection.peer
            self._sparing.log(cause, LOG.warning, said, connection.peer, error)
            connection.refuse(Refusal.PROTOCOL, str(error))
        except EndedError as error:
            cause = "ended", connection.peer
            self._sparing.log(cause, LOG.info, "agent at %s: %s", connection.peer, error)
        finally:
            self._connections.discard(connection)
            connection.close()

    def _hello(self, connection: AgentConnection) -> AgentHello | GuardHello:
        hello = connection.read_first(HELLO_TIMEOUT)
        if not isinstance(hello, AgentHello | GuardHello):
            raise ProtocolError(f"expected a hello, got {type(hello).__name__}")
        return hello

    def _give_place(self, connection: AgentConnection, hello: AgentHello | GuardHello) -> None:
        """Serve who has a right to its place. It has it once it has said something after the
        welcome: a connection that waited long to be accepted may have nobody at its other end."""
        timers = self._site.timers
        self._admit(hello)
        connection.speak(hello.version)
        if connection.left():
            raise EndedError("closed while it waited")
        place = self._place(hello)
        self._contest(place, connection)
        connection.send(Welcome(timers.agent_heartbeat, timers.agent_timeout, VERSION))
        message = connection.read(HELLO_TIMEOUT)
        self._contest(place, connection)
        self._standing[place] = connection
        self._door.busy(connection.address)
        try:
            if isinstance(hello, AgentHello):
                self._serve_agent(connection, hello, message)
            else:
                self._serve_guard(connection, hello, message)
        finally:
            self._lose(place, connection)

    def _admit(self, hello: AgentHello | GuardHello) -> None:
        if hello.version < OLDEST:
            raise _RefusedError(
                Refusal.VERSION,
                f"protocol version {hello.version}, expected {OLDEST} to {VERSION}; "
                "install the agent that comes with this controller",
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

    def _place(self, hello: AgentHello | GuardHello) -> Place:
        if isinstance(hello, AgentHello):
            return hello.server, None
        return hello.server, hello.role if hello.role in self._site.roles else ""

    def _contest(self, place: Place, newcomer: AgentConnection) -> None:
        """Make the place free, unless who has it answers: then raise _RefusedError."""
        while (standing := self._standing.get(place)) is not None:
            if standing.answers():
                raise _RefusedError(
                    Refusal.TWIN,
                    f"{_title(place)} is connected already from {standing.peer} and answers, so "
                    f"this one at {newcomer.peer} is a second one, as on a cloned machine; give "
                    "the clone a name and a token of its own, or stop its agent",
                    standing.peer,
                )
            if self._standing.get(place) is standing:
                self._lose(place, standing)
                reason = f"it did not answer, and a newer one is here, from {newcomer.peer}"
                hub.spawn_n(standing.refuse, Refusal.SUPERSEDED, reason)

    def _tell_refusal(
        self, connection: AgentConnection, hello: AgentHello | GuardHello, error: _RefusedError
    ) -> None:
        """To log and journal, sparingly: who is refused comes again. Only a twin has shown a token;
        others are strangers, whose names are not told apart, because there is no end of them."""
        known = error.refusal is Refusal.TWIN
        sparing = self._sparing if known else self._strangers
        cause = error.refusal, *(self._place(hello) if known else (connection.peer,))
        said = "agent at %s refused: %s"
        if not sparing.log(cause, LOG.warning, said, connection.peer, error):
            return
        details: dict[str, str] = {
            "peer": "agent" if isinstance(hello, AgentHello) else "guard",
            "server": hello.server,
            "address": connection.peer,
            "boot": fingerprint(hello.boot),
            "refusal": error.refusal.value,
            "standing": error.standing,
        }
        role = self._place(hello)[1] or ""
        self._emit(Noticed(EntryKind.AGENT_REFUSED, role, tuple(details.items())))

    def _serve_agent(self, connection: AgentConnection, hello: AgentHello, message: Any) -> None:
        server = hello.server
        for held in hello.roles:
            self._check_claim(held.role, held.epoch)
            if held.role not in self._site.roles:
                LOG.warning("agent %s plays %s, which is not in the site file", server, held.role)
        self._emit(AgentConnected(server, hello.boot, self._ours(hello.roles)))
        while True:
            self._hear_agent(server, message)
            message = connection.read(self._site.timers.agent_timeout)
            if self._standing.get((server, None)) is not connection:
                raise EndedError("a newer connection is here: words of this one are void")

    def _hear_agent(self, server: str, message: Any) -> None:
        match message:
            case Heartbeat():
                pass
            case Report(held, explanation):
                self._check_claim(held.role, held.epoch)
                for ours in self._ours((held,)):
                    self._emit(AgentReported(server, ours))
                    self._notice(server, EntryKind.AGENT_EXPLAINED, ours.role, explanation)
            case Answer():
                self._hear_answer(server, message)
            case Notice(what, role, text):
                self._notice(
                    server, OF_NOTICE[what], role if role in self._site.roles else "", text
                )
            case _:
                raise ProtocolError(f"{type(message).__name__} is not for an agent to send")

    def _hear_answer(self, server: str, answer: Answer) -> None:
        order, _ = self._asked.get(answer.operation, (None, None))
        if order is None or (order.server, order.role) != (server, answer.role):
            raise ProtocolError(f"answer to operation {answer.operation}, not asked")
        self._check_claim(answer.role, answer.known_epoch)
        del self._asked[answer.operation]
        if order.urgent:
            self._compare()
        self._answer(order, answer.outcome, answer.known_epoch)
        self._notice(server, EntryKind.AGENT_EXPLAINED, order.role, answer.explanation)

    def _ours(self, roles: tuple[Held, ...]) -> tuple[Held, ...]:
        """Of these, what concerns the roles of the site file."""
        return tuple(held for held in roles if held.role in self._site.roles)

    def _check_claim(self, role: str, epoch: int) -> None:
        highest = max(HIGHEST_CLAIM, self._named(role))
        if epoch > highest:
            raise ProtocolError(f"epoch {epoch} of {role!r} was never given; at most {highest}")

    def _notice(self, server: str, kind: EntryKind, role: str, text: str) -> None:
        if not text:
            return
        said = "agent %s: %s: %s"
        if self._notices.log(server, LOG.warning, said, server, role or kind, text):
            self._emit(Noticed(kind, role, (("server", server), ("text", text))))

    def _serve_guard(self, connection: AgentConnection, hello: GuardHello, message: Any) -> None:
        open_requests: list[str] = []
        if hello.role in self._site.roles:
            self._emit(GuardConnected(hello.server, hello.role))
        try:
            while True:
                match message:
                    case Heartbeat():
                        pass
                    case LeaseRenew(number, epoch):
                        request = self._open_request(connection, hello, number, open_requests)
                        asked = LeaseAsked(request, hello.server, hello.role, epoch, hello.boot)
                        self._emit(asked)
                    case _:
                        raise ProtocolError(f"{type(message).__name__} is not for a guard to send")
                message = connection.read(self._site.timers.agent_timeout)
        finally:
            for request in open_requests:
                self._requests.pop(request, None)

    def _open_request(
        self, connection: AgentConnection, hello: GuardHello, number: int, open_requests: list[str]
    ) -> str:
        self._last_request += 1
        request = f"{hello.server}/{hello.role}/{self._last_request}"
        self._requests[request] = (connection, number)
        open_requests.append(request)
        if len(open_requests) > OPEN_REQUESTS:
            self._requests.pop(open_requests.pop(0), None)
        return request

    def _lose(self, place: Place, connection: AgentConnection) -> None:
        """Once for each connection that had a place. What an agent was asked gets no answer any
        more, and what a guard asked for it need not be given."""
        if self._standing.get(place) is not connection:
            return
        del self._standing[place]
        server, role = place
        if role is not None:
            if role:
                self._emit(GuardLost(server, role))
            return
        self._emit(AgentLost(server))
        for operation, (order, where) in list(self._asked.items()):
            if where is connection:
                del self._asked[operation]
                self._answer(order, Outcome.TIMED_OUT)

    def _answer(self, order: AskAgent, outcome: Outcome, known_epoch: int = 0) -> None:
        self._emit(AgentAnswered(order.operation, order.server, order.role, outcome, known_epoch))


def _title(place: Place) -> str:
    server, role = place
    return f"the agent of {server}" if role is None else f"the guard of {role or '?'} on {server}"
