"""What is foretold of the switches is what their rules do."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from random import Random

from campus_network import (
    CLIENT_PORT,
    SERVICE,
    VIRTUAL_MAC,
    campus,
    client,
    from_client,
    intents,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.backbone.locators import Locators
from flows.compile import compile
from flows.walk.packet import ETH_IPV4, UDP, Packet, mac
from flows.walk.walker import Walker
from topology.graph import LiveGraph
from topology.model import Attachment, Interface, Network
from topology.paths import repairs
from topology.paths.repairs import Found, Means
from topology.paths.routes import Destination
from topology.paths.shortest import Hops
from topology.paths.ways import Ways

NAMES = tuple("abcdefg")


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


def any_campus(dice: Random) -> Network:
    """Connected or not, with parallel links and costs. Made with dice: what hypothesis draws is
    too simple for the rarer repairs."""
    names = NAMES[: dice.randint(3, 7)]
    count = dice.randint(len(names) - 1, 2 * len(names))
    edges = [(a, b) for a, b in (dice.sample(names, 2) for _ in range(count))]
    homes = [dice.choice(edges)[0] for _ in range(dice.randint(1, 3))]
    network = campus(edges, [home for n, home in enumerate(homes) if homes[:n].count(home) < 2])
    links = [replace(link, cost=dice.randint(1, 3)) for link in network.links]
    return replace(network, links=tuple(links))


def answer(network: Network, card: Interface, switch: str) -> Packet:
    """What an interface sends to the client at a switch."""
    host = client(network, switch)
    return Packet.of(
        eth_src=mac(card.mac),
        eth_dst=Locators.of(network).host(host),
        eth_type=ETH_IPV4,
        ipv4_src=int(SERVICE),
        ipv4_dst=int(host.addresses[0]),
        ip_proto=UDP,
        udp_src=9,
        udp_dst=50000,
    )


def arrive(walker: Walker, network: Network, switch: str, dead: Set[Attachment]) -> bool:
    """Whether the rules bring all packets of a switch's client to the file server, and back."""

    def come(packet: Packet, at: Attachment) -> frozenset[Attachment]:
        trace = walker.walk(lambda end: end not in dead, packet, at)
        return frozenset() if trace.drops else trace.places

    asked = from_client(network, switch, int(SERVICE), mac(VIRTUAL_MAC))
    places = come(asked, Attachment(switch, CLIENT_PORT))
    cards = [card for card in network.file_interfaces.values() if card.attachment in places]
    answers = ((answer(network, card, switch), card.attachment) for card in cards)
    return bool(places) and all(come(*answer) for answer in answers)


@given(st.integers(0, 1 << 32))
@settings(max_examples=80, deadline=None)
def test_packets_arrive_where_the_rules_bring_them(seed: int) -> None:
    dice = Random(seed)
    network = any_campus(dice)
    cards = [card.attachment for card in network.file_interfaces.values()]
    ports = sorted({*network.trunk_ports, *cards})
    known = ways(network)
    wishes = intents(network, known.live["files"])
    walker = Walker(compile(network, known.graph, wishes, known.routes), network.links)
    for _ in range(5):
        dead = cut(network, *dice.sample(ports, dice.randint(1, min(5, len(ports)))))
        for switch in network.switches:
            found = repairs.found(known, "files", switch, dead)
            assert found.arrives == arrive(walker, network, switch, dead), (switch, dead)


SQUARE = campus([("a", "b"), ("b", "d"), ("a", "c"), ("c", "d")], ["d"])
LINE = campus([("a", "b"), ("b", "c")], ["a", "c"])


def failing(network: Network, *ports: tuple[str, int], switch: str) -> Found:
    dead = cut(network, *(Attachment(*port) for port in ports))
    return repairs.found(ways(network), "files", switch, dead)


def test_one_of_two_equal_hops_is_left_over() -> None:
    twice = campus([("a", "b"), ("a", "b")], ["b"])
    assert failing(twice, ("a", 11), switch="a") == Found(True, frozenset({Means.LEFT_OVER}))


def test_an_answer_may_be_lost_where_the_question_is_not() -> None:
    """The switch opposite still shares answers among both ways, and one of them is a dead end
    whose only way out leads back."""
    dead = cut(SQUARE, Attachment("a", 11))
    routes = ways(SQUARE)
    assert not repairs.found(routes, "files", "a", dead).arrives
    assert routes.trees.hops(Destination.switch("a"), "b") == Hops(equal=(19,))


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
