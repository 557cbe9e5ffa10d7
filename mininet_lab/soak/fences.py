"""A power switch that does not do what it is asked, or late."""

from __future__ import annotations

import threading
import time

from mininet_lab.power import PowerSwitch
from mininet_lab.soak.kinds import Kind

#: Seconds that mending waits for requests that are under way.
_PATIENCE = 15.0


class BrokenFence:
    """From now on until `mend`. One that fails answers so at once, one that hangs when it is
    mended; neither cuts any power. One that is slow cuts it after `delay` seconds, whoever still
    waits for that."""

    def __init__(self, power: PowerSwitch, kind: Kind, delay: float = 0.0) -> None:
        self._power, self._kind, self._delay = power, kind, delay
        self._mended = threading.Event()
        self._changed = threading.Condition()
        #: Requests that are not answered yet.
        self.under_way = 0
        power.trouble = self._trouble

    def mend(self) -> None:
        """Return when no request is under way any more, so that no power is cut afterwards that
        was to be cut before.

        Raises:
            TimeoutError: one still is.
        """
        self._power.trouble = lambda _server: ""
        self._mended.set()
        with self._changed:
            if not self._changed.wait_for(lambda: not self.under_way, _PATIENCE):
                raise TimeoutError(f"{self.under_way} requests to the power switch are under way")

    def _trouble(self, _server: str) -> str:
        with self._changed:
            self.under_way += 1
        try:
            return self._answer()
        finally:
            with self._changed:
                self.under_way -= 1
                self._changed.notify_all()

    def _answer(self) -> str:
        match self._kind:
            case Kind.FENCE_FAILS:
                return "the power switch is jammed"
            case Kind.FENCE_SLOW:
                time.sleep(self._delay)
                return ""
            case _:
                self._mended.wait()
                return "the power switch was mended"
