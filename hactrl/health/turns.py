"""Which way each of a daemon's dialogues goes: through its cards, and over its address families, by
turns. So a daemon has one in each breath, and its log as many lines, however many ways there are.
That each way leads to it is asked of its kernel far more often (`syn`). A way by which no daemon
hears of us need not wait for its turn (`watch`). Pure.

Probes that are no dialogues write no log, and go every way in every breath.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hactrl.health.dialogues import DIALOGUES
from hactrl.health.targets import Target


@dataclass(frozen=True)
class Daemon:
    """What answers for a service on one server, through whatever card."""

    role: str
    service: str
    server: str

    @classmethod
    def behind(cls, target: Target) -> Daemon:
        return cls(target.role, target.service, target.server)


@dataclass(frozen=True)
class Turns:
    """Of one target: its routes have the turns from `first` on, of so many."""

    first: int = 0
    of: int = 1

    def has(self, route: int, breath: int) -> bool:
        """Is it this route's turn (of the target's, counted from 0) in that breath?"""
        return (breath - self.first - route) % self.of == 0


def turns(targets: Iterable[Target]) -> dict[Target, Turns]:
    """Those of every target, by whom it shares a daemon with."""
    together: dict[Daemon, list[Target]] = {}
    found: dict[Target, Turns] = {}
    for target in targets:
        if target.kind in DIALOGUES:
            together.setdefault(Daemon.behind(target), []).append(target)
        else:
            found[target] = Turns()
    for those in together.values():
        number = sum(len(target.routes) for target in those)
        first = 0
        for target in those:
            found[target] = Turns(first, number)
            first += len(target.routes)
    return found
