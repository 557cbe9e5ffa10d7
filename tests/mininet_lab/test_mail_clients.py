"""What users' programs understand of what servers do to them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from mininet_lab.mail.clients import (
    DialogueError,
    Letter,
    Login,
    Patience,
    Trouble,
    look_by_imap,
    look_by_pop3,
    submit,
)
from mininet_lab.mail.placeholder import decline, listen

LETTER = Letter("s@x", "r@x", b"Subject: s\n\n.dot\nend\n")
HURRIED = Patience(connect=0.5, answer=0.2)
LOGIN = Login("ann", "secret")


def meet(client: Callable[[int], object], *says: str) -> list[str]:
    """Run a client against a server that says these lines, one for each line that it hears, the
    first at once, and then closes; what it heard."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in says:
            writer.write(line.encode() + b"\r\n")
            if heard and heard[-1] == "DATA":
                while (text := await reader.readline()) not in (b".\r\n", b""):
                    heard.append(text.decode().rstrip("\r\n"))
                continue
            heard.append((await reader.readline()).decode().rstrip("\r\n"))
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            work = client(server.sockets[0].getsockname()[1])
            assert asyncio.iscoroutine(work)
            await work

    asyncio.run(run())
    return heard


def send(port: int) -> object:
    return submit("127.0.0.1", port, LETTER, HURRIED)


def test_a_mail_is_acknowledged_only_by_250_to_its_text() -> None:
    heard = meet(send, "220 x", "250-x\r\n250 y", "250 ok", "250 ok", "354 go", "250 taken")
    assert heard[3:] == ["DATA", "Subject: s", "", "..dot", "end", "QUIT"]


@pytest.mark.parametrize(
    ("says", "trouble"),
    [
        (["421 again"], Trouble.TEMPORARY),
        (["220 x", "250 x", "250 ok", "550 no such user"], Trouble.PERMANENT),
        (["220 x", "250 x", "250 ok", "250 ok", "354 go", "451 later"], Trouble.TEMPORARY),
        (["220 x", "250 x"], Trouble.CLOSED),
        (["HTTP/1.1 400"], Trouble.GARBLED),
    ],
)
def test_a_mail_that_is_not_acknowledged_says_why(says: list[str], trouble: Trouble) -> None:
    with pytest.raises(DialogueError) as caught:
        meet(send, *says)
    assert caught.value.trouble is trouble


def test_a_server_that_accepts_and_says_nothing_is_silent() -> None:
    with listen("127.0.0.1:0") as listener, pytest.raises(DialogueError, match="silent"):
        asyncio.run(submit("127.0.0.1", listener.getsockname()[1], LETTER, HURRIED))


def test_a_closed_port_refuses() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(DialogueError, match="refused"):
            asyncio.run(submit("127.0.0.1", bound.getsockname()[1], LETTER, HURRIED))


def test_the_placeholder_tells_clients_to_try_again() -> None:
    with listen("127.0.0.1:0") as listener:
        thread = threading.Thread(target=decline, args=(listener, b"421 4.3.2 try again\r\n"))
        thread.start()
        with pytest.raises(DialogueError, match=r"temporary 421 4\.3\.2 try again"):
            asyncio.run(submit("127.0.0.1", listener.getsockname()[1], LETTER, HURRIED))
        thread.join()


def test_pop3_counts_the_mails_of_a_mailbox() -> None:
    def look(port: int) -> object:
        return look_by_pop3("127.0.0.1", port, LOGIN, HURRIED)

    heard = meet(look, "+OK", "+OK", "+OK", "+OK 3 900", "+OK")
    assert heard[:4] == ["USER ann", "PASS secret", "STAT", "QUIT"]


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [("-ERR [SYS/TEMP] later", Trouble.TEMPORARY), ("-ERR [AUTH] wrong", Trouble.PERMANENT)],
)
def test_pop3_tells_a_missing_spool_from_a_wrong_password(answer: str, trouble: Trouble) -> None:
    with pytest.raises(DialogueError) as caught:
        meet(lambda port: look_by_pop3("127.0.0.1", port, LOGIN, HURRIED), "+OK", "+OK", answer)
    assert caught.value.trouble is trouble


def test_imap_opens_the_inbox() -> None:
    def look(port: int) -> object:
        return look_by_imap("127.0.0.1", port, LOGIN, HURRIED)

    heard = meet(look, "* OK hi", "a OK in", "* 3 EXISTS\r\nb OK opened", "* BYE\r\nc OK out")
    assert heard[:3] == ['a LOGIN ann "secret"', "b EXAMINE INBOX", "c LOGOUT"]


def test_imap_without_the_spool_is_temporary() -> None:
    def look(port: int) -> object:
        return look_by_imap("127.0.0.1", port, LOGIN, HURRIED)

    with pytest.raises(DialogueError) as caught:
        meet(look, "* OK hi", "a OK in", "b NO [SERVERBUG] later")
    assert caught.value.trouble is Trouble.TEMPORARY
