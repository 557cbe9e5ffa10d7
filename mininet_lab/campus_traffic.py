"""What each backbone link carries when all clients fetch a file: of a server with one interface,
with its interfaces handed out by turns, by the nearest one, or by offsets that spread clients.

What offsets can do depends on where the clients are, so all is counted at two placements. On the
campus as it is, each house has an interface: only the cores' clients cross a link, by ways that are
shared evenly already, and no offset helps, however many clients are where. In the other placement a
house without an interface is crowded, and the nearest one is next door, over one link.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

from hactrl.site.model import Site
from mininet_lab.campus import CLIENT_PORTS, Campus
from mininet_lab.clock import now
from mininet_lab.fetching import fetching, write_file
from mininet_lab.lab import StageError
from mininet_lab.network import Node
from mininet_lab.report import Story
from mininet_lab.results import Results
from topology.graph import LiveGraph
from topology.model import Attachment, Interface

SERVER, ADDRESS = "files", "10.20.0.10"

#: Of the file that every client fetches.
SIZE = 2_000_000

#: What counts as carrying it: all else on a link (probes, discovery, questions) is far less.
_NOISE = 200_000

#: The part of a file that may cross a link twice, because TCP sends it again.
_SENT_AGAIN = 0.1

#: Seconds that a client waits for its first answer.
_PATIENCE = 20.0

#: Systems, as tables and results name them.
USUAL, BEST, TURNS, NEAREST, SPREAD = (
    "one interface",
    "best single interface",
    "by turns",
    "nearest",
    "spread",
)


@dataclass(frozen=True)
class Scene:
    """Where clients are, and which switches have an interface. `prefix`: what the names of its
    results begin with."""

    name: str
    prefix: str
    ports: tuple[Attachment, ...]
    homes: tuple[str, ...]


EVERYWHERE = Scene("clients everywhere", "", CLIENT_PORTS, ("r3", "r4", "r5", "r6"))

#: Eight clients at r4, one elsewhere each.
CROWD = Scene(
    "a crowd at r4, which has no interface",
    "crowd, ",
    tuple(Attachment(switch, 5) for switch in ("r1", "r2", "r3"))
    + tuple(Attachment("r4", port) for port in range(17, 25))
    + tuple(Attachment(switch, 5) for switch in ("r5", "r6")),
    ("r3", "r5", "r6"),
)


@dataclass(frozen=True)
class Counted:
    """`links`: the bytes that crossed each; `offsets`: what the controller says each interface
    has; `broken`: the clients whose file did not arrive whole."""

    links: Mapping[str, int]
    offsets: Mapping[str, int]
    broken: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(self.links.values())

    @property
    def heaviest(self) -> int:
        """Of the most loaded link."""
        return max(self.links.values())


def count(directory: Path, site: Site, results: Results, story: Story) -> None:
    """One campus after the other. `site`: that of the nearest interface."""
    for number, placement in enumerate((EVERYWHERE, CROWD)):
        story.chapter(f"What the backbone's links carry: {placement.name}")
        counted = {}
        for system, servers in systems(site, placement).items():
            clients = f"{len(placement.ports)} clients fetch {SIZE // 1_000_000} MB"
            with story.working(f"{clients}: {system}"):
                own = directory / f"{number}-{system.replace(' ', '-')}"
                own.mkdir()
                counted[system] = fetch_all(own, servers, placement, results.seed)
        record(placement, counted, results)
        show(placement, counted, story)
        judge(counted, story)


def systems(site: Site, placement: Scene) -> dict[str, dict[str, Any]]:
    """By the system's name: the file servers, as the site file has them."""
    cards = tuple(
        card
        for card in site.network.file_servers[SERVER].interfaces
        if card.attachment.switch in placement.homes
    )
    best = best_single(site, cards, placement.ports)
    return {
        USUAL: {SERVER: _server(cards[:1], ADDRESS)},
        BEST: {SERVER: _server((best,), ADDRESS)},
        TURNS: {
            f"{SERVER}-{n}": _server((card,), f"10.20.0.{100 + n}") for n, card in enumerate(cards)
        },
        NEAREST: {SERVER: _server(cards, ADDRESS)},
        SPREAD: {SERVER: _server(cards, ADDRESS) | {"policy": "spread"}},
    }


def best_single(
    site: Site, cards: tuple[Interface, ...], ports: tuple[Attachment, ...]
) -> Interface:
    """The interface that is nearest to all clients together."""
    graph = LiveGraph.of(site.network).switches

    def crossings(card: Interface) -> int:
        costs = nx.single_source_dijkstra_path_length(
            graph, card.attachment.switch, weight="weight"
        )
        return sum(costs[port.switch] for port in ports)

    return min(cards, key=crossings)


def _server(cards: tuple[Interface, ...], address: str) -> dict[str, Any]:
    """A file server as the site file has it."""
    return {
        "segment": "campus",
        "addresses": [address],
        "interfaces": {
            card.name: {"attachment": str(card.attachment), "mac": card.mac} for card in cards
        },
        "services": {"smb": {"port": 445}},
    }


