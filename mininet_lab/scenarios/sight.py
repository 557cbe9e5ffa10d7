"""The controller loses its sight: the prober's cable, its process, and the controller itself.

While nobody can be judged the site says so, and nothing moves, neither then nor when sight comes
back. A controller that was stopped while a server lost its power serves the role elsewhere soon
after it goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Json, Stage, standing
from topology.model import Attachment

ROLE = "smtp_pop"
RUNS = 10

#: Seconds: the cable is out, the controller is stopped, and until a role must be served after it.
CABLE_OUT, STOPPED, SERVED_WITHIN = 6.0, 20.0, 3.0


def play(directory: Path, options: Options, story: Story) -> None:
    """The prober's cables in turn, then its process, then the controller."""
    results = Results("sight", options.seed)
    with standing(directory, story) as stage:
        began = moves(stage)
        segments = [s for s in stage.lab.site.network.segments.values() if s.prober is not None]
        for number in range(options.runs or RUNS):
            segment = segments[number % len(segments)]
            assert segment.prober is not None, "chosen for having one"
            story.chapter(f"Pull {number + 1}: the prober's cable on {segment.name}")
            pull(stage, segment.prober.attachment)
        pulled = moves(stage) - began
        story.chapter("The prober's process is stopped")
        stage.lab.controller.signal_prober()
        await_reason(stage, "prober_silent", "waiting until its silence is told")
        stage.put_in_order()
        hung = moves(stage) - began - pulled
        story.chapter(f"The controller is stopped for {STOPPED:.0f} s, and a server's power is cut")
        seconds = away(stage)
        stage.repair(stage.lab.site.roles[ROLE].servers[0])
    results.add("moves by a pulled cable of the prober", "hactrl", "moves", [pulled])
    results.add("moves by a stopped prober", "hactrl", "moves", [hung])
    results.add("served after the controller's return", "hactrl", "s", [seconds])
    story.expect(pulled == 0, "the prober's cable moved nobody", f"{pulled} moves")
    story.expect(hung == 0, "the prober's process moved nobody", f"{hung} moves")
    story.expect(
        seconds <= SERVED_WITHIN,
        f"{ROLE} was served {seconds:.2f} s after the controller went on",
        f"more than {SERVED_WITHIN:.0f} s",
    )
    story.tell(f"figures are in {results.write()}")


def pull(stage: Stage, port: Attachment) -> None:
    """Pull a cable of the prober for a while; the site says so, and is in order again after it."""
    network = stage.lab.network
    network.set_port(port, up=False)
    try:
        struck = now()
        await_reason(stage, "prober_port_down", "waiting until the site says that it cannot see")
        time.sleep(max(0.0, struck + CABLE_OUT - now()))
    finally:
        network.set_port(port, up=True)
    stage.put_in_order()


def await_reason(stage: Stage, reason: str, what: str) -> None:
    """Until the site is not settled, for this reason."""

    def missing(status: Json) -> list[str]:
        told = {each["reason"] for each in status["unsettled"]}
        return [] if reason in told else [f"{reason} is not among {sorted(told)}"]

    stage.await_status(what, missing, 5.0)


def away(stage: Stage) -> float:
    """Stop the controller, cut the power of who plays the role, and let it go on: seconds from
    then until the role is served elsewhere."""
    controller = stage.lab.controller
    controller.pause()
    try:
        stage.lab.power_cut(stage.lab.site.roles[ROLE].servers[0])
        with stage.story.working("nobody is in charge, and nobody serves"):
            time.sleep(STOPPED)
    finally:
        resumed = now()
        controller.resume()
    entry = stage.finished_takeover(ROLE, resumed)
    began, ended = entry["began"] - resumed, entry["ended"] - resumed
    stage.story.tell(f"{ROLE}: decided after {began:.2f} s, served after {ended:.2f} s")
    return float(ended)


def moves(stage: Stage) -> int:
    """Takeovers that the journal knows of, of all roles."""
    entries = stage.client.history(limit=1000)
    return sum(entry.kind == "takeover.started" for entry in entries)
