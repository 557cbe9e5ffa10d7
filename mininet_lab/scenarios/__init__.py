"""The scenarios, by name. Each is a small module that reads like the story it tells: its text
says what it shows, `play` shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from mininet_lab.report import Story


@dataclass(frozen=True)
class Options:
    """From the command line. `runs` None: as many as the scenario finds enough. `control`: the
    negative control, in which data are not synced and losses must show. `only` and `systems`: of
    the race, which failures and which contenders; all if none is named. `minutes`: of the soak."""

    runs: int | None = None
    control: bool = False
    seed: int = 1
    only: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    minutes: float = 30.0


@dataclass(frozen=True)
class Scenario:
    name: str
    summary: str
    play: Callable[[Path, Options, Story], None]


class UnknownScenarioError(Exception):
    """There is no scenario of that name."""


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str) -> Scenario:
    """
    Raises:
        UnknownScenarioError: there is none of that name.
    """
    if name not in names():
        raise UnknownScenarioError(f"no scenario {name!r}; there are {', '.join(names())}")
    module = import_module(f"{__name__}.{name}")
    return Scenario(name, (module.__doc__ or "").split("\n\n", 1)[0].strip(), module.play)
