"""A server with a real `hactrl-agent`, and a controller's real `AgentServer`, on loopback.

The test holds the controller's side: events are awaited from a queue, asks and grants sent.
Every process of a server carries a mark in its environment, by which the test finds and ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import eventlet
from eventlet.queue import Empty, LightQueue

from hactrl.clock import boot_time as now
from hactrl.engine.effects import AskAgent, GrantLease, Verb
from hactrl.engine.events import AgentAnswered, AgentReported, Event, Held, LeaseAsked
from hactrl.listeners import AGENTS, open_door, rooms
from hactrl.outlets.agent_server import AgentServer
from hactrl.site.model import Controller, Listen, Role, Site, Timers
from hactrl.vocabulary import Holding, Proof
from mininet_lab.loop_device import LoopDevice
from topology.model import Network

ROOT = Path(__file__).parents[2]
PATIENCE = 10.0
"""Seconds until a test gives up waiting for an event."""

E = TypeVar("E")


class FakeController:
    """Answers every lease request, with yes while `granting`; keeps every event with its time."""

    def __init__(self, *roles: Role, tokens: dict[str, str] | None = None) -> None:
        listen = Listen("127.0.0.1", 0)
        controller = Controller(listen, listen, listen, "the token file", "", "")
        self.site = Site(
            "test", Network({}, {}, ()), {r.name: r for r in roles}, (), {}, Timers(), controller
        )
        self.tokens = tokens or {"one": "secret"}
        self.granting: bool | None = True  # None: silent
        self.grants: list[tuple[float, GrantLease]] = []
        self.events: list[Event] = []
        self._events: LightQueue = LightQueue()
        self._operation = 0
        self.server = self._served(listen)
        self.port = self.server.port

    def restart(self) -> None:
        """A new controller process on the same port would look like this to its agents."""
        self.server = self._served(Listen("127.0.0.1", self.port))

    def _served(self, listen: Listen) -> AgentServer:
        server = AgentServer(self.site, self.tokens, self._emit)
        eventlet.spawn_n(server.serve, open_door(AGENTS, listen, rooms(self.site)[AGENTS]))
        eventlet.sleep(0)  # so that it knows its door
        return server

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._events.put((now(), event))
        if isinstance(event, LeaseAsked) and self.granting is not None:
            duration = self.site.roles[event.role].lease
            assert duration is not None
            self.grants.append((now(), GrantLease(event.request, self.granting, duration)))
            self.server.grant(self.grants[-1][1])

    def next(self, kind: type[E], /, timeout: float = PATIENCE, **expected: Any) -> tuple[float, E]:
        """The next event of a kind with these attributes, and when it came; others are skipped."""
        end = now() + timeout
        skipped = []
        while True:
            try:
                moment, event = self._events.get(timeout=max(0.001, end - now()))
            except Empty:
                raise AssertionError(f"no {kind.__name__} {expected}, only {skipped}") from None
            if isinstance(event, kind) and all(
                getattr(event, name) == value for name, value in expected.items()
            ):
                return moment, event
            skipped.append(event)

    def seen(self, kind: type[Event]) -> int:
        """How many events of a kind have come that nobody has waited for; all are taken."""
        waiting = [self._events.get_nowait() for _ in range(self._events.qsize())]
        return sum(isinstance(event, kind) for _, event in waiting)

    def next_holding(self, holding: Holding) -> float:
        """When the report of this state came; others are skipped."""
        while True:
            moment, report = self.next(AgentReported)
            if report.held.holding is holding:
                return moment

    def ask(
        self, verb: Verb, role: str, epoch: int, proof: Proof | None = None, server: str = "one"
    ) -> AgentAnswered:
        """Ask, and wait for the answer."""
        self._operation += 1
        self.server.ask(AskAgent(self._operation, server, verb, role, epoch, proof))
        _, answer = self.next(AgentAnswered, operation=self._operation)
        return answer

    def assume(self, role: str, epoch: int, proof: Proof = Proof.RELEASED) -> AgentAnswered:
        return self.ask(Verb.ASSUME, role, epoch, proof)

    def ask_status(self, role: str) -> Held:
        """What the server says of the role when it is asked, once all is taken up again."""
        while True:
            self.events.clear()
            self.ask(Verb.STATUS, role, 0)
            reports = [e.held for e in self.events if isinstance(e, AgentReported)]
            held = [held for held in reports if held.role == role][-1]
            if held.holding is not Holding.RELEASING:
                return held

    def release(self, role: str, epoch: int) -> AgentAnswered:
        return self.ask(Verb.RELEASE, role, epoch)


class FakeServer:
    """A directory with the agent's files, and the processes that come of it."""

    def __init__(self, directory: Path, port: int, roles: str) -> None:
        self.directory = directory
        self.mark = f"HACTRL_TEST={directory}"
        self.token = directory / "token"
        self.token.write_text("secret\n", encoding="utf-8")
        self.token.chmod(0o600)
        self.file = directory / "agent.toml"
        self.file.write_text(
            f'server = "one"\ncontrollers = ["127.0.0.1:{port}"]\ntoken_file = "{self.token}"\n'
            f'state_directory = "{directory}/state"\nrun_directory = "{directory}/run"\n'
            + roles.replace("DIR", str(directory)),
            encoding="utf-8",
        )
        self.log = directory / "agent.log"
        self.agent: subprocess.Popen[bytes] | None = None
        self.enter: tuple[str, ...] = ()  # what the agent is started by, which must exec it

    def start_agent(self) -> None:
        name, value = self.mark.split("=")
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(
                [*self.enter, sys.executable, "-m", "hactrl.agent.main", str(self.file)],
                env=os.environ | {name: value, "PYTHONPATH": f"{self.directory}:{ROOT}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()

    def processes(self) -> dict[int, str]:
        """Number and command line of every living process of this server."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                    environment = (entry / "environ").read_bytes().split(b"\0")
                    if self.mark.encode() in environment:
                        line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        found[int(entry.name)] = line
        return found

    def first_process(self, role: str) -> int:
        """Process 1 of a role's PID namespace, as numbered here, once the agent has found it."""
        end = now() + PATIENCE
        while not (self.directory / f"run/{role}.processes").exists():
            assert now() < end, f"no guard of {role}"
            eventlet.sleep(0.01)
        return int((self.directory / f"run/{role}.processes").read_text().split()[0])

    def guard(self, role: str) -> int:
        """The guard of a role: the parent of the first process inside."""
        stat = Path(f"/proc/{self.first_process(role)}/stat").read_text(encoding="utf-8")
        return int(stat.rpartition(")")[2].split()[1])

    def inside(self) -> dict[int, str]:
        """The processes in the namespaces of its roles."""
        ours = Path("/proc/self/ns/pid").readlink()
        found = {}
        for number, line in self.processes().items():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if Path(f"/proc/{number}/ns/pid").readlink() != ours:
                    found[number] = line
        return found

    def inside_with(self, text: str) -> set[int]:
        """Those with this text in their command line."""
        return {number for number, line in self.inside().items() if text in line}

    @property
    def device(self) -> str:
        """The first block device of its file."""
        (line,) = (x for x in self.file.read_text().splitlines() if x.startswith("devices"))
        return line.split('"')[1]

    def run_inside(self, role: str, *command: str) -> str:
        """What a command says in the namespaces of a role; what it leaves behind stays there."""
        enter = ["nsenter", "-t", str(self.first_process(role)), "-m", "-p"]
        name, value = self.mark.split("=")
        return subprocess.run(
            [*enter, *command],
            env=os.environ | {name: value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def await_tick(self, name: str, after: float) -> None:
        end = now() + PATIENCE
        while self.last_tick(name) <= after:
            assert now() < end, f"no tick of {name}"
            eventlet.sleep(0.005)

    def await_end_of_ticks(self, name: str = "ticks", silence: float = 0.2) -> None:
        end = now() + PATIENCE
        while now() - self.last_tick(name) < silence:
            assert now() < end, f"{name} goes on"
            eventlet.sleep(0.02)

    def last_tick(self, name: str = "ticks") -> float:
        """When a ticking daemon lived last; 0 if it has not started."""
        try:
            return float((self.directory / name).read_text(encoding="ascii") or "0")
        except FileNotFoundError:
            return 0.0

    def known_epochs(self) -> dict[str, int]:
        epochs: dict[str, int] = json.loads((self.directory / "state/epochs.json").read_text())
        return epochs

    def end(self) -> None:
        """The agent first, because it starts guards; then all that is left, until nothing is."""
        if self.agent is not None:
            self.kill_agent()
        end = now() + PATIENCE
        while left := self.processes():
            assert now() < end, left
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            eventlet.sleep(0.01)


TICKER = """
import os, sys, time
out = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
while True:
    os.pwrite(out, b"%020.6f" % time.clock_gettime(time.CLOCK_BOOTTIME), 0)
    time.sleep(0.002)
"""


@contextlib.contextmanager
def loop_device(directory: Path) -> Iterator[str]:
    """An ext4 on a loop device of its own."""
    image = directory / "spool.img"
    with image.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with LoopDevice.attach(image) as device:
        yield str(device.path)
