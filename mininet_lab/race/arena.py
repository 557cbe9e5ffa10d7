"""What every contender finds: the segment, two servers with a greeter each, and the client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from types import TracebackType
from typing import Self

from hactrl.site import load
from hactrl.site.model import Site
from mininet_lab import plan
from mininet_lab.clock import now
from mininet_lab.lab import StageError
from mininet_lab.network import LabNetwork, Node, shell
from mininet_lab.ovs import OpenVswitch
from mininet_lab.processes import command_line, send
from mininet_lab.race.greeter import PORT
from mininet_lab.race.measure import Knock, read
from topology.model import Attachment, Interface

#: Where users find the greeter.
ADDRESS = IPv4Address("10.0.0.25")

#: Each server's own addresses, by card, for contenders that know servers by theirs.
OWN_ADDRESSES = {"A": "10.0.0.31", "B'": "10.0.0.32", "B": "10.0.0.33", "A'": "10.0.0.34"}

#: Where bulk transfers go.
BULK_PORT = 26

ROLE = "greeter"
LIVE, STANDBY = "one", "two"

CLIENT = plan.Guest(
    "client", Attachment("s1", 1), "02:00:00:00:04:01", (ip_interface("10.0.0.101/24"),)
)
BALANCER = plan.Guest(
    "balancer", Attachment("s1", 7), "02:00:00:00:04:02", (ip_interface("10.0.0.20/24"),)
)

#: All cards are on one switch; `spread` has each server's second one on the other.
_SITE = """\
site: race
segments:
  users:
    networks: [10.0.0.0/24]
    switches:
      s1: {{datapath_id: 0x41}}
      s2: {{datapath_id: 0x42}}
    links:
      - ["s1:11", "s2:11"]
    prober:
      attachment: "s1:4"
      mac: "02:00:00:00:04:fe"
      addresses: [10.0.0.240/28]
servers:
  one:
    interfaces:
      "A":  {{segment: users, attachment: "s1:2", mac: "02:00:00:00:04:0a"}}
      "B'": {{segment: users, attachment: "{second}:3", mac: "02:00:00:00:04:1b", redundant_for: "B"}}
  two:
    interfaces:
      "B":  {{segment: users, attachment: "s1:5", mac: "02:00:00:00:04:0b"}}
      "A'": {{segment: users, attachment: "{second}:6", mac: "02:00:00:00:04:1a", redundant_for: "A"}}
roles:
  greeter:
    servers: [one, two]
    addresses:
      users: {{addresses: [{address}]}}
    services:
      smtp: {{segment: users, protocol: tcp, port: {port}, from: [anyone], probe: {{kind: smtp}}}}
      bulk: {{segment: users, protocol: tcp, port: {bulk}, from: [anyone], probe: {{kind: icmp}}}}
controller:
  openflow: {{listen: "127.0.0.1:6653"}}
  agents: {{listen: "172.16.0.1:6655", tokens: {directory}/agent-tokens}}
  rest: {{listen: "127.0.0.1:8080", token: {directory}/operator-token}}
  store: {directory}/hactrl.sqlite
