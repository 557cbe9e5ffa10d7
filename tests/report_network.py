"""The report's network for tests of the compiler: two roles that complement each other on an outer
segment (two switches, two links between them) and an inner one (a ring of three)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from flows.compile import compile
from flows.intents import (
    Candidate,
    Connect,
    Intents,
    Permit,
    Probe,
    ServiceAddress,
    Speak,
    Steer,
)
from flows.rules import RuleSet
from topology.graph import LiveGraph
from topology.model import (
    Attachment,
    Interface,
    Link,
    Network,
    Prober,
    Segment,
    Server,
    Switch,
    derived_mac,
)


def at(text: str) -> Attachment:
    switch, port = text.split(":")
    return Attachment(switch, int(port))


SEGMENTS = {"outer": ("o1", "o2"), "inner": ("i1", "i2", "i3")}
LINKS = tuple(
    Link(at(a), at(b))
    for a, b in (
        ("o1:11", "o2:11"),
        ("o1:12", "o2:12"),
        ("i1:11", "i2:11"),
        ("i2:12", "i3:11"),
        ("i3:12", "i1:12"),
    )
)
CARDS = (
    ("mailrelay", "A", "outer", "o1:2"),
    ("mailrelay", "B", "inner", "i1:2"),
    ("mailrelay", "C'", "inner", "i2:3"),
    ("mailrelay", "D'", "outer", "o2:3"),
    ("smtp_pop", "C", "inner", "i2:2"),
    ("smtp_pop", "D", "outer", "o2:2"),
    ("smtp_pop", "A'", "outer", "o1:3"),
    ("smtp_pop", "B'", "inner", "i1:3"),
)
PROBERS = {"outer": "o1:4", "inner": "i1:4"}
SUBNETS = {"outer": ("192.0.2", "2001:db8:0:1"), "inner": ("10.0.0", "2001:db8:0:2")}
HOSTS = {"outer": (at("o1:1"), at("o2:1")), "inner": (at("i1:1"), at("i2:1"), at("i3:1"))}


def _prober(segment: str) -> Prober:
    four, six = SUBNETS[segment]
    cards = [name for _, name, on, _ in CARDS if on == segment]
    sources = {
        name: (ip_address(f"{four}.{241 + n}"), ip_address(f"{six}::f{1 + n}"))
        for n, name in enumerate(cards)
    }
    return Prober(segment, at(PROBERS[segment]), derived_mac(f"prober {segment}"), sources)


def network(links: tuple[Link, ...] = LINKS) -> Network:
    interfaces = [
        Interface(name, server, segment, at(where), derived_mac(name))
        for server, name, segment, where in CARDS
    ]
    return Network(
        segments={
            name: Segment(
                name, (ip_network(f"{four}.0/24"), ip_network(f"{six}::/64")), _prober(name)
            )
            for name, (four, six) in SUBNETS.items()
        },
        switches={
            name: Switch(name, number, segment)
            for segment, names in SEGMENTS.items()
            for number, name in enumerate(names, start=16 * (1 + len(segment)))
        },
        links=links,
        servers={
            server: Server(server, tuple(i for i in interfaces if i.server == server))
            for server in ("mailrelay", "smtp_pop")
        },
    )


NETWORK = network()

#: All ports that there are, every one up.
PORTS: dict[str, frozenset[int]] = {
    "o1": frozenset({1, 2, 3, 4, 11, 12}),
    "o2": frozenset({1, 2, 3, 11, 12}),
    "i1": frozenset({1, 2, 3, 4, 11, 12}),
    "i2": frozenset({1, 2, 3, 11, 12}),
    "i3": frozenset({1, 11, 12}),
}


def _service(role: str, segment: str, last: int) -> ServiceAddress:
    four, six = SUBNETS[segment]
    addresses = (ip_address(f"{four}.{last}"), ip_address(f"{six}::{last}"))
    shared = role != "smtp_pop"
    return ServiceAddress(role, segment, derived_mac(f"{role} on {segment}"), addresses, shared)


ADDRESSES = {
    ("mailrelay", "outer"): _service("mailrelay", "outer", 25),
    ("mailrelay", "inner"): _service("mailrelay", "inner", 24),
    ("smtp_pop", "inner"): _service("smtp_pop", "inner", 25),
    ("smtp_pop", "outer"): _service("smtp_pop", "outer", 26),
    ("web", "inner"): _service("web", "inner", 80),
}

CANDIDATES = {
    (role, card.name): Candidate(
        role, card.server, card.name, segment, card.attachment, card.role_mac(role)
    )
    for role, segment in ADDRESSES
    for card in NETWORK.interfaces.values()
    if card.segment == segment
}

#: The cards of a role on a segment by server, the best first.
BEST = {
    ("mailrelay", "outer"): {"mailrelay": ("A", "D'"), "smtp_pop": ("A'", "D")},
    ("mailrelay", "inner"): {"mailrelay": ("B", "C'"), "smtp_pop": ("B'", "C")},
    ("smtp_pop", "inner"): {"smtp_pop": ("C", "B'"), "mailrelay": ("C'", "B")},
    ("smtp_pop", "outer"): {"smtp_pop": ("D", "A'"), "mailrelay": ("D'", "A")},
    ("web", "inner"): {"mailrelay": ("B", "C'"), "smtp_pop": ("B'", "C")},
}

#: Only smtp_pop needs a fence, and so is not shared.
NORMAL = {"mailrelay": "mailrelay", "smtp_pop": "smtp_pop", "web": "mailrelay"}


def order(role: str, segment: str, server: str) -> tuple[Candidate, ...]:
    best = BEST[role, segment]
    peers = [s for s in best if s != server] if role != "smtp_pop" else []
    return tuple(CANDIDATES[role, card] for s in (server, *peers) for card in best[s])


def intents(placement: dict[str, str] = NORMAL) -> Intents:
    everybody = ADDRESSES.items()
    relay = tuple(ip_network(a) for a in ADDRESSES["smtp_pop", "inner"].addresses)
    pop = ADDRESSES["smtp_pop", "inner"]
    return Intents(
        addresses=tuple(ADDRESSES.values()),
        candidates=tuple(CANDIDATES.values()),
        steers=tuple(Steer(a, order(r, s, placement[r])) for (r, s), a in everybody),
        speaks=tuple(Speak(c) for c in CANDIDATES.values() if c.server == placement[c.role]),
        probes=tuple(
            Probe(source, candidate)
            for candidate in CANDIDATES.values()
            for source in _prober(candidate.segment).sources[candidate.interface]
        ),
        permits=(
            Permit("smtp", ADDRESSES["mailrelay", "outer"], "tcp", 25),
            *(
                Permit(name, pop, "tcp", number)
                for name, number in (("smtp", 25), ("submission", 587), ("pop3", 110))
            ),
            Permit("http", ADDRESSES["web", "inner"], "tcp", 80),
        ),
        connects=(
            Connect("tcp/25", ADDRESSES["mailrelay", "inner"], "tcp", 25, relay),
            Connect("tcp/25", ADDRESSES["smtp_pop", "outer"], "tcp", 25),
        ),
    )


@dataclass(frozen=True)
class Situation:
    """A placement, and the ports that are down as the compiler knows them."""

    placement: tuple[tuple[str, str], ...] = tuple(NORMAL.items())
    down: frozenset[Attachment] = frozenset()

    def compiled(self) -> dict[str, RuleSet]:
        graph = LiveGraph.of(NETWORK, self.down, PORTS)
        return compile(NETWORK, graph, intents(dict(self.placement)))


def placed(**roles: str) -> Situation:
    return replace(Situation(), placement=tuple((NORMAL | roles).items()))
