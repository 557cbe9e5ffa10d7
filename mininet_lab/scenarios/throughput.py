"""What it costs users to be steered where nothing fails: throughput, and the time to a greeting.

In each round (`--runs`, 20 if not given) one TCP stream goes to the live server, then one comes
from it, and then a new connection is begun every 2 ms: with hactrl, over its rules alone, and over
a bare bridge. Its controller and its prober share two processors with everybody else here, as they
would not on a site; the rules alone tell the one cost from the other.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from mininet_lab.race.arena import ADDRESS, BULK_PORT, CLIENT, LIVE, Arena
from mininet_lab.race.contenders import bare, ours
from mininet_lab.race.contenders.contender import Setting
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options

ROUNDS = 20

#: Of hactrl, as a part of the bare bridge's: throughput at least, greetings at most, in the median
#: of all rounds.
THROUGHPUT, GREETING, GREETING_99 = 0.95, 1.05, 1.2

#: Seconds of each stream, and of new connections.
_STREAM, _GREETINGS = 3, 4.0

_SETTINGS = (ours.SETTINGS[0], ours.RULES_ALONE, bare.SETTING)


@dataclass(frozen=True)
class Cost:
    """What one user met. Streams in bits a second, to the server and from it; greetings in seconds,
    in the median and of the slowest hundredth the fastest."""

    sent: float
    received: float
    greeting: float
    greeting_99: float


WORDS = {
    "sent": "a stream to the server",
    "received": "a stream from the server",
    "greeting": "a greeting",
    "greeting_99": "99 of 100 greetings",
}

STREAMS = ("sent", "received")


def play(directory: Path, options: Options, story: Story) -> None:
    """See the module."""
    if not shutil.which("iperf3"):
        story.expect(False, "all is installed", "apt-get install iperf3")
        return
    rounds = options.runs or ROUNDS
    found: dict[str, list[Cost]] = {setting.name: [] for setting in _SETTINGS}
    for number in range(1, rounds + 1):
        story.chapter(f"Round {number} of {rounds}")
        # Who goes first takes turns, so that what changes with time meets all.
        for setting in _SETTINGS if number % 2 else _SETTINGS[::-1]:
            cost = measure(directory / f"throughput-{number}-{setting.name}", setting)
            found[setting.name].append(cost)
            story.tell(
                f"{setting.words}: {cost.sent / 1e6:.0f} and {cost.received / 1e6:.0f} Mbit/s, "
                f"greeting {cost.greeting * 1e3:.2f} ms, 99 % {cost.greeting_99 * 1e3:.2f} ms"
            )
    conclude(story, Results("throughput", options.seed), found)


def measure(place: Path, setting: Setting) -> Cost:
    """In an arena of its own."""
    with Arena(place, setting.configure, setting.timers) as arena:
        contender = setting.make(arena)
        try:
            contender.start()
            with arena.client("settling") as log:
                contender.settle()
                arena.await_served(log, LIVE)
            arena.live.start("bulk", "iperf3", "--server", "--port", str(BULK_PORT))
            arena.live.await_listening(BULK_PORT)
            sent, received = _stream(arena), _stream(arena, "--reverse")
            with arena.client("greetings") as log:
                time.sleep(_GREETINGS)
            took = [knock.ended - knock.began for knock in log.knocks() if knock.server]
            return Cost(sent, received, median(took), quantiles(took, n=100)[-1])
        finally:
            contender.stop()


def _stream(arena: Arena, *options: str) -> float:
    """Bits a second that arrive."""
    target = ("--client", str(ADDRESS), "--port", str(BULK_PORT), "--time", str(_STREAM))
    said = arena.network.nodes[CLIENT.name].run("iperf3", *target, *options, "--json")
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"])


def conclude(story: Story, results: Results, found: dict[str, list[Cost]]) -> None:
    """A table, a file of results, and what was promised of the median of all rounds."""
    steered, _, plain = (found[setting.name] for setting in _SETTINGS)
    rows = []
    for what, words in WORDS.items():
        unit, scale, shown = ("bit/s", 1e-6, "Mbit/s") if what in STREAMS else ("s", 1e3, "ms")
        medians = []
        for name, costs in found.items():
            case = results.add(words, name, unit, [getattr(cost, what) for cost in costs])
            medians.append(f"{median(case.values) * scale:.2f} {shown}")
        spreads = []
        for setting in _SETTINGS[:-1]:
            ratios = parts(what, found[setting.name], plain)
            results.add(f"{words}: of the bare bridge's", setting.name, "", ratios)
            spreads.append(f"{min(ratios):.2f} / {median(ratios):.2f} / {max(ratios):.2f}")
        rows.append((words, *medians, *spreads))
    columns = ("", *(setting.words for setting in _SETTINGS), "hactrl's part", "its rules' part")
    story.table(f"What steering costs, {len(plain)} rounds", columns, rows)
    story.tell(f"figures are in {results.write()}")
    for what in STREAMS:
        ratio = median(parts(what, steered, plain))
        promise = f"{WORDS[what]}: at least {THROUGHPUT} of the bare bridge's"
        story.expect(ratio >= THROUGHPUT, promise, f"{ratio:.2f}")
    for what, most in (("greeting", GREETING), ("greeting_99", GREETING_99)):
        ratio = median(parts(what, steered, plain))
        promise = f"{WORDS[what]}: at most {most} of the bare bridge's"
        story.expect(ratio <= most, promise, f"{ratio:.2f}")


def parts(what: str, costs: list[Cost], plain: list[Cost]) -> list[float]:
    """Round by round, of the bare bridge's."""
    return [
        getattr(one, what) / getattr(other, what) for one, other in zip(costs, plain, strict=True)
    ]
