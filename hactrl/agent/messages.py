"""Frozen dataclasses to lines of JSON and back, strictly.

A line is one object: "kind" names the class, every other key is one of its fields. What the
class does not say (a missing or additional key, another type, a number or a text beyond its
limit, a line that is too long) is refused, so that whoever gets a message need not check it again.

A protocol grows by fields that have a default and say `since`, and by classes that `Codec` is told
the version of. Towards an older peer they are left out. Of a newer peer, fields that are not known
here are left aside, and messages that are not known are an `UnknownMessageError`.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

LONGEST_LINE = 16_384
"""Bytes, the line feed included. A hello with a hundred roles stays below it."""

LARGEST = 2**53 - 1
"""The largest integer that every reader of JSON keeps exact (RFC 8259, section 6)."""


class ProtocolError(ValueError):
    """The peer sent what the protocol does not allow; the connection must be closed."""


class UnknownMessageError(ProtocolError):
    """A peer of a newer version sent what only that version knows; it may be left aside."""


@dataclass(frozen=True)
class Limit:
    """Of a field: the range of a number, or the length of a list, or of a text in characters.

    `prose` is for people, and cut rather than refused; other texts must be printable."""

    largest: float = LARGEST
    smallest: float = 0
    prose: bool = False


ANY = Limit(largest=LARGEST, smallest=-LARGEST)


def since(version: int, default: Any) -> Any:
    """A field of a message that peers before `version` neither send nor understand."""
    return dataclasses.field(default=default, metadata={"since": version})


class Codec:
    """Writes and reads the messages of the given classes, and no others.

    `version` is the newest that it speaks, `newer` the version of classes that came later than the
    first, `limits` those of fields by their name. `words` are those of enumerations that are not
    the protocol's own, so that no change of theirs is one of the protocol; of all others the values
    are.
    """

    def __init__(
        self,
        classes: Iterable[type[Any]],
        version: int = 1,
        newer: Mapping[type[Any], int] | None = None,
        limits: Mapping[str, Limit] | None = None,
        words: Mapping[Enum, str] | None = None,
    ) -> None:
        self._classes = {kind.__name__: kind for kind in classes}
        self._version = version
        self._newer = newer or {}
        self._limits = limits or {}
        self._words = words or {}

    def speaks(self, message: object, version: int) -> bool:
        """Does a peer of this version know this kind of message?"""
        return self._newer.get(type(message), 1) <= version

    def encode(self, message: object, version: int | None = None) -> bytes:
        """One line, with its line feed, as a peer of `version` understands it.

        Raises ValueError for a message of a foreign class, one that is newer than `version`, or
        longer than `LONGEST_LINE`.
        """
        kind = type(message).__name__
        version = self._version if version is None else version
        if self._classes.get(kind) is not type(message) or not self.speaks(message, version):
            raise ValueError(f"{kind} is no message of this protocol")
        body = {"kind": kind} | _plain_fields(message, version, self._words)
        line = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{kind} takes {len(line)} bytes, more than {LONGEST_LINE}")
        return line

    def decode(self, line: bytes, peer: int = 0) -> Any:
        """The message of one line, from a peer that speaks version `peer`; of a message with a
        field `version` that one counts too.

        Raises ProtocolError if it is none.
        """
        if len(line) > LONGEST_LINE:
            raise ProtocolError(f"line longer than {LONGEST_LINE} bytes")
        try:
            body = json.loads(line, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not a line of JSON: {error}") from None
        if not isinstance(body, dict):
            raise ProtocolError("not a JSON object")
        says = body.get("version")
        newer = max(peer, says if type(says) is int else 0) > self._version
        kind = body.pop("kind", None)
        known = self._classes.get(kind) if isinstance(kind, str) else None
        if known is None:
            raise _unknown(newer)(f"unknown kind of message {_short(kind)}")
        return _Reader(self._limits, self._words, newer).build(known, body, known.__name__)


def _unknown(newer: bool) -> type[ProtocolError]:
    return UnknownMessageError if newer else ProtocolError


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key appears twice")
    return body


def _plain_fields(message: Any, version: int, words: Mapping[Enum, str]) -> dict[str, Any]:
    return {
        f.name: _plain(getattr(message, f.name), version, words)
        for f in fields(message)
        if f.metadata.get("since", 1) <= version
    }


def _plain(value: Any, version: int, words: Mapping[Enum, str]) -> Any:
    if isinstance(value, Enum):
        return words.get(value, value.value)
    if isinstance(value, tuple):
        return [_plain(item, version, words) for item in value]
    if is_dataclass(value):
        return _plain_fields(value, version, words)
    return value


def _short(value: object) -> str:
    """For a message about it: a peer may have sent anything, at any length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


