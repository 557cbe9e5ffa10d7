"""Runs the commands that cut a server's power. Exit status 0 is proof, everything else none."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from hactrl import hub
from hactrl.control.answered import answered_for
from hactrl.engine.effects import FencePower
from hactrl.engine.events import Event, PowerFenced
from hactrl.hub import subprocess
from hactrl.site.model import PowerFence
from hactrl.vocabulary import Outcome

LOG = logging.getLogger(__name__)


class PowerFencer:
    """`fences` by server, as in the site file. `emit` gets the results and must not wait."""

    def __init__(self, fences: Mapping[str, PowerFence], emit: Callable[[Event], None]) -> None:
        self._fences = fences
        self._emit = emit

    def fence(self, order: FencePower) -> None:
        """Carry out an effect: `PowerFenced` follows when the command has ended, DONE only if
        it exited with 0 in time. REFUSED: the server has no such command."""
        fence = self._fences.get(order.server)
        if fence is None:
            self._emit(PowerFenced(order.operation, order.server, Outcome.REFUSED))
            return
        hub.spawn_n(self._run, order, fence)

    def _run(self, order: FencePower, fence: PowerFence) -> None:
        with answered_for(order, self._emit):
            outcome = _outcome(fence)
            self._emit(PowerFenced(order.operation, order.server, outcome))


def _outcome(fence: PowerFence) -> Outcome:
    """Run to the end or to the timeout, the command's children included."""
    program = fence.command[0]
    try:
        process = subprocess.Popen(fence.command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        LOG.error("power fence %s: %s", program, error.strerror)
        return Outcome.FAILED
    with hub.Timeout(fence.timeout, False):
        hub.await_end(process.pid)
    if (status := process.poll()) is None:
        LOG.error("power fence %s: not done after %s s", program, fence.timeout)
        _kill(process)
        return Outcome.TIMED_OUT
    if status != 0:
        LOG.error("power fence %s: exit status %d", program, status)
        return Outcome.FAILED
    return Outcome.DONE


def _kill(process: Any) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
