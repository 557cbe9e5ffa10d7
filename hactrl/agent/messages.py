"""Frozen dataclasses to lines of JSON and back, strictly.

A line is one object: "kind" names the class, every other key is one of its fields. What the
class does not say (a missing or additional key, another type, a non-finite number, a line that
is too long) is refused, so that whoever gets a message need not check it again.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

LONGEST_LINE = 16_384
"""Bytes, the line feed included. A hello with a hundred roles stays below it."""


class ProtocolError(ValueError):
    """The peer sent what the protocol does not allow; the connection must be closed."""


class Codec:
    """Writes and reads the messages of the given classes, and no others."""

    def __init__(self, classes: Iterable[type[Any]]) -> None:
        self._classes = {kind.__name__: kind for kind in classes}

    def encode(self, message: object) -> bytes:
        """One line, with its line feed.

        Raises ValueError for a message of a foreign class or longer than `LONGEST_LINE`.
        """
        kind = type(message).__name__
        if self._classes.get(kind) is not type(message):
            raise ValueError(f"{kind} is no message of this protocol")
        body = {"kind": kind} | _plain_fields(message)
        line = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{kind} takes {len(line)} bytes, more than {LONGEST_LINE}")
        return line

    def decode(self, line: bytes) -> Any:
        """The message of one line. Raises ProtocolError if it is none."""
        if len(line) > LONGEST_LINE:
            raise ProtocolError(f"line longer than {LONGEST_LINE} bytes")
        try:
            body = json.loads(line, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not a line of JSON: {error}") from None
        if not isinstance(body, dict):
            raise ProtocolError("not a JSON object")
        kind = body.pop("kind", None)
        known = self._classes.get(kind) if isinstance(kind, str) else None
        if known is None:
            raise ProtocolError(f"unknown kind of message {kind!r}")
        return _build(known, body, known.__name__)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key appears twice")
    return body


def _plain_fields(message: Any) -> dict[str, Any]:
    return {f.name: _plain(getattr(message, f.name)) for f in fields(message)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return _plain_fields(value)
    return value


def _build(kind: type[Any], body: dict[str, Any], place: str) -> Any:
    hints = typing.get_type_hints(kind)
    if unknown := body.keys() - hints.keys():
        raise ProtocolError(f"{place}: unknown field {min(unknown)!r}")
    if missing := hints.keys() - body.keys():
        raise ProtocolError(f"{place}: field {min(missing)!r} is missing")
    return kind(**{name: _value(hints[name], body[name], f"{place}.{name}") for name in hints})


def _value(expected: Any, value: Any, place: str) -> Any:
    if isinstance(expected, types.UnionType):
        if value is None:
            return None
        (expected,) = (item for item in typing.get_args(expected) if item is not types.NoneType)
    if typing.get_origin(expected) is tuple and isinstance(value, list):
        item_type = typing.get_args(expected)[0]
        return tuple(_value(item_type, item, f"{place}[{n}]") for n, item in enumerate(value))
    if is_dataclass(expected) and isinstance(expected, type) and isinstance(value, dict):
        return _build(expected, value, place)
    if isinstance(expected, type) and issubclass(expected, Enum) and isinstance(value, str):
        try:
            return expected(value)
        except ValueError:
            raise ProtocolError(f"{place}: {value!r} is not known") from None
    if expected is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if expected in (str, int, bool) and type(value) is expected:
        return value
    name = getattr(expected, "__name__", str(expected))
    raise ProtocolError(f"{place}: expected {name}, got {type(value).__name__}")
