"""Evaluations of algorithms, by name: they need neither root nor a network. The text of each
module says what it compares, `play` does so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from mininet_lab.report import Story
from mininet_lab.scenarios import Options


@dataclass(frozen=True)
class Evaluation:
    name: str
    summary: str
    play: Callable[[Options, Story], None]


class UnknownEvaluationError(Exception):
    """There is no evaluation of that name."""


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str) -> Evaluation:
    """
    Raises:
        UnknownEvaluationError: there is none of that name.
    """
    if name not in names():
        raise UnknownEvaluationError(f"no evaluation {name!r}; there are {', '.join(names())}")
    module = import_module(f"{__name__}.{name}")
    return Evaluation(name, (module.__doc__ or "").split("\n\n", 1)[0].strip(), module.play)
