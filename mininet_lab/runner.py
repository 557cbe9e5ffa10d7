"""What happens inside: one scenario, from its name to its results file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mininet_lab import scenarios
from mininet_lab.isolate import process_one
from mininet_lab.lab import StageError
from mininet_lab.report import Story
from mininet_lab.scenarios import Options, Scenario


def _options(text: str) -> Options:
    """JSON has no tuples."""
    said: dict[str, Any] = json.loads(text)
    said |= {key: tuple(value) for key, value in said.items() if isinstance(value, list)}
    return Options(**said)


def main(directory: Path, arguments: list[str]) -> int:
    """`arguments`: the scenario's name, and its options as JSON. Returns the exit status: 0 if
    the scenario showed what it promises."""
    name, options = arguments[0], _options(arguments[1])
    scenario: Scenario = scenarios.find(name)
    story = Story(name)
    try:
        scenario.play(directory, options, story)
    except KeyboardInterrupt:
        story.interrupted()
        return 130
    except StageError as error:
        story.expect(False, "the scenario could be played to its end", str(error))
    return story.finish()


if __name__ == "__main__":
    sys.exit(process_one(lambda: main(Path(sys.argv[2]), sys.argv[3:]), int(sys.argv[1])))
