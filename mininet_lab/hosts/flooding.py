"""A broadcast on a backbone with loops: each host hears it once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface

from flows.frames import question
from flows.walk.packet import ETH_ARP
from mininet_lab import plan
from mininet_lab.campus import Campus
from mininet_lab.frames import await_frame, cards
from mininet_lab.hosts import cast
from mininet_lab.lab import StageError
from mininet_lab.report import Story
from topology.graph import LiveGraph
from topology.model import Address, Attachment

#: Nobody has these. Who has heard the second question has heard all there is of the first one.
_UNKNOWN, _THEN = (ip_interface(f"10.20.9.{n}/16").ip for n in (1, 2))

_ALL = "ff:ff:ff:ff:ff:ff"
_PATIENCE = 5.0

#: At this switch a link of the spanning tree is lost.
_AT = "r1"


@dataclass(frozen=True)
class Heard:
    """How often the question arrived at each host's card, back at the asker's, and at each of the
    file servers'."""

    hosts: dict[str, int]
    asker: int
    servers: dict[str, int]


def once_each(campus: Campus, story: Story) -> None:
    """With all links, without one, and with all again."""
    links = len(campus.site.network.links) - len(campus.site.network.switches) + 1
    _judge(campus, f"{links} links more than a tree needs", story)
    lost = Attachment(_AT, LiveGraph.of(campus.site.network).tree_ports(_AT)[-1])
    campus.lose([lost])
    _await_link(campus, lost, up=False)
    _judge(campus, f"the tree's link at {lost} lost", story)
    campus.regain([lost])
    _await_link(campus, lost, up=True)
    _judge(campus, "and repaired", story)


def _judge(campus: Campus, when: str, story: Story) -> None:
    heard = ask(campus)
    story.expect(
        set(heard.hosts.values()) == {1},
        f"{when}: one question for an unknown host arrives once at each of {len(heard.hosts)}"
        " hosts",
        f"{heard.hosts}",
    )
    story.expect(
        not heard.asker and not any(heard.servers.values()),
        f"{when}: and neither at the asker nor at the file servers",
        f"at the asker {heard.asker} times, {heard.servers}",
    )


def ask(campus: Campus) -> Heard:
    """A client asks who has an address that nobody has; and for another one, by which the end of
    the first question is known.

    Raises:
        StageError: somebody has not heard the second one.
    """
    asker = cast.PEER
    names = [guest.name for guest in campus.guests if guest != asker]
    places = [(campus.network.nodes[name], name) for name in (asker.name, *names)]
    servers = campus.site.network.file_servers
    places += [
        (campus.network.nodes[card.server], plan.device(card.name))
        for server in servers.values()
        for card in server.interfaces
    ]
    with cards(places) as opened:
        own, hosts = opened[0], opened[1 : 1 + len(names)]
        for address in (_UNKNOWN, _THEN):
            own.send(question(asker.mac, _ALL, address))
            try:
                await_frame(hosts, partial(asks_for, address), _PATIENCE)
            except TimeoutError as error:
                raise StageError(f"the question for {address}: {error}") from None
        counts = {
            card.name: sum(asks_for(_UNKNOWN, frame) for frame in card.read()) for card in opened
        }
    of_hosts = {card.name: counts[card.name] for card in hosts}
    rest = {card.name: counts[card.name] for card in opened[1 + len(names) :]}
    return Heard(of_hosts, counts[own.name], rest)


def asks_for(address: Address, frame: bytes) -> bool:
    """Whether it is an ARP packet about this address."""
    return int.from_bytes(frame[12:14]) == ETH_ARP and frame[38:42] == address.packed


def _await_link(campus: Campus, end: Attachment, *, up: bool) -> None:
    """Until the controller has seen it and every switch has the rules for it.

    Raises:
        StageError: not in time.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        links = campus.client.links()["links"]
        (link,) = (found for found in links if str(end) in found["ends"])
        if link["up"] == up and campus.client.status()["settled"]:
            return
        time.sleep(0.05)
    raise StageError(f"{link} after {_PATIENCE:.0f} s")
