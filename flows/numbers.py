"""Numbers that switches know our things by: cookies, group ids and meter ids.

All are digests of names, so that they stay the same when anything else changes: a change of
placement, a link that fails, another role in the site file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

from flows.rules import COOKIE_PREFIX, LEARNT_COOKIE, OWN_IDS
from topology.numbering import digest, numbers, places


class CookieKind(IntEnum):
    """What a rule belongs to: the 16 bits behind the prefix."""

    ADMIT = 1
    ARP = 2
    ADVERTISE = 3
    POLICY = 4
    SOURCE = 5
    STEER = 6
    FORWARD = 7
    HOSTS = 8
    TREE = 9
    ANSWERS = 10


def cookie(kind: CookieKind, intent: str) -> int:
    """The cookie of a rule that serves this intent, in words."""
    return COOKIE_PREFIX | kind << 32 | digest(intent)


def learnt_cookie(links: Iterable[str]) -> int:
    """The cookie of what switches learn while these links of their segment are up: other links,
    another flood tree, another cookie, and the diff flushes what was learnt before."""
    return LEARNT_COOKIE | digest(" ".join(sorted(links)))


def own_ids(names: Iterable[str]) -> dict[str, int]:
    """A group or meter id within our range for each name."""
    return {name: OWN_IDS[place] for name, place in numbers(names, len(OWN_IDS)).items()}


def content_ids(content: str) -> Iterator[int]:
    """The ids that a group may have that is known by what is in it, the best first: every other
    one is for where another group has the same digest."""
    return (OWN_IDS[place] for place in places(content, len(OWN_IDS)))
