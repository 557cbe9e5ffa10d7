"""Mail load and its accounting, as programs to be run in hosts' network namespaces.

    python -m mininet_lab.mail.load send --way a --to 192.0.2.25 --to 2001:db8:0:1::25 \\
        --recipient user1@frontier.example --sender friend1@wan.example --rate 50 \\
        --ledger a.jsonl
    python -m mininet_lab.mail.load look --way b --at 10.0.0.25 --user user1:secret \\
        --rate 10 --ledger b.jsonl
    python -m mininet_lab.mail.load account --ledger a.jsonl ... --at 10.0.0.25 \\
        --user user1:secret --wan-mail DIRECTORY

`send` and `look` start attempts at a fixed rate whatever becomes of earlier ones, as many users
do, in turn over all addresses; they end at SIGTERM, SIGINT or after `--duration`, wait for the
mails that are still unacknowledged (`--linger`), and print a summary as JSON. A sender keeps
trying the same mail, with the same Message-ID, until it is acknowledged or refused for good.
"""

from __future__ import annotations

import argparse
import asyncio
import imaplib
import itertools
import json
import poplib
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from email import message_from_bytes
from email.message import Message
from hashlib import sha256
from pathlib import Path
from random import Random

from mininet_lab.clock import now
from mininet_lab.mail import ledger as ledgers
from mininet_lab.mail.clients import (
    DialogueError,
    Letter,
    Login,
    Patience,
    Trouble,
    look_by_imap,
    look_by_pop3,
    read_by_imap,
    read_by_pop3,
    submit,
)
from mininet_lab.mail.ledger import Kind, Ledger, MailRecord

#: An attempt, by its number.
Attempt = Callable[[int], Awaitable[None]]

#: Reads a mailbox: address, port, login, timeout in seconds.
Reader = Callable[[str, int, Login, float], Iterator[bytes]]

_READ_TIMEOUT = 30.0
_READ_ATTEMPTS = 8


def compose(way: str, name: str, sender: str, recipient: str, size: int) -> Letter:
    """A mail with an id, and with a digest of its body by which a damaged copy is known."""
    body = "".join(f"{line}\n" for line in _lines(Random(name), size))
    digest = sha256(body.encode()).hexdigest()
    header = {
        "From": sender,
        "To": recipient,
        "Subject": f"lab mail {name}",
        "Message-ID": f"<{name}@lab.example>",
        "X-Lab-Way": way,
        "X-Lab-Id": name,
        "X-Lab-Digest": digest,
    }
    head = "".join(f"{key}: {value}\n" for key, value in header.items())
    return Letter(sender, recipient, f"{head}\n{body}".encode())


def identify(text: bytes) -> tuple[str, str] | None:
    """Way and id of a mail that arrived whole; None for one that is damaged or not ours."""
    message: Message = message_from_bytes(text)
    _, _, body = text.partition(b"\n\n")
    if sha256(body).hexdigest() != message["X-Lab-Digest"]:
        return None
    return str(message["X-Lab-Way"]), str(message["X-Lab-Id"])


