"""Process 1 of a role's namespaces: starts what the guard says, reaps, and reports every end.

It dies with its guard (PR_SET_PDEATHSIG, and an end of file on their socket should the guard have
died before that was set), and the kernel kills everything in the PID namespace with it. It waits
in one `select`: the end of a process is reported when the kernel tells, not when somebody looks.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import traceback
from dataclasses import dataclass
from pathlib import Path

from hactrl.agent import linux
from hactrl.agent.messages import LONGEST_LINE, Codec


@dataclass(frozen=True)
class Run:
    """Start a command in a session of its own; `environment` adds to init's, as NAME=VALUE."""

    number: int
    command: tuple[str, ...]
    environment: tuple[str, ...]


@dataclass(frozen=True)
class Watch:
    """Report the end of the process that a file names."""

    number: int
    pidfile: str


@dataclass(frozen=True)
class Signal:
    """To the whole process group of a command."""

    number: int
    signal: int


@dataclass(frozen=True)
class Watching:
    number: int


@dataclass(frozen=True)
class Ended:
    """`status`: exit status, negative for a signal, None for a process that was only watched
    or could not be started; `explanation` says so."""

    number: int
    status: int | None
    explanation: str


TO_INIT = Codec([Run, Watch, Signal])
FROM_INIT = Codec([Watching, Ended])


def start(network_namespace: str, close: int) -> tuple[int, socket.socket]:
    """Fork the first process of new PID and mount namespaces; its number and our end of its
    socket. It closes the descriptor `close`. Call this once, before there are threads or an
    event loop.

    Raises OSError, if the network namespace does not exist above all.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    network = _open_network_namespace(network_namespace)
    linux.unshare(linux.CLONE_NEWPID)
    number = os.fork()
    if number == 0:
        try:
            ours.close()
            os.close(close)
            _enter(network)
            _Init(theirs).serve()
        except BaseException:  # noqa: BLE001 - whatever it was, this process ends here
            traceback.print_exc()
        finally:
            os._exit(1)
    theirs.close()
    if network is not None:
        os.close(network)
    return number, ours


def _open_network_namespace(name: str) -> int | None:
    if not name:
        return None
    path = name if name.startswith("/") else f"/run/netns/{name}"
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _enter(network: int | None) -> None:
    linux.die_with_parent()
    linux.unshare(linux.CLONE_NEWNS)
    linux.keep_mounts_here()
    linux.mount_proc()
    if network is not None:
        linux.enter_namespace(network, linux.CLONE_NEWNET)


class _Init:
    def __init__(self, guard: socket.socket) -> None:
        self._guard = guard
        self._selector = selectors.DefaultSelector()
        self._commands: dict[int, int] = {}  # process: number of the guard's `Run`

    def serve(self) -> None:
        """Until the guard's end of the socket is closed."""
        wakeup, wakeup_writer = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(wakeup_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
        self._selector.register(self._guard, selectors.EVENT_READ)
        self._selector.register(wakeup, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._guard:
                    packet = self._guard.recv(LONGEST_LINE)
                    if not packet:
                        return
                    self._obey(TO_INIT.decode(packet))
                elif key.fileobj == wakeup:
                    os.read(wakeup, 4096)
                    self._reap()
                else:
                    self._selector.unregister(key.fileobj)
                    os.close(key.fd)
                    self._tell(Ended(key.data, None, "ended"))

    def _obey(self, order: Run | Watch | Signal) -> None:
        match order:
            case Run():
                self._run(order)
            case Watch():
                self._watch(order)
            case Signal():
                for process, number in self._commands.items():
                    if number == order.number:
                        os.killpg(process, order.signal)

    def _run(self, order: Run) -> None:
        environment = os.environ | dict(item.split("=", 1) for item in order.environment)
        try:
            process = os.posix_spawnp(
                order.command[0],
                order.command,
                environment,
                setsid=True,
                setsigdef=[signal.SIGPIPE, signal.SIGCHLD],
            )
        except OSError as error:
            self._tell(Ended(order.number, None, f"{order.command[0]}: {error.strerror}"))
        else:
            self._commands[process] = order.number

    def _watch(self, order: Watch) -> None:
        try:
            process = int(Path(order.pidfile).read_text(encoding="ascii").split()[0])
            descriptor = os.pidfd_open(process)
        except (OSError, ValueError, IndexError) as error:
            self._tell(Ended(order.number, None, f"no process by {order.pidfile}: {error}"))
        else:
            self._selector.register(descriptor, selectors.EVENT_READ, order.number)
            self._tell(Watching(order.number))

    def _reap(self) -> None:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            number = self._commands.pop(process, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                how = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
                self._tell(Ended(number, code, how))

    def _tell(self, message: Watching | Ended) -> None:
        self._guard.send(FROM_INIT.encode(message))
