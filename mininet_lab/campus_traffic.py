"""What each backbone link carries when all clients fetch a file: of a server with one interface,
with its interfaces handed out by turns, or by the nearest one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from hactrl.site.model import Site
from mininet_lab.campus import CLIENT_PORTS, Campus
from mininet_lab.lab import StageError
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.samba import fetch_words
from topology.graph import LiveGraph
from topology.model import Interface

SERVER, ADDRESS = "files", "10.20.0.10"

#: Of the file that every client fetches.
SIZE = 2_000_000

#: What counts as carrying it: all else on a link (probes, discovery, questions) is far less.
_NOISE = 200_000

#: Systems, as tables and results name them.
USUAL, BEST, TURNS, NEAREST = "one interface", "best single interface", "by turns", "nearest"


def count(directory: Path, site: Site, results: Results, story: Story) -> None:
    """One campus after the other. `site`: that of the nearest interface."""
    story.chapter("What the backbone's links carry")
    cards = site.network.file_servers[SERVER].interfaces
    best = best_single(site, cards)
    systems: dict[str, dict[str, Any]] = {
        USUAL: {SERVER: _server(cards[:1], ADDRESS)},
        BEST: {SERVER: _server((best,), ADDRESS)},
        TURNS: {
            f"{SERVER}-{n}": _server((card,), f"10.20.0.{100 + n}") for n, card in enumerate(cards)
        },
        NEAREST: {SERVER: _server(cards, ADDRESS)},
    }
    carried = {}
    for system, servers in systems.items():
        with story.working(f"{len(CLIENT_PORTS)} clients fetch {SIZE // 1_000_000} MB: {system}"):
            own = directory / system.replace(" ", "-")
            own.mkdir()
            carried[system] = fetch_all(own, servers)
    show(carried, results, story)


def best_single(site: Site, cards: tuple[Interface, ...]) -> Interface:
    """The interface that is nearest to all clients together."""
    graph = LiveGraph.of(site.network).switches

    def crossings(card: Interface) -> int:
        costs = nx.single_source_dijkstra_path_length(
            graph, card.attachment.switch, weight="weight"
        )
        return sum(costs[port.switch] for port in CLIENT_PORTS)

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


def fetch_all(directory: Path, servers: Mapping[str, Any]) -> dict[str, int]:
    """By link: the bytes that crossed it while every client fetched the file, all at once. Each
    client takes the next server."""
    with Campus(directory, servers) as campus:
        campus.await_healthy()
        found = list(campus.site.network.file_servers.values())
        for server in found:
            (campus.samba[server.name].share / "file").write_bytes(bytes(SIZE))
        for number, guest in enumerate(campus.clients):
            address = str(found[number % len(found)].addresses[0])
            node = campus.network.nodes[guest.name]
            node.run("ping", "-c", "1", "-w", "10", address)
        before = campus.trunk_bytes()
        fetching = []
        for number, guest in enumerate(campus.clients):
            address = str(found[number % len(found)].addresses[0])
            words = fetch_words(address, "file", directory / f"fetched-{guest.name}")
            command = campus.network.nodes[guest.name].command(*words)
            with (directory / f"smbclient-{guest.name}.log").open("w") as log:
                fetching.append(subprocess.Popen(command, stdout=log, stderr=log))
        if any([process.wait(timeout=300.0) for process in fetching]):
            raise StageError(f"a client did not get its file; see the logs in {directory}")
        after = campus.trunk_bytes()
        return {link: after[link] - before[link] for link in after}


def show(carried: Mapping[str, Mapping[str, int]], results: Results, story: Story) -> None:
    """A row for each link, then all together and the most loaded one."""
    for system, links in carried.items():
        for link, octets in links.items():
            results.add(f"link {link}: carried", system, "bytes", [octets])
        results.add("all links: carried", system, "bytes", [sum(links.values())])
        results.add("most loaded link: carried", system, "bytes", [max(links.values())])
    names = [*next(iter(carried.values()))]
    rows = [(name, *(_megabytes(links[name]) for links in carried.values())) for name in names]
    rows.append(("all", *(_megabytes(sum(links.values())) for links in carried.values())))
    rows.append(("most loaded", *(_megabytes(max(links.values())) for links in carried.values())))
    story.table("Megabytes on each backbone link", ("link", *carried), rows)
    total = {system: sum(links.values()) for system, links in carried.items()}
    for other in (USUAL, BEST, TURNS):
        story.expect(
            total[NEAREST] <= total[other] + _NOISE,
            f"{NEAREST} crosses no more links than {other}:"
            f" {total[NEAREST] / total[other]:.2f} of its bytes",
        )


def _megabytes(octets: int) -> str:
    return f"{octets / 1e6:.1f}"
