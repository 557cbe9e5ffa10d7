"""Probes over TCP: a connection, and the words of a protocol that prove a server alive.

A dialogue is a table: what we say, and what each line of the answer means. Lines are judged by
pure functions; `converse` is the only one here that does I/O.

That a connection is made proves little: the kernel of a stopped server completes it. Only what
the server says counts, except for `tcp`, which is for servers that say nothing first.

A server that asks to try again later is a standby without its resource: alive, and not broken.
It says so by a 4xx reply (SMTP, RFC 5321 section 4.2.1), `[SYS/TEMP]`, `[IN-USE]` or
`[LOGIN-DELAY]` (POP3, RFC 3206 and RFC 2449), `[UNAVAILABLE]` (IMAP, RFC 5530) or 503 (HTTP,
RFC 9110 section 15.6.4); in POP3 and IMAP also in words that ask to try again (`AGAIN`).
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hactrl.health.targets import ProbeRoute
from hactrl.health.verdicts import Cause, Finding
from hactrl.vocabulary import ProbeKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LINE_LIMIT = 8192
"""Bytes of a line: beyond every limit of these protocols (RFC 5321 section 4.5.3.1.5: 512)."""

LINES_LIMIT = 100
"""Lines of one answer, so that nobody keeps the prober reading."""

SAID_LIMIT = 100
"""Characters of an answer that are told."""

AGAIN = rb"try again|later|temporar|unavailable|not (yet )?(ready|available)"
"""What servers say that send away for a while, and know no response code for it."""

IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h; Python's socket module does not name it before 3.12."""

GONE_AFTER = 3
"""Seconds without a sign of life from a peer's kernel after which a connection ends, so that who
is waited for with patience cannot be dead for all of that."""

