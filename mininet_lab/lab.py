"""The whole lab, put together: context manager, and the faults that a scenario injects.

Every fault returns the moment at which it struck (`mininet_lab.clock`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from hactrl.site import load
from mininet_lab import spool
from mininet_lab.clock import now
from mininet_lab.controller import LabController
from mininet_lab.isolate import CHECKOUT
from mininet_lab.mail.description import MailSite
from mininet_lab.mail.rendering import render_wan
from mininet_lab.network import LabNetwork, Node, run
from mininet_lab.ovs import OpenVswitch
from mininet_lab.power import PowerSwitch
from mininet_lab.servers import LAB, AgentAccess, LabServer, new_token
from topology.model import Attachment

SITE_FILE = CHECKOUT / "examples" / "frontier.yaml"


class StageError(Exception):
    """What had to come about did not; the message says what stood in the way."""


class Lab:
    """Everything is built when it is entered; servers and controller are off.

    Only inside the lab's namespaces (see `isolate`). `directory` is the run's; all processes
    see it as /run/lab.
    """

    def __init__(
        self,
        directory: Path,
        mail: MailSite | None = None,
        site_file: Path = SITE_FILE,
        make_server: Callable[..., LabServer] = LabServer,
    ) -> None:
        self.directory = directory
        self.site_file = site_file
        self.site = load(site_file)
        self.mail = mail or MailSite()
        self.servers: dict[str, LabServer] = {}
        self.image = directory / "spool.img"
        self._make_server = make_server
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            LAB.mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", str(self.directory), str(LAB))
            stack.callback(run, "umount", "--lazy", str(LAB))
            self.ovs = stack.enter_context(OpenVswitch(self.directory / "ovs"))
            self.network = stack.enter_context(LabNetwork(self.site))
            spool.create(self.image)
            tokens = self._write_tokens()
            listen = self.site.controller.agents
            for server in self.site.network.servers.values():
                self.servers[server.name] = self._make_server(
                    self.site,
                    server,
                    self.network.nodes[server.name],
                    self.mail,
                    AgentAccess((f"{listen.host}:{listen.port}",), tokens[server.name]),
                    self.image,
                )
            stack.callback(self._switch_off)
            programs = self.directory / "bin"
            self.power = stack.enter_context(PowerSwitch(self.servers, programs))
            self.controller = LabController(self.site_file, self.directory, programs)
            stack.callback(self._end_controller)
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
    def wan(self) -> Node:
        return self.network.nodes["wan"]

    @property
    def operator_token(self) -> str:
        return Path(self.site.controller.operator_token).read_text().strip()

    def start_wan_mail(self) -> Path:
        """Start the WAN's SMTP server; the directory of its mailboxes."""
        directory = LAB / "wan"
        rendered = render_wan(self.mail.wan, directory)
        rendered.install()
        daemons = rendered.agent["daemons"]
        assert isinstance(daemons, dict)
        with (self.directory / "wan.log").open("ab") as log:
            for daemon in daemons.values():
                process = subprocess.Popen(
                    self.wan.command(*daemon["command"]),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                self._stack.callback(_end, process)
        return directory / "mail"

    # Faults.

    def power_cut(self, server: str) -> float:
        struck = now()
        self.servers[server].power_off()
        return struck

    def power_on(self, server: str) -> float:
        struck = now()
        self.servers[server].power_on()
        return struck

    def link_down(self, port: Attachment) -> float:
        struck = now()
        self.network.set_cable(port, up=False)
        return struck

    def link_up(self, port: Attachment) -> float:
        struck = now()
        self.network.set_cable(port, up=True)
        return struck

    def kill_controller(self) -> float:
        struck = now()
        self.controller.kill()
        return struck

    def _write_tokens(self) -> dict[str, str]:
        tokens = {server: new_token() for server in self.site.network.servers}
        controller = self.site.controller
        agents, operator = Path(controller.agent_tokens), Path(controller.operator_token)
        for file, text in (
            (agents, "".join(f"{server}: {token}\n" for server, token in tokens.items())),
            (operator, f"{new_token()}\n"),
        ):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
            file.chmod(0o600)  # of an earlier lab
            file.write_text(text)
        return tokens

    def _switch_off(self) -> None:
        for server in self.servers.values():
            server.power_off()

    def _end_controller(self) -> None:
        if self.controller.is_running:
            self.controller.stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=10.0)
