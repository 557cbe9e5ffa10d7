"""Holds a mail server's ports where the spool is not, and says 421: try again.

A silent or closed port would make clients wait or give up; 421 (RFC 5321, section 4.2.3) makes
them come back, and tells a probe that this server is ready and only waits for the spool.
SIGTERM ends it at once, so that Postfix can take the ports.

    placeholder.py HOSTNAME ADDRESS:PORT [[IPv6-ADDRESS]:PORT ...]
"""

from __future__ import annotations

import selectors
import socket
import sys


def listen(text: str) -> socket.socket:
    """A listening socket on `ADDRESS:PORT`, an IPv6 address in brackets.

    Raises:
        ValueError: `text` is not of that form.
        OSError: the address is not ours, or the port is taken.
    """
    address, _, port = text.rpartition(":")
    family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address.strip("[]"), int(port)))
    listener.listen(128)
    return listener


def decline(listener: socket.socket, greeting: bytes) -> None:
    """Take one connection, say the greeting and close. A client that has gone is no matter."""
    connection, _ = listener.accept()
    with connection:
        connection.setblocking(False)
        try:
            connection.send(greeting)
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            print(f"placeholder: client left: {error}", file=sys.stderr)


def main(arguments: list[str]) -> None:
    hostname, *addresses = arguments
    greeting = f"421 4.3.2 {hostname} waits for its spool, try again\r\n".encode()
    waiter = selectors.DefaultSelector()
    for address in addresses:
        waiter.register(listen(address), selectors.EVENT_READ)
    while True:
        for key, _ in waiter.select():
            assert isinstance(key.fileobj, socket.socket)
            decline(key.fileobj, greeting)


if __name__ == "__main__":
    main(sys.argv[1:])
