"""What is wrong with a site file, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong: where, what, what was expected instead, and perhaps what was meant.

    `line` counts from 1; 0 where there is no line (the file cannot be read at all).
    """

    file: str
    line: int
    path: str
    message: str
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class SiteError(Exception):
    """A site file was refused. `problems` are in the order of their lines.

    `str()` lists every problem, one a line, under a line that counts them.
    """

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.path, p.message)))
        super().__init__(file, self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        heading = f"{self.file}: refused, {count} error{'' if count == 1 else 's'}:"
        return "\n".join([heading, *(f"  {problem}" for problem in self.problems)])


def closest(word: object, choices: Iterable[str]) -> str:
    """The choice that `word` probably was meant to be, or the empty string."""
    matches = get_close_matches(str(word), sorted(choices), n=1, cutoff=0.6)
    return matches[0] if matches else ""
