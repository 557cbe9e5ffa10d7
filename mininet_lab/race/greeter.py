"""The server of the race: greets, and holds as much of an SMTP dialogue as probes ask for.

    python -m mininet_lab.race.greeter NAME

It imports little and does little, so that what is measured is not it.
"""

from __future__ import annotations

import select
import socket
import sys
from contextlib import suppress

PORT = 25

#: Connections that may wait for it while it stands still.
_BACKLOG = 4096


def serve(name: str) -> None:
    """Until it is killed. The greeting names the server."""
    greeting = f"220 {name} ESMTP\r\n".encode()
    listener = socket.create_server(("", PORT), backlog=_BACKLOG)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_: dict[int, socket.socket] = {}

    def end(number: int) -> None:
        poll.unregister(number)
        open_.pop(number).close()

    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                with suppress(BlockingIOError):
                    while True:
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        open_[connection.fileno()] = connection
                        poll.register(connection, select.EPOLLIN)
                        with suppress(OSError):  # it may have gone meanwhile
                            connection.send(greeting)
                continue
            try:
                said = open_[number].recv(4096)
                if said:
                    open_[number].send(answer(said))
            except OSError:
                said = b""
            if not said:
                end(number)


def answer(said: bytes) -> bytes:
    """What an SMTP server says to what probes say (RFC 5321, section 4.2)."""
    return b"221 bye\r\n" if said[:4].upper() == b"QUIT" else b"250 yes\r\n"


if __name__ == "__main__":
    serve(sys.argv[1])
