"""Keep knocking at services from a host while something is done to the network."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.connections import Attempt, Summary, read, summarize
from mininet_lab.lab import Lab, StageError
from mininet_lab.mail.description import bracketed
from mininet_lab.ways import service_addresses

#: Makes of words a command that runs in some network namespace.
Place = Callable[..., tuple[str, ...]]


@dataclass(frozen=True)
class Knocks:
    """`log` grows while the knocking goes on."""

    log: Path

    def attempts(self) -> list[Attempt]:
        return read(self.log)

    def summary(self) -> Summary:
        return summarize(self.attempts())

    def await_answers(self, number: int, timeout: float = 30.0) -> None:
        """Until that many more were answered.

        Raises:
            StageError: they were not.
        """
        deadline, since = now() + timeout, now()
        while sum(a.began >= since and not a.trouble for a in self.attempts()) < number:
            if now() > deadline:
                raise StageError(f"{number} connections were not answered in {timeout:.0f} s")
            time.sleep(0.1)


@contextmanager
def knocking(
    lab: Lab, place: Place, targets: list[str], rate: float, name: str
) -> Iterator[Knocks]:
    """`place`: from where. `name` tells this knocking's log from others.

    Raises:
        RuntimeError: the program failed.
    """
    log = lab.directory / f"knocks-{name}.jsonl"
    log.write_text("")
    words = [word for target in targets for word in ("--to", target)]
    process = subprocess.Popen(
        place(
            *(sys.executable, "-m", "mininet_lab.connections", *words),
            *("--rate", f"{rate}", "--log", str(log)),
        ),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Knocks(log)
        process.terminate()
        _, errors = process.communicate(timeout=10.0)
        if process.returncode:
            raise RuntimeError(f"mininet_lab.connections: exit {process.returncode}: {errors}")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def targets(lab: Lab, role: str, service: str) -> list[str]:
    """Where a service is, in both families, as `knocking` takes it."""
    found = next(s for s in lab.site.roles[role].services if s.name == service)
    return [f"{bracketed(a)}:{found.port}" for a in service_addresses(lab, role, found.segment)]
