"""The client of the race: a new connection at a fixed rate, each of which waits for the greeting.

    python -m mininet_lab.race.client ADDRESS PORT LOG

A line of the log for each connection: when it began and ended (CLOCK_BOOTTIME), and the greeting's
server, or `-` and why there was none. It runs before everything ordinary (SCHED_FIFO), because a
client that is late takes its own delay for the contender's. Ends at SIGTERM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import sys
from collections import deque
from pathlib import Path
from typing import TextIO

from mininet_lab.clock import now

#: Seconds between two connections.
INTERVAL = 0.002

#: Seconds. A SYN that is lost is sent again after 1 s (RFC 6298), which would hide the loss.
TIMEOUT = 0.9

#: Of SCHED_FIFO.
PRIORITY = 20

#: Ends a connection by a reset, so that 500 a second leave no state behind on either side.
_RESET = struct.pack("ii", 1, 0)

_CLOCK_MONOTONIC = 1


class Client:
    """`begin` connections, `hear` what comes on them, and `expire` those that waited too long."""

    def __init__(self, target: tuple[str, int], log: TextIO, poll: select.epoll) -> None:
        self._target = target
        self._log = log
        self._poll = poll
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self._order: deque[tuple[float, int]] = deque()

    def begin(self) -> None:
        began = now()
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        code = connection.connect_ex(self._target)
        if code not in (0, errno.EINPROGRESS):
            connection.close()
            self._tell(began, f"- {errno.errorcode.get(code, code)}")
            return
        number = connection.fileno()
        self._open[number] = connection, began
        self._order.append((began, number))
        self._poll.register(number, select.EPOLLIN)

    def hear(self, number: int) -> None:
        connection, began = self._open.pop(number)
        try:
            words = connection.recv(512).decode("ascii", "replace").split()
            said = words[1] if len(words) > 1 and words[0] == "220" else "- closed"
        except OSError as error:
            said = f"- {errno.errorcode.get(error.errno or 0, error)}"
        self._end(number, connection)
        self._tell(began, said)

    def expire(self) -> None:
        limit = now() - TIMEOUT
        while self._order and self._order[0][0] < limit:
            began, number = self._order.popleft()
            known = self._open.get(number)
            if known is not None and known[1] == began:
                del self._open[number]
                self._end(number, known[0])
                self._tell(began, "- timeout")

    def _end(self, number: int, connection: socket.socket) -> None:
        self._poll.unregister(number)
        connection.close()

    def _tell(self, began: float, said: str) -> None:
        self._log.write(f"{began:.6f} {now():.6f} {said}\n")


def ticks(interval: float) -> int:
    """A timerfd that expires every `interval` seconds (timerfd_create(2); Python 3.11 has none)."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    period = (int(interval), int(interval % 1 * 1e9))
    if timer < 0 or libc.timerfd_settime(timer, 0, struct.pack("4q", *period, *period), None):
        raise OSError(ctypes.get_errno(), "timerfd")
    return timer


def main(address: str, port: int, log: Path) -> None:
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    poll, timer = select.epoll(), ticks(INTERVAL)
    poll.register(timer, select.EPOLLIN)
    with log.open("a", buffering=1) as file:
        client = Client((address, port), file, poll)
        while not ending:
            for number, _ in poll.poll():
                if number != timer:
                    client.hear(number)
                    continue
                for _ in range(struct.unpack("Q", os.read(timer, 8))[0]):
                    client.begin()
                client.expire()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
