"""A real DHCP server in a host's network namespace, and a real client in another one's."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from mininet_lab.lab import StageError
from mininet_lab.network import Node

#: Seconds until a lease, at most.
_PATIENCE = 20.0

#: Milliseconds that the client waits for somebody who has the address already.
_PROBE = 500

_SCRIPT = """\
#!/bin/sh
case "$1" in
deconfig) ip -4 address flush dev "$interface" ;;
bound | renew) ip address replace "$ip/$mask" dev "$interface" ;;
esac
"""


@dataclass(frozen=True)
class Pool:
    """The addresses that a server gives away, of a network."""

    first: IPv4Address
    last: IPv4Address
    network: IPv4Network

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last


@contextmanager
def serving(node: Node, pool: Pool, directory: Path) -> Iterator[None]:
    """A server answers at the node's card.

    Raises:
        StageError: it did not start.
    """
    directory.mkdir()
    words = (
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"),
        *("--port=0", f"--interface={node.name}", "--bind-interfaces", "--pid-file"),
        f"--dhcp-range={pool.first},{pool.last},{pool.network.netmask},1h",
        # That an address is free, the client finds out.
        *("--dhcp-authoritative", "--no-ping", f"--dhcp-leasefile={directory}/leases"),
        *("--log-dhcp", "--log-facility=-"),
    )
    with _daemon(node, words, directory / "dnsmasq.log") as server:
        server.await_line("IP range")
        yield


@dataclass(frozen=True)
class Daemon:
    """`log` grows with what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def await_line(self, pattern: str, times: int = 1) -> None:
        """Until it has said such a thing, so many times.

        Raises:
            StageError: it did not in time.
        """
        deadline = time.monotonic() + _PATIENCE
        while len(re.findall(pattern, self.log.read_text(errors="replace"))) < times:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"no {pattern!r}: {self.log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.05)


@dataclass(frozen=True)
class Client:
    """It has a lease, and keeps it."""

    node: Node
    daemon: Daemon

    def address(self) -> IPv4Address | None:
        """What its card has now."""
        answer = self.node.run("ip", "-json", "-4", "address", "show", "dev", self.node.name)
        found = [entry for link in json.loads(answer) for entry in link.get("addr_info", ())]
        return IPv4Address(found[0]["local"]) if found else None

    def await_address(self) -> IPv4Address:
        """The daemon's script runs after the daemon has spoken.

        Raises:
            StageError: the card has no address in time.
        """
        deadline = time.monotonic() + _PATIENCE
        while (address := self.address()) is None:
            if time.monotonic() > deadline:
                raise StageError(f"{self.node.name} has a lease, and no address")
            time.sleep(0.02)
        return address

    def renew(self) -> None:
        """Ask the server, by its address, whether it may keep the lease.

        Raises:
            StageError: it was not allowed.
        """
        self.daemon.process.send_signal(signal.SIGUSR1)
        self.daemon.await_line("obtained", times=2)


@contextmanager
def leasing(node: Node, directory: Path, *options: str) -> Iterator[Client]:
    """The node's card gets its address from whichever server there is, and gives it back at the
    end. `options` are udhcpc's.

    Raises:
        StageError: it got none.
    """
    directory.mkdir()
    script = directory / "script"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    words = ("busybox", "udhcpc", "-f", "-R", "-t", "5", "-T", "2", f"-a{_PROBE}", "-i", node.name)
    with _daemon(node, (*words, "-s", f"{script}", *options), directory / "udhcpc.log") as daemon:
        daemon.await_line("obtained")
        client = Client(node, daemon)
        client.await_address()
        yield client


@contextmanager
def _daemon(node: Node, words: tuple[str, ...], log: Path) -> Iterator[Daemon]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            node.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Daemon(process, log)
    finally:
        process.terminate()
        process.wait(timeout=10.0)
