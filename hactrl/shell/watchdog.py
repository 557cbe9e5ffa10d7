"""Ends a controller that hangs, so that whoever supervises it starts it again.

Three things are watched, because each can hang while the others go on:

- the hub: a greenlet beats, a native thread looks whether it does (`Watchdog`). Only what the hub
  could have run counts (`Stall`): a process that was stopped, or got no processor, is not at fault;
- OpenFlow events: a question goes through their queue with each beat, and must come back;
- code in C that keeps Python's lock, so that no thread can look: a timer of the kernel's counts the
  processor time of the process, and each beat sets it anew.

Whatever hangs ends the process with a line in the log and the stack of what hung. Where systemd has
started it, it hears of each beat (sd_notify(3)), and is what stands behind all that.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hactrl import hub

LOG = logging.getLogger(__name__)

#: Seconds between two beats of the hub, and between two looks at it.
BEAT = 0.25
LOOK = 0.1
#: Seconds of its own running time after which a hub that has not moved hangs. A healthy one pauses
#: every 50 ms at most, and Python's garbage collector takes 0.4 s on the largest backbones.
HUNG_AFTER = 2.0
#: Seconds that events may wait in their queue, by a hub that runs.
UNSERVED_AFTER = 5.0
#: Seconds of processor time, of all threads together, without a beat.
LOCKED_AFTER = 10.0


class Stall:
    """How long the hub has not moved, by its own running time."""

    def __init__(self) -> None:
        self._beats = -1
        self.seconds = 0.0

    def look(self, beats: int, elapsed: float, starved: float) -> float:
        """The running time since the last beat.

        Args:
            beats: of the hub, since the start.
            elapsed: seconds since the look before. One that comes late was stopped or starved as
                the hub was, so what goes beyond two looks does not count.
            starved: of these, seconds in which the hub's thread was ready and got no processor.
        """
        if beats != self._beats:
            self._beats, self.seconds = beats, 0.0
        else:
            self.seconds += min(elapsed, 2 * LOOK) - starved
        return self.seconds


class Watchdog:
    """`ask` puts a question into the queue of OpenFlow events and never blocks; whoever serves them
    calls `answer`. `serving` is the greenlet that does, for its stack. Make it in the hub's
    thread."""

    def __init__(self, ask: Callable[[], None], serving: Any) -> None:
        self._ask = ask
        self._serving = serving
        self._beats = 0
        self._unanswered = 0
        self._served = False
        self._thread = os.getpid(), hub.original("threading").get_native_id()
        self._service = Service(os.environ)

    def run(self) -> None:
        """Beat for ever."""
        hub.original("threading").Thread(target=self._watch, daemon=True).start()
        faulthandler.enable(log_file())  # for the SIGABRT by which systemd ends what hangs
        faulthandler.register(signal.SIGPROF, file=log_file(), chain=True)
        while True:
            signal.setitimer(signal.ITIMER_PROF, LOCKED_AFTER)
            self._beats += 1
            self._ask_again()
            if self._served:
                self._service.tell("WATCHDOG=1")
            hub.sleep(BEAT)

    def answer(self) -> None:
        """OpenFlow events are served."""
        if not self._served:
            self._service.tell("READY=1")
        self._served = True
        self._unanswered = 0

    def _ask_again(self) -> None:
        """One question is in the queue at most."""
        if self._unanswered == 0:
            self._ask()
        self._unanswered += 1
        if self._unanswered * BEAT > UNSERVED_AFTER:
            stack = "".join(traceback.format_stack(self._serving.gr_frame))
            said = "OpenFlow events have not been served for %s s; the controller ends\n%s"
            LOG.critical(said, UNSERVED_AFTER, stack)
            logging.shutdown()
            os._exit(os.EX_SOFTWARE)

    def _watch(self) -> None:
        """The native thread. It takes no lock of anybody's: the hub may hang with it."""
        clock = hub.original("time")
        stall, before, waited = Stall(), time.monotonic(), starvation(*self._thread)
        while True:
            clock.sleep(LOOK)
            now, waits = time.monotonic(), starvation(*self._thread)
            if stall.look(self._beats, now - before, waits - waited) >= HUNG_AFTER:
                end_hung()
            before, waited = now, waits


def starvation(process: int, thread: int) -> float:
    """Seconds that a thread has been ready to run and has got no processor, since it began
    (proc(5), `schedstat`); 0 where the kernel does not count them."""
    try:
        text = Path(f"/proc/{process}/task/{thread}/schedstat").read_text(encoding="ascii")
    except FileNotFoundError:
        return 0.0
    return int(text.split()[1]) / 1e9


def end_hung() -> None:
    """Say where the hub hangs, and end the process. Called in another thread than the hub's."""
    file = log_file()
    os.set_blocking(file, False)  # it may be what the hub hangs at
    said = f"the hub has not moved for {HUNG_AFTER} s of its running time; the controller ends"
    record = LOG.makeRecord(LOG.name, logging.CRITICAL, __file__, 0, said, (), None)
    formatters = [handler.formatter for handler in logging.root.handlers if handler.formatter]
    line = (formatters[0] if formatters else logging.Formatter()).format(record)
    try:
        os.write(file, f"{line}\n".encode())
    except BlockingIOError:
        os._exit(os.EX_SOFTWARE)
    faulthandler.dump_traceback(file)
    os._exit(os.EX_SOFTWARE)


def log_file() -> int:
    """The descriptor of the log's first file; of standard error if it has none."""
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler):
            descriptor: int = handler.stream.fileno()
            return descriptor
    return sys.__stderr__.fileno() if sys.__stderr__ else 2


class Service:
    """Tells systemd, if that has started this process, that it is up and goes on: datagrams to the
    socket that `NOTIFY_SOCKET` names (sd_notify(3))."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._failed = False
        if self._address.startswith("@"):  # in the abstract namespace
            self._address = "\0" + self._address[1:]
        plain = hub.original("socket")
        self._socket = plain.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def tell(self, message: str) -> None:
        """Never waits. What cannot be told is logged, the first time in a row."""
        if not self._address:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
            self._failed = False
        except OSError as error:
            if not self._failed:
                LOG.error("systemd cannot be told %s: %s", message, error)
            self._failed = True
