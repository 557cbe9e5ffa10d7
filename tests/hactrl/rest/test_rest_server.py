"""What a client of the REST server may ask for, and how long it may take; asked by sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import eventlet
import pytest
from eventlet.event import Event
from rest_fixture import Controller

from hactrl.listeners import REST, Room, open_door
from hactrl.rest import budget, server
from hactrl.rest.limits import LARGEST_BODY, check_length
from hactrl.rest.problem import ProblemError
from hactrl.site.model import Listen

HEAD = b"POST /v1/trace HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 8 * 1024 * 1024


HUNG_UP = r"reset|[Bb]roken pipe"


def trickle(client: Any, data: bytes) -> None:
    """One byte after the other, with pauses that are no silence."""
    for byte in data:
        client.sendall(bytes([byte]))
        eventlet.sleep(0.01)


class Log:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None:
        pass

    def info(self, message: str) -> None:
        if message.startswith("Traceback"):
            self.errors.append(message)

    error = info


class Served:
    """The REST server, and who asks it. `/large` is a long answer; `/slow` waits for `go_on`."""

    def __init__(self, room: Room) -> None:
        self.log, self.go_on, self.working = Log(), Event(), 0
        self.asked: list[str] = []
        self._api = Controller().api
        self._door = open_door(REST, Listen("127.0.0.1", 0), room)
        self._greenlet = eventlet.spawn(server.serve, self._door, self._application, self.log)

    def connect(self) -> Any:
        client = eventlet.connect(("127.0.0.1", self._door.port))
        client.settimeout(10.0)
        return client

    def close(self) -> None:
        self._door.close()
        self._greenlet.kill()

    def is_well(self) -> bool:
        with self.connect() as client:
            client.sendall(GET)
            return bool(client.recv(12) == b"HTTP/1.1 200")

    def _application(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path == "/slow":
            self.working += 1
            self.go_on.wait()
            self.working -= 1
        if path in ("/large", "/slow"):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"x" * LARGE if path == "/large" else b"slow"]
        return self._api(environ, start_response)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served(Room(64, 32))
    yield served
    served.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one deadline short, and all others longer than a test."""

    def only(name: str) -> None:
        for deadline in ("IDLE", "HEAD", "BODY", "ANSWER"):
            monkeypatch.setattr(server, deadline, 0.2 if deadline == name else 600.0)

    return only


def answer(client: Any) -> tuple[int, dict[str, Any]]:
    """Status and document of an answer after which the server hangs up."""
    whole = b""
    while data := client.recv(65536):
        whole += data
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.reported("C6")
class TestRefusedBeforeItIsRead:
    @pytest.mark.parametrize(
        "endless",
        [b"1\r\nx\r\n" * 10_000, b"f" * 100_000, b"1;" + b"x" * 100_000],
        ids=["one byte a chunk", "a chunk-size line", "a chunk's extension"],
    )
    def test_is_a_body_in_chunks(self, served: Served, endless: bytes) -> None:
        with served.connect() as client:
            client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + endless[:1000])
            status, problem = answer(client)
        assert (status, problem["type"]) == (411, "urn:hactrl:problem:length-required")
        assert served.asked == []

    @pytest.mark.parametrize("length", [LARGEST_BODY + 1, 10 * 10**9, 10**30, 10**3000])
    def test_is_a_body_that_is_too_long(self, served: Served, length: int) -> None:
        with served.connect() as client:
            client.sendall(HEAD + f"Content-Length: {length!s}\r\n\r\n".encode() + b"x" * 1000)
            status, problem = answer(client)
        assert (status, problem["type"]) == (413, "urn:hactrl:problem:too-large")
        assert served.asked == []

    def test_is_whatever_goes_on_after_that(self, served: Served) -> None:
        """The server takes a little more, for its answer to be read, and hangs up."""
        with served.connect() as client:
            client.sendall(HEAD + b"Content-Length: 10000000000\r\n\r\n")
            with pytest.raises(OSError, match=HUNG_UP):
                client.sendall(b"x" * 64 * 1024 * 1024)
        assert served.is_well()

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
    def test_is_a_body_whatever_the_method(self, served: Served, method: bytes) -> None:
        with served.connect() as client:
            client.sendall(
                method + b" /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"
            )
            assert client.recv(12) == b"HTTP/1.1 411"


@pytest.mark.parametrize("lengths", [["1", "1"], ["+1"], ["1_0"], ["1, 1"], ["-1"], ["٣"], [""]])
def test_a_length_is_one_number(lengths: list[str]) -> None:
    with pytest.raises(ProblemError) as raised:
        check_length(lengths, None)
    assert raised.value.status == 400


@pytest.mark.parametrize(("lengths", "length"), [([], 0), (["0"], 0), ([str(LARGEST_BODY)], 65536)])
def test_a_length_may_be_up_to_the_largest(lengths: list[str], length: int) -> None:
    assert check_length(lengths, None) == length