"""  # noqa: E501  a table


def site_text(directory: Path, timers: str = "", *, spread: bool = False) -> str:
    """The site file; `timers` is a YAML mapping in one line."""
    text = _SITE.format(
        second="s2" if spread else "s1",
        address=ADDRESS,
        port=PORT,
        bulk=BULK_PORT,
        directory=directory,
    )
    return f"{text}timers: {timers}\n" if timers else text


@dataclass
class Machine:
    """A server: its cards, which stay, and what runs on it."""

    name: str
    node: Node
    cards: tuple[Interface, ...]
    directory: Path
    _programs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _dead: bool = False

    def start(self, name: str, *words: str) -> None:
        """Start a program on it, and do not wait; one of that name at a time."""
        self._programs[name] = words
        with (self.directory / f"{name}-{self.name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self.node.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def greeter(self) -> tuple[str, ...]:
        """What Python is told to run it."""
        return ("-m", "mininet_lab.race.greeter", self.name)

    def start_greeter(self) -> None:
        self.start("greeter", sys.executable, *self.greeter)

    def await_listening(self, port: int, timeout: float = 10.0) -> None:
        """Until somebody listens on this TCP port.

        Raises:
            StageError: not within `timeout` seconds.
        """
        deadline = now() + timeout
        question = ("ss", "--listening", "--tcp", "--numeric", "--no-header", f"sport = :{port}")
        while not self.node.run(*question).strip():
            if now() > deadline:
                raise StageError(f"nobody listens on port {port} of {self.name}")
            time.sleep(0.02)

    def kill_greeter(self) -> float:
        return self._signal(signal.SIGKILL, self.greeter)

    def stop_greeter(self) -> float:
        """SIGSTOP: its kernel goes on to take connections."""
        return self._signal(signal.SIGSTOP, self.greeter)

    def die(self) -> float:
        """The kernel answers nobody, and whatever runs there ends; the links stay up."""
        with subprocess.Popen(
            self.node.command("nft", "--file", "-"), stdin=subprocess.PIPE, text=True
        ) as silencing:
            assert silencing.stdin is not None
            time.sleep(_STARTING)
            struck = now()
            silencing.stdin.write(_SILENCE)
            silencing.stdin.close()
            silencing.wait()
        self._dead = True
        self._signal(signal.SIGKILL)
        return struck

    def repair(self, configure: list[str]) -> None:
        """Let it speak and run again. `configure` gives its cards what a boot would: one that was
        switched off has lost its routes, and whatever was added meanwhile must not be there."""
        if self._dead:
            shell([f"ip address flush dev {plan.device(c.name)}" for c in self.cards], self.node)
        shell(configure, self.node)
        self.node.run("nft", "flush", "ruleset")
        self._dead = False
        self._signal(signal.SIGCONT)
        for name, words in self._programs.items():
            if self._running[name].poll() is not None:
                self.start(name, *words)

    def end(self) -> None:
        """End everything that runs on it, for good."""
        self._signal(signal.SIGKILL)
        for process in self._running.values():
            process.wait()
        self._programs.clear()
        self._running.clear()

    def _signal(self, number: signal.Signals, words: tuple[str, ...] = ()) -> float:
        """To whatever runs on it; of these words, if any are given. When that began."""
        found = [process for process in self._processes() if _runs(process, words)]
        struck = now()
        send(found, number)
        return struck

    def _processes(self) -> list[int]:
        """All in its network namespace, whoever began them, but for the one that keeps it."""
        here = os.stat(f"/proc/{self.node.pid}/ns/net")
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.node.pid:
                with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                    if os.path.samestat(os.stat(entry / "ns/net"), here):
                        found.append(int(entry.name))
        return found


def _runs(process: int, words: tuple[str, ...]) -> bool:
    """Do these come one after the other at the end of its command line?"""
    said = command_line(process)
    return said[len(said) - len(words) :] == words


#: Seconds in which nft(8) has started, so that it acts at once when it is told.
_STARTING = 0.1

#: Connections in a row with a greeting, from which users are served (a fifth of a second).
STEADY = 100

#: Drops everything, ARP too, at the kernel's door.
_SILENCE = """\
table inet silence {
  chain in { type filter hook prerouting priority raw; policy drop; }
  chain out { type filter hook output priority raw; policy drop; }
}
table arp silence {
  chain in { type filter hook input priority filter; policy drop; }
  chain out { type filter hook output priority filter; policy drop; }
}
"""


@dataclass(frozen=True)
class Log:
    """What a client writes."""

    file: Path

    def knocks(self) -> list[Knock]:
        with self.file.open() as lines:
            return read(lines)


class Arena:
    """Context manager: network, servers and greeters are there inside it. Only inside the lab's
    namespaces (see `isolate`)."""

    def __init__(
        self,
        directory: Path,
        configure: Callable[[Site, Machine], list[str]],
        timers: str = "",
        *,
        spread: bool = False,
    ) -> None:
        """`configure`: shell lines, to be run as often as wanted, that give a server's cards what
        the contender wants of them."""
        directory.mkdir(parents=True)
        self._configure = configure
        self.directory = directory
        self.site_file = directory / "site.yaml"
        self.site_file.write_text(site_text(directory, timers, spread=spread))
        self.site = load(self.site_file)
        self.machines: dict[str, Machine] = {}
        self._pulled: list[tuple[Interface, bool]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(OpenVswitch(self.directory / "ovs"))
            self.network = stack.enter_context(LabNetwork(self.site, (CLIENT, BALANCER)))
            for server in self.site.network.servers.values():
                cards = self.site.cards(self.site.roles[ROLE], server.name, "users")
                node = self.network.nodes[server.name]
                machine = Machine(server.name, node, tuple(cards), self.directory)
                self.machines[server.name] = machine
                stack.callback(machine.end)
                shell(self._configure(self.site, machine), machine.node)
                machine.start_greeter()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def live(self) -> Machine:
        """The server that users are at when all is well."""
        return self.machines[LIVE]

    def pull_at_switch(self, cards: tuple[Interface, ...]) -> float:
        """Switch the ports off that these cards are plugged into."""
        struck = now()
        for card in cards:
            self.network.set_port(card.attachment, up=False)
            self._pulled.append((card, True))
        return struck

    def pull_at_server(self, cards: tuple[Interface, ...]) -> float:
        """Switch the cards off."""
        struck = now()
        for card in cards:
            self.network.set_cable(card.attachment, up=False)
            self._pulled.append((card, False))
        return struck

    def repair(self) -> None:
        """Plug in again what was pulled, and let the live server run."""
        for card, at_switch in self._pulled:
            if at_switch:
                self.network.set_port(card.attachment, up=True)
            else:
                self.network.set_cable(card.attachment, up=True)
        self._pulled.clear()
        self.live.repair(self._configure(self.site, self.live))

    def await_served(self, log: Log, server: str, timeout: float = 30.0) -> None:
        """Until users are served by this server, and have been for a while.

        Raises:
            StageError: not within `timeout` seconds.
        """
        deadline = now() + timeout
        while now() < deadline:
            late = log.knocks()[-STEADY:]
            if len(late) == STEADY and all(knock.server == server for knock in late):
                return
            time.sleep(0.05)
        raise StageError(f"users are not served by {server} after {timeout:.0f} s")

    @contextmanager
    def client(self, name: str) -> Iterator[Log]:
        """A client at work."""
        log = Log(self.directory / f"client-{name}.log")
        log.file.write_text("")
        process = subprocess.Popen(
            self.network.nodes[CLIENT.name].command(
                *(sys.executable, "-m", "mininet_lab.race.client"),
                *(str(ADDRESS), str(PORT), str(log.file)),
            ),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield log
        finally:
            process.terminate()
            process.wait(timeout=10.0)
