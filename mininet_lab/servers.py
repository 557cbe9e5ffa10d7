"""A server of the lab: a chassis (network namespace with its cards), which stays, and what its
power keeps alive: PID and mount namespaces, a /run, the roles' network namespaces, the agent.

A power cut ends all of the latter at once. Switching on again boots anew, with a new boot id.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hactrl.site.model import Site
from mininet_lab import plan, powercut
from mininet_lab.loop_device import LoopDevice
from mininet_lab.mail.description import MailSite
from mininet_lab.mail.rendering import render
from mininet_lab.network import Node
from topology.model import Server

#: Where every process of the lab sees the run's directory, however deep the checkout lies.
LAB = Path("/run/lab")

MANAGEMENT_DEVICE = "management"


class ServerError(Exception):
    """A server did not do what the lab asked of it."""


@dataclass(frozen=True)
class AgentAccess:
    """What a server's agent needs to reach the controllers."""

    controllers: tuple[str, ...]
    token: str


@dataclass
class _Power:
    """What lives while the server has power. `init` is process 1 of its PID namespace."""

    holder: subprocess.Popen[str]
    init: int
    disk: LoopDevice | None
    agent: subprocess.Popen[bytes] | None = None


@dataclass
class LabServer:
    """One server. Methods may be called from several threads: faults come from anywhere."""

    site: Site
    server: Server
    chassis: Node
    mail: MailSite
    access: AgentAccess
    image: Path
    _power: _Power | None = None
    _stale: list[int] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def directory(self) -> Path:
        """The server's own disk: it survives a power cut."""
        return LAB / "servers" / self.name

    @property
    def is_on(self) -> bool:
        return self._power is not None

    @property
    def init(self) -> int:
        """Process 1 of the server's PID namespace, as numbered outside.

        Raises:
            ServerError: the server is off.
        """
        if self._power is None:
            raise ServerError(f"{self.name} has no power")
        return self._power.init

    def power_on(self) -> None:
        """Boot: links, spool device, role namespaces, agent. Does nothing if it is on.

        Raises:
            ServerError: it did not come up; with what it wrote.
            OSError: there is no loop device for its disk.
        """
        with self._lock:
            if self._power is not None:
                return
            self.directory.mkdir(parents=True, exist_ok=True)
            for device in self._devices():
                self.chassis.set_link(device, up=True)
            self._remove_stale()
            owns = any(role.owns and self.name in role.servers for role in self.site.roles.values())
            disk = LoopDevice.attach(self.image) if owns else None
            try:
                self._power = self._boot(disk)
            except BaseException:
                if disk is not None:
                    disk.detach()
                raise
            self._start()

    def power_off(self) -> None:
        """Cut the power: links, unsynced data and processes are gone at once. Returns when that
        is proven; does nothing if it is proven already.

        Raises:
            PowerCutError: something still lives.
        """
        with self._lock:
            if (power := self._power) is None:
                return
            for device in self._devices():
                self.chassis.set_link(device, up=False)
            if not self._stale:  # else an earlier cut did not come to its end
                self._stale = [os.open(n, os.O_RDONLY | os.O_CLOEXEC) for n in self._namespaces()]
            if power.agent is not None:
                # nsenter(1) has stopped if the agent was, and would then never collect it.
                power.agent.kill()
            devices = (power.disk.path,) if power.disk else ()
            powercut.cut((power.init, *users(devices)), devices)
            self._power = None
            if power.disk is not None:
                power.disk.detach()
            for process in (power.agent, power.holder):
                if process is not None:
                    process.wait()

    def start_agent(self) -> None:
        """Start `hactrl-agent` in the server. Does nothing if it runs."""
        with self._lock:
            power = self._require_power()
            if power.agent is not None and power.agent.poll() is None:
                return
            program = str(Path(sys.executable).with_name("hactrl-agent"))
            with (self.directory / "agent.log").open("ab") as log:
                power.agent = subprocess.Popen(
                    self.command(program, str(self.directory / "agent.toml")),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def signal_agent(self, number: signal.Signals) -> None:
        """Send the agent a signal; after SIGKILL or SIGTERM return when it has ended.

        Raises:
            ServerError: it does not run.
        """
        with self._lock:
            agent = self._require_power().agent
            inside = _children(agent.pid) if agent is not None else []
            if agent is None or not inside:
                raise ServerError(f"the agent of {self.name} does not run")
            os.kill(inside[0], number)
            if number is signal.SIGCONT:
                agent.send_signal(number)  # nsenter(1) has stopped with it
            if number in (signal.SIGKILL, signal.SIGTERM):
                agent.wait(timeout=10.0)

    def processes(self) -> list[int]:
        """Every process in the server but its first one, which sleeps.

        Raises:
            ServerError: the server is off.
        """
        power = self._require_power()
        found: list[int] = []
        waiting = [power.init] if power.agent is None else [power.init, power.agent.pid]
        while waiting:
            children = _children(waiting.pop())
            found += children
            waiting += children
        return found

    @property
    def disk(self) -> Path | None:
        """Its own device of the spool, while it has power."""
        power = self._power
        return power.disk.path if power is not None and power.disk is not None else None

    def command(self, *words: str) -> tuple[str, ...]:
        """What to execute so that `words` run in the server."""
        spaces = ("--mount", "--pid", "--net")
        return ("nsenter", f"--target={self.init}", *spaces, "--", *words)

    def role_command(self, role: str, *words: str) -> tuple[str, ...]:
        """What to execute so that `words` run in a role's network namespace, and there only."""
        return ("nsenter", f"--net=/proc/{self.init}/root/run/netns/{role}", "--", *words)

    def run_in_role(self, role: str, *words: str) -> str:
        """Run a command in a role's network namespace; its output.

        Raises:
            ServerError: it failed.
        """
        words = self.command("ip", "netns", "exec", role, *words)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _require_power(self) -> _Power:
        if self._power is None:
            raise ServerError(f"{self.name} has no power")
        return self._power

    def _devices(self) -> list[str]:
        return [plan.device(c.name) for c in self.server.interfaces] + [MANAGEMENT_DEVICE]

    def _roles(self) -> list[str]:
        return [role.name for role in self.site.roles.values() if self.name in role.servers]

    def _namespaces(self) -> list[Path]:
        return list(Path(f"/proc/{self.init}/root/run/netns").iterdir())

    def _remove_stale(self) -> None:
        """Remove the macvlans of the last time that the power was on.

        Connections that died with the server keep its network namespaces alive for minutes, as
        far as the kernel is concerned, and with them MACs that no new macvlan may then have.
        """
        for handle in self._stale:
            inside = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{handle}", "--")
            for device in self._devices():
                command = (*inside, "ip", "link", "delete", device)
                subprocess.run(command, capture_output=True, check=False)  # most have but some
            os.close(handle)
        self._stale = []

    def _start(self) -> None:
        """What an init system would start."""
        self._install_roles()
        self.start_agent()

    def _boot_lines(self) -> list[str]:
        """Shell lines that boot the server."""
        lines = boot_script(self.directory)
        for role in self._roles():
            lines += plan.role_script(self.site, self.site.roles[role], self.name)
        return lines

    def _boot(self, disk: LoopDevice | None) -> _Power:
        lines = self._boot_lines()
        # Process 1 ignores SIGCHLD, so that the kernel itself collects orphans.
        lines += ["echo booted", "exec env --ignore-signal=CHLD sleep infinity >/dev/null 2>&1"]
        holder = subprocess.Popen(
            self.chassis.command(
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-ec", "\n".join(lines)),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert holder.stdout is not None
        if holder.stdout.readline() != "booted\n":
            holder.kill()
            _, errors = holder.communicate()
            raise ServerError(f"{self.name} does not boot: {errors.strip()}")
        return _Power(holder, _children(holder.pid)[0], disk)

    def _install_roles(self) -> None:
        disk = self._require_power().disk
        device = disk.path if disk else None
        tables: dict[str, object] = {}
        for role in self._roles():
            rendered = render(self.site, self.mail, role, self.name, self.directory, spool=device)
            rendered.install()
            tables[role] = {"network_namespace": role, **rendered.agent}
        token = self.directory / "agent-token"
        token.touch(mode=0o600)
        token.write_text(f"{self.access.token}\n")
        (self.directory / "agent.toml").write_text(
            toml(
                {
                    "server": self.name,
                    "controllers": list(self.access.controllers),
                    "token_file": str(token),
                    "state_directory": str(self.directory / "agent-state"),
                    "run_directory": "/run/hactrl-agent",
                    "boot_id_file": "/run/boot-id",
                    "roles": tables,
                }
            )
        )
        (self.directory / "agent-state").mkdir(exist_ok=True)


def boot_script(directory: Path, *sockets: str) -> list[str]:
    """Shell lines at the very beginning of a server: /sys, and a /run of its own, in which the
    lab's directory, and these sockets of /run, stay where they were."""
    new = f"{directory}/run"
    return [
        f"mkdir -p {new}",
        f"mount -t tmpfs -o mode=0755 tmpfs {new}",
        f"mkdir -p {new}/lab {new}/lock {new}/netns {new}/hactrl-agent",
        f"mount --bind {LAB} {new}/lab",
        *(f"touch {directory}{path} && mount --bind {path} {directory}{path}" for path in sockets),
        f"mount -n --move {new} /run",
        "mount -t sysfs sysfs /sys",
        "cat /proc/sys/kernel/random/uuid > /run/boot-id",
    ]


def toml(table: Mapping[str, object], path: str = "") -> str:
    """Write a TOML table of strings, numbers, booleans, lists of strings, and tables. JSON's
    strings and lists are also TOML's (toml.io, 1.0.0)."""
    plain = [f"{key} = {json.dumps(v)}" for key, v in table.items() if not isinstance(v, Mapping)]
    text = "\n".join(plain) + "\n"
    for key, value in table.items():
        if isinstance(value, Mapping):
            name = f"{path}.{key}" if path else key
            text += f"\n[{name}]\n{toml(value, name)}"
    return text


def new_token() -> str:
    return secrets.token_hex(16)


def users(devices: tuple[Path, ...]) -> list[int]:
    """One process of each mount namespace in which one of the devices is mounted."""
    seen: set[int] = set()
    found = []
    for pid in _all_processes() if devices else ():
        namespace = _mount_namespace(pid)
        if namespace is None or namespace in seen:
            continue
        seen.add(namespace)
        mounts = _read(f"/proc/{pid}/mounts")
        if any(f"{device} " in mounts for device in devices):
            found.append(pid)
    return found


def _all_processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _mount_namespace(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    except OSError:  # it has ended
        return None


def _read(path: str) -> str:
    """Of a process that may end at any moment: empty then."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
