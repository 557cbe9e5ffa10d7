"""An `AgentServer` for tests, and agents and guards made of bare sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import eventlet
from eventlet.queue import LightQueue

from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    TO_CONTROLLER,
    VERSION,
    AgentHello,
    GuardHello,
    Heartbeat,
    Ping,
    Pong,
    Welcome,
)
from hactrl.engine.events import Event, Held
from hactrl.listeners import AGENTS, open_door, rooms
from hactrl.outlets.agent_server import AgentServer
from hactrl.site.model import Controller, Listen, Role, Site, Timers
from hactrl.vocabulary import Holding
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
PATIENT = replace(SITE, timers=Timers(agent_heartbeat=0.05, agent_timeout=60.0))
"""Nobody is lost for being silent alone."""

HELLO = AgentHello(VERSION, "one", "secret", "boot", (Held("mail", Holding.NOTHING, 3),))
GUARD_HELLO = GuardHello(VERSION, "one", "secret", "mail", "boot")
PATIENCE = 5.0


def serve(server: AgentServer) -> None:
    """As a controller does, at a free port; until `stop`."""
    eventlet.spawn_n(server.serve, open_door(AGENTS, LISTEN, rooms(SITE)[AGENTS]))
    eventlet.sleep(0)  # so that it knows its door


class Events:
    """What was emitted, in order."""

    def __init__(self) -> None:
        self._queue: LightQueue = LightQueue()

    def __call__(self, event: Event) -> None:
        self._queue.put(event)

    def next(self) -> Event:
        event: Event = self._queue.get(timeout=PATIENCE)
        return event

    def all(self) -> list[Event]:
        """What has not been taken yet."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class Peer:
    """Speaks when it is told to."""

    def __init__(self, port: int, hello: Any = None) -> None:
        self.socket = eventlet.connect(("127.0.0.1", port))
        self._lines = self.socket.makefile("rb")
        if hello is not None:
            self.send(hello)

    def send(self, message: Any) -> None:
        self.socket.sendall(TO_CONTROLLER.encode(message))

    def send_line(self, line: str) -> None:
        self.socket.sendall(line.encode() + b"\n")

    def next_line(self) -> bytes:
        with eventlet.Timeout(PATIENCE):
            line: bytes = self._lines.readline()
            return line

    def next(self) -> Any:
        """The next message but a heartbeat; None at the end."""
        while line := self.next_line():
            message = FROM_CONTROLLER.decode(line)
            if not isinstance(message, Heartbeat):
                return message
        return None

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def connected(port: int, hello: Any) -> Peer:
    """A peer that was welcomed and has said its first word."""
    peer = Peer(port, hello)
    assert isinstance(peer.next(), Welcome)
    peer.send(Heartbeat())
    return peer


class LivePeer:
    """Answers pings in version 2, and sends heartbeats in every version, as real ones do, until
    it is `frozen`. All else that it is told is in `told`, with None for the end."""

    def __init__(self, port: int, hello: Any) -> None:
        self.frozen = False
        self.told: LightQueue = LightQueue()
        self._peer = connected(port, hello)
        eventlet.spawn(self._listen)
        eventlet.spawn(self._beat)

    def send(self, message: Any) -> None:
        self._peer.send(message)

    def next(self) -> Any:
        return self.told.get(timeout=PATIENCE)

    def _listen(self) -> None:
        with eventlet.Timeout(60):
            while (message := self._heard()) is not None:
                if isinstance(message, Ping):
                    if not self.frozen:
                        self._peer.send(Pong(message.number))
                else:
                    self.told.put(message)
            self.told.put(None)

    def _heard(self) -> Any:
        try:
            return self._peer.next()
        except OSError:
            return None

    def _beat(self) -> None:
        while not self.frozen:
            try:
                self._peer.send(Heartbeat())
            except OSError:
                return
            eventlet.sleep(0.05)


class OldPeer(Peer):
    """Understands the lines of version 1 only: these kinds with these keys, and nothing else."""

    def __init__(self, port: int, hello: str, understood: list[str]) -> None:
        self._shapes = {(body["kind"], *sorted(body)) for body in map(json.loads, understood)}
        super().__init__(port)
        self.send_line(hello)

    def next(self) -> Any:
        while line := self.next_line():
            body = json.loads(line)
            assert (body["kind"], *sorted(body)) in self._shapes, f"version 1 knows no {line!r}"
            if body["kind"] != "Heartbeat":
                return body
        return None
