"""HAProxy on a host between client and servers: it takes every connection, and makes another one.

The default is Debian's configuration with `check`, which asks for the greeting. The best stable one
that was found asks every 10 ms and watches its users' connections too (`observe layer4`).
"""

from __future__ import annotations

import socket
import subprocess
import time
from functools import partial

from hactrl.site.model import Site
from mininet_lab import plan
from mininet_lab.clock import now
from mininet_lab.lab import StageError
from mininet_lab.race.arena import ADDRESS, BALANCER, LIVE, OWN_ADDRESSES, Arena, Machine
from mininet_lab.race.contenders.contender import Setting
from mininet_lab.race.greeter import PORT

#: Seconds.
_STARTING = 10.0

_CONFIGURATION = """\
global
    stats socket %(socket)s level admin

defaults
    mode tcp
    timeout connect %(connect)s
    timeout client 50s
    timeout server 50s
    %(defaults)s

frontend users
    bind %(address)s:%(port)d
    default_backend greeters

backend greeters
    option tcp-check
    tcp-check expect rstring ^220
    %(check_timeout)s
%(servers)s
"""

_BEST = "inter 10ms fastinter 10ms downinter 50ms fall 2 rise 2 observe layer4 error-limit 1 on-error mark-down"  # noqa: E501


def configure(_site: Site, machine: Machine) -> list[str]:
    """Each card has an address of its own, and is answered by."""
    lines = ["sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"]
    for number, card in enumerate(machine.cards, 1):
        name, address = plan.device(card.name), OWN_ADDRESSES[card.name]
        table = 100 + number
        lines += [
            f"sysctl -qw net.ipv4.conf.{name}.rp_filter=0 net.ipv4.conf.{name}.arp_ignore=1"
            f" net.ipv4.conf.{name}.arp_announce=2",
            f"ip address replace {address}/24 dev {name} noprefixroute",
            f"ip route replace 10.0.0.0/24 dev {name} src {address} table {table}",
            f"ip rule delete from {address} lookup {table} 2>/dev/null || true",
            f"ip rule add from {address} lookup {table}",
        ]
    return lines


def configuration(arena: Arena, *, best: bool) -> str:
    """Of haproxy.cfg."""
    servers = [
        f"    server {plan.device(card.name)} {OWN_ADDRESSES[card.name]}:{PORT} check"
        f" {_BEST if best else ''}{'' if machine.name == LIVE else ' backup'}"
        for machine in arena.machines.values()
        for card in machine.cards
    ]
    return _CONFIGURATION % {
        "socket": arena.directory / "haproxy.sock",
        "connect": "20ms" if best else "5s",
        "defaults": "retries 3\n    option redispatch 1" if best else "",
        "check_timeout": "timeout check 40ms" if best else "",
        "address": ADDRESS,
        "port": PORT,
        "servers": "\n".join(servers),
    }


class HAProxy:
    """See `Contender`."""

    def __init__(self, arena: Arena, *, best: bool) -> None:
        self._arena = arena
        self._best = best
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """See `Contender`."""
        self._arena.network.bridge_by_hand()
        file = self._arena.directory / "haproxy.cfg"
        file.write_text(configuration(self._arena, best=self._best))
        node = self._arena.network.nodes[BALANCER.name]
        node.run("ip", "address", "replace", f"{ADDRESS}/24", "dev", BALANCER.name)
        with (self._arena.directory / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                node.command("haproxy", "-db", "-f", str(file)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def settle(self) -> None:
        """See `Contender`. It goes back by itself, because the standby's cards are backups."""
        self._set("ready")

    def move(self) -> float:
        """See `Contender`."""
        struck = now()
        self._set("maint")
        return struck

    def stop(self) -> None:
        """See `Contender`."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10.0)

    def _runtime(self) -> socket.socket:
        """A connection to its runtime interface, which is there once it has started."""
        deadline, path = now() + _STARTING, str(self._arena.directory / "haproxy.sock")
        while True:
            runtime = socket.socket(socket.AF_UNIX)
            try:
                runtime.connect(path)
                return runtime
            except OSError as error:
                runtime.close()
                if now() > deadline:
                    raise StageError(f"HAProxy does not run: {error}") from error
            time.sleep(0.02)

    def _set(self, state: str) -> None:
        """The live server's, by the runtime interface."""
        names = [plan.device(card.name) for card in self._arena.live.cards]
        words = ";".join(f"set server greeters/{name} state {state}" for name in names)
        with self._runtime() as runtime:
            runtime.sendall(f"{words}\n".encode())
            runtime.makefile().read()


PROGRAMS = ("haproxy",)

SETTINGS = tuple(
    Setting(f"haproxy-{name}", f"HAProxy, {name}", PROGRAMS, configure, make)
    for name, make in (
        ("default", partial(HAProxy, best=False)),
        ("best", partial(HAProxy, best=True)),
    )
)
