"""The table of a takeover's steps in ARCHITECTURE.md, drawn from the table that the engine has.

`python -m hactrl.explain.steps` prints it.
"""

from __future__ import annotations

from hactrl.engine.roles.steps import STEPS


def table() -> str:
    """In Markdown, a row for each step in their order."""
    rows = (
        f"| {step.value} | {rule.waits_for} | `{rule.timer}` | {rule.otherwise} |"
        for step, rule in STEPS.items()
    )
    return "\n".join(("| step | waits for | until | otherwise |", "|---|---|---|---|", *rows))


if __name__ == "__main__":
    print(table())
