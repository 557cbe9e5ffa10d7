"""The controller's side of the agents' protocol, spoken to by a bare socket."""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import eventlet
import pytest
from agent_peers import GUARD_HELLO, HELLO, PATIENT, SITE, Events, Peer, connected, serve
from eventlet.green import socket
from eventlet.patcher import original
from running import secret

from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    TO_CONTROLLER,
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
    Refused,
    Release,
    Report,
    Status,
    Welcome,
)
from hactrl.engine.effects import AskAgent, FencePower, GrantLease, Verb
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    GuardConnected,
    Held,
    LeaseAsked,
    Noticed,
    PowerFenced,
)
from hactrl.journal import STRANGERS
from hactrl.outlets import agent_connection, agent_server
from hactrl.outlets.agent_connection import BURST, RATE
from hactrl.outlets.agent_server import NOTICES, AgentServer, read_tokens
from hactrl.outlets.power import PowerFencer
from hactrl.site.model import PowerFence
from hactrl.vocabulary import Holding, Outcome, Proof

#: Of the system: another test may have made green ones of the usual names.
threading, system_socket = original("threading"), original("socket")


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def server(events: Events) -> Iterator[AgentServer]:
    server = AgentServer(SITE, {"one": "secret"}, events)
    serve(server)
    yield server
    server.stop()


def test_an_agent_is_welcomed_with_the_intervals_of_the_site(
    server: AgentServer, events: Events
) -> None:
    peer = Peer(server.port, HELLO)
    assert peer.next() == Welcome(0.05, 0.3, VERSION)
    peer.send(Heartbeat())
    assert events.next() == AgentConnected("one", "boot", HELLO.roles)


@pytest.mark.parametrize(
    "hello",
    [
        AgentHello(VERSION, "one", "wrong", "boot", ()),
        AgentHello(VERSION, "two", "secret", "boot", ()),
        AgentHello(VERSION, "two", "", "boot", ()),
        GuardHello(VERSION, "one", "wrong", "mail"),
    ],
)
def test_a_wrong_token_is_refused_and_said_so(server: AgentServer, hello: Any) -> None:
    peer = Peer(server.port, hello)
    refused = peer.next()
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.TOKEN
    assert "/etc/tokens" in refused.explanation
    assert peer.next() is None


@pytest.mark.parametrize("line", [b"hello\n", b'{"kind":"Reboot"}\n', b"x" * 20_000 + b"\n"])
def test_what_is_no_message_ends_the_connection_with_a_reason(
    server: AgentServer, events: Events, line: bytes
) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    with contextlib.suppress(OSError):
        peer.socket.sendall(line)
    assert peer.next().refusal is Refusal.PROTOCOL
    assert peer.next() is None
    assert events.next() == AgentLost("one")


def test_a_guard_may_not_answer_for_the_agent(server: AgentServer) -> None:
    peer = connected(server.port, GUARD_HELLO)
    peer.send(Report(Held("mail", Holding.NOTHING, 3)))
    assert peer.next().refusal is Refusal.PROTOCOL


def test_agents_connect_again_after_file_descriptors_ran_out(server: AgentServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as sock:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            sock.connect(("127.0.0.1", server.port))
            eventlet.sleep(0.02)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sock.sendall(TO_CONTROLLER.encode(HELLO))
        sock.settimeout(2.0)
        assert isinstance(FROM_CONTROLLER.decode(sock.makefile("rb").readline()), Welcome)


def test_an_agent_that_is_silent_is_lost(server: AgentServer, events: Events) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    assert events.next() == AgentLost("one")
    assert peer.next() is None


def test_what_is_asked_arrives_and_its_answer_comes_back(
    server: AgentServer, events: Events
) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.ASSUME, "mail", 4, Proof.LEASE))
    assert peer.next() == Assume(1, "mail", 4, Proof.LEASE, leased=True)
    peer.send(Report(Held("mail", Holding.ASSUMING, 4)))
    assert events.next() == AgentReported("one", Held("mail", Holding.ASSUMING, 4))
    peer.send(Answer(1, "mail", Outcome.REFUSED, 7, "low"))
    assert events.next() == AgentAnswered(1, "one", "mail", Outcome.REFUSED, 7)


