"""Results files, `NAME.json`, in the one shape that all evaluations use."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mininet_lab.isolate import CHECKOUT

#: Names the directory that results are written to.
DIRECTORY = "HACTRL_LAB_RESULTS"

#: The figures that documents quote; git keeps these, and no others.
PUBLISHED = CHECKOUT / "docs" / "evaluation"


def directory() -> Path:
    """`HACTRL_LAB_RESULTS`, else `results` in the checkout."""
    return Path(os.environ.get(DIRECTORY, CHECKOUT / "results")).absolute()


def publish() -> None:
    """What this process, and those that it starts, write from now on is published."""
    os.environ[DIRECTORY] = str(PUBLISHED)


@dataclass(frozen=True)
class Case:
    """One measured quantity of one system, a value for each run. `median` is None without any."""

    case: str
    system: str
    unit: str
    values: tuple[float, ...]
    median: float | None

    @classmethod
    def of(cls, case: str, system: str, unit: str, values: Sequence[float]) -> Case:
        return cls(case, system, unit, tuple(values), statistics.median(values) if values else None)


@dataclass
class Results:
    """`revision` is the checkout's commit, with `+` where files differ from it."""

    name: str
    seed: int
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    revision: str = field(default_factory=lambda: revision(CHECKOUT))
    cases: list[Case] = field(default_factory=list)

    def add(self, case: str, system: str, unit: str, values: Sequence[float]) -> Case:
        added = Case.of(case, system, unit, values)
        self.cases.append(added)
        return added

    def write(self, into: Path | None = None) -> Path:
        """The file, in `into` or in `directory()`."""
        into = into or directory()
        into.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "started": self.started,
            "revision": self.revision,
            "seed": self.seed,
            "cases": [asdict(case) for case in self.cases],
        }
        file = into / f"{self.name}.json"
        file.write_text(json.dumps(content, indent=2) + "\n")
        return file


def read(file: Path) -> Results:
    """What `Results.write` has written.

    Raises:
        KeyError, TypeError, ValueError: it holds something else.
    """
    content = json.loads(file.read_text())
    cases = [Case(**{**case, "values": tuple(case["values"])}) for case in content["cases"]]
    return Results(content["name"], content["seed"], content["started"], content["revision"], cases)


def revision(checkout: Path) -> str:
    """Of the checkout; `unknown` where there is no git, as in an unpacked archive."""
    git = ("git", "-C", str(checkout), "-c", f"safe.directory={checkout}")
    try:
        head = subprocess.run(
            (*git, "rev-parse", "HEAD"), capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            (*git, "status", "--porcelain", "--untracked-files=no"),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head