def fetch_all(directory: Path, servers: Mapping[str, Any], placement: Scene, seed: int) -> Counted:
    """Every client fetches the file, all at once. Each takes the next server."""
    with Campus(directory, servers, ports=placement.ports) as campus:
        campus.await_healthy()
        found = tuple(campus.site.network.file_servers.values())
        files = [campus.samba[server.name].share / "file" for server in found]
        (digest,) = {write_file(file, SIZE, seed) for file in files}
        asked = [
            (campus.network.nodes[guest.name], str(found[number % len(found)].addresses[0]))
            for number, guest in enumerate(campus.clients)
        ]
        for node, address in asked:
            await_answer(node, address)
        before = campus.trunk_bytes()
        arrived = _fetch_at_once(asked, directory)
        after = campus.trunk_bytes()
        return Counted(
            {link: after[link] - before[link] for link in after},
            _offsets(campus),
            tuple(name for name, came in arrived.items() if came != digest),
        )


def await_answer(node: Node, address: str) -> None:
    """Until it answers: a host that comes while the controller looks round after its start waits
    for the end of that.

    Raises:
        StageError: it does not answer.
    """
    deadline = now() + _PATIENCE
    while True:
        try:
            node.run("ping", "-c", "1", "-w", "2", address)
            return
        except RuntimeError as error:
            if now() > deadline:
                raise StageError(str(error)) from error


def _fetch_at_once(asked: list[tuple[Node, str]], directory: Path) -> dict[str, str]:
    """By client: the digest of what came from the address that it asks."""
    with ExitStack() as stack:
        under_way = {
            node.name: stack.enter_context(
                fetching(node, address, "file", directory / f"fetched-{node.name}")
            )
            for node, address in asked
        }
        return {name: transfer.finish() for name, transfer in under_way.items()}


def _offsets(campus: Campus) -> dict[str, int]:
    return {
        card["name"]: card["offset"]
        for server in campus.client.status()["file_servers"].values()
        for card in server["interfaces"].values()
    }


def record(placement: Scene, counted: Mapping[str, Counted], results: Results) -> None:
    """All that was counted, for the results file."""
    for system, found in counted.items():
        for link, octets in found.links.items():
            results.add(f"{placement.prefix}link {link}: carried", system, "bytes", [octets])
        total, heaviest = [found.total], [found.heaviest]
        results.add(f"{placement.prefix}all links: carried", system, "bytes", total)
        results.add(f"{placement.prefix}most loaded link: carried", system, "bytes", heaviest)


def show(placement: Scene, counted: Mapping[str, Counted], story: Story) -> None:
    """A row for each link, then all together, the most loaded one, and the interfaces that have
    offsets."""
    every = counted.values()
    rows = [
        (name, *(_megabytes(found.links[name]) for found in every))
        for name in next(iter(every)).links
    ]
    rows.append(("all", *(_megabytes(found.total) for found in every)))
    rows.append(("most loaded", *(_megabytes(found.heaviest) for found in every)))
    rows.append(("offsets", *(_words(found.offsets) for found in every)))
    title = f"Megabytes on each backbone link: {placement.name}"
    story.table(title, ("link", *counted), rows)


def judge(counted: Mapping[str, Counted], story: Story) -> None:
    """What must hold. Without offsets `spread` has the rules of `nearest`, and the two differ by
    what each switch's hash makes of equal ways: nothing is promised of that. With offsets the hash
    may still send the whole crowd by one of its ways (about once in 500 times), whose link then
    carries what the crowd's only one carries with `nearest`."""
    broken = {system: found.broken for system, found in counted.items() if found.broken}
    story.expect(not broken, "every file arrived whole", f"not those of {broken}")
    nearest, spread = counted[NEAREST], counted[SPREAD]
    for other in (USUAL, BEST, TURNS):
        story.expect(
            nearest.total <= counted[other].total + _NOISE,
            f"{NEAREST} crosses no more links than {other}:"
            f" {nearest.total / counted[other].total:.2f} of its bytes",
        )
    if not any(spread.offsets.values()):
        story.tell(
            f"{SPREAD} finds no offset that helps here: its rules are those of {NEAREST}, and where"
            " the two differ, switches have divided equal ways in another way"
        )
        return
    story.expect(
        spread.heaviest <= nearest.heaviest * (1 + _SENT_AGAIN),
        f"{SPREAD} loads no link more than {NEAREST} its most loaded one:"
        f" {spread.heaviest / nearest.heaviest:.2f} of its bytes,"
        f" for {spread.total / nearest.total:.2f} of the bytes on all links",
    )


def _megabytes(octets: int) -> str:
    return f"{octets / 1e6:.1f}"


def _words(offsets: Mapping[str, int]) -> str:
    return ", ".join(f"{name} +{offset}" for name, offset in offsets.items() if offset) or "none"
