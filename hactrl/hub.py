"""The hub: what hactrl waits by, and the only module that names eventlet, which does it today.

All of a controller's work is in greenlets of one thread, which take turns only where they wait.
Whoever needs to wait, or to have something done beside, takes it from here:

    from hactrl import hub

    hub.spawn(work)
    with hub.Timeout(1.0):
        ...

A hub of another kind would need what stands here, with the meaning that eventlet gives it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from eventlet import Timeout, sleep, spawn, spawn_after, spawn_n, wsgi
from eventlet.event import Event
from eventlet.green import socket, subprocess
from eventlet.greenio import shutdown_safe
from eventlet.greenthread import GreenThread
from eventlet.hubs import trampoline
from eventlet.patcher import original
from eventlet.queue import Empty, Full, LightQueue
from eventlet.semaphore import Semaphore
from eventlet.tpool import execute as execute_in_thread

__all__ = [
    "Empty",  # what queues raise
    "Event",  # happens once, with a value, for all who wait for it
    "Full",
    "GreenThread",  # what `spawn` gives
    "LightQueue",
    "Semaphore",
    "Timeout",  # is no Exception: what catches those goes on being timed out
    "await_end",  # of a process
    "chunks",  # of a pipe
    "execute_in_thread",  # in a thread of a pool, while only the greenlet that asks waits
    "original",  # a module of the standard library as it was before the hub made it wait by itself
    "shutdown_safe",  # of a socket that may be closed already
    "sleep",  # at least so long; 0 lets all have their turn who are ready
    "socket",  # the standard library's, waiting by the hub
    "spawn",
    "spawn_after",
    "spawn_n",  # `spawn` for what nobody waits for or ends
    "subprocess",  # the standard library's, waiting by the hub
    "wsgi",  # the HTTP server (`hactrl.rest.server`)
]

#: Octets of a pipe that are read at once: as many as Linux keeps in one (pipe(7)).
_CHUNK = 1 << 16


def await_end(process: int) -> None:
    """Until a child that nobody has waited for has ended, and told by the kernel at once: the hub's
    `Popen.wait` looks every 10 ms."""
    descriptor = os.pidfd_open(process)
    try:
        trampoline(descriptor, read=True)
    finally:
        os.close(descriptor)


def chunks(descriptor: int) -> Iterator[bytes]:
    """All that can be read, as it comes, until the other end is closed. Between two chunks others
    have their turn, within one nobody."""
    while True:
        trampoline(descriptor, read=True)
        if not (chunk := os.read(descriptor, _CHUNK)):
            return
        yield chunk
