"""The lab as a user runs it, in a place of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def workplace(place: Path) -> Path:
    """The lab's own directory."""
    return place / "lab"


def figures(place: Path) -> Path:
    """Where its figures are."""
    return place / "results"


def play(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it with these words, whatever comes of it."""
    settings = {
        "HACTRL_LAB_DIRECTORY": str(workplace(place)),
        "HACTRL_LAB_RESULTS": str(figures(place)),
    }
    return subprocess.run(
        (sys.executable, "-m", "mininet_lab", *words),
        cwd=CHECKOUT,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def play_well(place: Path, *words: str) -> Path:
    """Run it with these words, and it must keep its promises; where its figures are."""
    played = play(place, *words)
    assert played.returncode == 0, played.stdout[-4000:] + played.stderr[-4000:]
    return figures(place)
