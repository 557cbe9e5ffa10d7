"""The controller's side of the agents' protocol, spoken to by a bare socket."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventlet
import pytest
from eventlet.green import socket
from eventlet.queue import LightQueue
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
    Refusal,
    Refused,
    Release,
    Report,
    Welcome,
)
from hactrl.agents import AgentServer, read_tokens
from hactrl.engine.effects import AskAgent, FencePower, GrantLease, Verb
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    Event,
    Held,
    Holding,
    LeaseAsked,
    Outcome,
    PowerFenced,
    Proof,
)
from hactrl.power import PowerFencer
from hactrl.site.model import Controller, Listen, PowerFence, Role, Site, Timers
from topology.model import Network

LISTEN = Listen("127.0.0.1", 0)
SITE = Site(
    name="test",
    network=Network({}, {}, ()),
    roles={
        "mail": Role("mail", ("one",), (), (), owns=("spool",), lease=4.0),
        "web": Role("web", ("one",), (), ()),
    },
    resources=("spool",),
    power_fences={},
    timers=Timers(agent_heartbeat=0.05, agent_timeout=0.3),
    controller=Controller(LISTEN, LISTEN, LISTEN, "/etc/tokens", "", ""),
)
HELLO = AgentHello(VERSION, "one", "secret", "boot", (Held("mail", Holding.NOTHING, 3),))
GUARD_HELLO = GuardHello(VERSION, "one", "secret", "mail")


class Events:
    """What was emitted, in order."""

    def __init__(self) -> None:
        self._queue: LightQueue = LightQueue()

    def __call__(self, event: Event) -> None:
        self._queue.put(event)

    def next(self) -> Event:
        event: Event = self._queue.get(timeout=2)
        return event


class Peer:
    """An agent made of a socket."""

    def __init__(self, port: int, hello: Any = None) -> None:
        self.socket = eventlet.connect(("127.0.0.1", port))
        self._lines = self.socket.makefile("rb")
        if hello is not None:
            self.send(hello)

    def send(self, message: Any) -> None:
        self.socket.sendall(TO_CONTROLLER.encode(message))

    def next(self) -> Any:
        """The next message but a heartbeat; None at the end."""
        with eventlet.Timeout(2):
            while line := self._lines.readline():
                message = FROM_CONTROLLER.decode(line)
                if not isinstance(message, Heartbeat):
                    return message
        return None


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def server(events: Events) -> Iterator[AgentServer]:
    server = AgentServer(SITE, {"one": "secret"}, events)
    server.start()
    yield server
    server.stop()


def test_an_agent_is_welcomed_with_the_intervals_of_the_site(
    server: AgentServer, events: Events
) -> None:
    assert Peer(server.port, HELLO).next() == Welcome(0.05, 0.3)
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


def test_another_version_is_refused(server: AgentServer) -> None:
    refused = Peer(server.port, GuardHello(VERSION + 1, "one", "secret", "mail")).next()
    assert refused.refusal is Refusal.VERSION


@pytest.mark.parametrize("line", [b"hello\n", b'{"kind":"Reboot"}\n', b"x" * 20_000 + b"\n"])
def test_what_is_no_message_ends_the_connection_with_a_reason(
    server: AgentServer, events: Events, line: bytes
) -> None:
    peer = Peer(server.port, HELLO)
    peer.next()
    events.next()
    with contextlib.suppress(OSError):
        peer.socket.sendall(line)
    assert peer.next().refusal is Refusal.PROTOCOL
    assert peer.next() is None
    assert events.next() == AgentLost("one")


def test_a_guard_may_not_answer_for_the_agent(server: AgentServer) -> None:
    peer = Peer(server.port, GUARD_HELLO)
    peer.next()
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
    Peer(server.port, HELLO)
    events.next()
    assert events.next() == AgentLost("one")


def test_a_newer_connection_takes_the_place_of_the_old_one(
    server: AgentServer, events: Events
) -> None:
    old = Peer(server.port, HELLO)
    old.next()
    new = Peer(server.port, HELLO)
    new.next()
    assert old.next().refusal is Refusal.SUPERSEDED
    kinds = [type(events.next()) for _ in range(3)]
    assert kinds == [AgentConnected, AgentLost, AgentConnected]


def test_what_is_asked_arrives_and_its_answer_comes_back(
    server: AgentServer, events: Events
) -> None:
    peer = Peer(server.port, HELLO)
    peer.next()
    events.next()
    server.ask(AskAgent(1, "one", Verb.ASSUME, "mail", 4, Proof.LEASE))
    assert peer.next() == Assume(1, "mail", 4, Proof.LEASE, leased=True)
    peer.send(Report(Held("mail", Holding.ASSUMING, 4)))
    assert events.next() == AgentReported("one", Held("mail", Holding.ASSUMING, 4))
    peer.send(Answer(1, "mail", Outcome.REFUSED, 7, "low"))
    assert events.next() == AgentAnswered(1, "one", "mail", Outcome.REFUSED, 7)


def test_a_role_without_lease_is_assumed_without(server: AgentServer, events: Events) -> None:
    peer = Peer(server.port, HELLO)
    peer.next()
    events.next()
    server.ask(AskAgent(1, "one", Verb.ASSUME, "web", 4, Proof.NEVER_OWNED))
    assert peer.next().leased is False


def test_the_loss_of_a_connection_answers_what_was_asked(
    server: AgentServer, events: Events
) -> None:
    peer = Peer(server.port, HELLO)
    peer.next()
    events.next()
    server.ask(AskAgent(5, "one", Verb.RELEASE, "mail", 4))
    assert peer.next() == Release(5, "mail", 4)
    peer.socket.close()
    del peer
    assert events.next() == AgentLost("one")
    assert events.next() == AgentAnswered(5, "one", "mail", Outcome.TIMED_OUT)


def test_who_is_not_connected_is_answered_for_at_once(server: AgentServer, events: Events) -> None:
    server.ask(AskAgent(5, "one", Verb.RELEASE, "mail", 4))
    assert events.next() == AgentAnswered(5, "one", "mail", Outcome.TIMED_OUT)


def test_a_lease_is_granted_or_denied_to_the_guard_that_asked(
    server: AgentServer, events: Events
) -> None:
    guard = Peer(server.port, GUARD_HELLO)
    guard.next()
    for number, granted, answer in ((8, True, LeaseGranted(8, 4.0)), (9, False, LeaseDenied(9))):
        guard.send(LeaseRenew(number, 4))
        asked = events.next()
        assert isinstance(asked, LeaseAsked)
        assert (asked.server, asked.role, asked.epoch) == ("one", "mail", 4)
        server.grant(GrantLease(asked.request, granted, 4.0))
        assert guard.next() == answer


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


def test_the_hub_goes_on_while_a_power_fence_runs(events: Events) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(0.3)")
    PowerFencer({"one": PowerFence(command, 5.0)}, events).fence(FencePower(3, "one"))
    eventlet.spawn_after(0.05, events, AgentLost("hub"))
    assert events.next() == AgentLost("hub")
    assert events.next() == PowerFenced(3, "one", Outcome.DONE)
