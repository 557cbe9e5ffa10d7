"""The lab's power switch: what the site file's power fence, `hactrl-lab-power off SERVER`, talks
to. It answers when the server is proven off, and is there for whoever asks twice."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mininet_lab.servers import LabServer

PROGRAM = "hactrl-lab-power"
SOCKET = "/run/lab-power"

#: No site packages, and the module below `socket`, which imports nothing: it starts within 10 ms.
_PROGRAM = """\
#!{python} -IS
import sys
from _socket import AF_UNIX, SHUT_WR, socket
if len(sys.argv) != 3 or sys.argv[1] != "off":
    sys.exit("usage: {program} off SERVER")
switch = socket(AF_UNIX)
switch.connect("{socket}")
switch.sendall(sys.argv[2].encode())
switch.shutdown(SHUT_WR)
answer = ""
while said := switch.recv(4096):
    answer += said.decode()
sys.exit(0 if answer == "off" else answer or "the power switch did not answer")
"""


class PowerSwitch:
    """Context manager: listens inside it, in a thread for each request."""

    def __init__(self, servers: Mapping[str, LabServer], programs: Path) -> None:
        self._servers = servers
        self._programs = programs
        #: Is told of each server that is to be switched off, and may take its time, or say what
        #: goes wrong: nothing is switched off then.
        self.trouble: Callable[[str], str] = lambda _server: ""

    def __enter__(self) -> Self:
        self._programs.mkdir(parents=True, exist_ok=True)
        program = self._programs / PROGRAM
        program.write_text(_PROGRAM.format(python=sys.executable, program=PROGRAM, socket=SOCKET))
        program.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(SOCKET)
        self._listener.listen()
        threading.Thread(target=self._serve, name="power switch", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        Path(SOCKET).unlink()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the lab ends
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            name = connection.makefile().read()
            answer = self._switch_off(name)
            with suppress(BrokenPipeError):  # the asker has given up, and will ask again
                connection.sendall(answer.encode())

    def _switch_off(self, name: str) -> str:
        if (server := self._servers.get(name)) is None:
            return f"no server {name!r}; there are {', '.join(self._servers)}"
        if trouble := self.trouble(name):
            return f"{name} is not proven off: {trouble}"
        try:
            server.power_off()
        except Exception as error:  # noqa: BLE001  whatever it is, the asker must know
            return f"{name} is not proven off: {error}"
        return "off"
