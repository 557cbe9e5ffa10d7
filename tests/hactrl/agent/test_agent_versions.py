"""A controller of this version with peers of the one before and of the one to come, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from agent_peers import GUARD_HELLO, HELLO, PATIENT, Events, LivePeer, OldPeer, Peer, serve

from hactrl.agent.connection import Send, keep_connected
from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    TO_CONTROLLER,
    VERSION,
    AgentHello,
    Answer,
    Assume,
    Drill,
    GuardHello,
    Heartbeat,
    LeaseDenied,
    LeaseGranted,
    LeaseRenew,
    Notice,
    NoticeKind,
    Ping,
    Pong,
    Refusal,
    Refused,
    Release,
    Report,
    Status,
    Welcome,
)
from hactrl.engine.effects import AskAgent, GrantLease, Verb
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    GuardConnected,
    Held,
    LeaseAsked,
    Noticed,
)
from hactrl.outlets.agent_server import AgentServer
from hactrl.vocabulary import Holding, Outcome, Proof

HELD = Held("mail", Holding.HELD, 3)

#: What the encoder of revision 443ce9f, the last of version 1, made of every message.
OLD_TO_CONTROLLER = {
    '{"kind":"AgentHello","version":1,"server":"one","token":"secret","boot":"b00t",'
    '"roles":[{"role":"mail","holding":"held","epoch":3}]}': AgentHello(
        1, "one", "secret", "b00t", (HELD,)
    ),
    '{"kind":"GuardHello","version":1,"server":"one","token":"secret","role":"mail"}': GuardHello(
        1, "one", "secret", "mail"
    ),
    '{"kind":"Heartbeat"}': Heartbeat(),
    '{"kind":"Answer","operation":5,"role":"mail","outcome":"refused","known_epoch":7,'
    '"explanation":"epoch 4 is below 7"}': Answer(
        5, "mail", Outcome.REFUSED, 7, "epoch 4 is below 7"
    ),
    '{"kind":"Report","held":{"role":"mail","holding":"failed","epoch":3}}': Report(
        Held("mail", Holding.FAILED, 3)
    ),
    '{"kind":"LeaseRenew","request":9,"epoch":3}': LeaseRenew(9, 3),
}
OLD_FROM_CONTROLLER = {
    '{"kind":"Welcome","heartbeat":0.2,"timeout":1.0}': Welcome(0.2, 1.0),
    '{"kind":"Refused","refusal":"superseded",'
    '"explanation":"a newer connection of this server is here"}': Refused(
        Refusal.SUPERSEDED, "a newer connection of this server is here"
    ),
    '{"kind":"Heartbeat"}': Heartbeat(),
    '{"kind":"Assume","operation":5,"role":"mail","epoch":4,"proof":"lease","leased":true}': Assume(
        5, "mail", 4, Proof.LEASE, True
    ),
    '{"kind":"Release","operation":6,"role":"mail","epoch":5}': Release(6, "mail", 5),
    '{"kind":"Status","operation":7,"role":"mail"}': Status(7, "mail"),
    '{"kind":"Drill","operation":8,"role":"mail"}': Drill(8, "mail"),
    '{"kind":"LeaseGranted","request":9,"duration":4.0}': LeaseGranted(9, 4.0),
    '{"kind":"LeaseDenied","request":9}': LeaseDenied(9),
}
OLD_AGENT, OLD_GUARD = list(OLD_TO_CONTROLLER)[:2]
UNDERSTOOD = list(OLD_FROM_CONTROLLER)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def server(events: Events) -> Iterator[AgentServer]:
    server = AgentServer(PATIENT, {"one": "secret"}, events)
    serve(server)
    yield server
    server.stop()


@pytest.mark.reported("B8")
@pytest.mark.parametrize(
    ("codec", "lines"),
    [(TO_CONTROLLER, OLD_TO_CONTROLLER), (FROM_CONTROLLER, OLD_FROM_CONTROLLER)],
    ids=["to the controller", "from the controller"],
)
def test_every_message_of_version_1_is_written_and_read_as_it_was(
    codec: Any, lines: dict[str, Any]
) -> None:
    for line, message in lines.items():
        assert codec.encode(message, 1) == line.encode() + b"\n"
        assert codec.decode(line.encode()) == message


@pytest.mark.reported("B8")
def test_what_only_version_2_knows_is_left_out_for_version_1() -> None:
    guard = GuardHello(1, "one", "secret", "mail", boot="boot")
    assert TO_CONTROLLER.encode(guard, 1).decode().strip() == OLD_GUARD
    report = Report(Held("mail", Holding.FAILED, 3), "no daemon")
    assert b"no daemon" not in TO_CONTROLLER.encode(report, 1)
    for message in (Ping(1), Pong(1), Notice(NoticeKind.DISK_FULL, "mail", "full")):
        codec = FROM_CONTROLLER if isinstance(message, Ping) else TO_CONTROLLER
        assert not codec.speaks(message, 1)
        with pytest.raises(ValueError, match="no message of this protocol"):
            codec.encode(message, 1)


@pytest.mark.reported("B8")
def test_an_agent_of_the_version_before_does_all_its_work_with_this_controller(
    server: AgentServer, events: Events
) -> None:
    agent = OldPeer(server.port, OLD_AGENT, UNDERSTOOD)
    assert agent.next()["kind"] == "Welcome"
    agent.send_line('{"kind":"Report","held":{"role":"mail","holding":"failed","epoch":3}}')
    assert events.next() == AgentConnected("one", "b00t", (HELD,))
    assert events.next() == AgentReported("one", Held("mail", Holding.FAILED, 3))
    for operation, verb in enumerate(Verb, 1):
        server.ask(AskAgent(operation, "one", verb, "mail", 4, Proof.LEASE))
        assert agent.next()["operation"] == operation
        agent.send_line(
            f'{{"kind":"Answer","operation":{operation},"role":"mail","outcome":"done",'
            '"known_epoch":4,"explanation":""}'
        )
        assert events.next() == AgentAnswered(operation, "one", "mail", Outcome.DONE, 4)


@pytest.mark.reported("B8")
def test_an_old_guard_keeps_its_lease_while_controller_and_agent_are_upgraded(
    server: AgentServer, events: Events
) -> None:
    guard = OldPeer(server.port, OLD_GUARD, UNDERSTOOD)  # the controller has been upgraded

    def renews(request: int) -> None:
        guard.send_line(f'{{"kind":"LeaseRenew","request":{request},"epoch":3}}')
        asked = events.next()
        assert isinstance(asked, LeaseAsked)
        assert (asked.server, asked.role, asked.epoch, asked.boot) == ("one", "mail", 3, "")
        server.grant(GrantLease(asked.request, True, 4.0))
        assert guard.next() == {"kind": "LeaseGranted", "request": request, "duration": 4.0}

    assert guard.next()["kind"] == "Welcome"
    guard.send_line('{"kind":"Heartbeat"}')
    assert events.next() == GuardConnected("one", "mail")
    renews(1)
    agent = OldPeer(server.port, OLD_AGENT, UNDERSTOOD)
    assert agent.next()["kind"] == "Welcome"
    agent.send_line('{"kind":"Heartbeat"}')
    assert isinstance(events.next(), AgentConnected)
    renews(2)
    agent.close()
    assert events.next() == AgentLost("one")
    renews(3)
    LivePeer(server.port, HELLO)  # and now the agent
    assert events.next() == AgentConnected("one", "boot", HELLO.roles)
    renews(4)


@pytest.mark.reported("B8")
def test_of_a_newer_agent_what_is_not_known_is_left_aside(
    server: AgentServer, events: Events
) -> None:
    agent = Peer(server.port)
    hello = json.loads(TO_CONTROLLER.encode(HELLO)) | {"version": VERSION + 1, "colour": "red"}
    agent.send_line(json.dumps(hello))
    assert agent.next() == Welcome(0.05, 60.0, VERSION)
    agent.send_line('{"kind":"Temperature","degrees":40}')
    agent.send_line('{"kind":"Report","held":{"role":"mail","holding":"sleeping","epoch":3}}')
    held = {"role": "mail", "holding": "held", "epoch": 3, "since": 12}
    agent.send_line(json.dumps({"kind": "Report", "held": held, "mood": "good"}))
    assert events.next() == AgentConnected("one", "boot", HELLO.roles)
    assert events.next() == AgentReported("one", HELD)


def test_of_an_agent_of_this_version_what_is_not_known_is_refused(server: AgentServer) -> None:
    agent = Peer(server.port)
    agent.send_line(json.dumps(json.loads(TO_CONTROLLER.encode(HELLO)) | {"colour": "red"}))
    refused = agent.next()
    assert refused.refusal is Refusal.PROTOCOL
    assert "colour" in refused.explanation


def test_an_agent_older_than_the_version_before_is_refused(server: AgentServer) -> None:
    agent = Peer(server.port)
    agent.send_line(OLD_AGENT.replace('"version":1', '"version":0'))
    refused = agent.next()
    assert refused.refusal is Refusal.VERSION
    assert "expected 1 to 2" in refused.explanation


@pytest.mark.reported("B2")
def test_notices_and_explanations_reach_the_journal(server: AgentServer, events: Events) -> None:
    agent = LivePeer(server.port, HELLO)
    assert isinstance(events.next(), AgentConnected)
    agent.send(Notice(NoticeKind.DISK_FULL, "mail", "/var is full"))
    details = (("server", "one"), ("text", "/var is full"))
    assert events.next() == Noticed("disk.full", "mail", details)
    failed = Held("mail", Holding.FAILED, 3)
    agent.send(Report(failed, "postfix: exit status 1"))
    assert events.next() == AgentReported("one", failed)
    details = (("server", "one"), ("text", "postfix: exit status 1"))
    assert events.next() == Noticed("agent.explained", "mail", details)


class Controller:
    """A controller that speaks given lines, for real agents and guards. `first` answers a hello by
    its version; what comes after the hello is in `heard`."""

    def __init__(self, first: dict[int, list[str]]) -> None:
        self.hellos: list[dict[str, Any]] = []
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._first = first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await reader.readline())
        self.hellos.append(hello)
        for line in self._first[hello["version"]]:
            writer.write(line.encode() + b"\n")
        while line := await reader.readline():
            await self.heard.put(json.loads(line))
        writer.close()


class Guardian:
    """What uses a connection as a guard does."""

    def __init__(self) -> None:
        self.received_: asyncio.Queue[Any] = asyncio.Queue()

    def hello(self) -> GuardHello:
        return GUARD_HELLO

    def welcomed(self, send: Send) -> None:
        send(LeaseRenew(1, 3))
        send(Notice(NoticeKind.PAUSE_SEEN, "mail", "for 3 s"))

    def received(self, message: Any, send: Send) -> None:  # noqa: ARG002 - a `Peer`
        self.received_.put_nowait(message)

    def lost(self, send: Send) -> None:
        pass


def speak(controller: Controller, until: Any) -> None:
    """A real connection to the controller until `until(guardian)` is done."""

    async def both() -> None:
        server = await asyncio.start_server(controller.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        guardian = Guardian()
        connection = asyncio.create_task(keep_connected(f"127.0.0.1:{port}", guardian))
        try:
            async with asyncio.timeout(10):
                await until(guardian)
        finally:
            connection.cancel()
            server.close()

    asyncio.run(both())


@pytest.mark.reported("B8")
@pytest.mark.parametrize(
    "refusal",
    [
        '{"kind":"Refused","refusal":"version","explanation":"protocol version 2, expected 1"}',
        '{"kind":"Refused","refusal":"protocol",'
        '"explanation":"GuardHello: unknown field \'boot\'"}',
    ],
)
def test_a_controller_of_the_version_before_is_spoken_to_as_it_understands(refusal: str) -> None:
    granted = '{"kind":"LeaseGranted","request":1,"duration":4.0}'
    controller = Controller({2: [refusal], 1: [UNDERSTOOD[0], granted]})

    async def until(guardian: Guardian) -> None:
        assert await guardian.received_.get() == LeaseGranted(1, 4.0)
        heard = [await controller.heard.get() for _ in range(2)]
        assert {h["kind"] for h in heard} == {"LeaseRenew", "Heartbeat"}

    speak(controller, until)
    assert [hello["version"] for hello in controller.hellos] == [2, 1]
    assert "boot" not in controller.hellos[1]


@pytest.mark.reported("B8")
def test_of_a_newer_controller_what_is_not_known_is_left_aside() -> None:
    lines = [
        '{"kind":"Welcome","heartbeat":0.2,"timeout":9.0,"version":3,"site":"x"}',
        '{"kind":"Dance","steps":3}',
        '{"kind":"LeaseGranted","request":1,"duration":4.0,"reason":"because"}',
    ]

    async def until(guardian: Guardian) -> None:
        assert await guardian.received_.get() == LeaseGranted(1, 4.0)

    speak(Controller({2: lines}), until)


@pytest.mark.reported("B1")
def test_a_ping_is_answered_and_a_notice_arrives() -> None:
    controller = Controller(
        {
            2: [
                '{"kind":"Welcome","heartbeat":9,"timeout":9.0,"version":2}',
                '{"kind":"Ping","number":7}',
            ]
        }
    )

    async def until(_guardian: Guardian) -> None:
        heard = [await controller.heard.get() for _ in range(4)]
        assert {"kind": "Pong", "number": 7} in heard
        notice = {"kind": "Notice", "what": "pause.seen", "role": "mail", "text": "for 3 s"}
        assert notice in heard

    speak(controller, until)


@pytest.mark.reported("B1")
def test_who_is_told_that_it_is_a_twin_waits_before_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[float] = []
    controller = Controller({2: ['{"kind":"Refused","refusal":"twin","explanation":"twin"}']})

    async def until(_guardian: Guardian) -> None:
        rested = asyncio.Event()

        async def sleep(seconds: float) -> None:
            rests.append(seconds)
            rested.set()
            await asyncio.Event().wait()

        monkeypatch.setattr("hactrl.agent.connection.asyncio.sleep", sleep)
        await rested.wait()

    speak(controller, until)
    assert rests == [5.0]