@pytest.mark.reported("C4")
def test_who_does_not_say_its_status_at_once_is_silent(server: AgentServer, events: Events) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.STATUS, "mail", 4, urgent=True))
    assert peer.next() == Status(1, "mail")
    assert events.next() == AgentAnswered(1, "one", "mail", Outcome.TIMED_OUT)


def test_who_is_silent_is_told_sooner_beside_another_s_answer(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it would have an hour."""
    monkeypatch.setattr(agent_server, "PING_PATIENCE", 3600.0)
    server = AgentServer(PATIENT, {"one": "secret", "two": "other"}, events)
    serve(server)
    silent = connected(server.port, HELLO)
    second = connected(server.port, replace(HELLO, server="two", token="other"))
    assert {events.next().server, events.next().server} == {"one", "two"}  # type: ignore[union-attr]
    server.ask(AskAgent(1, "two", Verb.STATUS, "mail", 4, urgent=True))
    server.ask(AskAgent(2, "one", Verb.STATUS, "mail", 4, urgent=True))
    second.send(Answer(1, "mail", Outcome.DONE, 4, ""))
    assert events.next() == AgentAnswered(1, "two", "mail", Outcome.DONE, 4)
    assert events.next() == AgentAnswered(2, "one", "mail", Outcome.TIMED_OUT)
    silent.close()
    server.stop()


def test_silence_to_a_question_without_haste_is_told_by_nobody(
    server: AgentServer, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's deadline does, or the end of the connection."""
    monkeypatch.setattr(agent_server, "PING_PATIENCE", 0.0)
    silent = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.STATUS, "mail", 4))
    assert silent.next() == Status(1, "mail")
    assert events.next() == AgentLost("one")


@pytest.mark.reported("C4")
def test_who_says_its_status_at_once_is_alive(server: AgentServer, events: Events) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    peer.send(Answer(1, "mail", Outcome.DONE, 4, ""))
    server.ask(AskAgent(1, "one", Verb.STATUS, "mail", 4, urgent=True))
    assert events.next() == AgentAnswered(1, "one", "mail", Outcome.DONE, 4)


@pytest.mark.parametrize("before", [0, 2])
def test_who_answers_while_the_controller_is_busy_is_alive(
    server: AgentServer, events: Events, before: int
) -> None:
    """Nothing that the controller was late to read counts as silence, also behind heartbeats."""
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.STATUS, "mail", 4, urgent=True))
    assert peer.next() == Status(1, "mail")
    words = [Heartbeat()] * before + [Answer(1, "mail", Outcome.DONE, 4, "")]
    peer.socket.sendall(b"".join(TO_CONTROLLER.encode(word) for word in words))
    busy(2 * agent_server.PING_PATIENCE)
    assert events.next() == AgentAnswered(1, "one", "mail", Outcome.DONE, 4)


def test_who_could_not_be_asked_while_the_controller_was_busy_is_alive(
    server: AgentServer, events: Events
) -> None:
    """The agent is a process of its own, and answers as soon as it hears the question."""
    agent = threading.Thread(target=answers_at_once, args=(server.port,))
    agent.start()
    events.next()
    server.ask(AskAgent(1, "one", Verb.STATUS, "mail", 4, urgent=True))
    busy(2 * agent_server.PING_PATIENCE)
    assert events.next() == AgentAnswered(1, "one", "mail", Outcome.DONE, 4)
    agent.join()


def answers_at_once(port: int) -> None:
    with system_socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as lines:
        sock.sendall(TO_CONTROLLER.encode(HELLO) + TO_CONTROLLER.encode(Heartbeat()))
        while not isinstance(FROM_CONTROLLER.decode(lines.readline()), Status):
            pass
        sock.sendall(TO_CONTROLLER.encode(Answer(1, "mail", Outcome.DONE, 4, "")))


