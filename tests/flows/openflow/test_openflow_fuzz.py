"""A hundred thousand frames to a running controller, while a good switch is served."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from free_port import free_port
from openflow_frames import Octets, frames

from flows.openflow import frame_check
from flows.openflow.frame_check import Kind, Part
from flows.openflow.walks import MalformedError

FRAMES = 100_000
SEED = 20

GOOD_TO_A_BAD_ONE = 15
"""A frame that is malformed ends its connection, so it is the last one there."""

SOCKETS = 4
"""Connections open at a time."""

LONGEST_ANSWER = 1.0
"""Seconds of the controller's own running time until the good switch has its answer."""

HERE = Path(__file__).parent


class Controller:
    """`curious_controller.py`, in a process of its own."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.address = ("127.0.0.1", free_port())
        self._process = subprocess.Popen(
            [
                *(sys.executable, str(HERE.parents[1] / "framework_manager.py")),
                *(self.address[0], str(self.address[1]), str(HERE / "curious_controller.py")),
            ],
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30.0)

    def running_time(self) -> float:
        """Seconds that its thread has run."""
        schedule = Path(f"/proc/{self._process.pid}/schedstat").read_text()
        return int(schedule.split()[0]) / 1e9

    def memory(self) -> int:
        """Octets that it has."""
        status = Path(f"/proc/{self._process.pid}/statm").read_text()
        return int(status.split()[1]) * 4096

    def wait_until_it_listens(self) -> None:
        while self._process.poll() is None:
            try:
                self.connect().close()
                return
            except ConnectionRefusedError:
                threading.Event().wait(0.05)
        pytest.fail(self.log.read_text())

    def end(self) -> int:
        """The number of messages that it has used."""
        self._process.terminate()
        told, _ = self._process.communicate(timeout=30.0)
        return int(told)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    started = Controller(tmp_path / "controller.log")
    started.wait_until_it_listens()
    yield started
    started.kill()


class GoodSwitch(threading.Thread):
    """Asks for an echo, and when it has come for the next, until it is told to end."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(daemon=True)
        self.waits: list[float] = []
        self.was_served_to_the_end = False
        self._controller = controller
        self._end = threading.Event()

    def run(self) -> None:
        with self._controller.connect() as connection, connection.makefile("rb") as stream:
            connection.sendall(HANDSHAKE)
            while not self._end.wait(0.02):
                asked = self._controller.running_time()
                connection.sendall(frames()["echo"].data)
                while (kind := self._next(connection, stream)) != Kind.ECHO_REPLY:
                    assert kind is not None
                self.waits.append(self._controller.running_time() - asked)
        self.was_served_to_the_end = True

    def _next(self, connection: socket.socket, stream: Any) -> int | None:
        head = stream.read(8)
        if len(head) < 8:
            return None
        _, kind, length, number = frame_check.HEADER.unpack(head)
        body = stream.read(length - 8)
        if kind == Kind.ECHO_REQUEST:
            connection.sendall(struct.pack("!BBHI", 4, Kind.ECHO_REPLY, length, number) + body)
        return int(kind)

    def end(self) -> None:
        self._end.set()
        self.join()


PORTS = frames()["13: OFPPortDescStatsReply"].data
HANDSHAKE = frames()["hello"].data + frames()["features"].data + PORTS


def kinds() -> list[list[Octets]]:
    """All frames, by the message and part that they are; those that hold most come more often."""
    found: dict[bytes, list[Octets]] = {}
    for frame in frames().values():
        part = frame.data[8:10] if frame.data[1] == Kind.MULTIPART_REPLY else b""
        found.setdefault(frame.data[1:2] + part, []).append(frame)
    return [some for some in found.values() for _ in range(1 + len(some) // 50)]


def changed(frame: Octets, chance: random.Random) -> bytes:
    """The frame, or with some octets changed, a length set wrong, cut, or with a part of it twice;
    its own length is right."""
    data = bytearray(frame.data)
    match chance.randrange(8):
        case 0 | 1 | 2 | 3:
            for _ in range(chance.choice((1, 1, 2, 4, 16))):
                data[chance.randrange(len(data))] = chance.choice(
                    (0, 1, 255, chance.randrange(256))
                )
        case 4 if frame.lengths:
            at, size = chance.choice(frame.lengths)
            data[at : at + size] = chance.randrange(1 << 8 * size).to_bytes(size)
        case 5:
            del data[chance.randrange(8, len(data) + 1) :]
        case 6:
            start = chance.randrange(8, len(data) + 1)
            data += data[start:] * chance.choice((1, 2, 20))
            del data[0xFFFF:]
    data[2:4] = len(data).to_bytes(2)
    return bytes(data)


def is_good(frame: bytes) -> bool:
    """Whether the connection goes on after it. A second greeting is not read."""
    if frame[1] == Kind.HELLO:
        return True
    try:
        frame_check.check(frame)
    except MalformedError:
        return False
    return frame[1] != Kind.FLOW_MOD


def batches(chance: random.Random) -> Iterator[list[bytes]]:
    """What each connection is sent."""
    some = kinds()
    good: list[bytes] = []
    bad = b""
    while True:
        frame = changed(chance.choice(chance.choice(some)), chance)
        if is_good(frame):
            good.append(frame)
        else:
            bad = frame
        if len(good) >= GOOD_TO_A_BAD_ONE and bad:
            yield [*good, bad]
            good, bad = [], b""


def drained(connection: socket.socket) -> None:
    """Read until the controller hangs up."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    finally:
        connection.close()


@pytest.mark.reported("C1")
def test_a_good_switch_is_answered_within_a_second_whatever_others_send(
    controller: Controller,
) -> None:
    good_switch = GoodSwitch(controller)
    good_switch.start()
    before = controller.memory()
    opened: deque[socket.socket] = deque()
    sent = 0
    for batch in batches(random.Random(SEED)):
        connection = controller.connect()
        connection.sendall(HANDSHAKE + b"".join(batch))
        opened.append(connection)
        sent += len(batch)
        if len(opened) == SOCKETS or sent >= FRAMES:
            drained(opened.popleft())
        if sent >= FRAMES:
            break
    while opened:
        drained(opened.popleft())
    good_switch.end()
    assert good_switch.was_served_to_the_end
    assert len(good_switch.waits) > 50
    assert max(good_switch.waits) < LONGEST_ANSWER
    assert controller.memory() - before < 100_000_000
    assert controller.end() > 0.8 * sent
    log = controller.log.read_text()
    assert "Traceback" not in log
    assert len(log) < 10_000


def test_the_frames_are_of_every_kind() -> None:
    chance, all_kinds = random.Random(SEED), kinds()
    some = [changed(chance.choice(chance.choice(all_kinds)), chance) for _ in range(5_000)]
    assert {frame[1] for frame in some if is_good(frame)} == set(Kind) - {Kind.FLOW_MOD}
    parts = {frame[9] | frame[8] << 8 for frame in some if frame[1] == 19 and is_good(frame)}
    assert parts == set(Part)
    assert 0.2 < sum(map(is_good, some)) / len(some) < 0.9
