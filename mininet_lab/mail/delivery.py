"""Delivers into Maildirs on the spool, each mail once, and says 250 when it is on the disk.

Postfix hands mail over by LMTP (RFC 2033) on a UNIX socket. A server that dies between delivery
and the removal of the queue file delivers again after the takeover, and a sender whose
connection broke before the 250 sends again; both are recognized here. Two deliveries are the
same if sender, recipient, Message-ID and a digest of the body are: Message-ID alone would let a
stranger suppress a mail by sending another with its Message-ID first. A mail without
Message-ID is never taken for another.

The order of steps makes each crash harmless:

1. write `tmp/DIGEST`, fsync;
2. create the empty record `delivered/DIGEST`, fsync the directory;
3. rename `tmp/DIGEST` to `new/`, fsync both directories;
4. answer 250.

A record with `tmp/DIGEST` still there: the crash came between 2 and 3, the mail is whole, and
step 3 is done now. A record without: it was delivered, whatever its reader has done with it.

The program may run before the spool is there, and then answers 451.

    delivery.py SOCKET SPOOL {optimized,never}
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from hashlib import sha256
from io import BufferedRWPair
from pathlib import Path

#: Numeric owner of the mailboxes; the same as `description.MAIL_UID`. This file imports only
#: the standard library, so that it starts fast and alone.
MAIL_UID = 5000

#: A record outlives whoever may deliver the mail again: our queue and the sender's, five days
#: each by Postfix's `maximal_queue_lifetime`. Seconds.
RECORD_LIFETIME = 10 * 86400.0

_USER = re.compile(r"[a-z0-9_][a-z0-9._-]*")
_LINE_LIMIT = 4096


class Delivery(Enum):
    DELIVERED = "delivered"
    SUPPRESSED = "suppressed"


class SpoolAbsentError(Exception):
    """The spool is not mounted here."""


class Mailboxes:
    """The Maildirs under `spool/mail`, and the records under `spool/delivered`."""

    def __init__(self, spool: Path, fsync: bool = True) -> None:
        self._mail = spool / "mail"
        self._records = spool / "delivered"
        self._fsync = fsync
        self._busy: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._busy_guard = threading.Lock()

    def deliver(self, user: str, sender: str, content: bytes) -> Delivery:
        """Deliver one mail (LF line ends) to one user, or recognize that it has been.

        Raises:
            SpoolAbsentError: nothing is mounted; try again.
            ValueError: no such mailbox name is possible.
            OSError: the disk failed; nothing is promised, try again.
        """
        if not _USER.fullmatch(user):
            raise ValueError(f"not a mailbox name: {user!r}")
        if not self._records.is_dir():
            raise SpoolAbsentError(f"no spool at {self._mail.parent}")
        digest = identity(user, sender, content)
        with self._exclusively(digest):
            return self._deliver(self._maildir(user), digest, content)

    def expire(self, before: float) -> int:
        """Remove the records older than `before` (seconds since the epoch); how many."""
        old = [e.path for e in os.scandir(self._records) if e.stat().st_mtime < before]
        for path in old:
            os.unlink(path)
        return len(old)

    def _deliver(self, maildir: Path, digest: str, content: bytes) -> Delivery:
        draft, record = maildir / "tmp" / digest, self._records / digest
        if not record.exists():
            self._write(draft, content)
            record.touch()
            self._settle(self._records)
        elif not draft.exists():
            return Delivery.SUPPRESSED
        os.rename(draft, maildir / "new" / f"{time.time_ns()}.{digest[:32]}.spool")
        self._settle(maildir / "new")
        self._settle(maildir / "tmp")
        return Delivery.DELIVERED

    def _maildir(self, user: str) -> Path:
        maildir = self._mail / user
        if not (maildir / "new").is_dir():
            for name in ("tmp", "cur", "new"):
                (maildir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._settle(maildir)
            self._settle(self._mail)
        return maildir

    def _write(self, path: Path, content: bytes) -> None:
        with path.open("wb") as out:
            out.write(content)
            out.flush()
            if self._fsync:
                os.fsync(out.fileno())

    def _settle(self, directory: Path) -> None:
        if not self._fsync:
            return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _exclusively(self, digest: str) -> Iterator[None]:
        """One delivery of a mail at a time; different mails share a lock now and then."""
        with self._busy_guard:
            lock = self._busy[digest[:2]]
        with lock:
            yield


def identity(user: str, sender: str, content: bytes) -> str:
    """The digest by which a second delivery of the same mail is known (see above)."""
    header, _, body = content.partition(b"\n\n")
    unfolded = re.sub(rb"\n[ \t]+", b" ", header)
    found = re.search(rb"^message-id:[ \t]*(.*?)[ \t]*$", unfolded, re.IGNORECASE | re.MULTILINE)
    message_id = found.group(1) if found and found.group(1) else os.urandom(16)
    parts = (user.encode(), sender.encode(), message_id, sha256(body).digest())
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


class Session:
    """One LMTP connection."""

    def __init__(self, stream: BufferedRWPair, mailboxes: Mailboxes) -> None:
        self._stream = stream
        self._mailboxes = mailboxes
        self._sender: str | None = None
        self._recipients: list[str] = []

    def run(self) -> None:
        """Talk until QUIT or the end of the connection."""
        self._reply("220 delivery LMTP")
        while line := self._stream.readline(_LINE_LIMIT):
            verb = line.strip().decode("utf-8", "surrogateescape")
            if verb.upper() == "QUIT":
                self._reply("221 2.0.0 bye")
                return
            self._obey(verb)

    def _obey(self, line: str) -> None:
        verb = line.upper()
        if verb.startswith("LHLO"):
            self._reply("250-delivery", "250-PIPELINING", "250-8BITMIME", "250-SMTPUTF8")
            self._reply("250 ENHANCEDSTATUSCODES")
        elif verb.startswith("MAIL FROM:"):
            self._sender, self._recipients = _path(line), []
            self._reply("250 2.1.0 ok")
        elif verb.startswith("RCPT TO:") and self._sender is not None:
            self._recipients.append(_path(line))
            self._reply("250 2.1.5 ok")
        elif verb == "DATA" and self._recipients:
            self._data()
        elif verb in ("RSET", "NOOP"):
            self._sender, self._recipients = None, []
            self._reply("250 2.0.0 ok")
        else:
            self._reply("503 5.5.1 not now")

    def _data(self) -> None:
        self._reply("354 go on")
        content = self._content()
        sender, recipients = self._sender or "", self._recipients
        for recipient in recipients:
            header = f"Return-Path: <{sender}>\nDelivered-To: {recipient}\n"
            text = header.encode("utf-8", "surrogateescape") + content
            self._reply(self._deliver(recipient, sender, text))
        self._sender, self._recipients = None, []

    def _deliver(self, recipient: str, sender: str, content: bytes) -> str:
        user = recipient.rpartition("@")[0].lower()
        try:
            delivery = self._mailboxes.deliver(user, sender, content)
        except SpoolAbsentError as error:
            return f"451 4.3.0 {error}"
        except ValueError as error:
            return f"550 5.1.1 {error}"
        except OSError as error:
            log("failed", recipient=recipient, error=str(error))
            return f"451 4.3.0 {os.strerror(error.errno or 0)}"
        if delivery is Delivery.SUPPRESSED:
            log("suppressed", recipient=recipient)
            return "250 2.1.5 delivered before"
        return "250 2.1.5 delivered"

    def _content(self) -> bytes:
        lines = []
        while (line := self._stream.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("connection ended within a mail")
            if line.endswith(b"\r\n"):
                line = line[:-2] + b"\n"
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _reply(self, *lines: str) -> None:
        text = "".join(f"{line}\r\n" for line in lines)
        self._stream.write(text.encode("utf-8", "surrogateescape"))
        self._stream.flush()


def log(event: str, **details: str) -> None:
    """One JSON line on standard output."""
    print(json.dumps({"event": event, "time": time.time(), **details}), flush=True)


def serve(listener: socket.socket, mailboxes: Mailboxes) -> None:
    """A thread for each connection, for ever; an hourly sweep of old records."""
    swept = 0.0
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_talk, args=(connection, mailboxes), daemon=True).start()
        if time.monotonic() - swept > 3600:
            swept = time.monotonic()
            threading.Thread(target=_sweep, args=(mailboxes,), daemon=True).start()


def _talk(connection: socket.socket, mailboxes: Mailboxes) -> None:
    try:
        with connection, connection.makefile("rwb") as stream:
            Session(stream, mailboxes).run()
    except ConnectionError as error:
        log("broken", error=str(error))


def _sweep(mailboxes: Mailboxes) -> None:
    try:
        mailboxes.expire(time.time() - RECORD_LIFETIME)
    except OSError as error:
        log("sweep failed", error=str(error))


def _path(line: str) -> str:
    found = re.search(r"<([^>]*)>", line)
    return found.group(1) if found else ""


def main(arguments: list[str]) -> None:
    path, spool, fsync = arguments
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o600)
    shutil.chown(path, "postfix")
    listener.listen(128)
    os.umask(0o077)
    os.setgroups([])
    os.setgid(MAIL_UID)
    os.setuid(MAIL_UID)
    serve(listener, Mailboxes(Path(spool), fsync != "never"))


if __name__ == "__main__":
    main(sys.argv[1:])
