"""Serves HTTP in the hub, with a limit to everything that a client decides.

eventlet's WSGI server, whose requests would otherwise take as long, and hold as much, as a client
likes. Here the head and the body have deadlines and the body a length that is known and small
before any of it is read; who reads its answer slowly gets so long; and one address has a few
requests worked on at a time, and so many bytes waiting for it.
"""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hactrl import hub
from hactrl.hub import wsgi
from hactrl.listeners import Door, Peer
from hactrl.rest.budget import Application, Budget
from hactrl.rest.limits import LARGEST_BODY, check_length
from hactrl.rest.problem import ProblemError

LOG = logging.getLogger(__name__)

IDLE = 30.0
"""Seconds that a connection waits for its first request, or the next one."""

HEAD = 5.0
"""Seconds from the first byte of a request to the end of its head."""

BODY = 5.0
"""Seconds for the body."""

ANSWER = 60.0
"""Seconds for a client to take the answer."""

LINGER = 1.0
"""Seconds, with at most `LARGEST_BODY` bytes, that a refused client may go on sending: a connection
that is closed on unread bytes takes the refusal with it."""


def serve(door: Door, application: Application, log: Any) -> None:
    """Serve until the door is closed. `log` is eventlet's: it has debug, info and error.

    Raises:
        ListenerEndedError: the listener has ended otherwise.
    """
    server = wsgi.Server(
        *(door.listener, door.listener.getsockname(), Budget(application), log),
        max_http_version="HTTP/1.1",
        protocol=Protocol,
        log_format="",
        debug=False,  # else clients are told tracebacks
        socket_timeout=IDLE,
    )

    server.door = door

    def handle(sock: Any, peer: Peer) -> None:
        sock.settimeout(IDLE)
        server.process_request([peer, sock, wsgi.STATE_IDLE])

    log.info(f"starting up on {wsgi.socket_repr(door.listener)}")
    door.serve(handle)


class _Gone(BaseException):
    """The client has gone, or took too long: nobody is there to be answered, so that nothing that
    catches exceptions may catch this."""


class _Answer:
    """The file that an answer is written to: a client that has gone is no defect. `begin` is called
    before anything is written."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.begin: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        self.writelines([data])

    def writelines(self, parts: list[bytes]) -> None:
        if self.begin is not None:
            self.begin()
        self._guarded(lambda: self.file.writelines(parts))

    def flush(self) -> None:
        self._guarded(self.file.flush)

    @property
    def closed(self) -> bool:
        return bool(self.file.closed)

    def close(self) -> None:
        self.file.close()

    @staticmethod
    def _guarded(write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:  # timeouts too
            raise _Gone(str(error)) from error


class Protocol(wsgi.HttpProtocol):  # type: ignore[misc]
    """Serves one connection."""

    wfile: Any
    _deadline: hub.Timeout | None = None

    def setup(self) -> None:
        super().setup()
        self.wfile = _Answer(self.wfile)

    def handle(self) -> None:
        try:
            super().handle()
        except _Gone as gone:
            LOG.debug("%s: %s", self.client_address[0], gone)
            # What is left to be sent would make `finish` wait again.
            hub.shutdown_safe(self.connection)
            self.wfile = self.wfile.file
        finally:
            self._within(None, "")

    def handle_one_request(self) -> None:
        self.server.door.idle(self.client_address)
        self._within(IDLE, "no request")
        try:
            super().handle_one_request()
        except ProblemError as problem:
            self._refuse(problem)
        # Else many requests in one packet would be served before anything else is.
        hub.sleep(0)

    def _read_request_line(self) -> Any:
        try:
            if self.rfile.closed or not self.rfile.peek(1):
                return b""
        except OSError as error:
            raise _Gone(str(error)) from error
        self._within(HEAD, "half a request")
        return super()._read_request_line()

    def get_environ(self) -> dict[str, Any]:
        """Called when the head is there; then the body is read before anything is done."""
        length = check_length(
            self.headers.get_all("content-length", []), self.headers.get("transfer-encoding")
        )
        environ: dict[str, Any] = super().get_environ()
        self._within(BODY, "half a body")
        body = environ["wsgi.input"].read()
        if len(body) < length:
            raise _Gone("half a body")
        environ["wsgi.input"] = io.BytesIO(body)
        self._within(None, "")
        self.server.door.busy(self.client_address)
        return environ

    def handle_one_response(self) -> None:
        self.wfile.begin = self._begin_answer
        super().handle_one_response()
        self.wfile.begin = None

    def _begin_answer(self) -> None:
        self.server.door.idle(self.client_address)
        self._within(ANSWER, "does not read its answer")

    def log_message(self, form: str, *values: Any) -> None:
        """Of requests that are none; the standard library would write to stderr."""
        LOG.debug("%s: " + form, self.client_address[0], *values)

    def _refuse(self, problem: ProblemError) -> None:
        """Answer without having read the body, and hang up."""
        self.close_connection = True
        response = problem.response(quote(self.path))
        head = [f"HTTP/1.1 {response.status}"]
        head += [f"{name}: {value}" for name, value in response.headerlist]
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + response.body)
        self.wfile.flush()
        self._within(LINGER, "goes on after a refusal")
        left = LARGEST_BODY
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (data := self.connection.recv(left)):
                left -= len(data)
        except OSError as error:
            raise _Gone(str(error)) from error

    def _within(self, seconds: float | None, otherwise: str) -> None:
        """From now on the client has so long, instead of what it had."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None:
            self._deadline = hub.Timeout(seconds, _Gone(otherwise))
