"""File servers on a campus: large files go on while an interface, a link or a switch fails, and
every client is served by the nearest interface.

Two parts. In the first one, each failure strikes what carries a client's packets, seen by a probe
of 1 ms and by a large file under way. The second one counts, by the switches' own counters, what
each backbone link carries when all clients fetch a file: from a server with one interface, the
usual or the best one; with its interfaces handed out by turns; by the nearest; by offsets that
spread the clients of a crowded house.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mininet_lab import campus_traffic
from mininet_lab.campus import Campus, clients
from mininet_lab.fetching import fetch, fetching, write_file
from mininet_lab.pinging import Pings, pinging
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from topology.model import Attachment

SERVICE, SERVER = "10.20.0.10", "files"

#: At r2, where no interface is: three are equally near, each over one link.
AT = "r2"
CLIENT = next(guest.name for guest in clients() if guest.attachment.switch == AT)

RUNS = 5
LARGE = 100_000_000

#: Seconds of a probe's path on watch, and of quiet after each repair.
_LOOK, _QUIET = 0.3, 1.0

#: Octets that say at once which way a file takes, long before it is there.
_PLENTY = 1_000_000


@dataclass(frozen=True)
class Way:
    """What carries a client's packets: a link, the switch behind it, the interface there."""

    link: Attachment
    switch: str
    interface: Attachment


@dataclass(frozen=True)
class CableFault:
    """`strikes` are the cables that it pulls."""

    name: str
    strikes: Callable[[Campus, Way], list[Attachment]]


FAILURES = (
    CableFault("interface lost", lambda _campus, way: [way.interface]),
    CableFault("link lost", lambda _campus, way: [way.link]),
    CableFault("switch lost", lambda campus, way: campus.cables_of(way.switch)),
)


def play(directory: Path, options: Options, story: Story) -> None:
    """Both parts."""
    results = Results("fileserver", options.seed)
    with Campus(directory) as campus:
        story.chapter("Failures under way")
        with story.working("waiting until every interface answers its probes"):
            campus.await_healthy()
        digest = write_file(campus.samba[SERVER].share / "large", LARGE, options.seed)
        for failure in FAILURES:
            strike(campus, failure, options.runs or RUNS, results, story)
            transfer(campus, failure, digest, results, story)
        story.expect(
            fetch(campus.network.nodes[CLIENT], SERVICE, "large", directory / "after") == digest,
            "all repaired: the file is fetched once more",
        )
        restart(campus, story)
        site = campus.site
    campus_traffic.count(directory, site, results, story)
    story.tell(f"figures are in {results.write()}")


def strike(campus: Campus, failure: CableFault, runs: int, results: Results, story: Story) -> None:
    """How long a probe of 1 ms stays without an answer, when its way fails and when that is
    repaired."""
    node = campus.network.nodes[CLIENT]
    before, failed, repaired = [], [], []
    with story.working(f"{failure.name}, {runs} times, seen by a probe each millisecond"):
        for number in range(runs):
            log = campus.directory / f"ping-{failure.name.replace(' ', '-')}-{number}.log"
            with pinging(node, SERVICE, log) as pings:
                pings.await_answers(_QUIET)
                cables = failure.strikes(campus, carrying(campus))
                before.append(pings.blackout(time.time() - _QUIET))
                failed.append(blackout(campus.lose, cables, pings))
                repaired.append(blackout(campus.regain, cables, pings))
            campus.await_healthy()
    idle = results.add(f"{failure.name}: longest gap before", "hactrl", "s", before)
    gone = results.add(f"{failure.name}: blackout", "hactrl", "s", failed)
    back = results.add(f"{failure.name}: blackout at repair", "hactrl", "s", repaired)
    rows = [
        (what, f"{1e3 * (found.median or 0):.0f}", f"{1e3 * max(found.values):.0f}")
        for what, found in (("before", idle), ("at failure", gone), ("at repair", back))
    ]
    title = f"{failure.name}: longest time without an answer, in ms"
    story.table(title, ("", "median", "most"), rows)


def blackout(
    act: Callable[[list[Attachment]], None], cables: list[Attachment], pings: Pings
) -> float:
    """What a deed costs, until everything is quiet again."""
    struck = time.time()
    act(cables)
    pings.await_answers(_QUIET, struck)
    return pings.blackout(struck)


def carrying(campus: Campus) -> Way:
    """What carries the client's packets now, by the counters of its switch's trunks."""
    network = campus.site.network
    ends = {
        near: far
        for link in network.links
        for near, far in ((link.a, link.b), (link.b, link.a))
        if near.switch == AT
    }
    before, deadline = campus.port_bytes(AT), time.monotonic() + _LOOK
    while True:
        now = campus.port_bytes(AT)
        near = max(ends, key=lambda end: now[end.port] - before[end.port])
        plenty = now[near.port] - before[near.port] >= _PLENTY
        if plenty or time.monotonic() >= deadline:
            break
        time.sleep(0.01)
    switch = ends[near].switch
    cards = network.file_servers[SERVER].interfaces
    card = next(card for card in cards if card.attachment.switch == switch)
    return Way(near, switch, card.attachment)


def transfer(
    campus: Campus, failure: CableFault, digest: str, results: Results, story: Story
) -> None:
    """A large file is under way when its way fails, and must arrive whole."""
    node, target = campus.network.nodes[CLIENT], campus.directory / "fetched"
    with (
        story.working(f"{failure.name} under a file of {LARGE // 1_000_000} MB"),
        fetching(node, SERVICE, "large", target) as file,
    ):
        begun = time.monotonic()
        file.await_octets(LARGE // 10)
        cables = failure.strikes(campus, carrying(campus))
        under_way = file.is_under_way
        campus.lose(cables)
        arrived = file.finish()
        seconds = time.monotonic() - begun
        campus.regain(cables)
        campus.await_healthy()
    results.add(f"{failure.name}: transfer of {LARGE} bytes", "hactrl", "s", [seconds])
    story.expect(
        under_way and arrived == digest,
        f"{failure.name}: the file under way arrived whole",
        f"exit {file.process.returncode}, under way: {under_way}: {file.errors[-500:]}",
    )


def restart(campus: Campus, story: Story) -> None:
    """The controller is killed and started again under a probe of 1 ms: nobody notices."""
    log = campus.directory / "ping-restart.log"
    with (
        story.working("restarting the controller"),
        pinging(campus.network.nodes[CLIENT], SERVICE, log) as pings,
    ):
        pings.await_answers(_QUIET)
        struck = time.time()
        changes = campus.ovs.watch_changes()
        campus.controller.kill()
        campus.controller.start()
        campus.await_healthy()
        sent = changes.stop()
        pings.await_answers(_QUIET, struck)
        gap = pings.blackout(struck)
    story.expect(
        not any(sent.values()),
        f"restarted, the controller changed nothing: longest gap {1e3 * gap:.0f} ms",
        f"it sent {sent}",
    )
