"""Dialogues against scripted servers on loopback, and the lines that they are made of.

The scripts hold what Postfix 3.7 and Dovecot 2.3 say, see `REAL`; an integration test holds the
dialogues against the real ones.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from free_port import free_port

from hactrl.health.dialogues import (
    DIALOGUES,
    AbandonedError,
    Judge,
    Reply,
    connection,
    converse,
    converse_patiently,
    http_line,
    imap_greeting,
    imap_line,
    pop3_line,
    smtp_line,
)
from hactrl.health.targets import ProbeRoute
from hactrl.health.verdicts import Cause
from hactrl.vocabulary import ProbeKind

IPV4 = ProbeRoute(ip_address("127.0.0.2"), ip_address("127.0.0.1"))
IPV6 = ProbeRoute(ip_address("::1"), ip_address("::1"))
TIMEOUT = 5.0

LATE = 0.2
"""Seconds after which an answer to a patient dialogue is late."""

Script = list[tuple[bytes, bytes]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

EHLO = b"EHLO [127.0.0.2]\r\n"
REAL: dict[str, Script] = {
    "smtp": [
        (b"", b"220 mail.example ESMTP Postfix (Debian/GNU)\r\n"),
        (EHLO, b"250-mail.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
        (b"QUIT\r\n", b"221 2.0.0 Bye\r\n"),
    ],
    "pop3": [
        (b"", b"+OK Dovecot (Debian) ready.\r\n"),
        (b"QUIT\r\n", b"+OK Logging out\r\n"),
    ],
    "imap": [
        (b"", b"* OK [CAPABILITY IMAP4rev1 SASL-IR] Dovecot (Debian) ready.\r\n"),
        (b"1 NOOP\r\n", b"1 OK NOOP completed.\r\n"),
        (b"2 LOGOUT\r\n", b"* BYE Logging out\r\n2 OK Logout completed.\r\n"),
    ],
    "http": [
        (
            b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: hactrl-prober\r\n"
            b"Connection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        )
    ],
}
REAL["submission"] = REAL["smtp"]


@asynccontextmanager
async def server(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on a free port, which it gives."""
    running = await asyncio.start_server(serve, host, 0)
    async with running:
        yield running.sockets[0].getsockname()[1]


