"""Process 1 of a role's namespaces: starts what the guard says, reaps, and reports every end.

It dies with its guard (PR_SET_PDEATHSIG, and an end of file on their socket should the guard have
died before that was set), and the kernel kills everything in the PID namespace with it. It waits
in one `select`: the end of a process is reported when the kernel tells, not when somebody looks.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hactrl.agent import linux, looks
from hactrl.agent.looks import DiskState
from hactrl.agent.messages import LONGEST_LINE, Codec


@dataclass(frozen=True)
class Run:
    """Start a command in a session of its own; `environment` adds to init's, as NAME=VALUE."""

    number: int
    command: tuple[str, ...]
    environment: tuple[str, ...]


@dataclass(frozen=True)
class Watch:
    """Report the end of the process that a file names, which must have been written `since` a
    moment of `boot_time`. `known`: the process that is watched already, or 0."""

    number: int
    pidfile: str
    since: float
    known: int


@dataclass(frozen=True)
class TryWrite:
    """Answered by `Tried`, or by `Ended` if nobody could look."""

    number: int
    directory: str


@dataclass(frozen=True)
class Signal:
    """To the whole process group of a command."""

    number: int
    signal: int


@dataclass(frozen=True)
class Freeze:
    """Stop everything inside but this process, or let it go on."""

    number: int
    frozen: bool


@dataclass(frozen=True)
class Watching:
    """`process`: its number inside."""

    number: int
    process: int


@dataclass(frozen=True)
class Tried:
    """`explanation`: why the disk is not good."""

    number: int
    state: DiskState
    explanation: str


@dataclass(frozen=True)
class Ended:
    """`status`: exit status, negative for a signal, None for a process that was only watched
    or could not be started; `explanation` says so."""

    number: int
    status: int | None
    explanation: str


TO_INIT = Codec([Run, Watch, TryWrite, Signal, Freeze])
FROM_INIT = Codec([Watching, Tried, Ended])


def start(role: str, network_namespace: str, close: int) -> tuple[int, socket.socket]:
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
            linux.name_process(f"init {role}")
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
        self._selector = selectors.DefaultSelector()  # with what to do as data
        self._commands: dict[int, int] = {}  # process: number of the guard's `Run`
        self._looks: dict[int, int] = {}  # process: number of the guard's `Watch` or `TryWrite`
        self._wakeup = -1
        self._over = False

    def serve(self) -> None:
        """Until the guard's end of the socket is closed."""
        self._wakeup, wakeup_writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
        self._selector.register(self._guard, selectors.EVENT_READ, self._hear)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)
        while not self._over:
            for key, _ in self._selector.select():
                key.data()

    def _hear(self) -> None:
        packet = self._guard.recv(LONGEST_LINE)
        if packet:
            self._obey(TO_INIT.decode(packet))
        self._over = not packet

    def _obey(self, order: Run | Watch | TryWrite | Signal | Freeze) -> None:
        match order:
            case Run():
                self._run(order)
            case Watch():
                name = partial(looks.process_named, order.pidfile, order.since)
                self._look(order.number, name, partial(self._watch, order))
            case TryWrite():
                state = partial(looks.disk_state, order.directory)
                self._look(order.number, state, partial(self._tried, order.number))
            case Signal():
                for process, number in (self._commands | self._looks).items():
                    if number == order.number:
                        os.killpg(process, order.signal)

            case Freeze():
                self._freeze(signal.SIGSTOP if order.frozen else signal.SIGCONT)

    def _freeze(self, which: signal.Signals) -> None:
        """To all in this PID namespace but its first process; anywhere else it would be a
        disaster."""
        if os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):  # there is nobody
                os.kill(-1, which)

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

    def _look(self, number: int, look: Callable[[], str], then: Callable[[str], None]) -> None:
        """What may hang is done by a child, whose answer comes by a pipe or never."""
        try:
            reader, writer = os.pipe()
            process = os.fork()
        except OSError as error:
            self._tell(Ended(number, None, f"no child to look: {error.strerror}"))
            return
        if process == 0:
            # What hangs in the kernel must not keep the guard from seeing the end of this socket.
            self._guard.close()
            looks.answer(look, writer)
        os.setpgid(process, process)
        os.close(writer)
        self._looks[process] = number
        self._selector.register(
            reader, selectors.EVENT_READ, partial(self._answered, number, reader, then)
        )

    def _answered(self, number: int, reader: int, then: Callable[[str], None]) -> None:
        answer = os.read(reader, looks.LONGEST_ANSWER).decode(errors="replace")
        self._selector.unregister(reader)
        os.close(reader)
        if answer.startswith(looks.GOOD):
            then(answer.removeprefix(looks.GOOD))
        else:
            self._tell(Ended(number, None, answer or "the child that looked has died"))

    def _watch(self, order: Watch, named: str) -> None:
        process = int(named)
        if process != order.known:
            try:
                descriptor = os.pidfd_open(process)
            except OSError as error:
                why = f"{order.pidfile}: no process {process} inside: {error.strerror}"
                self._tell(Ended(order.number, None, why))
                return
            ended = partial(self._ended, order.number, descriptor)
            self._selector.register(descriptor, selectors.EVENT_READ, ended)
        self._tell(Watching(order.number, process))

    def _tried(self, number: int, answer: str) -> None:
        state, _, explanation = answer.partition(" ")
        self._tell(Tried(number, DiskState(state), explanation))

    def _ended(self, number: int, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        self._tell(Ended(number, None, "ended"))

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):  # another signal has come since
            os.read(self._wakeup, 4096)
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            self._looks.pop(process, None)
            number = self._commands.pop(process, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                self._tell(Ended(number, code, _how(code)))

    def _tell(self, message: Watching | Tried | Ended) -> None:
        self._guard.send(FROM_INIT.encode(message))


def _how(code: int) -> str:
    """The end of a process, for people. Most real-time signals have no name."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
