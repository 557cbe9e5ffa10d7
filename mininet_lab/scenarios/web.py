"""The web role moves by request, and by failure: nothing is special about mail.

It owns nothing, so that nobody must be fenced.
"""

from __future__ import annotations

from pathlib import Path

from mininet_lab.knocking import knocking, targets
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import standing

RATE = 100.0


def play(directory: Path, options: Options, story: Story) -> None:
    """A switchover there and back under load, then a power cut of the server that has it."""
    results = Results("web", options.seed)
    with standing(directory, story) as stage:
        first, second = stage.lab.site.roles["web"].servers
        where = targets(stage.lab, "web", "http")
        client1 = stage.lab.network.nodes["client1"].command
        story.chapter("Asked to move, there and back")
        with knocking(stage.lab, client1, where, RATE, "switchover") as knocks:
            knocks.await_answers(int(RATE))
            stage.client.failover("web", reason="to show it", target=second)
            stage.await_served("web", second)
            stage.client.failback("web", reason="shown")
            stage.await_served("web", first)
            knocks.await_answers(int(RATE))
        planned = knocks.summary()
        story.chapter(f"{first} loses its power")
        with knocking(stage.lab, client1, where, RATE, "failover") as knocks:
            knocks.await_answers(int(RATE))
            stage.lab.power_cut(first)
            knocks.await_answers(int(RATE))
        unplanned = knocks.summary()
        stage.await_served("web", second)
        stage.repair(first)
    for name, summary in (("switchover", planned), ("power cut", unplanned)):
        results.add(f"{name}: failed connections", "hactrl", "connections", [summary.failed])
        results.add(f"{name}: longest gap", "hactrl", "s", [summary.longest_gap])
    story.expect(planned.failed == 0, "no connection failed when it was asked to move")
    story.expect(
        unplanned.longest_gap < 5.0,
        f"after the power cut it was away for {unplanned.longest_gap:.2f} s, less than 5 s",
    )
    story.tell(f"figures are in {results.write()}")
