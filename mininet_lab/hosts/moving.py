"""A host moves to another switch with its MAC and its addresses, while a peer pings it and a file
of the file server is on its way to it."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.frames import announcement
from mininet_lab.campus import Campus
from mininet_lab.fetching import fetching
from mininet_lab.frames import cards
from mininet_lab.hosts import cast
from mininet_lab.lab import StageError
from mininet_lab.network import shell
from mininet_lab.pinging import Pings, pinging
from mininet_lab.report import Story
from mininet_lab.results import Results

#: Seconds between two pings.
INTERVAL = 0.01

#: Seconds until the controller knows of a port.
_PATIENCE = 5.0

#: Seconds of answers before a move and after it.
_QUIET = 0.5


@dataclass(frozen=True)
class Manner:
    """`port_stays_up`: nobody at the old place says that the host has gone, as where a desk's own
    switch, or a computer with virtual ones, is plugged in. `most`: seconds until it is answered."""

    name: str
    port_stays_up: bool
    most: float


#: The second one waits until the host has not answered at its old place (`topology.hosts`).
MANNERS = (
    Manner("old port goes down", port_stays_up=False, most=0.5),
    Manner("old port stays up", port_stays_up=True, most=2.0),
)


@dataclass(frozen=True)
class Outage:
    """Seconds without answers by IPv4 and IPv6: since the host spoke at its new place, and in
    all, with the way there."""

    since_speaking: tuple[float, ...]
    in_all: tuple[float, ...]


def there_and_back(campus: Campus, digest: str, runs: int, results: Results, story: Story) -> None:
    """In each manner, from one place to the other and so on. `digest` is the large file's."""
    cast.reach(campus, cast.ROAMER, *cast.SERVICE)
    here, there = cast.ROAMER.cables
    for manner in MANNERS:
        outages = []
        with story.working(f"{manner.name}: {cast.ROAMER.name} moves, {runs} times"):
            for number in range(runs):
                log = campus.directory / f"ping-{manner.name.replace(' ', '-')}-{number}"
                outages.append(move(campus, manner, (here, there), (log, digest), story))
                here, there = there, here
        _judge(manner, outages, results, story)


def _judge(manner: Manner, outages: list[Outage], results: Results, story: Story) -> None:
    rows = []
    for number, family in enumerate(("IPv4", "IPv6")):
        since = [outage.since_speaking[number] for outage in outages]
        in_all = [outage.in_all[number] for outage in outages]
        results.add(f"{manner.name}: {family} answered again", "hactrl", "s", since)
        results.add(f"{manner.name}: {family} blackout", "hactrl", "s", in_all)
        rows.append((f"{family} since it spoke at its new place", *_figures(since)))
        rows.append((f"{family} in all", *_figures(in_all)))
        story.expect(
            max(since) < manner.most,
            f"{manner.name}: {family} is answered within {manner.most} s",
            f"{max(since):.2f} s",
        )
    title = f"{manner.name}: time without an answer, in ms"
    story.table(title, ("", "median", "most"), rows)


def _figures(found: list[float]) -> tuple[str, str]:
    return f"{1e3 * statistics.median(found):.0f}", f"{1e3 * max(found):.0f}"


def move(
    campus: Campus,
    manner: Manner,
    cables: tuple[str, str],
    files: tuple[Path, str],
    story: Story,
) -> Outage:
    """Once, from the one of `cables` to the other. `files`: where pings are logged, and the digest
    of the large file."""
    (old, new), (log, digest) = cables, files
    roamer, peer = cast.node(campus, cast.ROAMER), cast.node(campus, cast.PEER)
    with ExitStack() as stack:
        pings = [
            stack.enter_context(
                pinging(peer, f"{a}", log.with_name(f"{log.name}-IPv{a.version}"), INTERVAL)
            )
            for a in cast.addresses(cast.ROAMER)
        ]
        (card,) = stack.enter_context(cards([(roamer, cast.ROAMER.name)]))
        for each in pings:
            each.await_answers(_QUIET)
        transfer = stack.enter_context(
            fetching(roamer, str(cast.SERVICE[0]), "large", campus.directory / "moved")
        )
        transfer.await_octets(1_000_000)
        under_way = transfer.is_under_way
        leaving = time.time()
        leave(campus, old, manner)
        shell([f"ip link set {new} master {cast.ROAMER.name} up"], roamer)
        spoken = time.time()
        for address in cast.addresses(cast.ROAMER):
            card.send(announcement(cast.ROAMER.mac, address))
        since = tuple(each.resumed(spoken) - spoken for each in pings)
        outage = Outage(since, tuple(_blackout(each, leaving) for each in pings))
        arrived = transfer.finish()
        shell([f"ip link set {old} down"], roamer)
    place, at = str(cast.ROAMER.cables[new]), known(campus)["attachment"]
    story.expect(
        under_way and arrived == digest and at == place,
        f"at {place} the file under way arrived whole",
        f"known at {at}, under way: {under_way}: {transfer.errors[-500:]}",
    )
    return outage


def leave(campus: Campus, cable: str, manner: Manner) -> None:
    """The host is not at its old place any more, and the controller knows it or cannot know.

    Raises:
        StageError: it could, and does not.
    """
    roamer = cast.node(campus, cast.ROAMER)
    if manner.port_stays_up:
        shell([f"ip link set {cable} nomaster"], roamer)
        return
    roamer.set_link(cable, up=False)
    deadline = time.monotonic() + _PATIENCE
    while known(campus)["port_up"]:
        if time.monotonic() > deadline:
            raise StageError(f"the port of {cable} is still up: {known(campus)}")
        time.sleep(0.01)


def known(campus: Campus) -> dict[str, Any]:
    """What the controller knows of the host."""
    hosts = campus.client.hosts()["hosts"]
    return dict(next(host for host in hosts if host["mac"] == cast.ROAMER.mac))


def _blackout(pings: Pings, leaving: float) -> float:
    pings.await_answers(_QUIET, leaving)
    return pings.blackout(leaving)
