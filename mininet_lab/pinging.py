"""Pinging at short intervals, and for how long it was not answered."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mininet_lab.network import Node

#: Seconds.
INTERVAL = 0.001

#: Seconds of quiet before somebody believes that nothing comes any more.
_PATIENCE = 15.0


@dataclass(frozen=True)
class Pings:
    """`log` grows while it goes on."""

    log: Path

    def answers(self) -> list[float]:
        """When each answer came (seconds since the epoch)."""
        return [
            float(found) for found in re.findall(r"^\[([\d.]+)\] \d+ bytes", self._text(), re.M)
        ]

    def _text(self) -> str:
        return self.log.read_text(errors="replace")

    def await_answers(self, seconds: float, after: float = 0.0) -> None:
        """Until answers have come for so long, without a gap of 100 ms, all of it after a moment
        (seconds since the epoch).

        Raises:
            TimeoutError: they did not.
        """
        deadline = time.time() + seconds + _PATIENCE
        while time.time() < deadline:
            since = time.time() - seconds
            fresh = [at for at in self.answers()[-round(2 * seconds / INTERVAL) :] if at >= since]
            gaps = [later - earlier for earlier, later in pairwise((since, *fresh, time.time()))]
            if since >= after and max(gaps) < 0.1:
                return
            time.sleep(0.05)
        raise TimeoutError(f"no {seconds} s of answers within {_PATIENCE} s, see {self.log}")

    def resumed(self, after: float, patience: float = _PATIENCE) -> float:
        """When the first answer after a moment came (seconds since the epoch).

        Raises:
            TimeoutError: none has within `patience` seconds of it.
        """
        while time.time() < after + patience:
            if fresh := [at for at in self.answers() if at > after]:
                return fresh[0]
            time.sleep(0.02)
        raise TimeoutError(f"no answer within {patience} s, see {self.log}")

    def blackout(self, since: float) -> float:
        """The longest time without an answer after a moment; seconds."""
        answers = [at for at in self.answers() if at >= since - 0.05]
        return max((later - earlier for earlier, later in pairwise(answers)), default=0.0)


@contextmanager
def pinging(node: Node, address: str, log: Path, interval: float = INTERVAL) -> Iterator[Pings]:
    """Ping as long as the context lasts."""
    with log.open("w") as out:
        words = ("ping", "-D", "-n", "-i", f"{interval}", address)
        process = subprocess.Popen(
            node.command("stdbuf", "-oL", *words),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Pings(log)
        finally:
            process.terminate()
            process.wait(timeout=10.0)
