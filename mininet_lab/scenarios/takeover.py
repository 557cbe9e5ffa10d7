"""How long a takeover of smtp_pop takes, from the power cut to the first served connection.

Each run cuts the power of the server that plays `smtp_pop`, under mail on all three ways, and
repairs it afterwards. With `--control` nothing is synced, and the mails that the power cut then
loses must show: it proves that the accounting would see a loss. It ends with 0 if they do, and
with 1 if nothing was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mininet_lab.mail.description import Fsync, MailSite
from mininet_lab.report import Story
from mininet_lab.results import Case, Results
from mininet_lab.scenarios import Options
from mininet_lab.scenarios.demo import fail
from mininet_lab.stage import Stage, standing
from mininet_lab.ways import WAYS, Traffic, account

ROLE = "smtp_pop"
ENOUGH_RUNS = 10
CONTROL_RUNS = 2

#: The parts of a takeover, in order, as the journal's entry names its steps.
STEPS = {
    "store": "stored",
    "fence": "fenced",
    "assume": "spool moved",
    "serve": "served",
    "steer": "steered",
}


@dataclass(frozen=True)
class Timing:
    """Of one run, in seconds. `ways`: from the fault to the first success that began after it."""

    detected: float
    steps: dict[str, float]
    total: float
    ways: dict[str, float | None]


def play(directory: Path, options: Options, story: Story) -> None:
    """As many power cuts as asked for, then every mailbox is read back."""
    runs = options.runs or (CONTROL_RUNS if options.control else ENOUGH_RUNS)
    mail = replace(MailSite(), fsync=Fsync.NEVER) if options.control else MailSite()
    timings: list[Timing] = []
    traffics: list[Traffic] = []
    with standing(directory, story, mail) as stage:
        for number in range(runs):
            story.chapter(f"Run {number + 1} of {runs}")
            traffic = Traffic(stage.lab, options.seed * 1000 + number)
            traffics.append(traffic)
            timings.append(measure(stage, traffic))
            stage.repair(stage.lab.site.roles[ROLE].servers[0])
        story.chapter("Reading every mailbox back")
        with story.working("POP3 and IMAP as the users, and a look into the WAN's mailboxes"):
            found = account(stage.lab, traffics, stage.wan_mail)
    name = "takeover-control" if options.control else "takeover"
    results = Results(name, options.seed)
    cases = tabulate(results, timings)
    story.table(
        f"{ROLE}: from the power cut to served again, {runs} runs",
        ("part", "median", "least", "most"),
        [
            (c.case, f"{(c.median or 0) * 1e3:.0f} ms", f"{min(c.values) * 1e3:.0f} ms",
             f"{max(c.values) * 1e3:.0f} ms")
            for c in cases if c.values
        ],
    )  # fmt: skip
    results.add("acknowledged mails lost", "hactrl", "mails", [len(found.lost)])
    results.add("acknowledged mails", "hactrl", "mails", [found.acknowledged])
    results.add("mails delivered twice", "hactrl", "mails", [found.duplicates])
    story.tell(f"figures are in {results.write()}")
    lost = f"{len(found.lost)} of {found.acknowledged} acknowledged mails were lost"
    if options.control:
        story.expect(bool(found.lost), f"without syncing, losses show: {lost}")
    else:
        story.expect(not found.lost, "no acknowledged mail was lost", lost)
        for way in WAYS:
            story.expect(
                all(timing.ways[way] is not None for timing in timings),
                f"way ({way}) was served again in every run",
            )


def measure(stage: Stage, traffic: Traffic) -> Timing:
    """One power cut under load, and what the journal and the ledger say of it."""
    failure = fail(stage, traffic, stage.lab.site.roles[ROLE].servers[0], mails=120, before=40)
    entry = stage.finished_takeover(ROLE, failure.struck)
    return Timing(
        detected=entry["began"] - failure.struck,
        steps={step: float(entry[step]) for step in STEPS if step in entry},
        total=entry["ended"] - failure.struck,
        ways=failure.gaps,
    )


def tabulate(results: Results, timings: list[Timing]) -> list[Case]:
    """Cases of a results file from the runs: the parts of a takeover, then what users saw."""
    cases = [results.add("detected", "hactrl", "s", [t.detected for t in timings])]
    for step, words in STEPS.items():
        cases.append(results.add(words, "hactrl", "s", [t.steps[step] for t in timings]))
    cases.append(
        results.add("all of it, by the journal", "hactrl", "s", [t.total for t in timings])
    )
    for way in WAYS:
        values = [gap for t in timings if (gap := t.ways[way]) is not None]
        cases.append(results.add(f"way ({way}) served again", "hactrl", "s", values))
    return cases
