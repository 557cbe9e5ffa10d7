"""A controller that really runs, in a process of its own, with ports and files of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from free_port import free_port

from hactrl.site import load

FRONTIER = Path(__file__).parents[2] / "examples" / "frontier.yaml"

MAIN = "import os, sys; os.environ.pop('HACTRL_SITE', None)\n"
MAIN += "from hactrl.shell.launcher import main; sys.exit(main())"

#: Seconds for a controller to start, on a machine with much else to do.
PATIENCE = 60.0


def own_site(directory: Path, **listen: str) -> Path:
    """The example's site, with files in this directory, and ports of its own unless told."""
    text = FRONTIER.read_text().replace("/run/hactrl", str(directory))
    for who, place in (
        ("openflow", "127.0.0.1:6653"),
        ("agents", "172.16.0.1:6655"),
        ("rest", "127.0.0.1:8080"),
    ):
        assert place in text
        text = text.replace(f'"{place}"', f'"{listen.get(who) or f"127.0.0.1:{free_port()}"}"')
    file = directory / "site.yaml"
    file.write_text(text)
    secret(directory / "agent-tokens", "mailrelay: one\nsmtp_pop: two\n")
    return file


def secret(file: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """Write a file that only its owner may read, whatever the umask."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(mode)
    return file


def command(site: Path) -> list[str]:
    """What starts a controller of this site."""
    return [sys.executable, "-c", MAIN, "hactrl", "--hactrl-site", str(site)]


class Running:
    """Where a controller listens, what it has written so far, and its process."""

    def __init__(self, site: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        controller = load(site).controller
        self.openflow = controller.openflow.port
        self.agents = controller.agents.port
        self.rest = controller.rest.port
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def is_well(self) -> bool:
        """REST answers, and a switch is greeted, each within seconds."""
        url = f"http://127.0.0.1:{self.rest}/healthz"
        if httpx.get(url, timeout=10.0, trust_env=False).status_code != 200:
            return False
        with socket.create_connection(("127.0.0.1", self.openflow), timeout=10.0) as switch:
            return switch.recv(2) == b"\x04\x00"  # HELLO of OpenFlow 1.3


@contextmanager
def running(directory: Path, descriptors: int | None = None) -> Iterator[Running]:
    """Start a controller, with so many descriptors at most, and end it afterwards."""

    limit = f"ulimit -n {descriptors} && " if descriptors is not None else ""
    site, log = own_site(directory), directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", f'{limit}exec "$@"', "sh", *command(site)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            found = Running(site, process, log)
            _await(found)
            yield found
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(controller: Running) -> None:
    url = f"http://127.0.0.1:{controller.rest}/healthz"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert controller.process.poll() is None, controller.log
        try:
            # The port is open before it is served: a request waits for that.
            httpx.get(url, timeout=PATIENCE, trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(controller.log)
