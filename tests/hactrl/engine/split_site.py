"""A site whose segments are of several switches, and a world in which their links fail.

o1 ══ o2                 outer: two links
i1 ── i2
 │     │                 inner: a ring
i4 ── i3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import networkx
from simulation import World, make_site

from hactrl.engine.events import PortChanged
from hactrl.engine.roles.candidates import obstacles
from hactrl.site.model import Role, Site
from hactrl.vocabulary import Verdict
from topology.model import Attachment, Interface, Link, Network, Server, Switch

#: Ports of every switch: the prober's, the users' from here on, the links' from here on.
PROBER, USERS, LINKS = 9, 30, 20

SWITCHES = {"o1": "outer", "o2": "outer", **dict.fromkeys(("i1", "i2", "i3", "i4"), "inner")}

#: By their number; two from o1 to o2.
CABLES = (
    *(("o1", "o2"), ("o1", "o2")),
    *(("i1", "i2"), ("i2", "i3"), ("i3", "i4"), ("i4", "i1")),
)


def split_site(
    at: Mapping[str, Iterable[str]], probers: tuple[str, str] = ("o1", "i1"), **kinds: str
) -> Site:
    """`at`: by server, the switches at which it has a card; `probers`: where they are plugged
    in."""
    site = make_site(len(at), **kinds)  # type: ignore[arg-type]
    servers = {}
    for position, (name, switches) in enumerate(at.items()):
        servers[name] = Server(
            name,
            tuple(
                Interface(
                    *(f"{name}-{switch}", name, SWITCHES[switch]),
                    Attachment(switch, 1 + position),
                    f"02:00:00:0{position}:00:0{list(SWITCHES).index(switch)}",
                )
                for switch in switches
            ),
        )
    links = tuple(
        Link(Attachment(a, LINKS + number), Attachment(b, LINKS + number))
        for number, (a, b) in enumerate(CABLES)
    )
    segments = {}
    for name, where in zip(("outer", "inner"), probers, strict=True):
        old = site.network.segments[name]
        cards = [card for s in servers.values() for card in s.interfaces if card.segment == name]
        sources = list(old.prober.sources.values()) if old.prober else []
        prober = replace(
            *(old.prober,),
            attachment=Attachment(where, PROBER),
            sources={card.name: (sources[0][0] + n,) for n, card in enumerate(cards)},
        )
        segments[name] = replace(old, prober=prober)
    switches = {name: Switch(name, n, s) for n, (name, s) in enumerate(SWITCHES.items(), 1)}
    return replace(site, network=Network(segments, switches, links, servers))


class SplitWorld(World):
    """`users`: how many there are at each switch. `lost`: ends of links that are down."""

    def __init__(self, site: Site, seed: int, users: Mapping[str, int]) -> None:
        self.users_at = users
        self.lost: frozenset[Attachment] = frozenset()
        super().__init__(site, seed, slowest=0.05)
        self.failing = 0.0

    def ports_up(self, switch: str) -> frozenset[int]:
        network = self.site.network
        cards = {c.attachment for c in network.interfaces.values() if self.port_up(c)}
        probers = {s.prober.attachment for s in network.segments.values() if s.prober}
        there = cards | probers | (network.trunk_ports - self.lost)
        ports = {port.port for port in there if port.switch == switch}
        return frozenset(ports | set(range(USERS, USERS + self.users_at.get(switch, 0))))

    def lose(self, ends: Iterable[Attachment]) -> None:
        """From now on these ends of links are down, and no others."""
        before, self.lost = self.lost, frozenset(ends)
        for end in sorted(before ^ self.lost):
            if end.switch not in self.switches_away:
                self.later(PortChanged(end, end not in self.lost), 0.004)
        self.world_changed()

    def verdict(self, role: Role, card: Interface) -> tuple[Verdict, str]:
        prober = self.site.network.segments[card.segment].prober
        assert prober is not None
        if not networkx.has_path(self.graph(), prober.attachment.switch, card.attachment.switch):
            return Verdict.UNHEALTHY, "silent"
        return super().verdict(role, card)

    # The truth, worked out in another way than the engine does.

    def graph(self) -> networkx.Graph:
        graph = networkx.Graph()
        graph.add_nodes_from(SWITCHES)
        graph.add_edges_from(
            (link.a.switch, link.b.switch)
            for link in self.site.network.links
            if not {link.a, link.b} & self.lost
        )
        return graph

    def parts(self, segment: str) -> list[frozenset[str]]:
        found = networkx.connected_components(self.graph())
        return [frozenset(part) for part in found if SWITCHES[min(part)] == segment]

    def reached(self, role: str, server: str) -> set[str]:
        """The switches with users that a server reaches on the segments of a role."""
        graph = self.graph()
        return {
            user
            for user, number in self.users_at.items()
            for card in self.site.network.servers[server].interfaces
            if number and card.segment in self.site.roles[role].segments
            if card.segment == SWITCHES[user] and self.port_up(card)
            if networkx.has_path(graph, user, card.attachment.switch)
        }

    def cut_off(self, role: str, server: str) -> bool:
        """Is there a segment of the role on which it reaches none of the users?"""
        reached = {SWITCHES[switch] for switch in self.reached(role, server)}
        there = {SWITCHES[switch] for switch, number in self.users_at.items() if number}
        return bool(there.intersection(self.site.roles[role].segments) - reached)

    def could_have(self, role: str, server: str) -> bool:
        """Does nothing speak against it but that it reaches fewer users?"""
        found = obstacles(self.state, role, server)
        return not [o for o in found if o.reason.value != "reaches_fewer"]

    def server_of(self, role: str) -> str:
        server = self.state.placements[role].server
        assert server is not None
        return server

    def moves(self, since: float) -> list[str]:
        """The roles that began to move since then."""
        return [
            record.role
            for when, record in self.journal
            if when >= since and record.kind == "takeover.started"
        ]
