"""What is foretold of the switches is what their rules do."""

from __future__ import annotations

from campus_network import (
    CLIENT_PORT,
    SERVICE,
    VIRTUAL_MAC,
    campus,
    from_client,
    intents,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.compile import compile
from flows.packet import mac
from flows.walker import Walker
from topology import repairs
from topology.graph import LiveGraph
from topology.model import Attachment, Network
from topology.repairs import Found, Means
from topology.ways import Ways

NAMES = tuple("abcdef")


def ways(network: Network) -> Ways:
    """Of a campus where everything is up, and known to be."""
    cards = tuple(network.file_interfaces.values())
    ends = [*network.trunk_ports, *(card.attachment for card in cards)]
    told = {s: {CLIENT_PORT, *(e.port for e in ends if e.switch == s)} for s in network.switches}
    return Ways(LiveGraph.of(network, ports_up=told), {"files": cards})


def cut(network: Network, *ports: Attachment) -> frozenset[Attachment]:
    """These, and the other ends of their links."""
    links = [link for link in network.links if {link.a, link.b} & set(ports)]
    return frozenset((*ports, *(end for link in links for end in (link.a, link.b))))


@st.composite
def failures(draw: st.DrawFn) -> tuple[Network, frozenset[Attachment]]:
    """A campus, connected or not, with parallel links, and ports of it that are dead."""
    name = st.sampled_from(NAMES)
    edges = draw(st.lists(st.tuples(name, name), min_size=1, max_size=12))
    homes = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    homes += draw(st.sampled_from([[], homes[:1]]))
    edges = [(a, b) for a, b in edges if a != b]
    assume(edges)
    network = campus(edges, homes)
    cards = (card.attachment for card in network.file_interfaces.values())
    every = sorted({*network.trunk_ports, *cards})
    return network, cut(network, *draw(st.sets(st.sampled_from(every), max_size=4)))


@given(failures())
@settings(max_examples=60, deadline=None)
def test_packets_arrive_where_the_rules_bring_them(
    failure: tuple[Network, frozenset[Attachment]],
) -> None:
    network, dead = failure
    known = ways(network)
    wishes = intents(network, known.live["files"])
    walker = Walker(compile(network, known.graph, wishes, known.routes), network.links)
    for switch in network.switches:
        packet = from_client(network, switch, int(SERVICE), mac(VIRTUAL_MAC))
        trace = walker.walk(lambda end: end not in dead, packet, Attachment(switch, CLIENT_PORT))
        found = repairs.found(known, "files", switch, dead)
        assert found.arrives == (bool(trace.places) and not trace.drops), switch


SQUARE = campus([("a", "b"), ("b", "d"), ("a", "c"), ("c", "d")], ["d"])
LINE = campus([("a", "b"), ("b", "c")], ["a", "c"])


def failing(network: Network, *ports: tuple[str, int], switch: str) -> Found:
    dead = cut(network, *(Attachment(*port) for port in ports))
    return repairs.found(ways(network), "files", switch, dead)


def test_one_of_two_equal_hops_is_left_over() -> None:
    assert failing(SQUARE, ("a", 11), switch="a") == Found(True, frozenset({Means.LEFT_OVER}))


def test_behind_the_last_hop_there_is_an_alternate_or_nothing() -> None:
    ring = campus([("a", "b"), ("b", "c"), ("c", "a")], ["a"])
    assert failing(ring, ("a", 11), switch="b") == Found(True, frozenset({Means.ALTERNATE}))
    assert not failing(SQUARE, ("b", 12), switch="b").arrives


def test_a_dead_interface_is_replaced_by_another_one() -> None:
    for switch in "ab":
        found = failing(LINE, ("a", 2), switch=switch)
        assert found.arrives
        assert Means.INTERFACE in found.means
    assert failing(LINE, ("a", 2), switch="c") == Found(True, frozenset())
