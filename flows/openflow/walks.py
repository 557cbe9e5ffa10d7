"""Walks over the octets of a message, of which `frame_check` is made.

A walk goes from one offset to another and raises `MalformedError` for the first octets that are
wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct

Walk = Callable[[bytes, int, int], None]

U16 = Struct("!H").unpack_from


class PeerError(ValueError):
    """What ends the connection of a peer; the text says why."""


class MalformedError(PeerError):
    """A message is none of OpenFlow 1.3."""


def padded(length: int) -> int:
    """Up to the next multiple of 8."""
    return (length + 7) & ~7


@dataclass(frozen=True)
class Element:
    """Something that gives its own length: where that stands, and the least that it can be."""

    name: str
    length_at: int
    least: int

    def length(self, data: bytes, at: int, end: int) -> int:
        whole(self.name, at, end, self.least)
        length: int = U16(data, at + self.length_at)[0]
        if not self.least <= length <= end - at:
            raise MalformedError(
                f"{self.name} of {length} octets at octet {at}, {self.least} to {end - at} expected"
            )
        return length


def whole(name: str, at: int, end: int, size: int) -> int:
    if end - at < size:
        raise MalformedError(f"{name} at octet {at} is cut short: {end - at} of {size} octets")
    return size


def anything(_data: bytes, _at: int, _end: int) -> None:
    """What Ryu takes as it is."""


def at_least(name: str, size: int) -> Walk:
    def walk(_data: bytes, at: int, end: int) -> None:
        whole(name, at, end, size)

    return walk


def exactly(name: str, size: int) -> Walk:
    def walk(_data: bytes, at: int, end: int) -> None:
        if end - at != size:
            raise MalformedError(f"{name} of {end - at} octets at octet {at}, {size} expected")

    return walk


def array(name: str, size: int, after: int = 0) -> Walk:
    """A head of `after` octets, and then any number of elements of the same size."""

    def walk(_data: bytes, at: int, end: int) -> None:
        if (end - at - after) % size:
            raise MalformedError(
                f"{name}: {end - at - after} octets at octet {at + after},"
                f" a multiple of {size} expected"
            )

    return walk


def elements(element: Element, inside: Walk, pad: bool = False) -> Walk:
    """Any number of them."""

    def walk(data: bytes, at: int, end: int) -> None:
        while at < end:
            length = element.length(data, at, end)
            inside(data, at, at + length)
            at += padded(length) if pad else length

    return walk


def typed(name: str, least: int, kinds: Mapping[int, Walk | int], pad: bool = False) -> Walk:
    """What begins with its type and its length: of each type the one size that it has, or a walk
    over all of it."""

    def inside(data: bytes, at: int, end: int) -> None:
        kind = U16(data, at)[0]
        known = kinds.get(kind)
        if known is None:
            raise MalformedError(f"{name} of unknown type {kind} at octet {at}")
        if not isinstance(known, int):
            known(data, at, end)
        elif end - at != known:
            raise MalformedError(
                f"{name} of type {kind} with {end - at} octets at octet {at}, {known} expected"
            )

    return elements(Element(name, 2, least), inside, pad)


def behind(head: int, walk: Walk) -> Walk:
    """Over what follows a head of so many octets."""
    return lambda data, at, end: walk(data, at + head, end)
