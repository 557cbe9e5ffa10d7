"""A private Open vSwitch for tests, in namespaces of its own: it collides with nobody's bridges.

`PrivateOvs` starts one holder process in new network, mount, PID, IPC and UTS namespaces with a
fresh /run, and in it `ovsdb-server` and `ovs-vswitchd`. When the holder ends, the kernel ends
everything in it: no bridge, namespace, mount or process is left behind, even after a crash.

How a test uses it (the fixture `ovs` in conftest.py is one instance for each test module):

    def test_something(ovs):
        bridge = ovs.add_bridge("s1", datapath_id=0x11, ports=(1, 2, 3))
        ovs.run("ip", "netns", "add", "h1")              # any command, inside
        daemon = ovs.start("ryu-manager", "hactrl")      # a process that goes on, inside
        with bridge.connect() as channel:                # OpenFlow 1.3, from the test itself
            channel.request(...)

The test process itself stays outside; it reaches the switches by their sockets in `directory`,
which is visible on both sides. TCP ports of the inside are reachable only from the inside.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ryu.ofproto import ofproto_common, ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser
from ryu.ofproto.ofproto_protocol import ProtocolDesc

from flows.openflow import Count, Counting, Reading
from flows.rules import RuleSet

#: Runs as process 1 of the private namespaces. `$1`: the directory for sockets and database.
_INSIDE = """
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
cd "$1"
ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server conf.db --remote=punix:"$1"/db.sock \
    --pidfile="$1"/ovsdb-server.pid --log-file="$1"/ovsdb-server.log --detach 2>>"$1"/start.log
ovs-vsctl --db=unix:"$1"/db.sock --no-wait init
ovs-vswitchd unix:"$1"/db.sock --disable-system \
    --pidfile="$1"/ovs-vswitchd.pid --log-file="$1"/ovs-vswitchd.log --detach 2>>"$1"/start.log
