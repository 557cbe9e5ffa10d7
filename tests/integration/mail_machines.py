"""Small machines for tests of mail: namespaces with an address, a role, and a power switch.

`Fabric` is a bridge in a network namespace of its own; the test's clients and the WAN's mail
host live on it. `Machine` is one role on one server, as the agent would run it: network, mount
and PID namespaces, and the agent's commands in them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mininet_lab import powercut
from mininet_lab.mail.rendering import Rendering

_UNSHARE = (
    "unshare --net --mount --pid --ipc --fork --kill-child --mount-proc"
    " sh -c 'ip link set lo up; echo up; exec sleep infinity'"
)


class Namespaces:
    """Fresh namespaces whose process 1 sleeps; all in them ends with `close`."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            shlex.split(_UNSHARE),
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.init = int(children.read_text())
        self._daemons: list[subprocess.Popen[Any]] = []

    def enter(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-n", "-m", "-p", "-i", *command]

    def run(self, command: Sequence[str], **environment: str) -> None:
        subprocess.run(self.enter(command), check=True, env=os.environ | environment, timeout=30)

    def output(self, command: Sequence[str]) -> str:
        return subprocess.check_output(self.enter(command), text=True, timeout=30)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        daemon = subprocess.Popen(self.enter(command), stdin=subprocess.DEVNULL)
        self._daemons.append(daemon)
        return daemon

    def close(self) -> None:
        powercut.cut([self.init], [])
        for process in (self._holder, *self._daemons):
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


class Fabric(Namespaces):
    """One layer-2 domain; `addresses` are its own."""

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__()
        self._plugged = 0
        self._ip("link add br0 type bridge forward_delay 0")
        self._ip("link set br0 up")
        for address in addresses:
            self._ip(f"address add {address} dev br0{no_dad(address)}")

    def plug(self, machine: Namespaces, mac: str, addresses: Sequence[str]) -> None:
        """Give a machine a card `eth0` with these addresses."""
        self._plugged += 1
        name = f"port{self._plugged}"
        peer = f"peer name eth0 address {mac} netns {machine.init}"
        command = f"ip link add {name} type veth {peer}".split()
        subprocess.run(["nsenter", "-t", str(self.init), "-n", *command], check=True)
        self._ip(f"link set {name} master br0 up")
        for address in addresses:
            machine.run(f"ip address add {address} dev eth0{no_dad(address)}".split())
        machine.run(["ip", "link", "set", "eth0", "up"])

    def _ip(self, words: str) -> None:
        self.run(["ip", *words.split()])


class Machine(Namespaces):
    """A role on a server, driven as docs/agent.md says."""

    def __init__(self, rendering: Rendering) -> None:
        super().__init__()
        self._agent = rendering.agent
        self._standby: subprocess.Popen[str] | None = None

    def stand_by(self) -> None:
        """What the agent does when it starts."""
        self._command("prepare", "")
        for daemon in self._daemon_tables():
            if "command" in daemon and (self._agent.get("always") or daemon.get("from")):
                self.start(daemon["command"])
        if "standby" in self._agent:
            self._start_standby()

    def assume(self, proof: str) -> None:
        assert self._standby is not None
        self.run(["kill", self._standby_number])
        self._standby.wait()
        self._command("assume", proof)

    def ready(self) -> None:
        self._command("ready", "")

    def release(self) -> None:
        self._command("release", "")

    def cut_power(self) -> None:
        powercut.cut([self.init], [Path(str(d)) for d in self._list("devices")])

    def _start_standby(self) -> None:
        """nsenter passes no signal on, so the program tells its number inside first."""
        command = ["sh", "-c", 'echo $$; exec "$@"', "sh", *self._words("standby")]
        self._standby = subprocess.Popen(self.enter(command), stdout=subprocess.PIPE, text=True)
        self._daemons.append(self._standby)
        assert self._standby.stdout is not None
        self._standby_number = self._standby.stdout.readline().strip()

    def _command(self, name: str, proof: str) -> None:
        if name in self._agent:
            self.run(self._words(name), HACTRL_PROOF=proof)

    def _words(self, name: str) -> list[str]:
        return [str(word) for word in self._list(name)]

    def _list(self, name: str) -> list[object]:
        found = self._agent[name]
        assert isinstance(found, list)
        return found

    def _daemon_tables(self) -> list[dict[str, list[str]]]:
        daemons = self._agent["daemons"]
        assert isinstance(daemons, dict)
        return list(daemons.values())


def no_dad(address: str) -> str:
    """A tentative address (RFC 4862) cannot be bound for a second."""
    return " nodad" if ":" in address else ""
