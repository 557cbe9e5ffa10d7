"""The site file as plain data, with the line on which each part of it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from hactrl.site.errors import Path, Problem, SiteError


@dataclass
class Document:
    """`data` is what the YAML says; `lines` gives the line of each path in it.

    `problems` collects what is found wrong, here and by later checks. `cut` are the items, by
    their numbers in the file, that later checks do not see any more of each list.
    """

    file: str
    data: Any
    lines: dict[Path, int]
    problems: list[Problem] = field(default_factory=list)
    cut: dict[Path, set[int]] = field(default_factory=dict)

    def add(
        self,
        path: Path,
        message: str,
        expected: str = "",
        suggestion: str = "",
        line: int | None = None,
    ) -> None:
        """Note a problem at `path`, or at the nearest part above it that the file has."""
        known = path = self.in_file(path)
        while known not in self.lines and known:
            known = known[:-1]
        text = ".".join(str(part) for part in path)
        at = line or self.lines.get(known, 1)
        problem = Problem(self.file, at, text, message, expected, suggestion)
        if problem not in self.problems:
            self.problems.append(problem)

    def in_file(self, path: Path) -> Path:
        """The path as the file has it, with the items counted that were cut out of lists."""
        original: Path = ()
        for part in path:
            number = part
            if isinstance(number, int):
                for gone in sorted(self.cut.get(original, ())):
                    number += gone <= number
            original = (*original, number)
        return original


def parse(text: str, file: str) -> Document:
    """Read YAML 1.2.

    Duplicate keys and aliases are noted as problems: of a key written twice the first one would
    silently win, and an alias makes one line speak for several places.

    Raises:
        SiteError: it is no YAML, or not a mapping of names to values.
    """
    try:
        reader = YAML(typ="safe", pure=True)
        reader.allow_duplicate_keys = True
        root = reader.compose(text)
        data = None if root is None else reader.constructor.construct_document(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        message = f"not YAML: {error.problem or error.context}"
        raise SiteError(file, [Problem(file, line, "", message)]) from error
    except (YAMLError, ValueError) as error:
        message = f"not YAML: {' '.join(str(error).split())}"
        raise SiteError(file, [Problem(file, 0, "", message)]) from error
    except RecursionError as error:
        message = "nested too deeply"
        raise SiteError(file, [Problem(file, 0, "", message, "a few levels, no more")]) from error
    if not isinstance(root, MappingNode) or not isinstance(data, dict):
        message = "the file is empty" if root is None else "not a site file"
        raise SiteError(file, [Problem(file, 1, "", message, "a mapping that begins with 'site:'")])
    document = Document(file, data, {(): 1})
    seen: set[int] = set()
    for path, node, line, note in _walk(root, (), 1):
        document.lines.setdefault(path, line)
        if note:
            document.add(path, note, "each key once", line=line)
        if id(node) in seen:
            message = "an alias (*name) stands here"
            raise SiteError(
                file, [Problem(file, line, ".".join(map(str, path)), message, "the value itself")]
            )
        seen.add(id(node))
    return document


def _walk(node: Node, path: Path, line: int) -> Iterator[tuple[Path, Node, int, str]]:
    """Every node below, with its path, its line, and what is wrong with its key."""
    yield path, node, line, ""
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*path, index), item.start_mark.line + 1)
    elif isinstance(node, MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            name = str(key.value)
            if name in first:
                note = f"key written twice, first on line {first[name]}"
                yield (*path, name), key, at, note
                continue
            first[name] = at
            yield from _walk(value, (*path, name), at)
