"""The web role moves by request, and by failure: nothing is special about mail.

It owns nothing, so that nobody must be fenced. A move takes no connection along: one under way at
that moment is reset by the other server, which does not know it, and the next one is served.
"""

from __future__ import annotations

from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.connections import Attempt
from mininet_lab.knocking import knocking, targets
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Json, standing

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
            asked = now()
            stage.client.failover("web", reason="to show it", target=second)
            stage.await_served("web", second)
            moves = [stage.finished_takeover("web", asked)]
            asked = now()
            stage.client.failback("web", reason="shown")
            stage.await_served("web", first)
            moves.append(stage.finished_takeover("web", asked))
            knocks.await_answers(int(RATE))
        planned = knocks.summary()
        cut_off = [a for a in knocks.attempts() if a.trouble and under_way(a, moves)]
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
    story.expect(
        planned.failed == len(cut_off),
        f"asked to move, it failed none but {len(cut_off)} connections under way at that moment",
        f"{planned.failed} failed",
    )
    story.expect(
        unplanned.longest_gap < 5.0,
        f"after the power cut it was away for {unplanned.longest_gap:.2f} s, less than 5 s",
    )
    story.tell(f"figures are in {results.write()}")


def under_way(attempt: Attempt, moves: list[Json]) -> bool:
    """Was a connection open while the switches changed over?"""
    return any(attempt.began < move["ended"] and attempt.ended > move["began"] for move in moves)
