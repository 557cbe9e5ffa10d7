"""The figures of docs/evaluation.md: tables made of published results, so that nobody types them.

A block of the document says of which run which figures are wanted:

    <!-- figures
    file: race
    command: python -m mininet_lab race
    case: *
    without: *: *
    columns: system
    ratio: keepalived-*, haproxy-* / hactrl-fast
    plot: race.svg
    -->
    (what `fill` writes)
    <!-- end of figures -->

`case` and `without` are shell patterns for the names of cases, one a line. `columns` is `system`,
or `part` (what a case's name says after its last colon), or not given: then each case has a line.
`ratio`, beside `columns: system`: how many times the last one's median the best of the others is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mininet_lab.isolate import CHECKOUT
from mininet_lab.results import PUBLISHED, Case, Results, read

DOCUMENT = CHECKOUT / "docs" / "evaluation.md"

#: What a block looks like before there are results of its file.
NOT_MEASURED = "*Not measured yet:"

_BLOCK = re.compile(r"(<!-- figures\n(.*?)-->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)
#: Of what is shown in another unit: what it is multiplied with, and that unit's name.
_SHOWN = {"s": (1e3, "ms"), "bytes": (1e-6, "MB"), "bit/s": (1e-6, "Mbit/s")}
_SHOWN |= {"share": (1e2, "%"), "ratio": (1.0, ""), "number": (1.0, ""), "times": (1.0, "")}

#: The words before a line's cells, and its column.
_PLACES: dict[str, Callable[[Case], tuple[tuple[str, ...], str]]] = {
    "": lambda case: ((case.case, case.system), "least / median / most"),
    "system": lambda case: ((case.case,), case.system),
    "part": lambda case: ((case.case.rpartition(": ")[0], case.system), case.case.split(": ")[-1]),
}


class FiguresError(Exception):
    """A block says what cannot be; the message names it."""


@dataclass(frozen=True)
class Block:
    """What a block of the document says, see the module."""

    file: str
    command: str
    cases: Sequence[str] = ("*",)
    without: Sequence[str] = ()
    columns: str = ""
    ratio: str = ""
    plot: str = ""


def parse(said: str) -> Block:
    """The lines of a block's comment.

    Raises:
        FiguresError: a key is unknown or missing, or its value is none.
    """
    found: dict[str, list[str]] = {}
    for line in said.strip().splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), []).append(value.strip())
    cases, without = found.pop("case", ["*"]), found.pop("without", [])
    try:
        block = Block(**{k: v for k, (v,) in found.items()}, cases=cases, without=without)
    except (TypeError, ValueError) as error:
        raise FiguresError(f"a block of figures is wrong: {error}: {said.strip()!r}") from error
    if block.columns not in _PLACES:
        raise FiguresError(f"{block.file}: columns are system or part, not {block.columns!r}")
    return block


def blocks(text: str) -> list[tuple[Block, str]]:
    """Every block of a document, and what is written in it.

    Raises:
        FiguresError: as `parse`, or a block does not end.
    """
    found = list(_BLOCK.finditer(text))
    if {text.count("<!-- figures"), text.count("<!-- end of figures")} != {len(found)}:
        raise FiguresError("a block of figures does not begin, or does not end")
    return [(parse(match[2]), match[3]) for match in found]


def fill(text: str, published: Path = PUBLISHED) -> str:
    """The document with the present figures in its blocks.

    Raises:
        FiguresError: as `blocks`, or the results are not as a block says.
    """
    blocks(text)
    return _BLOCK.sub(lambda m: f"{m[1]}\n{render(parse(m[2]), published)}\n\n{m[4]}", text)


def render(block: Block, published: Path) -> str:
    """The table, after where it is from.

    Raises:
        FiguresError: the file holds no results, or no case that is asked for.
    """
    file = published / f"{block.file}.json"
    if not file.exists():
        return f"{NOT_MEASURED} `{block.command} --publish`.*"
    try:
        results = read(file)
    except (KeyError, TypeError, ValueError) as error:
        raise FiguresError(f"{file} holds no results: {error!r}; measure it again") from error
    parts = [source(block, results), table(block, chosen(block, results))]
    if block.plot and (published / block.plot).exists():
        parts.append(f"![{block.file}, drawn](evaluation/{block.plot})")
    return "\n\n".join(parts)


def source(block: Block, results: Results) -> str:
    """Of which run of which command it is."""
    revision = results.revision.removesuffix("+")[:12]
    changed = " with changes" if results.revision.endswith("+") else ""
    return (
        f"`{block.command} --publish`, {results.started[:10]}, revision {revision}{changed}, "
        f"seed {results.seed} ([{block.file}.json](evaluation/{block.file}.json))"
    )


def chosen(block: Block, results: Results) -> list[Case]:
    """The cases that a block asks for, in the order of the file.

    Raises:
        FiguresError: a pattern finds none.
    """
    names = dict.fromkeys(case.case for case in results.cases)
    for pattern in block.cases:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise FiguresError(f"{block.file}.json has no {pattern!r}; it has {'; '.join(names)}")
    wanted = (case for case in results.cases if _is_of(case.case, block.cases))
    return [case for case in wanted if not _is_of(case.case, block.without)]


def _is_of(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def table(block: Block, cases: Sequence[Case]) -> str:
    """In Markdown."""
    rows: dict[tuple[str, ...], dict[str, Case]] = {}
    for case in cases:
        words, column = _PLACES[block.columns](case)
        rows.setdefault(words, {})[column] = case
    columns = list(dict.fromkeys(_PLACES[block.columns](case)[1] for case in cases))
    first = ("",) if block.columns == "system" else ("", "system")
    head = [*first, *columns, *filter(None, (block.ratio,))]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for words, found in rows.items():
        cells = [cell(found[column]) if column in found else "" for column in columns]
        lines.append([*words, *cells, *([ratio(block.ratio, found)] if block.ratio else [])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(case: Case) -> str:
    """Least, median and most with their unit, and how many values there are if not one."""
    if case.median is None:
        return "none"
    factor, unit = _SHOWN.get(case.unit, (1.0, case.unit))
    values = (min(case.values), case.median, max(case.values))
    told = [number(value * factor, unit) for value in values]
    words = told[0] if len(set(told)) == 1 else " / ".join(told)
    times = f"({len(case.values):,})" if len(case.values) > 1 else ""
    return " ".join(filter(None, (words, unit, times)))


def number(value: float, unit: str = "") -> str:
    """With three digits, or all of the whole part; nearly 100 % with more."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 3 if unit == "%" and value > 99 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def ratio(said: str, found: dict[str, Case]) -> str:
    """How many times our median the best of the rivals' is; empty where either is missing."""
    rivals, _, ours = (part.strip() for part in said.rpartition("/"))
    mine = found[ours].median if ours in found else None
    others = [case.median for name, case in found.items() if _is_of(name, rivals.split(", "))]
    best = min((median for median in others if median is not None), default=None)
    return f"{best / mine:.2f}" if mine and best is not None else ""
