"""The race: how long users are without an answer, beside keepalived and HAProxy (`--only`,
`--systems`).

Each failure strikes each contender in turn, so that what else the machine does meets all of them.
Shown are the longest times without a greeting to anybody, and what was moved or failed in the five
seconds before, when nothing was wrong. With `--publish` the figures, and a plot of them, are those
that docs/evaluation.md quotes.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from mininet_lab.plot import plot_race
from mininet_lab.race.contenders import SETTINGS
from mininet_lab.race.failures import FAILURES
from mininet_lab.race.rounds import MissingProgramsError, Run, run_rounds
from mininet_lab.report import Story
from mininet_lab.results import Results, directory
from mininet_lab.scenarios import Options

RUNS = 5

#: Whose times the goals are for.
RACER = "hactrl-fast"

#: Whose agents hear of a daemon's end, and the seconds that users then may be without it.
ATTENDED, TOLD = "hactrl-agents", 0.010

#: How many times longer the fastest of the others must take, where links fail.
AHEAD = 3.0


def play(directory_: Path, options: Options, story: Story) -> None:
    """See the module."""
    systems, failures = options.systems or tuple(SETTINGS), options.only or tuple(FAILURES)
    for kind, names, known in (
        ("system", systems, SETTINGS),
        ("failure", failures, FAILURES),
    ):
        for name in names:
            if name not in known:
                story.expect(False, f"{kind} {name} is known", f"there are {', '.join(known)}")
                return
    try:
        runs = run_rounds(directory_, story, systems, failures, options.runs or RUNS)
    except MissingProgramsError as error:
        story.expect(False, "the contenders are installed", str(error))
        return
    show(story, runs, systems, failures, options.seed)
    judge(story, runs, failures)


def times(runs: list[Run], system: str, failure: str) -> list[float]:
    """Seconds, of the runs whose blackout ended."""
    return [
        run.found.seconds
        for run in runs
        if (run.setting, run.failure) == (system, failure) and run.found.seconds is not None
    ]


def show(
    story: Story,
    runs: list[Run],
    systems: tuple[str, ...],
    failures: tuple[str, ...],
    seed: int,
) -> None:
    """Tables, a file of results, and a plot."""
    results = Results("race", seed)
    rows = []
    for failure in failures:
        words = FAILURES[failure].words
        ours = times(runs, RACER, failure)
        for system in systems:
            mine = [run for run in runs if (run.setting, run.failure) == (system, failure)]
            found = times(runs, system, failure)
            results.add(words, system, "s", found)
            early = [float(run.found.early) for run in mine]
            moved = [float(run.found.moved) for run in mine]
            results.add(f"{words}: failed before it", system, "connections", early)
            results.add(f"{words}: moved before it", system, "connections", moved)
            ratio = f"{median(found) / median(ours):.1f}" if found and ours else ""
            spread = (min(found), median(found), max(found)) if found else ()
            told = " / ".join(f"{seconds * 1e3:,.1f}" for seconds in spread)
            never = f"{len(mine) - len(found)} did not end" if len(found) < len(mine) else ""
            before = f"{sum(early):.0f} / {sum(moved):.0f}"
            row = (words if system == systems[0] else "", SETTINGS[system].words)
            rows.append((*row, " ".join(filter(None, (told, never))), ratio, before))
    columns = ("failure", "contender", "least / median / most, ms", "of ours", "failed / moved")
    story.table("Without an answer, and in the five seconds before", columns, rows)
    panels = {
        FAILURES[failure].words: {
            SETTINGS[system].words: times(runs, system, failure) for system in systems
        }
        for failure in failures
    }
    story.tell(f"figures are in {results.write()}")
    for kind in ("svg", "png"):
        story.tell(f"drawn in {plot_race(directory() / f'race.{kind}', panels)}")


def judge(story: Story, runs: list[Run], failures: tuple[str, ...]) -> None:
    """The goals of hactrl with its fastest timers, if it took part."""
    for failure in failures:
        ours = times(runs, RACER, failure)
        if not ours:
            continue
        goal, words = FAILURES[failure].goal, FAILURES[failure].words
        took = f"{median(ours) * 1e3:.1f} ms in the median"
        story.expect(median(ours) <= goal, f"{words}: at most {goal * 1e3:.0f} ms", took)
        if failure.startswith("link"):
            others = {
                system: median(found)
                for system in SETTINGS
                if not system.startswith("hactrl") and (found := times(runs, system, failure))
            }
            if others:
                best = min(others, key=lambda system: others[system])
                ratio = others[best] / median(ours)
                story.expect(
                    ratio >= AHEAD, f"{words}: {AHEAD:.0f} times ahead", f"{best}: {ratio:.1f}"
                )
    if attended := times(runs, ATTENDED, "killed"):
        took = f"{median(attended) * 1e3:.1f} ms in the median"
        promise = f"daemon killed, told by its agent: at most {TOLD * 1e3:.0f} ms"
        story.expect(median(attended) <= TOLD, promise, took)
    for run in runs:
        if run.setting.startswith("hactrl") and run.found.moved:
            story.expect(False, f"{run.setting} moves nobody without a failure", f"{run}")
