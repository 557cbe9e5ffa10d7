"""What users' programs say to mail servers: short dialogues in SMTP, POP3 and IMAP.

Each tells exactly what went wrong, as a word of a closed list, because what a client meets
during a takeover (silence, refusal, 'try again') decides what its user feels.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import imaplib
import poplib
import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Trouble(Enum):
    """Why a dialogue failed. SILENT: connected, then no answer in time. TEMPORARY: 4xx, or
    its like in POP3 and IMAP; PERMANENT: 5xx."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    SILENT = "silent"
    RESET = "reset"
    CLOSED = "closed"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    GARBLED = "garbled"


class DialogueError(Exception):
    """A dialogue ended early. `answer` is what the server said, if it did."""

    def __init__(self, trouble: Trouble, answer: str = "") -> None:
        super().__init__(f"{trouble.value} {answer}".strip())
        self.trouble = trouble
        self.answer = answer


@dataclass(frozen=True)
class Patience:
    """Seconds that a client waits to be connected, and for each answer."""

    connect: float = 1.0
    answer: float = 5.0


@dataclass(frozen=True)
class Login:
    user: str
    password: str


@dataclass(frozen=True)
class Letter:
    """One mail to one recipient, as the sender's program holds it (LF line ends)."""

    sender: str
    recipient: str
    text: bytes


