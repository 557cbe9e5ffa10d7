"""A host pretends to be another one, or the file server: it gets nothing of theirs, they notice
nothing, and hactrl says who it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flows.frames import announcement
from flows.walk.packet import ETH_IPV4, ETH_IPV6
from mininet_lab.campus import Campus
from mininet_lab.fetching import fetching
from mininet_lab.frames import Card, cards
from mininet_lab.hosts import cast
from mininet_lab.hosts.moving import INTERVAL
from mininet_lab.lab import StageError
from mininet_lab.network import Node, shell
from mininet_lab.pinging import pinging
from mininet_lab.report import Story
from mininet_lab.results import Results
from topology.model import Address

#: How often each claim is made.
_TIMES = 5

#: Seconds until the controller has counted a claim.
_PATIENCE = 5.0

#: Seconds without an answer that are noise on a busy machine.
_NOISE = 0.25

#: Seconds of answers before and after.
_QUIET = 0.5


@dataclass(frozen=True)
class Spoof:
    """What the attacker says: that `addresses` are those of `mac`. `reason`: why it is refused."""

    name: str
    mac: str
    addresses: tuple[Address, ...]
    reason: str


def spoofs(campus: Campus) -> tuple[Spoof, ...]:
    """Of another host, and of the file server: by its own MAC, and by theirs."""
    own, host = cast.ATTACKER.mac, cast.addresses(cast.VICTIM)
    server_mac = campus.site.network.file_servers[cast.SERVER].mac
    return (
        Spoof("another host's addresses", own, host, "spoof"),
        Spoof("another host's MAC", cast.VICTIM.mac, host, "spoof"),
        Spoof("the file server's addresses", own, cast.SERVICE, "reserved_address"),
        Spoof("the file server's MAC", server_mac, cast.SERVICE, "reserved_mac"),
    )


def pretending(campus: Campus, digest: str, results: Results, story: Story) -> None:
    """One after the other. `digest` is the large file's."""
    for guest in (cast.PEER, cast.VICTIM, cast.ATTACKER):
        cast.reach(campus, guest, *cast.SERVICE)
    cast.reach(campus, cast.PEER, *cast.addresses(cast.ATTACKER))
    cast.reach(campus, cast.VICTIM, *cast.addresses(cast.PEER))
    for spoof in spoofs(campus):
        with story.working(f"{cast.ATTACKER.name} claims {spoof.name}"):
            longest = attack(campus, spoof, digest, story)
        results.add(f"claim on {spoof.name}: longest gap", "hactrl", "s", [longest])


def attack(campus: Campus, spoof: Spoof, digest: str, story: Story) -> float:
    """While a peer pings the victim, and that one the file server, and fetches a large file; the
    longest time in which one of these was not answered."""
    attacker, victim = cast.node(campus, cast.ATTACKER), cast.node(campus, cast.VICTIM)
    peer = cast.node(campus, cast.PEER)
    watched = [(peer, a) for a in cast.addresses(cast.VICTIM)]
    watched += [(victim, a) for a in cast.SERVICE]
    with ExitStack() as stack:
        pings = [
            stack.enter_context(
                pinging(node, f"{a}", campus.directory / f"ping-{spoof.reason}-{a}", INTERVAL)
            )
            for node, a in watched
        ]
        (card,) = stack.enter_context(cards([(attacker, cast.ATTACKER.name)]))
        for each in pings:
            each.await_answers(_QUIET)
        transfer = stack.enter_context(
            fetching(victim, str(cast.SERVICE[0]), "large", campus.directory / "undisturbed")
        )
        transfer.await_octets(1_000_000)
        begun = time.time()
        with having(campus, spoof.addresses):
            counted = claim(campus, card, spoof)
            ended = time.time()
            for each in pings:
                each.await_answers(_QUIET, ended)
        longest = max(each.blackout(begun) for each in pings)
        arrived = transfer.finish()
        stolen = [frame for frame in card.read() if is_for(frame, spoof.addresses)]
    story.expect(not stolen, f"{spoof.name}: none of the packets came to the attacker", f"{stolen}")
    story.expect(
        longest < _NOISE and arrived == digest,
        f"{spoof.name}: nobody else noticed: longest gap {1e3 * longest:.0f} ms, the file whole",
        f"{1e3 * longest:.0f} ms; {transfer.errors[-500:]}",
    )
    fooled = deceived(campus)
    story.expect(not fooled, f"{spoof.name}: nobody believed it", ", ".join(fooled))
    story.expect(
        counted > 0, f"{spoof.name}: refused as {spoof.reason} and counted, {counted} times"
    )
    return longest


@contextmanager
def having(campus: Campus, addresses: Iterable[Address]) -> Iterator[None]:
    """The attacker's card has these addresses too: it would answer who asks for them."""
    attacker, name = cast.node(campus, cast.ATTACKER), cast.ATTACKER.name
    own = [f"{a}/{a.max_prefixlen} dev {name}" for a in addresses]
    shell([f"ip address add {each}{' nodad' if ':' in each else ''}" for each in own], attacker)
    try:
        yield
    finally:
        shell([f"ip address delete {each}" for each in own], attacker)


def claim(campus: Campus, card: Card, spoof: Spoof) -> int:
    """Say it some times, each when the one before has been counted; how many were counted.

    Raises:
        StageError: one was not.
    """
    first = counted = refused(campus, spoof.reason)
    for _ in range(_TIMES):
        for address in spoof.addresses:
            card.send(announcement(spoof.mac, address))
        deadline, before = time.monotonic() + _PATIENCE, counted
        while (counted := refused(campus, spoof.reason)) == before:
            if time.monotonic() > deadline:
                raise StageError(f"a claim on {spoof.name} was not counted as {spoof.reason}")
            time.sleep(0.05)
    return counted - first


def refused(campus: Campus, reason: str) -> int:
    """How often the controller has refused what came from the attacker's port, for this reason."""
    port = str(cast.ATTACKER.attachment)
    found: list[int] = [
        entry["count"]
        for entry in campus.client.hosts()["refused"]
        if (entry["reason"], entry["port"]) == (reason, port)
    ]
    return sum(found)


def deceived(campus: Campus) -> list[str]:
    """Where peer or victim take the attacker for each other or for the file server."""
    peer = cast.node(campus, cast.PEER)
    names = {cast.ATTACKER.mac, *(noted(peer, a) for a in cast.addresses(cast.ATTACKER))}
    return [
        f"{address} at {guest.name}"
        for guest, other in ((cast.PEER, cast.VICTIM), (cast.VICTIM, cast.PEER))
        for address in (*cast.addresses(other), *cast.SERVICE)
        if noted(cast.node(campus, guest), address) in names
    ]


def noted(node: Node, address: Address) -> str:
    """The MAC that a host sends to for an address that it has just reached."""
    (entry,) = json.loads(node.run("ip", "-json", "neighbour", "show", f"{address}"))
    found: str = entry["lladdr"]
    return found


def is_for(frame: bytes, addresses: Iterable[Address]) -> bool:
    """Whether it is an IP packet to one of these."""
    kind = int.from_bytes(frame[12:14])
    place = {ETH_IPV4: slice(30, 34), ETH_IPV6: slice(38, 54)}.get(kind, slice(0, 0))
    return frame[place] in {address.packed for address in addresses}