def busy(seconds: float) -> None:
    """The hub has no turn meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_a_role_without_lease_is_assumed_without(server: AgentServer, events: Events) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.ASSUME, "web", 4, Proof.NEVER_OWNED))
    assert peer.next().leased is False


def test_the_loss_of_a_connection_answers_what_was_asked(
    server: AgentServer, events: Events
) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(5, "one", Verb.RELEASE, "mail", 4))
    assert peer.next() == Release(5, "mail", 4)
    peer.close()
    assert events.next() == AgentLost("one")
    assert events.next() == AgentAnswered(5, "one", "mail", Outcome.TIMED_OUT)


def test_who_is_not_connected_is_answered_for_at_once(server: AgentServer, events: Events) -> None:
    server.ask(AskAgent(5, "one", Verb.RELEASE, "mail", 4))
    assert events.next() == AgentAnswered(5, "one", "mail", Outcome.TIMED_OUT)


def test_a_lease_is_granted_or_denied_to_the_guard_that_asked(
    server: AgentServer, events: Events
) -> None:
    guard = connected(server.port, GUARD_HELLO)
    assert events.next() == GuardConnected("one", "mail")
    for number, granted, answer in ((8, True, LeaseGranted(8, 4.0)), (9, False, LeaseDenied(9))):
        guard.send(LeaseRenew(number, 4))
        asked = events.next()
        assert isinstance(asked, LeaseAsked)
        assert (asked.server, asked.role, asked.epoch) == ("one", "mail", 4)
        assert asked.boot == GUARD_HELLO.boot
        server.grant(GrantLease(asked.request, granted, 4.0))
        assert guard.next() == answer


def claim(epoch: int) -> AgentHello:
    return AgentHello(VERSION, "one", "secret", "boot", (Held("mail", Holding.NOTHING, epoch),))


@pytest.mark.reported("C6")
def test_who_comes_and_goes_again_and_again_is_one_line(
    server: AgentServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(100):
        eventlet.connect(("127.0.0.1", server.port), bind=("127.0.0.2", 0)).close()
    peer = Peer(server.port)
    peer.send_line("no hello")
    assert peer.next().refusal is Refusal.PROTOCOL
    assert [r.message for r in caplog.records if "127.0.0.2" in r.message] == [
        "agent at 127.0.0.2: closed"
    ]


@pytest.mark.reported("C6")
@pytest.mark.parametrize(
    ("version", "refusal"), [(VERSION, "token"), (0, "version")], ids=["token", "version"]
)
def test_who_has_shown_no_token_is_one_entry_for_each_of_so_many_addresses(
    server: AgentServer, events: Events, version: int, refusal: str
) -> None:
    for number in range(2 * STRANGERS):
        for name in ("one", "two", "three"):
            place = ("127.0.0.1", server.port)
            stranger = eventlet.connect(place, bind=(f"127.0.1.{number + 1}", 0))
            stranger.sendall(TO_CONTROLLER.encode(AgentHello(version, name, "wrong", "boot", ())))
            while stranger.recv(1024):
                pass
    noticed = [dict(event.details) for event in events.all() if isinstance(event, Noticed)]
    addresses = [f"127.0.1.{number + 1}" for number in range(STRANGERS + 1)]
    assert [details["address"] for details in noticed] == addresses
    assert {details["refusal"] for details in noticed} == {refusal}


@pytest.mark.reported("C6")
def test_what_an_agent_tells_without_end_is_limited_in_log_and_journal(
    server: AgentServer, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    agent = connected(server.port, HELLO)
    for _ in range(100):
        agent.send(Notice(NoticeKind.DISK_FULL, "mail", "/var is full"))
    agent.send(Report(Held("mail", Holding.HELD, 3)))
    assert isinstance(events.next(), AgentConnected)
    told = 0
    while isinstance(events.next(), Noticed):
        told += 1
    assert told == NOTICES
    assert len([r for r in caplog.records if "/var is full" in r.message]) == NOTICES


@pytest.mark.reported("C5")
def test_an_epoch_beyond_what_anybody_can_have_been_given_is_refused(server: AgentServer) -> None:
    peer = Peer(server.port, claim(2**52 + 1))
    assert isinstance(peer.next(), Welcome)
    peer.send(Heartbeat())
    assert peer.next().refusal is Refusal.PROTOCOL


@pytest.mark.reported("C5")
@pytest.mark.parametrize(
    "message",
    [
        Report(Held("mail", Holding.HELD, 2**52 + 1)),
        Answer(1, "mail", Outcome.REFUSED, 2**52 + 1, ""),
    ],
)
def test_no_message_raises_the_epoch_without_bound(
    server: AgentServer, events: Events, message: Any
) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.RELEASE, "mail", 4))
    assert peer.next() == Release(1, "mail", 4)
    peer.send(message)
    assert peer.next().refusal is Refusal.PROTOCOL
    assert events.next() == AgentLost("one")


@pytest.mark.reported("C5")
def test_the_highest_epoch_that_is_believed_is_caught_up_with_and_then_belongs_to_all(
    events: Events,
) -> None:
    """Once somebody has claimed the highest, the others are given higher ones, and say so."""
    highest = {"mail": 0}
    server = AgentServer(SITE, {"one": "secret"}, events, highest.__getitem__)
    serve(server)
    try:
        connected(server.port, claim(2**52)).close()
        assert events.next() == AgentConnected("one", "boot", claim(2**52).roles)
        assert events.next() == AgentLost("one")
        highest["mail"] = 2**52 + 1
        connected(server.port, claim(2**52 + 1))
        assert events.next() == AgentConnected("one", "boot", claim(2**52 + 1).roles)
    finally:
        server.stop()


@pytest.mark.reported("C7")
def test_half_a_character_in_a_token_is_refused_with_a_reason(server: AgentServer) -> None:
    peer = Peer(server.port)
    peer.send_line(
        '{"kind":"GuardHello","version":2,"server":"one","token":"\\ud800","role":"mail"}'
    )
    refused = peer.next()
    assert refused.refusal is Refusal.PROTOCOL
    assert "token" in refused.explanation


def test_an_agent_that_takes_nothing_of_what_it_is_sent_is_disconnected_and_the_log_says_why(
    events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    server = AgentServer(PATIENT, {"one": "secret"}, events)
    serve(server)
    try:
        peer = connected(server.port, HELLO)  # and reads no more
        events.next()
        server._standing["one", None]._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        number = 0
        with eventlet.Timeout(30):
            while AgentLost("one") not in events.all():
                number += 1
                server.ask(AskAgent(number, "one", Verb.RELEASE, "mail", 4))
                eventlet.sleep(0)
        assert "agent at 127.0.0.1 does not read what it is sent" in caplog.text
        peer.close()
    finally:
        server.stop()


def test_an_agent_that_takes_no_message_in_time_is_disconnected_and_the_log_says_why(
    events: Events, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = AgentServer(PATIENT, {"one": "secret"}, events)
    serve(server)
    try:
        peer = connected(server.port, HELLO)
        events.next()
        monkeypatch.setattr(agent_connection, "SEND_TIMEOUT", 0.0)
        sock = server._standing["one", None]._sock
        monkeypatch.setattr(sock, "sendall", lambda _line: eventlet.sleep(60.0))
        server.ask(AskAgent(1, "one", Verb.RELEASE, "mail", 4))
        assert events.next() == AgentLost("one")
        assert peer.next() is None
        assert "agent at 127.0.0.1 does not read what it is sent" in caplog.text
    finally:
        server.stop()


def test_an_agent_that_answers_for_another_role_is_refused(
    server: AgentServer, events: Events
) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    server.ask(AskAgent(1, "one", Verb.RELEASE, "mail", 4))
    assert peer.next() == Release(1, "mail", 4)
    peer.send(Answer(1, "web", Outcome.DONE, 4, ""))
    assert peer.next().refusal is Refusal.PROTOCOL


def test_roles_that_the_site_does_not_have_are_left_aside(
    server: AgentServer, events: Events
) -> None:
    foreign = Held("news", Holding.HELD, 3)
    hello = AgentHello(VERSION, "one", "secret", "boot", (foreign, *HELLO.roles))
    peer = connected(server.port, hello)
    assert events.next() == AgentConnected("one", "boot", HELLO.roles)
    peer.send(Report(foreign))
    peer.send(Report(*HELLO.roles))
    assert events.next() == AgentReported("one", *HELLO.roles)


@pytest.mark.reported("C6")
def test_who_says_too_much_is_read_slowly_and_others_are_served(
    events: Events,
) -> None:
    server = AgentServer(PATIENT, {"one": "secret", "two": "secret"}, events)
    serve(server)
    try:
        loud = connected(server.port, HELLO)
        line = TO_CONTROLLER.encode(Report(*HELLO.roles))
        eventlet.spawn_n(loud.socket.sendall, 20_000 * line)
        began = time.monotonic()
        assert isinstance(events.next(), AgentConnected)
        kinds = [type(events.next())]
        connected(server.port, AgentHello(VERSION, "two", "secret", "boot", ()))
        while AgentConnected not in kinds:
            kinds.append(type(events.next()))
        eventlet.sleep(0.3)  # enough for thousands of them
        kinds += map(type, events.all())
        most = BURST + RATE * (time.monotonic() - began) + 1
        assert kinds.count(AgentReported) <= most < 20_000
    finally:
        server.stop()


@pytest.mark.parametrize("piece", [b" ", b'{"kind":"Pong","number":1}\n'])
def test_the_hello_has_a_deadline_however_much_is_said_before_it(
    server: AgentServer, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr("hactrl.outlets.agent_server.HELLO_TIMEOUT", 0.2)
    peer = Peer(server.port)

    def dribble() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer.socket.sendall(piece)
                eventlet.sleep(0.02)

    eventlet.spawn_n(dribble)
    with contextlib.suppress(OSError):
        while peer.next_line():
            pass


def test_who_does_not_take_what_it_is_sent_is_lost(server: AgentServer, events: Events) -> None:
    peer = connected(server.port, HELLO)
    events.next()
    for operation in range(200):  # nobody gets a turn to write
        server.ask(AskAgent(operation, "one", Verb.STATUS, "mail", 4))
    while not isinstance(events.next(), AgentLost):
        pass
    peer.close()


def test_tokens_are_read_from_lines(tmp_path: Path) -> None:
    path = secret(tmp_path / "tokens", "# servers\none: a\n\ntwo: b\n")
    assert read_tokens(path) == {"one": "a", "two": "b"}


@pytest.mark.parametrize("text", ["one\n", "one:\n", ": a\n", "one: a b\n", "one: a\none: b\n"])
def test_a_wrong_line_of_tokens_is_named(tmp_path: Path, text: str) -> None:
    path = secret(tmp_path / "tokens", text)
    with pytest.raises(ValueError, match=r"tokens:[12]: "):
        read_tokens(path)


@pytest.mark.reported("C7")
def test_tokens_that_others_may_read_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = secret(tmp_path / "tokens", "one: a\n", mode=0o644)
    with pytest.raises(ValueError, match=f"{path}: .*`chmod 600 {path}`"):
        read_tokens(path)


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ((sys.executable, "-c", ""), Outcome.DONE),
        ((sys.executable, "-c", "raise SystemExit(2)"), Outcome.FAILED),
        ((sys.executable, "-c", "import time; time.sleep(60)"), Outcome.TIMED_OUT),
        (("/no/such/command",), Outcome.FAILED),
    ],
)
def test_only_exit_status_0_in_time_proves_that_power_is_off(
    events: Events, command: tuple[str, ...], outcome: Outcome
) -> None:
    PowerFencer({"one": PowerFence(command, 0.5)}, events).fence(FencePower(3, "one"))
    assert events.next() == PowerFenced(3, "one", outcome)


def test_a_server_without_a_power_fence_is_refused(events: Events) -> None:
    PowerFencer({}, events).fence(FencePower(3, "one"))
    assert events.next() == PowerFenced(3, "one", Outcome.REFUSED)


def test_the_end_of_a_power_fence_is_told_by_the_kernel_and_not_looked_for(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr("eventlet.green.subprocess.eventlet.sleep", looks.append)
    command = (sys.executable, "-c", "import time; time.sleep(0.1)")
    PowerFencer({"one": PowerFence(command, 5.0)}, events).fence(FencePower(3, "one"))
    assert events.next() == PowerFenced(3, "one", Outcome.DONE)
    assert not looks


def test_the_hub_goes_on_while_a_power_fence_runs(events: Events) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(0.3)")
    PowerFencer({"one": PowerFence(command, 5.0)}, events).fence(FencePower(3, "one"))
    eventlet.spawn_after(0.05, events, AgentLost("hub"))
    assert events.next() == AgentLost("hub")
    assert events.next() == PowerFenced(3, "one", Outcome.DONE)