class Wire:
    """Lines out, lines in, with time limits."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limit = limit

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._limited(self._writer.drain())

    async def hear(self) -> str:
        line = await self._limited(self._reader.readline())
        if not line.endswith(b"\n"):
            raise DialogueError(Trouble.CLOSED)
        return line.decode("utf-8", "replace").rstrip("\r\n")

    async def _limited(self, work: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(work, self._limit)
        except TimeoutError as error:
            raise DialogueError(Trouble.SILENT) from error
        except OSError as error:
            raise _trouble(error) from error


@asynccontextmanager
async def connected(address: str, port: int, patience: Patience) -> AsyncIterator[Wire]:
    """A connection for one dialogue, closed afterwards.

    Raises:
        DialogueError: it could not be made.
    """
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(address, port), patience.connect
        )
    except TimeoutError as error:
        raise DialogueError(Trouble.CONNECT_TIMEOUT) from error
    except OSError as error:
        raise _trouble(error) from error
    try:
        yield Wire(reader, writer, patience.answer)
    finally:
        writer.transport.abort()


async def submit(
    address: str, port: int, letter: Letter, patience: Patience, login: Login | None = None
) -> None:
    """Hand a mail over by SMTP (RFC 5321), with AUTH PLAIN (RFC 4954) if there is a login.
    Returns when the server has said 250 to the whole mail, and is then responsible for it.

    Raises:
        DialogueError: it was not acknowledged.
    """
    async with connected(address, port, patience) as wire:
        await _smtp_answer(wire, "220")
        await _smtp(wire, "EHLO client.lab.example", "250")
        if login is not None:
            secret = base64.b64encode(f"\0{login.user}\0{login.password}".encode()).decode()
            await _smtp(wire, f"AUTH PLAIN {secret}", "235")
        await _smtp(wire, f"MAIL FROM:<{letter.sender}>", "250")
        await _smtp(wire, f"RCPT TO:<{letter.recipient}>", "250")
        await _smtp(wire, "DATA", "354")
        text = re.sub(rb"(?m)^\.", b"..", letter.text).replace(b"\n", b"\r\n")
        await wire.say(text + b".\r\n")
        await _smtp_answer(wire, "250")
        await wire.say(b"QUIT\r\n")


async def look_by_pop3(address: str, port: int, login: Login, patience: Patience) -> int:
    """Log in by POP3 (RFC 1939) and ask for the number of mails.

    Raises:
        DialogueError: no.
    """
    async with connected(address, port, patience) as wire:
        await _pop3_answer(wire)
        await _pop3(wire, f"USER {login.user}")
        await _pop3(wire, f"PASS {login.password}")
        answer = await _pop3(wire, "STAT")
        await _pop3(wire, "QUIT")
        return _number(r"\+OK (\d+)", answer)


async def look_by_imap(address: str, port: int, login: Login, patience: Patience) -> int:
    """Log in by IMAP (RFC 3501), open INBOX, and return its number of mails.

    Raises:
        DialogueError: no.
    """
    async with connected(address, port, patience) as wire:
        greeting = await wire.hear()
        if not greeting.startswith("* OK"):
            raise DialogueError(Trouble.TEMPORARY, greeting)
        await _imap(wire, "a", f'LOGIN {login.user} "{login.password}"')
        answers = await _imap(wire, "b", "EXAMINE INBOX")
        await _imap(wire, "c", "LOGOUT")
        return _number(r"\* (\d+) EXISTS", "\n".join(answers))


def read_by_pop3(address: str, port: int, login: Login, timeout: float) -> Iterator[bytes]:
    """All mails of a mailbox, whole.

    Raises:
        OSError, poplib.error_proto: not all could be read.
    """
    connection = poplib.POP3(address, port, timeout=timeout)
    connection.user(login.user)
    connection.pass_(login.password)
    for number in range(1, connection.stat()[0] + 1):
        yield b"\n".join(connection.retr(number)[1]) + b"\n"
    connection.quit()


def read_by_imap(address: str, port: int, login: Login, timeout: float) -> Iterator[bytes]:
    """All mails of INBOX, whole; one that the server cannot read is left out.

    Raises:
        OSError, imaplib.IMAP4.error: not all could be read.
    """
    with imaplib.IMAP4(address, port, timeout=timeout) as connection:
        connection.login(login.user, login.password)
        connection.select("INBOX", readonly=True)
        _, found = connection.uid("SEARCH", "ALL")
        for number in found[0].split():
            _, parts = connection.uid("FETCH", number.decode(), "(BODY.PEEK[])")
            for part in parts:
                if isinstance(part, tuple):
                    yield part[1].replace(b"\r\n", b"\n")


async def _smtp(wire: Wire, command: str, wanted: str) -> None:
    await wire.say(f"{command}\r\n".encode())
    await _smtp_answer(wire, wanted)


async def _smtp_answer(wire: Wire, wanted: str) -> None:
    line = await wire.hear()
    while line[3:4] == "-":
        line = await wire.hear()
    if line.startswith(wanted):
        return
    troubles = {"4": Trouble.TEMPORARY, "5": Trouble.PERMANENT}
    raise DialogueError(troubles.get(line[:1], Trouble.GARBLED), line)


async def _pop3(wire: Wire, command: str) -> str:
    await wire.say(f"{command}\r\n".encode())
    return await _pop3_answer(wire)


async def _pop3_answer(wire: Wire) -> str:
    line = await wire.hear()
    if line.startswith("+OK"):
        return line
    if line.startswith("-ERR"):
        # RFC 3206: [AUTH] says that the credentials are wrong, [SYS/PERM] that it is for good.
        permanent = "[AUTH]" in line or "[SYS/PERM]" in line
        raise DialogueError(Trouble.PERMANENT if permanent else Trouble.TEMPORARY, line)
    raise DialogueError(Trouble.GARBLED, line)


async def _imap(wire: Wire, tag: str, command: str) -> Sequence[str]:
    await wire.say(f"{tag} {command}\r\n".encode())
    answers = []
    while not (line := await wire.hear()).startswith(f"{tag} "):
        if line.startswith("* BYE") and command != "LOGOUT":
            raise DialogueError(Trouble.TEMPORARY, line)
        answers.append(line)
    if line.startswith(f"{tag} OK"):
        return answers
    permanent = "[AUTHENTICATIONFAILED]" in line or line.startswith(f"{tag} BAD")
    raise DialogueError(Trouble.PERMANENT if permanent else Trouble.TEMPORARY, line)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise DialogueError(Trouble.GARBLED, text)
    return int(found.group(1))


def _trouble(error: OSError) -> DialogueError:
    if isinstance(error, ConnectionRefusedError):
        return DialogueError(Trouble.REFUSED)
    if isinstance(error, ConnectionError):
        return DialogueError(Trouble.RESET)
    if error.errno == errno.ETIMEDOUT:
        return DialogueError(Trouble.SILENT)
    return DialogueError(Trouble.UNREACHABLE, str(error))
