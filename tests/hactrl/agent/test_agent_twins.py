"""Who may stand for a server, or for the guard of its role, when two say that they are it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import eventlet
import pytest
from agent_peers import (
    GUARD_HELLO,
    HELLO,
    PATIENT,
    Events,
    LivePeer,
    Peer,
    connected,
    serve,
)
from eventlet.green import socket

from hactrl.agent.protocol import (
    TO_CONTROLLER,
    Heartbeat,
    LeaseRenew,
    Ping,
    Pong,
    Refusal,
    Refused,
    Report,
    Welcome,
)
from hactrl.engine.events import (
    AgentConnected,
    AgentLost,
    GuardConnected,
    GuardLost,
    Held,
    LeaseAsked,
    Noticed,
)
from hactrl.engine.roles.ledger import fingerprint
from hactrl.outlets.agent_server import AgentServer
from hactrl.vocabulary import Holding

CLONE = replace(HELLO, boot="clone")
OLD_HELLO = replace(HELLO, version=1)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def server(events: Events) -> Iterator[AgentServer]:
    server = AgentServer(PATIENT, {"one": "secret", "two": "secret"}, events)
    serve(server)
    yield server
    server.stop()


@pytest.mark.reported("B1")
@pytest.mark.parametrize("copy", [CLONE, HELLO], ids=["copy of a disk", "copy of memory"])
def test_while_an_agent_answers_a_second_one_is_refused_and_proves_nothing(
    server: AgentServer, events: Events, copy: Any
) -> None:
    original = LivePeer(server.port, HELLO)
    assert events.next() == AgentConnected("one", "boot", HELLO.roles)
    refused = Peer(server.port, copy).next()
    assert refused.refusal is Refusal.TWIN
    assert "a name and a token of its own" in refused.explanation
    noticed = events.next()
    assert noticed == Noticed(
        "agent.refused",
        "",
        (
            ("peer", "agent"),
            ("server", "one"),
            ("address", "127.0.0.1"),
            ("boot", fingerprint(copy.boot)),
            ("refusal", "twin"),
            ("standing", "127.0.0.1"),
        ),
    )
    assert events.all() == []
    assert original.told.empty()


@pytest.mark.reported("B1")
def test_a_twin_that_comes_again_and_again_does_not_fill_the_journal(
    server: AgentServer, events: Events
) -> None:
    LivePeer(server.port, HELLO)
    assert isinstance(events.next(), AgentConnected)
    for _ in range(20):
        assert Peer(server.port, CLONE).next().refusal is Refusal.TWIN
    assert [type(event) for event in events.all()] == [Noticed]


@pytest.mark.reported("B1")
def test_the_place_of_an_agent_that_does_not_answer_is_taken_at_once(
    server: AgentServer, events: Events
) -> None:
    standing = LivePeer(server.port, HELLO)
    assert events.next() == AgentConnected("one", "boot", HELLO.roles)
    standing.frozen = True
    newcomer = LivePeer(server.port, CLONE)
    assert standing.next().refusal is Refusal.SUPERSEDED
    assert events.next() == AgentLost("one")
    assert events.next() == AgentConnected("one", "clone", HELLO.roles)
    newcomer.send(Report(Held("mail", Holding.NOTHING, 4)))
    assert events.next().held.epoch == 4


@pytest.mark.reported("B1")
def test_an_agent_of_the_version_before_is_known_to_live_by_its_heartbeats(
    server: AgentServer, events: Events
) -> None:
    standing = LivePeer(server.port, OLD_HELLO)
    assert isinstance(events.next(), AgentConnected)
    twin = Peer(server.port, replace(OLD_HELLO, boot="clone"))
    # It has not heard of twins: it is told the nearest that it knows.
    assert twin.next().refusal is Refusal.SUPERSEDED
    assert isinstance(events.next(), Noticed)
    standing.frozen = True
    LivePeer(server.port, CLONE)
    assert events.next() == AgentLost("one")
    assert events.next() == AgentConnected("one", "clone", HELLO.roles)


@pytest.mark.reported("B1")
def test_a_second_guard_of_a_role_is_refused_and_gets_no_lease(
    server: AgentServer, events: Events
) -> None:
    LivePeer(server.port, GUARD_HELLO)
    assert events.next() == GuardConnected("one", "mail")
    twin = Peer(server.port, GUARD_HELLO)
    twin.send(LeaseRenew(1, 3))
    assert twin.next().refusal is Refusal.TWIN
    noticed = events.next()
    assert isinstance(noticed, Noticed)
    assert (noticed.role, dict(noticed.details)["peer"]) == ("mail", "guard")
    assert events.all() == []


@pytest.mark.reported("B1")
def test_a_guard_that_does_not_answer_gives_way_to_a_new_one(
    server: AgentServer, events: Events
) -> None:
    standing = LivePeer(server.port, GUARD_HELLO)
    assert events.next() == GuardConnected("one", "mail")
    standing.frozen = True
    newcomer = LivePeer(server.port, replace(GUARD_HELLO, boot="clone"))
    assert events.next() == GuardLost("one", "mail")
    assert events.next() == GuardConnected("one", "mail")
    newcomer.send(LeaseRenew(1, 3))
    asked = events.next()
    assert isinstance(asked, LeaseAsked)
    assert asked.boot == "clone"


def test_guards_of_other_roles_and_other_servers_are_no_twins(
    server: AgentServer, events: Events
) -> None:
    for hello in (
        GUARD_HELLO,
        replace(GUARD_HELLO, role="web"),
        replace(GUARD_HELLO, server="two"),
    ):
        LivePeer(server.port, hello)
        assert events.next() == GuardConnected(hello.server, hello.role)


@pytest.mark.reported("B1")
def test_only_one_of_many_that_come_at_once_is_connected(
    server: AgentServer, events: Events
) -> None:
    peers = [Peer(server.port, HELLO) for _ in range(5)]
    welcomed = [peer for peer in peers if isinstance(peer.next(), Welcome)]
    waiting = [eventlet.spawn(_answering, peer) for peer in welcomed]
    ends = [told for greenlet in waiting if (told := greenlet.wait()) is not None]
    assert [end.refusal for end in ends] == [Refusal.TWIN] * (len(welcomed) - 1)
    assert [type(event) for event in events.all()] == [AgentConnected, Noticed]


def _answering(peer: Peer) -> Refused | None:
    """Live like a `LivePeer` until refused, or for long enough that all others must have been."""
    peer.send(Heartbeat())
    with eventlet.Timeout(1.0, False):
        while True:
            message = peer.next()
            if isinstance(message, Ping):
                peer.send(Pong(message.number))
            elif message is not None:
                return message
    return None


@pytest.mark.reported("A8")
def test_an_agent_that_has_left_before_it_was_accepted_never_counts_as_connected(
    events: Events,
) -> None:
    server = AgentServer(PATIENT, {"one": "secret"}, events)
    serve(server)
    try:
        # Nobody accepts, because nobody lets the hub run, as while the controller is stopped.
        for _ in range(3):
            stale = socket.socket()
            stale.fd.setblocking(True)
            stale.fd.connect(("127.0.0.1", server.port))
            stale.fd.send(TO_CONTROLLER.encode(HELLO))
            stale.fd.close()
        LivePeer(server.port, CLONE)
        assert events.next() == AgentConnected("one", "clone", HELLO.roles)
        assert events.all() == []
    finally:
        server.stop()


@pytest.mark.reported("A8")
def test_who_has_left_takes_nobodys_place(server: AgentServer, events: Events) -> None:
    standing = LivePeer(server.port, HELLO)
    assert isinstance(events.next(), AgentConnected)
    standing.frozen = True
    stale = Peer(server.port, CLONE)
    stale.socket.shutdown(socket.SHUT_WR)
    assert stale.next() is None
    assert events.all() == []


@pytest.mark.reported("A8")
def test_who_says_nothing_after_the_welcome_is_not_connected(
    server: AgentServer, events: Events
) -> None:
    mute = Peer(server.port, HELLO)
    assert isinstance(mute.next(), Welcome)
    mute.close()
    LivePeer(server.port, CLONE)
    assert events.next() == AgentConnected("one", "clone", HELLO.roles)


@pytest.mark.reported("A6")
def test_it_is_told_when_the_guard_comes_and_goes_apart_from_the_agent(
    server: AgentServer, events: Events
) -> None:
    agent = connected(server.port, HELLO)
    assert isinstance(events.next(), AgentConnected)
    guard = connected(server.port, GUARD_HELLO)
    assert events.next() == GuardConnected("one", "mail")
    agent.close()
    assert events.next() == AgentLost("one")
    guard.close()
    assert events.next() == GuardLost("one", "mail")