echo ready
exec sleep infinity
"""


class PrivateOvs:
    """Context manager; see the module's text. Needs root.

    Raises:
        RuntimeError: Open vSwitch did not start; the text is what it wrote.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._environment = {
            "OVS_RUNDIR": str(directory),
            "OVS_DBDIR": str(directory),
            "OVS_LOGDIR": str(directory),
        }
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        namespaces = ("--net", "--mount", "--pid", "--ipc", "--uts")
        inside = ("sh", "-c", _INSIDE, "sh", str(self.directory))
        self._holder = subprocess.Popen(
            ("unshare", *namespaces, "--fork", "--kill-child", "--mount-proc", *inside),
            env=os.environ | self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            self._holder.kill()
            _, errors = self._holder.communicate()
            raise RuntimeError(f"the private Open vSwitch did not start: {errors}{self._log()}")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.init = int(children.read_text().split()[0])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._holder.send_signal(signal.SIGKILL)  # --kill-child ends process 1, and so all of it
        for process in (*self._started, self._holder):
            process.communicate()

    def _log(self) -> str:
        log = self.directory / "start.log"
        return log.read_text() if log.exists() else ""

    def command(self, *words: str) -> tuple[str, ...]:
        """What to execute outside so that `words` run inside, with Open vSwitch's directories."""
        settings = (f"{name}={value}" for name, value in self._environment.items())
        return ("nsenter", "--target", str(self.init), "--all", "env", *settings, *words)

    def run(self, *words: str, check: bool = True, timeout: float = 30.0) -> str:
        """Run to the end, inside; gives what it wrote to standard output.

        Raises:
            AssertionError: it failed and `check` is set; the text has its standard error.
        """
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout

    def appctl(self, command: str, *arguments: str) -> str:
        """Like `ovs-appctl`, without the time that a process takes (JSON-RPC 1.0)."""
        (control,) = self.directory.glob("ovs-vswitchd.*.ctl")
        request = {"id": 0, "method": command, "params": list(arguments)}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10.0)
            connection.connect(str(control))
            connection.sendall(json.dumps(request).encode())
            data = b""
            while True:
                data += connection.recv(1 << 16)
                with suppress(json.JSONDecodeError):
                    reply = json.loads(data)
                    assert reply["error"] is None, f"{command}: {reply['error']}"
                    return str(reply["result"])

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a process that goes on, inside. It ends with this instance at the latest."""
        process = subprocess.Popen(self.command(*words), text=True, **options)
        self._started.append(process)
        return process

    def add_bridge(
        self, name: str, datapath_id: int, ports: Iterable[int] = (), controller: str = ""
    ) -> Bridge:
        """A bridge of the userspace datapath that forwards nothing by itself.

        Each of `ports` is an internal port with this OpenFlow number, named `NAME-pNUMBER`, up.
        """
        settings = [f"other-config:datapath-id={datapath_id:016x}", "fail_mode=secure"]
        settings += ["datapath_type=netdev", "protocols=OpenFlow13"]
        command = ["ovs-vsctl", "add-br", name, "--", "set", "bridge", name, *settings]
        if controller:
            command += ["--", "set-controller", name, controller]
        bridge = Bridge(self, name)
        for port in ports:
            device = bridge.device(port)
            command += ["--", "add-port", name, device, "--", "set", "interface", device]
            command += ["type=internal", f"ofport_request={port}"]
        self.run(*command)
        for port in ports:
            bridge.set_port(port, up=True)
        return bridge


@dataclass(frozen=True)
class Bridge:
    ovs: PrivateOvs
    name: str

    def device(self, port: int) -> str:
        return f"{self.name}-p{port}"

    def set_port(self, port: int, *, up: bool) -> None:
        """Set one of `add_bridge`'s ports up or down, and wait until the switch has seen it."""
        device = self.device(port)
        self.ovs.run("ip", "link", "set", device, "up" if up else "down")
        wanted = "up" if up else "down"
        wait_until(
            lambda: (
                self.ovs.run("ovs-vsctl", "get", "interface", device, "link_state").strip()
                == wanted
            ),
            f"{device} to be {wanted}",
        )

    def delete(self) -> None:
        self.ovs.run("ovs-vsctl", "del-br", self.name)

    def ofctl(self, command: str, *arguments: str) -> str:
        return self.ovs.run("ovs-ofctl", "-O", "OpenFlow13", command, self.name, *arguments)

    def trace(self, flow: str) -> str:
        """What Open vSwitch says would become of this packet (`ofproto/trace`)."""
        return self.ovs.appctl("ofproto/trace", self.name, flow)

    @contextmanager
    def connect(self) -> Iterator[Channel]:
        """An OpenFlow 1.3 connection of the test's own, in addition to any controller's."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10.0)
            connection.connect(str(self.ovs.directory / f"{self.name}.mgmt"))
            channel = Channel(connection)
            channel.greet()
            yield channel


class Channel:
    """A blocking OpenFlow 1.3 connection on Ryu's own message classes."""

    def __init__(self, connection: socket.socket) -> None:
        self.datapath = ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
        self._connection = connection
        self._xid = 0

    def greet(self) -> None:
        self.send(ofproto_v1_3_parser.OFPHello(self.datapath))
        assert isinstance(self.receive(), ofproto_v1_3_parser.OFPHello)

    def send(self, message: Any) -> int:
        """Send, and give the transaction's number."""
        self._xid += 1
        message.set_xid(self._xid)
        message.serialize()
        self._connection.sendall(message.buf)
        return self._xid

    def receive(self) -> Any:
        header = self._read(ofproto_common.OFP_HEADER_SIZE)
        version, kind, length, xid = ofproto_parser.header(header)
        body = header + self._read(length - len(header))
        return ofproto_parser.msg(self.datapath, version, kind, length, xid, body)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._connection.recv(count - len(data))
            assert part, "the switch closed the connection"
            data += part
        return data

    def barrier(self, *messages: Any) -> list[Any]:
        """Send all, then a barrier; gives the errors and other messages that came before its
        reply."""
        for message in messages:
            self.send(message)
        self.send(ofproto_v1_3_parser.OFPBarrierRequest(self.datapath))
        answers = []
        while not isinstance(answer := self.receive(), ofproto_v1_3_parser.OFPBarrierReply):
            answers.append(answer)
        return answers

    def read_back(self) -> RuleSet:
        """All that is ours on the switch."""
        reading = Reading(self.datapath)
        self.ask(reading)
        return reading.found()

    def ask(self, question: Reading | Count | Counting) -> None:
        """Send its requests, one after the other, and give it the answers."""
        while (request := question.next_request()) is not None:
            self.send(request)
            while not question.take(self.receive()):
                pass

    def statistics(self, request: Any) -> list[Any]:
        """The entries of all parts of a multipart reply."""
        xid = self.send(request)
        entries: list[Any] = []
        while True:
            reply = self.receive()
            if reply.xid != xid:
                continue
            assert not isinstance(reply, ofproto_v1_3_parser.OFPErrorMsg), reply
            entries += reply.body
            if not reply.flags & ofproto_v1_3.OFPMPF_REPLY_MORE:
                return entries


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Poll until true, for things that give no event.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.005)
