"""Who could serve whom while something is out of order. Pure.

By this unavailability that nobody could have helped is told from what hactrl could have done
better, and a move that something explains from one that nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import networkx

from hactrl.site.model import Site
from mininet_lab import plan as places
from mininet_lab.soak.kinds import ROLE

#: Who relays the WAN's mail to ROLE.
RELAY = "mailrelay"

#: Where those stand who use the ways: (a) the WAN, (b) client3, (c) client1; see `ways.Traffic`.
USERS = {
    "a": places.WAN.attachment.switch,
    "b": places.CLIENTS[2].attachment.switch,
    "c": places.CLIENTS[0].attachment.switch,
}

#: The segment on which a way's users are, and the role that they ask.
ENTRANCES = {"a": ("outer", RELAY), "b": ("inner", ROLE), "c": ("inner", ROLE)}

#: Ways that write to the spool.
WRITING = ("a", "c")


class What(Enum):
    """What is out of order. SERVER: nothing on it runs. ROLE: a daemon of it, `role on server`.
    HANDS: nobody can ask the server anything. CONTROLLER: nobody decides. SPOOL: nobody can write
    to it; DISK: this server cannot. What takes nothing from users, as a dead prober, is not here.
    """

    SERVER = "server"
    ROLE = "role"
    HANDS = "hands"
    CARD = "card"
    SWITCH = "switch"
    LINK = "link"
    CONTROLLER = "controller"
    SPOOL = "spool"
    DISK = "disk"


@dataclass(frozen=True)
class Lack:
    what: What
    name: str = ""


Lacks = frozenset[Lack]


def serves(site: Site, lacks: Lacks, role: str, server: str) -> bool:
    """Whether a server is able to serve a role where it stands: it and the role's daemons run,
    and on each of the role's segments all guests reach a card of it whose own switch runs: who
    uses no way here is a user all the same."""
    if not _runs(lacks, role, server):
        return False
    network = _Network.of(site, lacks)
    return all(
        network.reaches(switch, server, segment)
        for segment in site.roles[role].segments
        for switch in {guest.attachment.switch for guest in places.GUESTS}
        if network.runs(switch) and site.network.switches[switch].segment == segment
    )


def possible(site: Site, lacks: Lacks, placed: Mapping[str, str]) -> frozenset[str]:
    """The ways that could be served: by whom they are served now, or by another that could be
    asked to take over by a controller that runs. (c) is served when ROLE has taken the mail."""
    network = _Network.of(site, lacks)
    keepers = _able(site, lacks, ROLE, placed)
    found = set()
    for way, user in USERS.items():
        if way in WRITING and Lack(What.SPOOL) in lacks:
            continue
        segment, entrance = ENTRANCES[way]
        for server in _able(site, lacks, entrance, placed):
            serving = entrance == ROLE or any(network.meet(server, keeper) for keeper in keepers)
            if serving and network.reaches(user, server, segment):
                found.add(way)
    return frozenset(found)


def _able(site: Site, lacks: Lacks, role: str, placed: Mapping[str, str]) -> list[str]:
    """Who serves the role, or could be made to, as far as the server itself goes."""
    decided = Lack(What.CONTROLLER) not in lacks
    return [
        server
        for server in site.roles[role].servers
        if _runs(lacks, role, server)
        and (placed.get(role) == server or (decided and Lack(What.HANDS, server) not in lacks))
    ]


def _runs(lacks: Lacks, role: str, server: str) -> bool:
    return not (
        Lack(What.SERVER, server) in lacks
        or Lack(What.ROLE, f"{role} on {server}") in lacks
        or (role == ROLE and Lack(What.DISK, server) in lacks)
    )


@dataclass(frozen=True)
class _Network:
    """`graph`: the switches that run, and the links between them that are up."""

    site: Site
    lacks: Lacks
    graph: networkx.Graph

    @classmethod
    def of(cls, site: Site, lacks: Lacks) -> _Network:
        graph = networkx.Graph()
        graph.add_nodes_from(
            name for name in site.network.switches if Lack(What.SWITCH, name) not in lacks
        )
        graph.add_edges_from(
            (link.a.switch, link.b.switch)
            for link in site.network.links
            if link.a.switch in graph
            and link.b.switch in graph
            and Lack(What.LINK, str(link)) not in lacks
        )
        return cls(site, lacks, graph)

    def runs(self, switch: str) -> bool:
        return switch in self.graph

    def ports(self, server: str, segment: str) -> list[str]:
        """The switches at which a server has a live card on a segment."""
        return [
            card.attachment.switch
            for card in self.site.network.servers[server].interfaces
            if card.segment == segment
            and card.attachment.switch in self.graph
            and Lack(What.CARD, card.name) not in self.lacks
        ]

    def reaches(self, switch: str, server: str, segment: str) -> bool:
        return switch in self.graph and any(
            networkx.has_path(self.graph, switch, port) for port in self.ports(server, segment)
        )

    def meet(self, relay: str, keeper: str) -> bool:
        """Whether mail comes from the relay to the keeper of the spool, over the inner segment."""
        inner, _ = ENTRANCES["b"]
        return any(self.reaches(port, keeper, inner) for port in self.ports(relay, inner))
