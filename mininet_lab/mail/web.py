"""The `web` role's server: one page, which says who served it.

web.py SERVER ADDRESS:PORT [[IPv6-ADDRESS]:PORT ...]
"""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def page_for(server: str) -> bytes:
    return f"served by {server}\n".encode()


def make_server(server: str, text: str) -> ThreadingHTTPServer:
    """An HTTP server on `ADDRESS:PORT`, an IPv6 address in brackets.

    Raises:
        OSError: the address is not ours, or the port is taken.
    """
    page = page_for(server)
    address, _, port = text.rpartition(":")

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "hactrl-lab"
        sys_version = ""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(page)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            """Probes come several times a second: no line for each."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
        daemon_threads = True
        # Of socketserver's 5 a busy moment at 200 connections a second makes too many, and the
        # kernel drops what is beyond (TcpExtListenOverflows).
        request_queue_size = socket.SOMAXCONN

        def server_bind(self) -> None:
            # Not HTTPServer's, which asks DNS for a name that nobody needs.
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = str(self.server_address[0]), int(port)

    return Server((address.strip("[]"), int(port)), Page)


def main(arguments: list[str]) -> None:
    name, *addresses = arguments
    servers = [make_server(name, address) for address in addresses]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
