"""One fault under mail on all three ways, whoever has to notice it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from mininet_lab.clock import now
from mininet_lab.lab import Lab, StageError
from mininet_lab.mail import ledger
from mininet_lab.peers.faults import Fault
from mininet_lab.peers.stage import standing as standing_cluster
from mininet_lab.peers.tuning import TUNINGS, Tuning
from mininet_lab.report import Story
from mininet_lab.stage import Stage
from mininet_lab.stage import standing as standing_hactrl
from mininet_lab.ways import WAYS, Traffic

#: Mails acknowledged before it strikes, and seconds of mail after every way is served again, in
#: which what was moved twice would show.
_BEFORE, _AFTER = 40, 4.0
_STARTING = 60.0

#: Of hactrl's history, which are more than a trial writes.
_ENTRIES = 1000


class Contender(Protocol):
    """A standing lab in which somebody keeps the roles served."""

    @property
    def lab(self) -> Lab:
        """Both of its servers are in it."""

    @property
    def wan_mail(self) -> Path:
        """The directory of the WAN's mailboxes."""

    def put_in_order(self) -> None:
        """All on, nothing failed, every role at home."""

    def is_in_order(self) -> bool:
        """Has nothing moved or failed since?"""


@dataclass
class Hactrl:
    """See `Contender`."""

    stage: Stage
    #: The last takeover that began until it was put in order.
    _seen: int = 0

    @property
    def lab(self) -> Lab:
        return self.stage.lab

    @property
    def wan_mail(self) -> Path:
        return self.stage.wan_mail

    def put_in_order(self) -> None:
        for server in self.lab.servers:
            self.lab.power_on(server)
        self.stage.put_in_order()
        self._seen = self._last_takeover()

    def is_in_order(self) -> bool:
        return self._last_takeover() == self._seen

    def _last_takeover(self) -> int:
        """Of whatever role, also one that gave it to who had it; 0 if there was none."""
        entries = self.stage.client.history(limit=_ENTRIES)
        begun = (entry.number for entry in entries if entry.kind == "takeover.started")
        return max(begun, default=0)


@contextmanager
def _hactrl(directory: Path, story: Story) -> Iterator[Contender]:
    with standing_hactrl(directory, story) as stage:
        yield Hactrl(stage)


def _cluster(tuning: Tuning, directory: Path, story: Story) -> AbstractContextManager[Contender]:
    return standing_cluster(directory, story, tuning)


SYSTEMS: dict[str, Callable[[Path, Story], AbstractContextManager[Contender]]] = {
    "hactrl": _hactrl,
    **{f"pacemaker-{name}": partial(_cluster, tuning) for name, tuning in TUNINGS.items()},
}


@dataclass(frozen=True)
class Trial:
    """One fault. `served`: by way the seconds until the first success that began after it, None
    if there was none; `longest`: the longest time from it on without a success. `quiet`: nothing
    had moved before it."""

    served: dict[str, float | None]
    longest: dict[str, float]
    quiet: bool


def strike(contender: Contender, fault: Fault, traffic: Traffic, story: Story) -> Trial:
    """Let it strike, wait until all ways are served or nobody is expected to serve them, and
    have it mended.

    Raises:
        StageError: mail did not even begin, or nothing could be put in order.
    """
    try:
        traffic.start()
        with story.working(f"mail on all ways, {_BEFORE} acknowledged first"):
            if not _holds(lambda: traffic.acknowledged() >= _BEFORE, _STARTING):
                raise StageError("mail does not flow")
        quiet = contender.is_in_order()
        struck = fault.strike(contender.lab)
        with story.working(f"[bold red]{fault.words}[/bold red]; until all ways are served"):
            _holds(lambda: None not in traffic.served_since(struck).values(), fault.patience)
            time.sleep(_AFTER)
        until = now()
        fault.mend(contender.lab)
        contender.put_in_order()
        with story.working("the last mails under way"):
            traffic.stop()
    finally:
        traffic.kill()
    entries = [entry for entry in traffic.entries() if entry.time <= until]
    return Trial(
        {way: ledger.first_served(entries, way, struck) for way in WAYS},
        {way: ledger.longest_gap(entries, way, struck, until) for way in WAYS},
        quiet,
    )


def idle(contender: Contender, traffic: Traffic, seconds: float) -> bool:
    """Mail without a fault; whether nothing moved."""
    try:
        traffic.start()
        time.sleep(seconds)
        traffic.stop()
    finally:
        traffic.kill()
    return contender.is_in_order()


def _holds(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = now() + timeout
    while not condition():
        if now() > deadline:
            return False
        time.sleep(0.1)
    return True
