"""Frames at a host's card: sent as they are, and seen as they arrive."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mininet_lab.namespaces import in_network_namespace
from mininet_lab.network import Node

# Linux, include/uapi/linux: if_ether.h, if_packet.h and asm-generic/socket.h.
_ETH_P_ALL = 0x0003
_PACKET_OUTGOING = 4
_SO_RCVBUFFORCE = 33

#: Octets of frames that wait to be read.
_ROOM = 1 << 24

_LONGEST = 1 << 16


@dataclass
class Card:
    """`seen` are the frames that have arrived since it was opened, as far as they were read."""

    name: str
    socket: socket.socket
    seen: list[bytes] = field(default_factory=list)

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def read(self) -> list[bytes]:
        """All that have arrived up to now."""
        while True:
            try:
                frame, (_, _, kind, *_) = self.socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return self.seen
            if kind != _PACKET_OUTGOING:
                self.seen.append(frame)


@contextmanager
def cards(nodes: Iterable[tuple[Node, str]]) -> Iterator[list[Card]]:
    """Listen at these devices of these nodes."""

    def open_socket() -> socket.socket:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))

    with ExitStack() as stack:
        opened = []
        for node, device in nodes:
            place = Path(f"/proc/{node.pid}/ns/net")
            raw = stack.enter_context(in_network_namespace(place, open_socket))
            raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            raw.bind((device, _ETH_P_ALL))
            raw.setblocking(False)
            opened.append(Card(device, raw))
        yield opened


def await_frame(listening: Iterable[Card], wanted: Callable[[bytes], bool], timeout: float) -> None:
    """Until such a frame has arrived at each.

    Raises:
        TimeoutError: it has not within `timeout` seconds; the message says where.
    """
    deadline, waiting = time.monotonic() + timeout, list(listening)
    while waiting := [card for card in waiting if not any(map(wanted, card.read()))]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing arrived at {', '.join(card.name for card in waiting)}")
        select.select([card.socket for card in waiting], [], [], left)