class _Reader:
    """From what JSON knows to the types of the fields. `newer`: the peer may say more."""

    def __init__(self, limits: Mapping[str, Limit], words: Mapping[Enum, str], newer: bool) -> None:
        self._limits = limits
        self._words = words
        self._newer = newer

    def build(self, kind: type[Any], body: dict[str, Any], place: str) -> Any:
        hints = typing.get_type_hints(kind)
        if (unknown := body.keys() - hints.keys()) and not self._newer:
            raise ProtocolError(f"{place}: unknown field {_short(min(unknown))}")
        optional = {f.name for f in fields(kind) if f.default is not dataclasses.MISSING}
        if missing := hints.keys() - body.keys() - optional:
            raise ProtocolError(f"{place}: field {min(missing)!r} is missing")
        return kind(
            **{
                name: self._value(
                    hints[name], body[name], f"{place}.{name}", self._limits.get(name)
                )
                for name in hints
                if name in body
            }
        )

    def _value(self, expected: Any, value: Any, place: str, limit: Limit | None) -> Any:
        if isinstance(expected, types.UnionType):
            if value is None:
                return None
            (expected,) = (t for t in typing.get_args(expected) if t is not types.NoneType)
        if typing.get_origin(expected) is tuple and isinstance(value, list):
            return self._list(typing.get_args(expected)[0], value, place, limit)
        if is_dataclass(expected) and isinstance(expected, type) and isinstance(value, dict):
            return self.build(expected, value, place)
        if isinstance(expected, type) and issubclass(expected, Enum) and isinstance(value, str):
            return self._enum(expected, value, place)
        return self._scalar(expected, value, place, limit)

    def _scalar(self, expected: Any, value: Any, place: str, limit: Limit | None) -> Any:
        if expected is str and type(value) is str:
            return _text(value, place, limit)
        if expected is bool and type(value) is bool:
            return value
        if (expected is int and type(value) is int) or (
            expected is float and type(value) in (int, float)
        ):
            return expected(_number(value, place, limit or ANY))
        name = getattr(expected, "__name__", str(expected))
        raise ProtocolError(f"{place}: expected {name}, got {type(value).__name__}")

    def _list(
        self, item_type: Any, items: list[Any], place: str, limit: Limit | None
    ) -> tuple[Any, ...]:
        if limit is not None and len(items) > limit.largest:
            raise ProtocolError(f"{place}: {len(items)} of them, more than {limit.largest:g}")
        return tuple(
            self._value(item_type, item, f"{place}[{number}]", None)
            for number, item in enumerate(items)
        )

    def _enum(self, expected: type[Enum], value: str, place: str) -> Enum:
        for member in expected:
            if self._words.get(member, member.value) == value:
                return member
        raise _unknown(self._newer)(f"{place}: {_short(value)} is not known")


def _number(value: float, place: str, limit: Limit) -> float:
    """Compared before it is converted: an integer may be too large for a float."""
    if not limit.smallest <= value <= limit.largest:
        raise ProtocolError(f"{place}: not from {limit.smallest:g} to {limit.largest:g}")
    return value


def _text(value: str, place: str, limit: Limit | None) -> str:
    """JSON can name half a surrogate pair, which has no bytes; it is not printable either."""
    if limit is None:
        return value
    if limit.prose:
        return "".join(c if c.isprintable() else " " for c in value[: int(limit.largest)])
    if len(value) > limit.largest:
        raise ProtocolError(f"{place}: longer than {limit.largest:g} characters")
    if not value.isprintable():
        raise ProtocolError(f"{place}: {_short(value)} is not printable")
    return value
