"""A controller that really runs, in a process of its own, and switches that talk to it.

Its site is the example `frontier.yaml` at free ports of loopback. Nothing of it needs root: no
server is there, and its prober may fail.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from free_port import free_port
from ryu.ofproto import ofproto_v1_3 as ofproto

EXAMPLE = Path(__file__).parents[2] / "examples" / "frontier.yaml"
START = "import sys; from hactrl.shell.launcher import main; sys.exit(main())"
HEADER = struct.Struct("!BBHI")

#: Seconds that anything here may take on a machine that is loaded.
PATIENCE = 60.0


def wait_until(holds: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """What it gives once it is true."""
    end = time.monotonic() + patience
    while not (found := holds()):
        assert time.monotonic() < end, f"waited {patience} s in vain for {what}"
        time.sleep(0.02)
    return found


def message(kind: int, number: int, body: bytes = b"") -> bytes:
    return HEADER.pack(ofproto.OFP_VERSION, kind, HEADER.size + len(body), number) + body


def handshake(datapath_id: int) -> bytes:
    """All that a switch with one port has to say before it is one; nobody need ask for it."""
    features = struct.pack("!QIBB2xII", datapath_id, 0, 254, 0, 0x4F, 0)
    ports = struct.pack("!HH4x", ofproto.OFPMP_PORT_DESC, 0) + port(1)
    return b"".join(
        (
            message(ofproto.OFPT_HELLO, 1),
            message(ofproto.OFPT_FEATURES_REPLY, 2, features),
            message(ofproto.OFPT_MULTIPART_REPLY, 3, ports),
        )
    )


def port(number: int) -> bytes:
    return struct.pack("!I4x6s2x16s8I", number, b"\2" * 6, b"x", *[0] * 8)


class Switch:
    """Connects with this datapath id; answers what it is asked in `answer` only."""

    def __init__(self, port: int, datapath_id: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.address = "{}:{}".format(*self.socket.getsockname())
        self.seen: list[int] = []
        self._stream = self.socket.makefile("rb")
        self.socket.sendall(handshake(datapath_id))

    def answer(self, kind: int) -> bool:
        """Answer echoes, role requests and barriers until a message of this kind was there; False
        if the controller hung up before."""
        end = time.monotonic() + PATIENCE
        while head := self._stream.read(HEADER.size):
            _, what, length, number = HEADER.unpack(head)
            body = self._stream.read(length - HEADER.size)
            self.seen.append(what)
            assert time.monotonic() < end, f"waited in vain for a message of kind {kind}"
            replies = {
                ofproto.OFPT_ECHO_REQUEST: ofproto.OFPT_ECHO_REPLY,
                ofproto.OFPT_ROLE_REQUEST: ofproto.OFPT_ROLE_REPLY,
                ofproto.OFPT_BARRIER_REQUEST: ofproto.OFPT_BARRIER_REPLY,
            }
            if what in replies:
                self.socket.sendall(message(replies[what], number, body))
            if what == kind:
                return True
        return False

    def close(self) -> None:
        self._stream.close()
        self.socket.close()


@dataclass
class Controller:
    process: subprocess.Popen[bytes]
    openflow: int
    rest: int
    log_file: Path
    switches: list[Switch] = field(default_factory=list)

    def connect(self, datapath_id: int) -> Switch:
        self.switches.append(Switch(self.openflow, datapath_id))
        return self.switches[-1]

    def send(self, octets: bytes) -> None:
        """On a connection of their own, which ends at once."""
        with socket.create_connection(("127.0.0.1", self.openflow), timeout=PATIENCE) as peer:
            peer.sendall(octets)

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def is_connected(self, switch: str) -> bool:
        return bool(self.ask("/v1/status")["switches"][switch]["connected"])

    def journal(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.ask("/v1/history")["entries"] if entry["kind"] == kind]

    def is_ready(self) -> bool:
        try:
            return bool(self.ask("/healthz"))
        except OSError:
            assert self.process.poll() is None, self.log()
            return False

    def log(self) -> str:
        return self.log_file.read_text()


@contextmanager
def controller(directory: Path, start: str = START, **environment: str) -> Iterator[Controller]:
    """Runs until the end; `start` is the Python that starts it."""
    openflow, agents, rest = (free_port() for _ in range(3))
    text = EXAMPLE.read_text().replace("/run/hactrl", str(directory))
    for old, new in (
        ("127.0.0.1:6653", f"127.0.0.1:{openflow}"),
        ("172.16.0.1:6655", f"127.0.0.1:{agents}"),
        ("127.0.0.1:8080", f"127.0.0.1:{rest}"),
    ):
        assert old in text
        text = text.replace(old, new)
    site, log = directory / "site.yaml", directory / "controller.log"
    site.write_text(text)
    tokens = directory / "agent-tokens"
    tokens.touch(mode=0o600)
    tokens.write_text("mailrelay: one\nsmtp_pop: two\n")
    words = [sys.executable, "-c", start, "hactrl", "--hactrl-site", str(site)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    found = Controller(process, openflow, rest, log)
    try:
        wait_until(found.is_ready, "the controller")
        yield found
    finally:
        for switch in found.switches:
            switch.close()
        process.kill()
        process.wait()
