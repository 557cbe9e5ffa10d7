"""The delivery program: each mail once, whatever dies when."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mininet_lab.mail.delivery import Delivery, Mailboxes, Session, SpoolAbsentError

MAIL = b"Message-ID: <1@x>\nSubject: hello\n\nbody\n"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "mail").mkdir()
    (tmp_path / "delivered").mkdir()
    return tmp_path


def inbox(spool: Path, user: str = "ann") -> list[bytes]:
    return [path.read_bytes() for path in (spool / "mail" / user / "new").iterdir()]


def test_a_mail_is_in_the_mailbox_whole(spool: Path) -> None:
    assert Mailboxes(spool).deliver("ann", "s@x", MAIL) is Delivery.DELIVERED
    assert inbox(spool) == [MAIL]


def test_the_same_mail_again_is_suppressed(spool: Path) -> None:
    boxes = Mailboxes(spool)
    boxes.deliver("ann", "s@x", MAIL)
    again = MAIL.replace(b"Subject", b"Received: by another\nSubject")
    assert boxes.deliver("ann", "s@x", again) is Delivery.SUPPRESSED
    assert inbox(spool) == [MAIL]


def test_a_mail_that_its_reader_has_deleted_does_not_come_back(spool: Path) -> None:
    Mailboxes(spool).deliver("ann", "s@x", MAIL)
    for path in (spool / "mail/ann/new").iterdir():
        path.unlink()
    assert Mailboxes(spool).deliver("ann", "s@x", MAIL) is Delivery.SUPPRESSED
    assert inbox(spool) == []


@pytest.mark.parametrize(
    ("user", "sender", "content"),
    [
        ("ann", "s@x", MAIL.replace(b"body", b"other body")),
        ("ann", "stranger@x", MAIL),
        ("bob", "s@x", MAIL),
        ("ann", "s@x", MAIL.replace(b"<1@x>", b"<2@x>")),
    ],
)
def test_a_mail_that_differs_in_body_envelope_or_message_id_is_another(
    spool: Path, user: str, sender: str, content: bytes
) -> None:
    boxes = Mailboxes(spool)
    boxes.deliver("ann", "s@x", MAIL)
    assert boxes.deliver(user, sender, content) is Delivery.DELIVERED


def test_mails_without_message_id_are_never_taken_for_each_other(spool: Path) -> None:
    boxes = Mailboxes(spool)
    bare = b"Subject: hello\n\nbody\n"
    assert boxes.deliver("ann", "s@x", bare) is Delivery.DELIVERED
    assert boxes.deliver("ann", "s@x", bare) is Delivery.DELIVERED


def test_a_folded_message_id_is_read_whole(spool: Path) -> None:
    boxes = Mailboxes(spool)
    boxes.deliver("ann", "s@x", MAIL.replace(b" <1@x>", b"\n <1@x>"))
    assert boxes.deliver("ann", "s@x", MAIL) is Delivery.SUPPRESSED


class PowerLossError(Exception):
    pass


def dying(function: Callable[..., Any], countdown: list[int]) -> Callable[..., Any]:
    def step(*arguments: Any, **named: Any) -> Any:
        countdown[0] -= 1
        if countdown[0] < 0:
            raise PowerLossError
        return function(*arguments, **named)

    return step


@pytest.mark.parametrize("steps", range(12))
def test_a_crash_after_any_step_neither_loses_nor_doubles(
    spool: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    countdown = [steps]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying(os.fsync, countdown))
        patch.setattr(os, "rename", dying(os.rename, countdown))
        patch.setattr(Path, "touch", dying(Path.touch, countdown))
        patch.setattr(Path, "mkdir", dying(Path.mkdir, countdown))
        try:
            Mailboxes(spool).deliver("ann", "s@x", MAIL)
        except PowerLossError:
            pass
        else:
            assert steps >= 10, "the parameters no longer reach the last step"
    Mailboxes(spool).deliver("ann", "s@x", MAIL)
    assert inbox(spool) == [MAIL]


def test_250_comes_only_after_mail_record_and_directories_are_synced(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2])
        real(descriptor)

    Mailboxes(spool).deliver("ann", "other@x", MAIL)
    monkeypatch.setattr(os, "fsync", noting)
    Mailboxes(spool).deliver("ann", "s@x", MAIL)
    assert synced[1:] == ["delivered", "new", "tmp"]
    assert len(synced[0]) == 64  # the mail itself, named by its digest


def test_the_negative_control_syncs_nothing(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", dying(os.fsync, [0]))
    assert Mailboxes(spool, fsync=False).deliver("ann", "s@x", MAIL) is Delivery.DELIVERED


def test_only_old_records_expire(spool: Path) -> None:
    boxes = Mailboxes(spool)
    boxes.deliver("ann", "s@x", MAIL)
    (old,) = (spool / "delivered").iterdir()
    os.utime(old, (1000, 1000))
    boxes.deliver("ann", "s@x", MAIL.replace(b"<1@x>", b"<2@x>"))
    assert boxes.expire(before=2000) == 1
    assert not old.exists()
    assert len(list((spool / "delivered").iterdir())) == 1


def test_without_the_spool_nothing_is_promised(tmp_path: Path) -> None:
    with pytest.raises(SpoolAbsentError):
        Mailboxes(tmp_path).deliver("ann", "s@x", MAIL)


@pytest.mark.parametrize("user", ["..", "a/b", "", ".ann", "-ann"])
def test_a_recipient_cannot_leave_the_mail_directory(spool: Path, user: str) -> None:
    with pytest.raises(ValueError, match="not a mailbox name"):
        Mailboxes(spool).deliver(user, "s@x", MAIL)


def talk(spool: Path, dialogue: bytes) -> list[bytes]:
    """The server's lines after its greeting, to a client that says all this and QUIT."""
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rwb") as stream:
        thread = threading.Thread(target=Session(stream, Mailboxes(spool)).run)
        thread.start()
        ours.sendall(dialogue + b"QUIT\r\n")
        thread.join(5)
        theirs.shutdown(socket.SHUT_WR)
        return ours.makefile("rb").read().splitlines()[1:]


ENVELOPE = b"LHLO x\r\nMAIL FROM:<s@x> BODY=8BITMIME\r\n"


def test_lmtp_answers_for_each_recipient(spool: Path) -> None:
    text = b"DATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\n"
    answers = talk(spool, ENVELOPE + b"RCPT TO:<Ann@x>\r\nRCPT TO:<../b@x>\r\n" + text)
    assert [line[:9] for line in answers[-3:-1]] == [b"250 2.1.5", b"550 5.1.1"]


def test_lmtp_removes_dot_stuffing_and_carriage_returns(spool: Path) -> None:
    talk(spool, ENVELOPE + b"RCPT TO:<ann@x>\r\nDATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\n")
    (mail,) = inbox(spool)
    assert mail == b"Return-Path: <s@x>\nDelivered-To: ann@x\nSubject: s\n\n.dot\n"


def test_lmtp_says_try_again_without_the_spool(tmp_path: Path) -> None:
    answers = talk(tmp_path, ENVELOPE + b"RCPT TO:<ann@x>\r\nDATA\r\n\r\n.\r\n")
    assert answers[-2].startswith(b"451 4.3.0 no spool")


def test_lmtp_refuses_data_without_a_recipient(spool: Path) -> None:
    assert talk(spool, ENVELOPE + b"DATA\r\n")[-2].startswith(b"503")