def _lines(random: Random, size: int) -> Iterator[str]:
    for _ in range(max(1, size // 65)):
        yield random.randbytes(32).hex()


@dataclass(frozen=True)
class Sender:
    """Sends mails of one way to the addresses in turn."""

    ledger: Ledger
    options: argparse.Namespace

    async def send(self, number: int) -> None:
        """One mail, tried until it is acknowledged, refused for good, or `--patience` is over."""
        o = self.options
        recipient = o.recipient[number % len(o.recipient)]
        name = f"{o.way}-{o.seed:x}-{number}"
        letter = compose(o.way, name, o.sender, recipient, o.size)
        address = o.to[number % len(o.to)]
        login = o.user[number % len(o.user)] if o.user else None
        give_up = now() + o.patience
        while True:
            began = now()
            try:
                await submit(address, o.port, letter, _patience(o), login)
            except DialogueError as error:
                self._note(Kind.ERROR, name, address, began, str(error))
                if error.trouble is Trouble.PERMANENT or now() + o.pause > give_up:
                    self._note(Kind.GAVE_UP, name, address, began, str(error))
                    return
                await asyncio.sleep(o.pause)
            else:
                self._note(Kind.ACKNOWLEDGED, name, address, began)
                return

    def _note(self, kind: Kind, name: str, address: str, began: float, detail: str = "") -> None:
        entry = MailRecord(kind, self.options.way, name, "smtp", address, began, now(), detail)
        self.ledger.write(entry)


@dataclass(frozen=True)
class Looker:
    """Looks into mailboxes by POP3 and IMAP in turn, at the addresses in turn."""

    ledger: Ledger
    options: argparse.Namespace

    async def look(self, number: int) -> None:
        o = self.options
        choices = list(itertools.product(o.at, ("pop3", "imap")))
        address, protocol = choices[number % len(choices)]
        login = o.user[number // len(choices) % len(o.user)]
        began = now()
        try:
            if protocol == "pop3":
                await look_by_pop3(address, o.pop3_port, login, _patience(o))
            else:
                await look_by_imap(address, o.imap_port, login, _patience(o))
        except DialogueError as error:
            kind, detail = Kind.ERROR, str(error)
        else:
            kind, detail = Kind.SERVED, ""
        self.ledger.write(
            MailRecord(kind, o.way, login.user, protocol, address, began, now(), detail)
        )


async def keep_going(attempt: Attempt, rate: float, duration: float, linger: float) -> int:
    """Start `rate` attempts a second until told to end; how many were started.

    Raises:
        ExceptionGroup: an attempt failed by a fault of ours.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    begin = now()
    started = 0
    async with asyncio.TaskGroup() as group:
        tasks = set()
        while not stop.is_set() and (elapsed := now() - begin) < duration:
            while started <= elapsed * rate:
                task = group.create_task(_call(attempt, started))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                started += 1
            await _either(stop, max(0.0, started / rate - (now() - begin)))
        _, late = await asyncio.wait(tasks, timeout=linger) if tasks else (None, set())
        for task in late:
            task.cancel()
    return started


async def _call(attempt: Attempt, number: int) -> None:
    await attempt(number)


async def _either(stop: asyncio.Event, timeout: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), timeout)
    except TimeoutError:
        return


def read_back(
    address: str, logins: Iterable[Login], ports: tuple[int, int]
) -> tuple[list[bytes], list[str]]:
    """Every mail of every user, read as its user would: by POP3 and by IMAP in turn. And the
    users whose mailbox could not be read to its end, of which the mails read are all there is.

    A mailbox that a power cut has damaged makes Dovecot hang up and repair it, so each gets
    some attempts.
    """
    mails: list[bytes] = []
    unreadable = []
    for number, login in enumerate(logins):
        readers = itertools.cycle(((read_by_pop3, ports[0]), (read_by_imap, ports[1])))
        order = itertools.islice(readers, number % 2, number % 2 + _READ_ATTEMPTS)
        found, complete = _read_mailbox(address, login, order)
        mails.extend(found)
        if not complete:
            unreadable.append(login.user)
    return mails, unreadable


def _read_mailbox(
    address: str, login: Login, readers: Iterable[tuple[Reader, int]]
) -> tuple[list[bytes], bool]:
    best: list[bytes] = []
    for reader, port in readers:
        mails: list[bytes] = []
        try:
            mails.extend(reader(address, port, login, _READ_TIMEOUT))
        except (OSError, poplib.error_proto, imaplib.IMAP4.error) as error:
            print(f"{login.user} on port {port}: {error!r}", file=sys.stderr)
            best = max(best, mails, key=len)
        else:
            return mails, True
    return best, False


def read_maildirs(root: Path) -> list[bytes]:
    """Every mail in the Maildirs below `root`."""
    files = itertools.chain(root.glob("*/new/*"), root.glob("*/cur/*"))
    return [path.read_bytes() for path in files]


def arrived(mails: Iterable[bytes]) -> dict[str, Counter[str]]:
    """How often each id arrived whole, by way."""
    counted: dict[str, Counter[str]] = {}
    for way, name in filter(None, map(identify, mails)):
        counted.setdefault(way, Counter())[name] += 1
    return counted


def send(options: argparse.Namespace) -> dict[str, object]:
    with Ledger(options.ledger) as ledger:
        work = Sender(ledger, options).send
        return _run(work, options)


def look(options: argparse.Namespace) -> dict[str, object]:
    with Ledger(options.ledger) as ledger:
        return _run(Looker(ledger, options).look, options)


def account(options: argparse.Namespace) -> dict[str, object]:
    mails, unreadable = read_back(options.at, options.user, (options.pop3_port, options.imap_port))
    if options.wan_mail is not None:
        mails.extend(read_maildirs(options.wan_mail))
    entries = ledgers.read(options.ledger)
    ways = ledgers.account(entries, arrived(mails))
    return {
        "ways": {way: asdict(result) for way, result in sorted(ways.items())},
        "unreadable": unreadable,
        "damaged": sum(identify(mail) is None for mail in mails),
        "errors": ledgers.errors_by_kind(entries),
    }


def _run(attempt: Attempt, options: argparse.Namespace) -> dict[str, object]:
    begin = now()
    started = asyncio.run(keep_going(attempt, options.rate, options.duration, options.linger))
    mine = [e for e in ledgers.read([options.ledger]) if e.way == options.way and e.time >= begin]
    kinds = Counter(e.kind.value for e in mine)
    return {"way": options.way, "started": started, **kinds}


def _patience(options: argparse.Namespace) -> Patience:
    return Patience(options.connect_timeout, options.answer_timeout)


def _login(text: str) -> Login:
    user, colon, password = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not USER:PASSWORD")
    return Login(user, password)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mininet_lab.mail.load")
    commands = parser.add_subparsers(required=True)
    sending = commands.add_parser("send", help="send mails, retrying each until acknowledged")
    sending.set_defaults(do=send)
    sending.add_argument("--to", action="append", required=True, metavar="ADDRESS")
    sending.add_argument("--port", type=int, default=25)
    sending.add_argument("--sender", required=True)
    sending.add_argument("--recipient", action="append", required=True)
    sending.add_argument("--size", type=int, default=2048, help="bytes of the body")
    sending.add_argument("--seed", type=int, default=0, help="part of every mail's id")
    sending.add_argument("--pause", type=float, default=0.2, help="seconds before a retry")
    sending.add_argument("--patience", type=float, default=60.0, help="seconds to go on trying")
    looking = commands.add_parser("look", help="log in to mailboxes by POP3 and IMAP")
    looking.set_defaults(do=look)
    looking.add_argument("--at", action="append", required=True, metavar="ADDRESS")
    counting = commands.add_parser("account", help="compare promises with what arrived")
    counting.set_defaults(do=account)
    counting.add_argument("--ledger", type=Path, action="append", required=True)
    counting.add_argument("--at", required=True, metavar="ADDRESS")
    counting.add_argument("--wan-mail", type=Path, help="directory of the WAN's Maildirs")
    for command in (sending, looking):
        _add_load_options(command)
    for command in (sending, looking, counting):
        command.add_argument(
            "--user",
            type=_login,
            action="append",
            metavar="USER:PASSWORD",
            required=command is not sending,
        )
    for command in (looking, counting):
        command.add_argument("--pop3-port", type=int, default=110)
        command.add_argument("--imap-port", type=int, default=143)
    return parser


def _add_load_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--way", required=True, help="name in the ledger: a, b or c")
    command.add_argument("--ledger", type=Path, required=True)
    command.add_argument("--rate", type=float, default=10.0, help="attempts a second")
    command.add_argument("--duration", type=float, default=float("inf"), help="seconds")
    command.add_argument("--linger", type=float, default=30.0, help="seconds to finish")
    command.add_argument("--connect-timeout", type=float, default=1.0)
    command.add_argument("--answer-timeout", type=float, default=5.0)


def main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    json.dump(options.do(options), sys.stdout)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