LOCAL_ERRORS = {errno.ENETUNREACH, errno.ENETDOWN, errno.ENODEV, errno.EPERM}
LOCAL_ERRORS |= {errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of the prober's own host, that say nothing about the target."""

ERRORS = {
    errno.EADDRNOTAVAIL: Cause.NO_ADDRESS,
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ECONNRESET: Cause.RESET,
    errno.EPIPE: Cause.RESET,
    errno.ETIMEDOUT: Cause.TIMEOUT,
    errno.EHOSTUNREACH: Cause.UNREACHABLE,
    errno.EHOSTDOWN: Cause.UNREACHABLE,
}


class Reply(Enum):
    GOOD = "good"
    TEMPORARY = "temporary"
    BAD = "bad"


Judge = Callable[[bytes], Reply | None]
"""What a line means; None if the answer goes on after it."""


@dataclass(frozen=True)
class Exchange:
    """What we say (nothing, if the server speaks first), and how its answer is judged."""

    say: Callable[[ProbeRoute], bytes]
    judge: Judge


class AbandonedError(Exception):
    """The connection was given up before the target's own timeout: nothing is known."""


def smtp_line(expected: int) -> Judge:
    """RFC 5321 section 4.2: three digits, and a hyphen if more lines follow."""

    def judge(line: bytes) -> Reply | None:
        match = re.fullmatch(rb"(\d{3})(?:([ -]).*)?", line)
        if not match:
            return Reply.BAD
        if match[2] == b"-":
            return None
        code = int(match[1])
        if code == expected:
            return Reply.GOOD
        return Reply.TEMPORARY if code // 100 == 4 else Reply.BAD

    return judge


def pop3_line(line: bytes) -> Reply:
    """RFC 1939 section 3, with the response codes of RFC 2449 and RFC 3206."""
    if re.match(rb"\+OK(\s|$)", line):
        return Reply.GOOD
    codes = rb"\[(SYS/TEMP|IN-USE|LOGIN-DELAY)\]"
    if re.match(rb"-ERR (%b|(?!\[).*(%b))" % (codes, AGAIN), line, re.IGNORECASE):
        return Reply.TEMPORARY
    return Reply.BAD


IMAP_BYE = rb"\* BYE (\[UNAVAILABLE\]|(?!\[).*(%b))" % AGAIN


def imap_greeting(line: bytes) -> Reply:
    """RFC 9051 section 7.1: OK and PREAUTH greet, BYE sends away."""
    if re.match(rb"\* (OK|PREAUTH)(\s|$)", line, re.IGNORECASE):
        return Reply.GOOD
    if re.match(IMAP_BYE, line, re.IGNORECASE):
        return Reply.TEMPORARY
    return Reply.BAD


def imap_line(tag: bytes) -> Judge:
    """RFC 9051 section 7: untagged lines, and then the one with the command's tag."""

    def judge(line: bytes) -> Reply | None:
        if re.match(rb"%b|%b NO \[UNAVAILABLE\]" % (IMAP_BYE, tag), line, re.IGNORECASE):
            return Reply.TEMPORARY
        if line.startswith(b"* "):
            return None
        good = re.match(rb"%b OK(\s|$)" % tag, line, re.IGNORECASE)
        return Reply.GOOD if good else Reply.BAD

    return judge


def http_line(line: bytes) -> Reply:
    """RFC 9112 section 4. A client's error (4xx) is an answer of a server that works."""
    match = re.match(rb"HTTP/1\.[01] (\d{3})(\s|$)", line)
    if not match:
        return Reply.BAD
    status = int(match[1])
    if status == 503:
        return Reply.TEMPORARY
    return Reply.GOOD if 100 <= status < 500 else Reply.BAD


def nothing(_route: ProbeRoute) -> bytes:
    return b""


def words(text: bytes) -> Callable[[ProbeRoute], bytes]:
    return lambda _route: text


def ehlo(route: ProbeRoute) -> bytes:
    """With an address literal (RFC 5321 section 4.1.3): a source address has no name."""
    prefix = "IPv6:" if route.source.version == 6 else ""
    return f"EHLO [{prefix}{route.source}]\r\n".encode()


def head(route: ProbeRoute) -> bytes:
    host = f"[{route.destination}]" if route.destination.version == 6 else route.destination
    return (
        f"HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hactrl-prober\r\nConnection: close\r\n\r\n"
    ).encode()


SMTP = (
    Exchange(nothing, smtp_line(220)),
    Exchange(ehlo, smtp_line(250)),
    Exchange(words(b"QUIT\r\n"), smtp_line(221)),
)

DIALOGUES: Mapping[str, tuple[Exchange, ...]] = {
    ProbeKind.TCP: (),
    ProbeKind.SMTP: SMTP,
    ProbeKind.SUBMISSION: SMTP,
    ProbeKind.POP3: (Exchange(nothing, pop3_line), Exchange(words(b"QUIT\r\n"), pop3_line)),
    ProbeKind.IMAP: (
        Exchange(nothing, imap_greeting),
        Exchange(words(b"1 NOOP\r\n"), imap_line(b"1")),
        Exchange(words(b"2 LOGOUT\r\n"), imap_line(b"2")),
    ),
    ProbeKind.HTTP: (Exchange(head, http_line),),
}


def unheard() -> None:
    """Nobody needs to know."""


async def converse(
    kind: str,
    route: ProbeRoute,
    port: int,
    timeout: float,
    patience: float | None = None,
    *,
    connected: Callable[[], None] = unheard,
    heard: Callable[[], None] = unheard,
) -> Finding:
    """Hold the dialogue once, within `timeout` seconds. Of no family in particular.

    A connection that is not made within `patience` seconds raises AbandonedError: a lost SYN
    is sent again only after a second, and a new connection may be faster. `connected` is called
    when it is made, `heard` after each good answer.
    """
    try:
        async with asyncio.timeout(timeout), connection(route, port, patience) as (reader, writer):
            connected()
            for exchange in DIALOGUES[kind]:
                said = exchange.say(route)
                writer.write(said)
                found = await answer(
                    reader, exchange, Cause.BAD_ANSWER if said else Cause.BAD_GREETING
                )
                if found.cause is not Cause.NONE:
                    return found
                heard()
            return Finding(Cause.NONE)
    except TimeoutError:
        return Finding(Cause.TIMEOUT)
    except OSError as error:
        return Finding(cause_of(error))


async def converse_patiently(
    kind: str, route: ProbeRoute, port: int, timeout: float, patience: float
) -> Finding:
    """Hold the dialogue once, within `patience` seconds. SLOW if it took longer than `timeout`.

    Only words are waited for: who does not even make a connection within `timeout` is silent. A
    server that has given a good answer late, and then closes because it waited too long for what
    we say next, is slow too. One that falls silent is not.
    """
    clock = asyncio.get_running_loop().time
    begun = last = clock()

    def heard() -> None:
        nonlocal last
        last = clock()

    try:
        found = await converse(kind, route, port, patience, timeout, heard=heard)
    except AbandonedError:
        return Finding(Cause.TIMEOUT)
    ended = found.cause in (Cause.NONE, Cause.CLOSED, Cause.RESET)
    return Finding(Cause.SLOW) if ended and last - begun > timeout else found


@asynccontextmanager
async def connection(
    route: ProbeRoute, port: int, patience: float | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection from the route's source; what is unsent or unread at the end is dropped."""
    opened = socket.socket(
        socket.AF_INET6 if route.source.version == 6 else socket.AF_INET, socket.SOCK_STREAM
    )
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Leaves the port to be chosen with the destination known, of 28,000 for each (ip(7)).
        opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        opened.bind((str(route.source), 0))
        async with asyncio.timeout(patience) if patience else nullcontext() as limit:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(opened, (str(route.destination), port))
    except TimeoutError as error:
        opened.close()
        if limit is not None and limit.expired():
            raise AbandonedError from error
        raise
    except BaseException:
        opened.close()
        raise
    notice_death(opened)
    reader, writer = await asyncio.open_connection(sock=opened, limit=LINE_LIMIT)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def notice_death(connected: socket.socket) -> None:
    """End it with ETIMEDOUT when nobody acknowledges, be it what was said or nothing (tcp(7))."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER * 1000)


async def answer(reader: asyncio.StreamReader, exchange: Exchange, bad: Cause) -> Finding:
    """What the server answers, judged line by line; `bad` is what to call a wrong answer."""
    line = b""
    for _ in range(LINES_LIMIT):
        try:
            line = await reader.readline()
        except ValueError:  # a line longer than the limit
            return Finding(bad)
        if not line.endswith(b"\n"):
            return Finding(Cause.CLOSED)
        match exchange.judge(line.rstrip(b"\r\n")):
            case Reply.GOOD:
                return Finding(Cause.NONE)
            case Reply.TEMPORARY:
                return Finding(Cause.TEMPORARY, said=readable(line))
            case Reply.BAD:
                return Finding(bad, said=readable(line))
    return Finding(bad, said=readable(line))


def readable(line: bytes) -> str:
    """A line of a stranger as text that harms no terminal and no journal."""
    text = line.decode("ascii", "replace").strip()[:SAID_LIMIT]
    return "".join(each if each.isprintable() and each.isascii() else "?" for each in text)


def cause_of(error: OSError) -> Cause:
    """Raises the error again if it is none that a network or a lack of resources explains."""
    if error.errno in LOCAL_ERRORS:
        return Cause.LOCAL_FAULT
    if error.errno in ERRORS:
        return ERRORS[error.errno]
    raise error