def scripted(script: Script) -> Serve:
    """A server that hears exactly what the script says, answers, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for hears, says in script:
            if await reader.readexactly(len(hears)) != hears:
                break
            writer.write(says)
        writer.close()

    return serve


def probe(kind: str, script: Script, timeout: float = TIMEOUT) -> Cause:
    async def run() -> Cause:
        async with server(scripted(script)) as port:
            return (await converse(kind, IPV4, port, timeout)).cause

    return asyncio.run(run())


@pytest.mark.parametrize("kind", REAL)
def test_a_server_that_goes_through_with_its_dialogue_is_alive(kind: str) -> None:
    assert probe(kind, REAL[kind]) is Cause.NONE


@pytest.mark.parametrize(
    ("kind", "greeting"),
    [
        ("smtp", b"421 4.3.2 mail.example not here yet, try again\r\n"),
        ("smtp", b"450-4.3.0 wait\r\n450 4.3.0 a little\r\n"),
        ("submission", b"421 4.3.2 try again\r\n"),
        ("pop3", b"-ERR [SYS/TEMP] no spool yet\r\n"),
        ("pop3", b"-ERR [IN-USE] locked\r\n"),
        ("pop3", b"-ERR [LOGIN-DELAY] not so often\r\n"),
        ("pop3", b"-ERR Try again later\r\n"),
        ("imap", b"* BYE [UNAVAILABLE] no spool yet\r\n"),
        ("imap", b"* BYE try again later\r\n"),
        ("imap", b"* BYE Temporarily not in service\r\n"),
    ],
)
def test_a_greeting_that_says_try_again_is_temporary(kind: str, greeting: bytes) -> None:
    assert probe(kind, [(b"", greeting)]) is Cause.TEMPORARY


@pytest.mark.parametrize(
    ("kind", "greeting"),
    [
        ("smtp", b"554 5.3.2 no service here\r\n"),
        ("smtp", b"+OK this is POP3\r\n"),
        ("pop3", b"-ERR go away\r\n"),
        ("pop3", b"-ERR [SYS/PERM] not now, not later\r\n"),
        ("imap", b"* BYE Server shutting down.\r\n"),
        ("imap", b"* BYE [ALERT] try again later never\r\n"),
        ("smtp", b"220-" + b"x" * 10000 + b"\r\n"),
        ("smtp", b"220-and so on\r\n" * 200),
    ],
)
def test_another_greeting_is_a_bad_one(kind: str, greeting: bytes) -> None:
    assert probe(kind, [(b"", greeting)]) is Cause.BAD_GREETING


@pytest.mark.reported("B7")
@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"452 4.3.1 Insufficient system storage\r\n", "452 4.3.1 Insufficient system storage"),
        (b"554 \x1b[2J\xff go\r\n", "554 ?[2J? go"),
        (b"220-" + b"x" * 200 + b"\r\n220 y" + b"\r\n", ""),
    ],
)
def test_what_was_answered_is_told_in_a_form_that_harms_nobody(says: bytes, told: str) -> None:
    async def run() -> str:
        async with server(scripted([(b"", says), *REAL["smtp"][1:]])) as port:
            return (await converse("smtp", IPV4, port, TIMEOUT)).said

    assert asyncio.run(run()) == told


def test_a_good_greeting_and_a_bad_answer_is_a_bad_answer() -> None:
    assert probe("smtp", [REAL["smtp"][0], (EHLO, b"502 5.5.2 what?\r\n")]) is Cause.BAD_ANSWER


def test_http_503_is_temporary_and_500_a_bad_answer() -> None:
    request = REAL["http"][0][0]
    assert probe("http", [(request, b"HTTP/1.1 503 Wait\r\n\r\n")]) is Cause.TEMPORARY
    assert probe("http", [(request, b"HTTP/1.1 500 Oh\r\n\r\n")]) is Cause.BAD_ANSWER


def test_a_server_that_hangs_up_before_its_greeting_has_closed() -> None:
    assert probe("smtp", []) is Cause.CLOSED


def test_a_greeting_without_its_end_of_line_is_no_greeting() -> None:
    assert probe("smtp", [(b"", b"220 mail.exam")]) is Cause.CLOSED


def test_a_port_where_nobody_listens_refuses() -> None:
    assert asyncio.run(converse("smtp", IPV4, free_port(), TIMEOUT)).cause is Cause.REFUSED


class TestStoppedServer:
    """A process that is stopped: its kernel completes connections, and it says nothing."""

    @pytest.fixture
    def port(self) -> int:
        self.listening = socket.create_server(("127.0.0.1", 0))
        return int(self.listening.getsockname()[1])

    @pytest.mark.parametrize("kind", REAL)
    def test_times_out(self, kind: str, port: int) -> None:
        assert asyncio.run(converse(kind, IPV4, port, 0.05)).cause is Cause.TIMEOUT

    def test_is_alive_for_a_probe_that_only_connects(self, port: int) -> None:
        assert asyncio.run(converse("tcp", IPV4, port, TIMEOUT)).cause is Cause.NONE

    @pytest.mark.reported("A1")
    @pytest.mark.parametrize("kind", REAL)
    def test_is_not_slow_for_who_is_patient(self, kind: str, port: int) -> None:
        found = asyncio.run(converse_patiently(kind, IPV4, port, LATE, 2 * LATE))
        assert found.cause is Cause.TIMEOUT


@pytest.mark.reported("A1")
class TestPatience:
    """A server that begins to speak only after the time that a probe has."""

    def waited(self, kind: str, script: Script, *, late: float = 2 * LATE) -> Cause:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(late)
            await scripted(script)(reader, writer)

        async def run() -> Cause:
            async with server(serve) as port:
                return (await converse_patiently(kind, IPV4, port, LATE, TIMEOUT)).cause

        return asyncio.run(run())

    @pytest.mark.parametrize("kind", REAL)
    def test_a_dialogue_that_ends_well_but_late_is_slow(self, kind: str) -> None:
        assert self.waited(kind, REAL[kind]) is Cause.SLOW

    def test_one_that_ends_in_time_is_good(self) -> None:
        assert self.waited("smtp", REAL["smtp"], late=0.0) is Cause.NONE

    def test_a_late_greeting_counts_though_the_server_then_hangs_up(self) -> None:
        assert self.waited("smtp", REAL["smtp"][:1]) is Cause.SLOW

    def test_a_server_that_hangs_up_late_without_a_word_has_closed(self) -> None:
        assert self.waited("smtp", []) is Cause.CLOSED

    def test_who_asks_late_to_try_again_is_not_slow(self) -> None:
        assert self.waited("smtp", [(b"", b"421 wait\r\n")]) is Cause.TEMPORARY

    def test_who_falls_silent_after_a_late_greeting_is_not_slow(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(2 * LATE)
            writer.write(REAL["smtp"][0][1])
            await reader.read()
            writer.close()

        async def run() -> Cause:
            async with server(serve) as port:
                return (await converse_patiently("smtp", IPV4, port, LATE, 6 * LATE)).cause

        assert asyncio.run(run()) is Cause.TIMEOUT

    def test_a_connection_ends_soon_after_the_peer_s_machine_has_died(self) -> None:
        async def run() -> tuple[int, int]:
            async with server(scripted([])) as port, connection(IPV4, port, None) as (_, writer):
                opened = writer.get_extra_info("socket")
                return (
                    opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )

        assert asyncio.run(run()) == (1, 3000)


class TestUnansweredSyn:
    """A listener whose backlog is full: Linux drops what comes after."""

    @pytest.fixture
    def port(self) -> int:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=0)
        address = self.listening.getsockname()
        self.filling = [socket.socket() for _ in range(3)]
        for filler in self.filling:
            filler.setblocking(False)
            filler.connect_ex(address)
        return int(address[1])

    def test_is_abandoned_when_patience_ends(self, port: int) -> None:
        with pytest.raises(AbandonedError):
            asyncio.run(converse("smtp", IPV4, port, TIMEOUT, patience=0.05))

    @pytest.mark.reported("A1")
    def test_is_not_waited_for_with_patience(self, port: int) -> None:
        found = asyncio.run(converse_patiently("smtp", IPV4, port, 0.05, 3600.0))
        assert found.cause is Cause.TIMEOUT

    def test_times_out_when_the_timeout_comes_first(self, port: int) -> None:
        assert (
            asyncio.run(converse("smtp", IPV4, port, 0.05, patience=TIMEOUT)).cause is Cause.TIMEOUT
        )


def test_a_source_address_that_this_host_lacks_is_a_fault_of_its_own() -> None:
    elsewhere = ProbeRoute(ip_address("192.0.2.1"), ip_address("127.0.0.1"))
    assert asyncio.run(converse("smtp", elsewhere, 25, TIMEOUT)).cause is Cause.NO_ADDRESS


@pytest.mark.parametrize("route", [IPV4, IPV6], ids=["ipv4", "ipv6"])
def test_probes_come_from_the_route_s_source_and_say_so(route: ProbeRoute) -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        seen.append((writer.get_extra_info("peername")[0], await reader.readline()))
        writer.close()

    async def run() -> None:
        async with server(serve, str(route.destination)) as port:
            await converse("smtp", route, port, TIMEOUT)

    asyncio.run(run())
    literal = "IPv6:::1" if route is IPV6 else "127.0.0.2"
    assert seen == [(str(route.source), f"EHLO [{literal}]\r\n".encode())]


@pytest.mark.parametrize(
    ("judge", "line", "answer"),
    [
        (smtp_line(250), b"250", Reply.GOOD),
        (smtp_line(250), b"250-more", None),
        (smtp_line(250), b"2500 strange", Reply.BAD),
        (smtp_line(220), b"250 not now", Reply.BAD),
        (pop3_line, b"+OKAY", Reply.BAD),
        (pop3_line, b"-ERR [SYS/PERM] broken", Reply.BAD),
        (imap_greeting, b"* PREAUTH hello", Reply.GOOD),
        (imap_greeting, b"1 OK hello", Reply.BAD),
        (imap_line(b"1"), b"* 3 EXISTS", None),
        (imap_line(b"1"), b"1 NO [UNAVAILABLE] wait", Reply.TEMPORARY),
        (imap_line(b"1"), b"1 BAD what", Reply.BAD),
        (imap_line(b"1"), b"12 OK of another", Reply.BAD),
        (http_line, b"HTTP/1.0 404 Not Found", Reply.GOOD),
        (http_line, b"HTTP/1.1 302", Reply.GOOD),
        (http_line, b"SSH-2.0-OpenSSH", Reply.BAD),
    ],
)
def test_meaning_of_a_line(judge: Judge, line: bytes, answer: Reply | None) -> None:
    assert judge(line) is answer


def test_every_kind_of_probe_has_a_dialogue_but_those_that_ask_no_daemon() -> None:
    assert DIALOGUES.keys() == set(ProbeKind) - {ProbeKind.ICMP, ProbeKind.ARP}
