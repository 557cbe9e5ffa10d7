"""Numbers for names: digests, so that they stay the same when anything else changes. Where two
fall together, the later name takes the next free number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256


@lru_cache(maxsize=1 << 16)
def digest(text: str) -> int:
    """32 bits. Most are asked for again, with every change of the rules."""
    return int.from_bytes(sha256(text.encode()).digest()[:4])


def places(text: str, room: int) -> Iterator[int]:
    """Every number below `room`, the best for this text first and then in order."""
    first = digest(text) % room
    return ((first + further) % room for further in range(room))


def numbers(names: Iterable[str], room: int) -> dict[str, int]:
    """A number below `room` for each name, of which there are no more; names that sort earlier
    choose first."""
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(set(names)):
        found[name] = next(place for place in places(name, room) if place not in taken)
        taken.add(found[name])
    return found
