"""A campus put together: backbone, file servers with real Samba, clients, controller; and the
faults that a scenario injects. Only inside the lab's namespaces (see `isolate`)."""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import ip_interface
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ruamel.yaml import YAML

from hactrl.client import Client, UnknownOutcomeError, UnreachableError
from hactrl.site import load
from mininet_lab import plan
from mininet_lab.clock import now
from mininet_lab.controller import LabController
from mininet_lab.isolate import CHECKOUT
from mininet_lab.lab import StageError
from mininet_lab.network import LabNetwork, run
from mininet_lab.ovs import OpenVswitch
from mininet_lab.samba import Samba
from mininet_lab.servers import LAB, new_token
from topology.model import Attachment

SITE_FILE = CHECKOUT / "examples" / "campus.yaml"

#: Where clients are plugged in, in the site of `SITE_FILE`, unless a scenario has others.
CLIENT_PORTS = tuple(
    Attachment(switch, port)
    for switch, count in (("r1", 2), ("r2", 2), ("r3", 2), ("r4", 1), ("r5", 2), ("r6", 1))
    for port in range(5, 5 + count)
)


def clients(ports: tuple[Attachment, ...] = CLIENT_PORTS) -> tuple[plan.Guest, ...]:
    """A client at each port."""
    return tuple(
        plan.Guest(
            f"client{number}",
            port,
            f"02:00:00:00:21:{number:02x}",
            (ip_interface(f"10.20.1.{number}/16"), ip_interface(f"2001:db8:20::1:{number:x}/64")),
        )
        for number, port in enumerate(ports, 1)
    )


def site_text(
    file_servers: Mapping[str, Any] | None = None, ports: tuple[Attachment, ...] = CLIENT_PORTS
) -> str:
    """The example's site file with the lab's places, how many clients each switch has (`ports`:
    where they are), and perhaps other file servers."""
    yaml = YAML()
    tree = yaml.load(SITE_FILE.read_text(encoding="utf-8"))
    plugged = Counter(port.switch for port in ports)
    for segment in tree["segments"].values():
        for name, switch in segment["switches"].items():
            switch["clients"] = plugged[name]
    if file_servers is not None:
        tree["file_servers"] = dict(file_servers)
    tree["controller"] = {
        "openflow": {"listen": "127.0.0.1:6653"},
        "agents": {"listen": "172.16.0.1:6655", "tokens": "/run/hactrl/agent-tokens"},
        "rest": {"listen": "127.0.0.1:8080", "token": "/run/hactrl/operator-token"},
        "store": "/run/hactrl/hactrl.sqlite",
    }
    text = io.StringIO()
    yaml.dump(tree, text)
    return text.getvalue()


class Campus:
    """Everything is built and started when it is entered."""

    def __init__(
        self,
        directory: Path,
        file_servers: Mapping[str, Any] | None = None,
        more_guests: tuple[plan.Guest, ...] = (),
        ports: tuple[Attachment, ...] = CLIENT_PORTS,
    ) -> None:
        self.directory = directory
        self.site_file = directory / "site.yaml"
        self.site_file.write_text(site_text(file_servers, ports))
        self.site = load(self.site_file)
        self.clients = clients(ports)
        self.guests = (*self.clients, *more_guests)
        self.samba: dict[str, Samba] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            LAB.mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", str(self.directory), str(LAB))
            stack.callback(run, "umount", "--lazy", str(LAB))
            self.ovs = stack.enter_context(OpenVswitch(self.directory / "ovs"))
            self.network = stack.enter_context(LabNetwork(self.site, self.guests))
            self._write_tokens()
            self._forget()
            for name in self.site.network.file_servers:
                samba = Samba(self.network.nodes[name], LAB / "samba" / name)
                samba.start()
                stack.callback(samba.stop)
                self.samba[name] = samba
            self.controller = LabController(self.site_file, self.directory, self.directory)
            self.network.connect_to_controller()
            self.controller.start()
            stack.callback(self.controller.stop)
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
    def client(self) -> Client:
        """The operator's, of the REST API."""
        rest = self.site.controller.rest
        token = Path(self.site.controller.operator_token).read_text().strip()
        return Client(f"http://{rest.host}:{rest.port}", token)

    def _write_tokens(self) -> None:
        controller = self.site.controller
        for file in (Path(controller.agent_tokens), Path(controller.operator_token)):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
            file.chmod(0o600)  # of an earlier lab
            file.write_text("" if file.name == "agent-tokens" else f"{new_token()}\n")

    def _forget(self) -> None:
        """Remove the store: what a campus before this one has learnt is not true of this one."""
        store = Path(self.site.controller.store)
        for file in store.parent.glob(f"{store.name}*"):
            file.unlink()

    def await_healthy(self, timeout: float = 60.0) -> None:
        """Until every service of every file server answers on every interface.

        Raises:
            StageError: not within `timeout` seconds.
        """
        deadline, missing = now() + timeout, ["the controller does not answer"]
        while missing:
            if now() > deadline:
                raise StageError(f"{'; '.join(missing)}; {self.controller.log_tail()}")
            time.sleep(0.1)
            try:
                status = self.client.status()
            except (UnreachableError, UnknownOutcomeError):
                continue
            missing = [] if status["settled"] else ["the controller is still looking round"]
            missing += [
                f"{card['name']} is {card['state']}"
                for server in status["file_servers"].values()
                for card in server["interfaces"].values()
                if card["state"] != "live"
                or not card["health"]
                or any(health["verdict"] == "unknown" for health in card["health"].values())
            ]

    # Faults.

    def lose(self, ports: list[Attachment]) -> None:
        """Pull the cables at these ports."""
        for port in ports:
            self.network.set_port(port, up=False)

    def regain(self, ports: list[Attachment]) -> None:
        """Plug them in again."""
        for port in ports:
            self.network.set_port(port, up=True)

    def cables_of(self, switch: str) -> list[Attachment]:
        """The far ends of a switch's trunks, and its other cables."""
        network = self.site.network
        far = [
            link.b if link.a.switch == switch else link.a
            for link in network.links
            if switch in (link.a.switch, link.b.switch)
        ]
        cards = (card.attachment for card in network.file_interfaces.values())
        guests = (port for guest in self.guests for port in guest.cables.values())
        return far + [port for port in (*cards, *guests) if port.switch == switch]

    # What switches counted.

    def port_bytes(self, switch: str) -> dict[int, int]:
        """What each port of a switch has sent and received, in bytes."""
        answer = run("ovs-ofctl", "-O", "OpenFlow13", "dump-ports-desc", switch)
        numbers = {
            name: int(port) for port, name in re.findall(r"^ *(\d+)\((\S+)\):", answer, re.M)
        }
        answer = run("ovs-ofctl", "-O", "OpenFlow13", "dump-ports", switch)
        counted = re.findall(
            r'port +"?([^":\s]+)"?: rx pkts=\d+, bytes=(\d+),.*\n +tx pkts=\d+, bytes=(\d+)', answer
        )
        return {
            numbers.get(port, int(port) if port.isdigit() else 0): int(received) + int(sent)
            for port, received, sent in counted
        }

    def trunk_bytes(self) -> dict[str, int]:
        """By link: the bytes that have crossed it, both ways, as its one end has counted them."""
        counted = {name: self.port_bytes(name) for name in self.site.network.switches}
        links = self.site.network.links
        return {str(link): counted[link.a.switch][link.a.port] for link in links}
