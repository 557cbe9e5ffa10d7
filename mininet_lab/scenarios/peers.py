"""Pacemaker with Corosync in hactrl's place, on the same faults (`--only`, `--systems`).

The server that plays `smtp_pop` loses its power, or one of its daemons hangs, under mail on all
three ways. hactrl as the site file says stands beside Pacemaker at its defaults and at its best
stable setting (`mininet_lab.peers.tuning`). Before that, mail flows for a while without a fault,
and nothing may move. At last every mailbox is read back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from shutil import which
from statistics import median

from mininet_lab.peers.faults import FAULTS
from mininet_lab.peers.stage import PROGRAMS
from mininet_lab.peers.trial import SYSTEMS, Trial, idle, strike
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.ways import WAYS, Account, Traffic, account

RUNS = 5

#: The fault that is none: minutes without one.
IDLE = "idle"
_IDLE_SECONDS = 110.0


def play(directory: Path, options: Options, story: Story) -> None:
    """See the module."""
    systems = options.systems or tuple(SYSTEMS)
    faults = options.only or (IDLE, *FAULTS)
    for kind, names, known in (
        ("system", systems, tuple(SYSTEMS)),
        ("fault", faults, (IDLE, *FAULTS)),
    ):
        if unknown := [name for name in names if name not in known]:
            story.expect(False, f"{kind} {unknown[0]} is known", f"there are {', '.join(known)}")
            return
    if packages := missing_packages(systems):
        story.expect(False, "the peers are installed", f"apt-get install {' '.join(packages)}")
        return
    chosen = (*options.systems, *options.only)
    results = Results("-".join(("peers", *chosen)), options.seed)
    rows: list[tuple[str, ...]] = []
    for system in systems:
        story.chapter(system)
        place = directory / system
        place.mkdir()
        measured = _measure(place, system, faults, options, story)
        _judge(measured, story, results)
        rows += _rows(measured)
    columns = ("fault", "system", *(f"({way}) served again" for way in WAYS), "longest without")
    story.table("Seconds: least / median / most", columns, rows)
    story.tell(f"figures are in {results.write()}")


def missing_packages(systems: tuple[str, ...]) -> list[str]:
    """Debian's, of the programs that are not there."""
    if not any(system.startswith("pacemaker") for system in systems):
        return []
    return sorted(package for program, package in PROGRAMS.items() if which(program) is None)


@dataclass
class Measured:
    """What one system did. `still`: nothing moved in the time without a fault, if there was one."""

    system: str
    still: bool | None
    trials: dict[str, list[Trial]]
    mails: Account


def _measure(
    directory: Path, system: str, faults: tuple[str, ...], options: Options, story: Story
) -> Measured:
    """Every fault in each round, then every mailbox."""
    runs = options.runs or RUNS
    trials: dict[str, list[Trial]] = {fault: [] for fault in faults if fault != IDLE}
    still = None
    with SYSTEMS[system](directory, story) as contender:
        contender.put_in_order()
        lab = contender.lab
        mail = [Traffic(lab, options.seed * 1000 + n) for n in range(1 + runs * len(trials))]
        if IDLE in faults:
            with story.working(f"{_IDLE_SECONDS:.0f} s of mail without a fault"):
                still = idle(contender, mail[0], _IDLE_SECONDS)
        for traffic, (run, fault) in zip(mail[1:], product(range(runs), trials), strict=True):
            found = strike(contender, FAULTS[fault], traffic, story)
            trials[fault].append(found)
            story.tell(f"{run + 1} of {runs}, {FAULTS[fault].words}: {_words(found)}")
        with story.working("reading every mailbox back"):
            played = mail if IDLE in faults else mail[1:]
            mails = account(lab, played, contender.wan_mail)
    return Measured(system, still, trials, mails)


def _judge(measured: Measured, story: Story, results: Results) -> None:
    system, mails = measured.system, measured.mails
    if measured.still is not None:
        story.expect(measured.still, f"{system} moved nothing without a fault")
        results.add("moved without a fault", system, "times", [float(not measured.still)])
    for fault, found in measured.trials.items():
        words = FAULTS[fault].words
        for way in WAYS:
            served = [s for trial in found if (s := trial.served[way]) is not None]
            results.add(f"{words}: way ({way}) served again", system, "s", served)
            never = float(len(found) - len(served))
            results.add(f"{words}: way ({way}) never served again", system, "times", [never])
            longest = [trial.longest[way] for trial in found]
            results.add(f"{words}: way ({way}) longest without", system, "s", longest)
        early = [float(not trial.quiet) for trial in found]
        results.add(f"{words}: moved before it", system, "times", early)
        story.expect(not any(early), f"{system} moved nothing before: {words}")
    results.add("acknowledged mails", system, "mails", [mails.acknowledged])
    results.add("acknowledged mails lost", system, "mails", [len(mails.lost)])
    results.add("mails delivered twice", system, "mails", [mails.duplicates])
    story.tell(
        f"{system}: {mails.acknowledged} mails acknowledged, {len(mails.lost)} lost, "
        f"{mails.duplicates} delivered twice"
    )
    story.expect(not mails.lost, f"{system} lost no acknowledged mail", ", ".join(mails.lost[:10]))


def _rows(measured: Measured) -> list[tuple[str, ...]]:
    rows = []
    for fault, found in measured.trials.items():
        cells = [_spread([trial.served[way] for trial in found]) for way in WAYS]
        longest = _spread([max(trial.longest.values()) for trial in found])
        rows.append((FAULTS[fault].words, measured.system, *cells, longest))
    return rows


def _spread(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    never = f"{len(values) - len(found)} never" if len(found) < len(values) else ""
    told = f"{min(found):.2f} / {median(found):.2f} / {max(found):.2f}" if found else ""
    return " ".join(filter(None, (told, never)))


def _words(trial: Trial) -> str:
    return ", ".join(
        f"({way}) {'never' if seconds is None else f'{seconds:.2f} s'}"
        for way, seconds in trial.served.items()
    )
