"""Pull cables, one after the other, under new connections: the switches repair it themselves.

First a cable between two switches, then the card that a role's users are sent to.
"""

from __future__ import annotations

from pathlib import Path

from mininet_lab.connections import summarize
from mininet_lab.knocking import knocking, targets
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Stage, standing
from topology.model import Attachment

RATE = 100.0
RUNS = 5

#: What is pulled, and whose users watch.
CABLES = (
    ("cable between i1 and i2", Attachment("i1", 11), "smtp_pop", "pop3", "client1"),
    ("card C of smtp_pop", Attachment("i2", 2), "smtp_pop", "pop3", "client1"),
    ("card B of mailrelay", Attachment("i1", 2), "web", "http", "client3"),
)


def play(directory: Path, options: Options, story: Story) -> None:
    """Each cable some times; it is plugged in again before the next."""
    results = Results("link", options.seed)
    rows = []
    with standing(directory, story) as stage:
        for name, cable, role, service, client in CABLES:
            story.chapter(f"Pulling the {name}")
            where = targets(stage.lab, role, service)
            pulled = [
                pull(stage, cable, client, where, f"{cable.switch}-{cable.port}-{number}")
                for number in range(options.runs or RUNS)
            ]
            gaps = results.add(f"{name}: longest gap", "hactrl", "s", [g for g, _ in pulled])
            lost = results.add(f"{name}: failed", "hactrl", "connections", [f for _, f in pulled])
            rows.append((name, f"{(gaps.median or 0) * 1e3:.0f} ms", f"{lost.median:.0f}"))
            story.expect(
                max(gaps.values) < 1.0, f"users of {role} were served within 1 s", f"{gaps.values}"
            )
    columns = ("pulled", "longest gap, median", "failed connections, median")
    story.table(f"At {RATE:.0f} new connections a second", columns, rows)
    story.tell(f"figures are in {results.write()}")


def pull(
    stage: Stage, cable: Attachment, client: str, where: list[str], name: str
) -> tuple[float, float]:
    """Longest gap in seconds, and failed connections, while a cable is out and in again."""
    with knocking(stage.lab, client, where, RATE, name) as knocks:
        knocks.await_answers(int(RATE / 2))
        struck = stage.lab.link_down(cable)
        knocks.await_answers(int(RATE))
        stage.lab.link_up(cable)
        knocks.await_answers(int(RATE))
    summary = summarize(a for a in knocks.attempts() if a.ended >= struck - 0.1)
    stage.put_in_order()
    return summary.longest_gap, summary.failed
