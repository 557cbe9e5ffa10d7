"""Where long computations can be interrupted: they call what they are given often, and who must not
work long at a stretch gives them something that lets others run (`hactrl.control.stretch`)."""

from __future__ import annotations

from collections.abc import Callable

#: Others may run meanwhile. They change nothing that the computation works on.
Pause = Callable[[], None]


def no_pause() -> None:
    """For who may work as long as it takes."""
