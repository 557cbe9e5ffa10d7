"""The state as it is now, for who wants to know it."""

from __future__ import annotations

from dataclasses import dataclass

from hactrl.engine.state import State


@dataclass
class Present:
    """The runtime alone puts another state here; all others read."""

    state: State

    def get(self) -> State:
        return self.state
