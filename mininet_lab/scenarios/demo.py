"""Mail on its three ways while each server loses its power: nothing acknowledged is lost.

This is `make demo`. The network of the report, real Postfix and Dovecot, a power cut of
`smtp_pop` and later one of `mailrelay`, each followed by repair and failback.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.lab import StageError
from mininet_lab.mail import ledger
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Stage, standing
from mininet_lab.ways import WAY_WORDS, WAYS, Account, Traffic, account

#: What the demo promises for each failure.
ENOUGH_MAILS = 500
SERVED_WITHIN = 5.0

_BEFORE = 200  # mails acknowledged before the power is cut
_PATIENCE = 120.0


@dataclass(frozen=True)
class PowerCut:
    """One power cut and what users met. `struck`: when, on CLOCK_BOOTTIME; `gaps`: seconds
    until each way was served again."""

    server: str
    struck: float
    acknowledged: int
    gaps: dict[str, float | None]
    errors: dict[str, dict[str, int]]


def play(directory: Path, options: Options, story: Story) -> None:
    """Both failures, one after the other, on one lab; then every mailbox is read back."""
    results = Results("demo", options.seed)
    failures: list[PowerCut] = []
    traffics: list[Traffic] = []
    with standing(directory, story) as stage:
        for number, server in enumerate(("smtp_pop", "mailrelay")):
            story.chapter(f"{server} fails")
            traffic = Traffic(stage.lab, options.seed * 10 + number)
            traffics.append(traffic)
            failures.append(fail(stage, traffic, server))
            story.chapter(f"{server} is repaired and returns")
            stage.repair(server)
        story.chapter("Reading every mailbox back")
        with story.working("POP3 and IMAP as the users, and a look into the WAN's mailboxes"):
            found = account(stage.lab, traffics, stage.wan_mail)
    tell(story, failures, found)
    for failure in failures:
        served = [gap for gap in failure.gaps.values() if gap is not None]
        results.add(f"{failure.server} fails: served again", "hactrl", "s", served)
        results.add(f"{failure.server} fails: acknowledged", "hactrl", "mails",
                    [failure.acknowledged])  # fmt: skip
    results.add("acknowledged mails lost", "hactrl", "mails", [len(found.lost)])
    results.add("mails delivered twice", "hactrl", "mails", [found.duplicates])
    story.tell(f"figures are in {results.write()}")


def fail(
    stage: Stage,
    traffic: Traffic,
    server: str,
    *,
    mails: int = ENOUGH_MAILS,
    before: int = _BEFORE,
) -> PowerCut:
    """Cut a server's power in mid-traffic, after `before` acknowledged mails; go on until
    `mails` are acknowledged and every way is served again."""
    story = stage.story
    try:
        traffic.start()
        with story.working(f"mail on the ways (a), (b), (c); {before} acknowledged first"):
            _await(lambda: traffic.acknowledged() >= before)
        struck = stage.lab.power_cut(server)
        story.tell(f"[bold red]power of {server} is cut[/bold red]")
        with story.working(f"mail goes on; {mails} acknowledged, all ways served"):
            _await(
                lambda: (
                    traffic.acknowledged() >= mails
                    and None not in traffic.served_since(struck).values()
                )
            )
        with story.working("the last mails under way"):
            traffic.stop()
    finally:
        traffic.kill()
    entries = traffic.entries()
    return PowerCut(
        server,
        struck,
        traffic.acknowledged(),
        traffic.served_since(struck),
        ledger.errors_by_kind(entries),
    )


def tell(story: Story, failures: list[PowerCut], found: Account) -> None:
    """The table, and what had to hold."""
    rows = []
    for failure in failures:
        for way in WAYS:
            gap, errors = failure.gaps[way], failure.errors.get(way, {})
            met = ", ".join(f"{n} {word}" for word, n in sorted(errors.items())) or "none"
            rows.append((f"{failure.server} lost power", WAY_WORDS[way], _seconds(gap), met))
    columns = ("failure", "way", "served again after", "errors that users' programs met")
    story.table("What users noticed", columns, rows)
    story.table(
        "What became of the mail",
        ("acknowledged with 250", "read back", "lost", "twice", "arrived unacknowledged"),
        [
            (
                str(found.acknowledged),
                str(found.acknowledged - len(found.lost)),
                str(len(found.lost)),
                str(found.duplicates),
                str(found.unacknowledged),
            )
        ],
    )
    for failure in failures:
        story.expect(
            failure.acknowledged >= ENOUGH_MAILS,
            f"{failure.acknowledged} mails were acknowledged around the failure of "
            f"{failure.server} (at least {ENOUGH_MAILS})",
        )
        slow = {w: g for w, g in failure.gaps.items() if g is None or g > SERVED_WITHIN}
        story.expect(
            not slow,
            f"all ways were served within {SERVED_WITHIN:.0f} s of the failure of {failure.server}",
            ", ".join(f"({way}) {_seconds(gap)}" for way, gap in slow.items()),
        )
    story.expect(
        not found.lost, "no acknowledged mail was lost", f"lost: {', '.join(found.lost[:10])}"
    )
    story.expect(found.damaged == 0, "no mail arrived damaged", f"{found.damaged} damaged")


def _await(holds: Callable[[], bool]) -> None:
    deadline = now() + _PATIENCE
    while not holds():
        if now() > deadline:
            raise StageError(f"mail did not go on within {_PATIENCE:.0f} s")
        time.sleep(0.1)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"
