"""Is the file of the right shape? Every fault is noted, and the sound rest goes on.

One wrong value must not hide what is wrong elsewhere. So after each round of validation the
faults are cut out (a misspelt key is read as the key that it resembles, any other fault takes
the smallest item of a list or mapping with it), and the rest is validated again. What lost
something is `incomplete`: later checks draw no conclusion from what is missing there.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hactrl.site.document import Document
from hactrl.site.errors import Path, closest
from hactrl.site.schema import LinkPart, SitePart

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "dict_type": "a mapping",
    "list_type": "a list",
    "model_type": "a mapping",
    "bool_type": "true or false",
}


@dataclass(frozen=True)
class Sound:
    """What of the file is of the right shape, and the parts that something was cut from."""

    site: SitePart
    incomplete: frozenset[Path]

    def complete(self, *path: str) -> bool:
        """Nothing was cut out of, around or below this part of the file."""
        return not any(
            cut[: len(path)] == path or path[: len(cut)] == cut for cut in self.incomplete
        )


def validate(document: Document) -> Sound | None:
    """Note all faults of shape in `document.problems`.

    Returns None if the rest is too little to go on with.
    """
    data = copy.deepcopy(document.data)
    incomplete: set[Path] = set()
    while True:
        try:
            site = SitePart.model_validate(data, context={"cut": bool(incomplete)})
        except ValidationError as error:
            faults = error.errors(include_url=False)
        else:
            return Sound(site, frozenset(incomplete))
        # Keys first: a misspelt one must not also count as missing.
        keys = [fault for fault in faults if fault["type"] == "extra_forbidden"]
        for fault in keys or faults:
            _note(document, fault)
        if keys:
            for fault in keys:
                _respell(document, data, fault["loc"])
            continue
        items = [_item(_in_file(fault["loc"])) for fault in faults]
        cuts = {item for item in items if item is not None}
        in_file = [document.in_file(cut) for cut in cuts]
        if None in items or not all(_cut(data, cut) for cut in _outermost(cuts)):
            return None
        for cut in in_file:
            if isinstance(cut[-1], int):
                document.cut.setdefault(cut[:-1], set()).add(cut[-1])
        incomplete |= cuts


def _note(document: Document, fault: ErrorDetails) -> None:
    path = _in_file(fault["loc"])
    if path not in document.lines and path[4:5] == ("ends",):  # the short form of a link
        path = (*path[:4], *path[5:])
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        keys = _keys(_owner(path[:-1]))
        document.add(
            path, "unknown key", "one of " + ", ".join(sorted(keys)), closest(path[-1], keys)
        )
    elif kind == "missing":
        document.add(
            path, "missing", "this key in " + (".".join(map(str, path[:-1])) or "the file")
        )
    elif kind == "wrong":
        document.add(
            path, str(context["what"]), str(context["expected"]), str(context["suggestion"])
        )
    elif kind in _KINDS:
        shown = "a mapping" if isinstance(value, dict) else repr(value)
        document.add(path, f"{shown} stands here", _KINDS[kind])
    elif kind == "string_pattern_mismatch":
        document.add(
            path, f"{value!r} is no name", "a letter, then up to 31 letters, digits, _ . -"
        )
    elif kind in ("greater_than_equal", "less_than_equal"):
        sign = "at least" if kind.startswith("greater") else "at most"
        document.add(path, f"{value!r} is out of range", f"{sign} {next(iter(context.values()))}")
    elif kind in ("too_short", "too_long"):
        limit = context.get("min_length", context.get("max_length"))
        side = "at least" if kind == "too_short" else "at most"
        document.add(path, f"{context['actual_length']} entries", f"{side} {limit}")
    else:
        document.add(path, fault["msg"])


def _in_file(loc: Path) -> Path:
    """The path as the file has it: a name that is wrong is marked '[key]' by pydantic."""
    return loc[:-1] if loc and loc[-1] == "[key]" else loc


def _respell(document: Document, data: Any, path: Path) -> None:
    """Read an unknown key as the one that it resembles, or leave it out."""
    owner = _value(data, path[:-1])
    value = owner.pop(path[-1])
    meant = closest(path[-1], _keys(_owner(path[:-1])) - owner.keys())
    if meant:
        owner[meant] = value
        length = len(path)
        document.lines |= {
            (*path[:-1], meant, *place[length:]): line
            for place, line in document.lines.items()
            if place[:length] == path
        }


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Without those below another one; the last first, so that the numbers of list items before
    it stay what they are."""
    found: list[Path] = []
    for path in sorted(paths, key=lambda p: [str(part).zfill(9) for part in p]):
        if not any(path[: len(other)] == other for other in found):
            found.append(path)
    return found[::-1]


def _cut(data: Any, path: Path) -> bool:
    """Take this part out of `data`; tells whether it was there."""
    holder, key = _value(data, path[:-1]), path[-1]
    if isinstance(holder, dict) and key in holder:
        del holder[key]
        return True
    if isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        del holder[key]
        return True
    return False


def _value(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _item(path: Path) -> Path | None:
    """The innermost part that `path` lies in and that can be left out: an item of a list or of a
    mapping of names, or a key that has a default."""
    found: Path | None = None
    kind: Any = SitePart
    for depth, part in enumerate(path):
        if _is_part(kind):
            known = _field(kind, part)
            if known is None:
                break
            if not known.is_required():
                found = path[: depth + 1]
            if kind is LinkPart:  # a link without one of its ends is none
                break
            kind = _plain(known.annotation)
        else:
            arguments = typing.get_args(kind)
            if typing.get_origin(kind) not in (dict, list):
                break
            found = path[: depth + 1]
            kind = _plain(arguments[-1])
    return found


def _owner(path: Path) -> Any:
    """The model that describes the mapping at `path`."""
    kind: Any = SitePart
    for part in path:
        if _is_part(kind):
            known = _field(kind, part)
            kind = _plain(known.annotation) if known else None
        else:
            kind = _plain(typing.get_args(kind)[-1])
    return kind


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    for name, known in model.model_fields.items():
        if (known.alias or name) == key:
            return known
    return None


def _keys(model: Any) -> set[str]:
    if not _is_part(model):
        return set()
    return {known.alias or name for name, known in model.model_fields.items()}


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _plain(kind: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    if typing.get_origin(kind) is typing.Annotated:
        return _plain(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _plain(next(a for a in typing.get_args(kind) if a is not type(None)))
    return kind
