"""Kill the controller under 200 new connections a second: none fails, and no rule is touched.

Then a rule is deleted by hand while the controller is away: it comes back, alone.
"""

from __future__ import annotations

from pathlib import Path

from mininet_lab.knocking import Knocks, knocking, targets
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Stage, standing

RATE = 200.0
RUNS = 3
_SWITCH = "i1"


def play(directory: Path, options: Options, story: Story) -> None:
    """Several restarts, all under load, and one with a rule missing."""
    results = Results("restart", options.seed)
    changes: list[dict[str, int]] = []
    with standing(directory, story) as stage:
        web = targets(stage.lab, "web", "http")
        client3 = stage.lab.network.nodes["client3"].command
        with knocking(stage.lab, client3, web, RATE, "restart") as knocks:
            knocks.await_answers(int(RATE))
            for number in range(options.runs or RUNS):
                story.chapter(f"Restart {number + 1}")
                changes.append(restart(stage, knocks))
        summary = knocks.summary()
        story.chapter("A rule is deleted by hand while the controller is away")
        flow, mended, back = lose_a_rule(stage)
    for name in ("flow", "group", "meter"):
        counts = [change[name] for change in changes]
        results.add(f"{name}-mods after a restart", "hactrl", "messages", counts)
        story.expect(not any(counts), f"no {name}-mod after a restart", f"{counts}")
    results.add("failed connections", "hactrl", "connections", [summary.failed])
    results.add("connections", "hactrl", "connections", [summary.attempts])
    results.add("longest gap between answers", "hactrl", "s", [summary.longest_gap])
    story.expect(
        summary.failed == 0,
        f"none of {summary.attempts} connections failed",
        f"{summary.failed} failed",
    )
    story.expect(back, "the deleted rule is back", flow)
    story.expect(
        mended == {"flow": 1, "group": 0, "meter": 0}, "it alone was sent", f"sent: {mended}"
    )
    story.tell(f"figures are in {results.write()}")


def restart(stage: Stage, knocks: Knocks) -> dict[str, int]:
    """Kill and start the controller; what it sent to the switches until it had settled."""
    watch = stage.lab.ovs.watch_changes()
    stage.lab.kill_controller()
    with stage.story.working("nobody is in charge; connections go on"):
        knocks.await_answers(int(RATE / 2))
    stage.lab.controller.start()
    stage.put_in_order()
    return watch.stop()


def lose_a_rule(stage: Stage) -> tuple[str, dict[str, int], bool]:
    """The rule, what the controller sent, and whether the rule is back."""
    ovs = stage.lab.ovs
    stage.lab.kill_controller()
    # Not one that is learnt, and none that carries traffic by itself now.
    flow = next(f for f in ovs.dump_flows(_SWITCH) if "cookie=0x4ac7" in f and "arp" in f)
    ovs.delete_flow(_SWITCH, flow)
    assert flow not in ovs.dump_flows(_SWITCH), "the rule could not be deleted"
    watch = ovs.watch_changes()
    stage.lab.controller.start()
    stage.put_in_order()
    sent = watch.stop()
    return flow, sent, flow in ovs.dump_flows(_SWITCH)
