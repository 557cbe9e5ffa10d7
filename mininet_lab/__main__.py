"""`python -m mininet_lab`: list scenarios and evaluations, run one, tidy up, or look around."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from mininet_lab import evaluations, figures, results, scenarios
from mininet_lab.evaluations import UnknownEvaluationError
from mininet_lab.isolate import LabBusyError, Workplace, run_isolated
from mininet_lab.report import Story
from mininet_lab.scenarios import Options, UnknownScenarioError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

#: Exit status for what was asked wrongly or cannot be done now; 1 is a scenario that failed.
_REFUSED = 2

Publish = Annotated[
    bool,
    typer.Option("--publish", help="Write results to docs/evaluation, not to results."),
]

Only = Annotated[
    list[str] | None, typer.Option(help="A failure; may be given again. All if not given.")
]
Systems = Annotated[
    list[str] | None, typer.Option(help="A contender; may be given again. All if not given.")
]


@app.command("list")
def list_scenarios() -> None:
    """List the scenarios, and the evaluations."""
    for name in scenarios.names():
        typer.echo(f"run {name:12} {scenarios.find(name).summary}")
    for name in evaluations.names():
        typer.echo(f"evaluate {name:7} {evaluations.find(name).summary}")


@app.command()
def run(
    name: str,
    *,
    runs: Annotated[int | None, typer.Option(min=1, help="Repetitions.")] = None,
    control: Annotated[
        bool,
        typer.Option(
            "--control",
            help="Negative control of takeover: nothing is synced; 0 if losses show.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="For everything random.")] = 1,
    only: Only = None,
    systems: Systems = None,
    publish: Publish = False,
) -> None:
    """Play a scenario; exit 0 if everything that it promises held."""
    try:
        scenarios.find(name)
    except UnknownScenarioError as error:
        _refuse(str(error))
    if publish:
        results.publish()
    _run_inside(name, Options(runs, control, seed, _split(only), _split(systems)))


@app.command()
def race(
    only: Only = None,
    systems: Systems = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Rounds.")] = None,
    publish: Publish = False,
) -> None:
    """Let hactrl, keepalived and HAProxy race; exit 0 if hactrl reached its goals."""
    if publish:
        results.publish()
    chosen = Options(runs, only=_split(only), systems=_split(systems))
    _run_inside("race", chosen)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long, about.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of the faults: the same seed, the same faults.")] = 1,
    publish: Publish = False,
) -> None:
    """Let faults of every kind strike at random, two at once; exit 0 if nothing was lost."""
    if publish:
        results.publish()
    _run_inside("soak", Options(seed=seed, minutes=minutes))


def _split(names: list[str] | None) -> tuple[str, ...]:
    """Of options that are given several times, or once with commas."""
    return tuple(name for word in names or () for name in word.split(",") if name)


@app.command()
def evaluate(
    name: str,
    runs: Annotated[int | None, typer.Option(min=1, help="Repetitions.")] = None,
    seed: Annotated[int, typer.Option(help="For everything random.")] = 1,
    publish: Publish = False,
) -> None:
    """Evaluate algorithms; needs neither root nor a network."""
    try:
        evaluation = evaluations.find(name)
    except UnknownEvaluationError as error:
        _refuse(str(error))
    if publish:
        results.publish()
    story = Story(name)
    evaluation.play(Options(runs=runs, seed=seed), story)
    sys.exit(story.finish())


@app.command("figures")
def fill_figures() -> None:
    """Put the published figures into docs/evaluation.md."""
    document = figures.DOCUMENT
    try:
        text = figures.fill(document.read_text())
    except figures.FiguresError as error:
        _refuse(f"{document}: {error}")
    document.write_text(text)
    for block, said in figures.blocks(text):
        if figures.NOT_MEASURED in said:
            typer.echo(f"{block.file}.json is not measured yet: {block.command} --publish")


@app.command()
def shell() -> None:
    """Build everything, start it, and open a shell inside."""
    _run_inside("shell", Options())


@app.command()
def clean() -> None:
    """Remove what a killed run left, and nothing that is not ours."""
    workplace = Workplace.default()
    try:
        with workplace.locked():
            workplace.remove_leftovers()
    except LabBusyError as error:
        _refuse(str(error))


def _run_inside(name: str, options: Options) -> None:
    if os.geteuid() != 0:
        _refuse("the lab makes network namespaces and mounts: run it as root")
    try:
        status = run_isolated(Workplace.default(), [name, json.dumps(asdict(options))])
    except LabBusyError as error:
        _refuse(str(error))
    sys.exit(status)


def _refuse(message: str) -> None:
    typer.echo(f"mininet_lab: {message}", err=True)
    raise typer.Exit(_REFUSED)


if __name__ == "__main__":
    app()