Impatient = Callable[[str], None]


@pytest.mark.reported("C6")
class TestWhoTakesTooLong:
    @pytest.mark.parametrize(
        ("deadline", "begin"),
        [
            ("IDLE", b""),
            ("IDLE", GET),
            ("HEAD", b"G"),
            ("HEAD", GET[:-2]),
            ("HEAD", HEAD),
            ("BODY", HEAD + b"Content-Length: 10\r\n\r\n"),
            ("BODY", HEAD + b"Content-Length: 10\r\n\r\n{"),
        ],
    )
    def test_to_ask_is_hung_up_on(
        self, impatient: Impatient, served: Served, deadline: str, begin: bytes
    ) -> None:
        impatient(deadline)
        with served.connect() as client:
            client.sendall(begin)
            while client.recv(65536):
                pass
        assert served.log.errors == []

    def test_to_ask_is_hung_up_on_even_if_it_goes_on_byte_by_byte(
        self, impatient: Impatient, served: Served
    ) -> None:
        impatient("HEAD")
        with served.connect() as client, pytest.raises(OSError, match=HUNG_UP):
            trickle(client, HEAD * 1000)

    def test_to_read_its_answer_is_hung_up_on(self, impatient: Impatient, served: Served) -> None:
        impatient("ANSWER")
        with served.connect() as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            eventlet.sleep(0.5)
            taken = 0
            while data := client.recv(65536):
                taken += len(data)
            assert taken < LARGE
        assert served.log.errors == []

    @pytest.mark.parametrize("deadline", ["IDLE", "HEAD", "BODY", "ANSWER"])
    def test_is_nothing_to_do_with_how_long_the_answer_takes_to_make(
        self, impatient: Impatient, served: Served, deadline: str
    ) -> None:
        impatient(deadline)
        with served.connect() as client:
            client.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
            eventlet.spawn_after(0.5, served.go_on.send)
            assert client.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_has_gone_is_no_defect(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(1)
    assert served.is_well()
    assert served.log.errors == []


@pytest.mark.reported("C6")
def test_slow_clients_leave_room_to_others() -> None:
    served = Served(Room(4, 4))
    try:
        slow = [served.connect() for _ in range(20)]
        for client in slow[-4:]:
            client.sendall(HEAD)
        assert served.is_well()
    finally:
        served.close()


@pytest.mark.reported("C6")
class TestOneAddress:
    def test_has_a_few_requests_worked_on_at_a_time(self, served: Served) -> None:
        clients = [served.connect() for _ in range(3 * budget.WORKING)]
        for client in clients:
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        while served.working < budget.WORKING:
            eventlet.sleep(0)
        eventlet.sleep(0.1)
        assert served.working == budget.WORKING
        served.go_on.send()
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"

    def test_reads_what_it_has_asked_for_before_it_gets_more(self, served: Served) -> None:
        large = b"GET /large HTTP/1.1\r\n\r\n"
        clients = [served.connect() for _ in range(budget.UNREAD // LARGE)]
        for client in clients:
            client.sendall(large)
            assert client.recv(12) == b"HTTP/1.1 200"
        with served.connect() as client:
            client.sendall(large)
            assert client.recv(12) == b"HTTP/1.1 503"
        for client in clients:
            client.close()
        while served._door._guests and len(served._door._guests) > 0:
            eventlet.sleep(0)
        with served.connect() as client:
            client.sendall(large)
            assert client.recv(12) == b"HTTP/1.1 200"

    def test_lets_others_run_between_its_requests(self, served: Served) -> None:
        with served.connect() as many, served.connect() as other:
            many.sendall(GET * 100)
            other.sendall(b"GET /nowhere HTTP/1.1\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 404"
        assert served.asked.index("/nowhere") < 90


def test_a_body_that_is_announced_is_asked_for(served: Served) -> None:
    with served.connect() as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{}")
        assert client.recv(12) == b"HTTP/1.1 400"


@pytest.mark.reported("C7")
@pytest.mark.parametrize("token", [b"\xff\xfe", "ü".encode(), b"\xed\xb2\x80", b"\x01"])
def test_a_token_that_is_no_text_is_a_wrong_one(served: Served, token: bytes) -> None:
    with served.connect() as client:
        path = b"POST /v1/roles/web/failover HTTP/1.1\r\nHost: localhost\r\n"
        client.sendall(path + b"Authorization: Bearer " + token + b"\r\nContent-Length: 0\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 401"
    assert served.log.errors == []


@pytest.mark.reported("C7")
def test_half_a_character_in_a_body_is_a_name_that_nothing_has(served: Served) -> None:
    body = rb'{"at": "\ud800", "source": "10.0.0.1", "destination": "10.0.0.2"}'
    with served.connect() as client:
        client.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.recv(12) == b"HTTP/1.1 404"
    assert served.log.errors == []
