"""What a strike hands back, or why it did not strike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class NotStruckError(Exception):
    """A fault is not there after it was to strike; the message says why."""


def _nothing_to_mend() -> None:
    return


@dataclass(frozen=True)
class Struck:
    """`where`: as in `diary.Line`. `words`: what else is worth telling."""

    where: tuple[str, ...]
    mend: Callable[[], None] = _nothing_to_mend
    words: str = ""


@contextmanager
def undone_by(mend: Callable[[], None]) -> Iterator[None]:
    """Half a strike is none: where it has not come about inside, whatever was in its way, what has
    is mended."""
    try:
        yield
    except BaseException:
        mend()
        raise
