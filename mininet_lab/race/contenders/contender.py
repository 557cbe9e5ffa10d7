"""What a contender is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hactrl.site.model import Site
from mininet_lab.race.arena import Arena, Machine


class Contender(Protocol):
    """In one arena."""

    def start(self) -> None:
        """Begin to keep the greeter reachable; do not wait."""

    def settle(self) -> None:
        """Until all is well with it, and users are at the live server again."""

    def move(self) -> float:
        """Move users to the standby, as an operator would who plans it; when that began."""

    def stop(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Setting:
    """A contender with one set of timers. `programs` must be installed, beside those of the lab;
    `timers` are the site file's."""

    name: str
    words: str
    programs: tuple[str, ...]
    configure: Callable[[Site, Machine], list[str]]
    make: Callable[[Arena], Contender]
    timers: str = ""
