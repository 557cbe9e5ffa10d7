"""Ports for the processes that tests start."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody else is given while the tests run, however long it takes
    until somebody listens there: it stays bound here, which keeps out all but those who may listen
    with SO_REUSEADDR, as a controller does."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])
