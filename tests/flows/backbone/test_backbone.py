"""On any backbone, whatever fails, nothing loops; what can arrive comes by the nearest way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import networkx as nx
import pytest
from campus_network import (
    CLIENT_PORT,
    SERVICE,
    VIRTUAL_MAC,
    campus,
    client,
    from_client,
    intents,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.backbone import groups as groups_module
from flows.backbone.compile import BackboneCompiler
from flows.backbone.locators import Locators
from flows.compile import compile
from flows.ids import all_ids
from flows.numbers import CookieKind
from flows.rules import COOKIE_MASK, OWN_IDS, GroupType, Rule, RuleSet
from flows.walk.packet import (
    BROADCAST,
    ETH_ARP,
    ETH_IPV4,
    UDP,
    Packet,
    arp_request,
    mac,
    tcp,
    udp,
)
from flows.walk.trace import Delivered, Matched, Trace
from flows.walk.walker import Walker
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, Interface, Network
from topology.paths.routes import Destination

NAMES = tuple("abcdef")

#: Each example walks many packets.
FEW = settings(max_examples=40, deadline=None)


@dataclass(frozen=True)
class Campus:
    """A campus, and which of its ports are down without the rules knowing it."""

    network: Network
    dead: frozenset[Attachment] = frozenset()
    known: frozenset[Attachment] = frozenset()

    @cached_property
    def live(self) -> tuple[Interface, ...]:
        """The interfaces that the rules take for live."""
        cards = self.network.file_interfaces.values()
        return tuple(card for card in cards if card.attachment not in self.known)

    @cached_property
    def graph(self) -> LiveGraph:
        ports = {
            name: {CLIENT_PORT, *(e.port for e in self.attachments if e.switch == name)}
            - {e.port for e in self.known if e.switch == name}
            for name in self.network.switches
        }
        return LiveGraph.of(self.network, ports_up=ports)

    @cached_property
    def attachments(self) -> frozenset[Attachment]:
        cards = (card.attachment for card in self.network.file_interfaces.values())
        return self.network.trunk_ports | {*cards}

    @cached_property
    def rule_sets(self) -> dict[str, RuleSet]:
        routes = backbones.routes(self.graph, {"files": self.live})
        wishes = intents(self.network, self.live)
        return compile(self.network, self.graph, wishes, routes)

    @cached_property
    def walker(self) -> Walker:
        return Walker(self.rule_sets, self.network.links)

    @cached_property
    def down(self) -> frozenset[Attachment]:
        """A dead end of a link is seen at its other end."""
        down = self.dead | self.known
        cut = (link for link in self.network.links if {link.a, link.b} & down)
        return down | {end for link in cut for end in (link.a, link.b)}

    def port_up(self, attachment: Attachment) -> bool:
        return attachment not in self.down

    def walk(self, packet: Packet, at: Attachment) -> Trace:
        return self.walker.walk(self.port_up, packet, at)

    def to_server(self, switch: str) -> Trace:
        packet = from_client(self.network, switch, int(SERVICE), mac(VIRTUAL_MAC))
        return self.walk(packet, Attachment(switch, CLIENT_PORT))

    def to_client(self, switch: str, target: str) -> Trace:
        host = client(self.network, target)
        locator = Locators.of(self.network).host(host)
        packet = from_client(self.network, switch, int(host.addresses[0]), locator)
        return self.walk(packet, Attachment(switch, CLIENT_PORT))

    @cached_property
    def alive(self) -> nx.MultiGraph:
        """What is really there."""
        return LiveGraph.of(self.network, self.dead | self.known).switches


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Connected or not, with parallel links."""
    name = st.sampled_from(NAMES)
    edges = draw(st.lists(st.tuples(name, name), min_size=1, max_size=12))
    homes = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    homes += draw(st.sampled_from([[], homes[:1]]))
    edges = [(a, b) for a, b in edges if a != b]
    assume(edges)
    return campus(edges, homes)


@st.composite
def sites(draw: st.DrawFn, known: bool = False) -> Campus:
    """With dead ports; `known`: of which the rules know some."""
    network = draw(networks())
    every = sorted(Campus(network).attachments)
    dead = draw(st.sets(st.sampled_from(every), max_size=4))
    told = draw(st.sets(st.sampled_from(every), max_size=3)) if known else set()
    return Campus(network, frozenset(dead), frozenset(told))


def pairs(site: Campus) -> Iterator[tuple[str, str]]:
    for switch in site.network.switches:
        for target in site.network.switches:
            if switch != target:
                yield switch, target


@FEW
@given(sites(known=True))
def test_nothing_loops_whatever_fails_and_whatever_of_it_is_known(site: Campus) -> None:
    for switch in site.network.switches:
        assert not site.to_server(switch).loops
    for switch, target in pairs(site):
        assert not site.to_client(switch, target).loops


def test_a_packet_that_everybody_would_send_on_sideways_does_not_go_round() -> None:
    around = [("u", "v"), ("v", "w"), ("w", "u")]
    network = campus([*around, ("t", "u"), ("t", "v"), ("t", "w")], ["t"])
    site = Campus(network, frozenset(a for a in network.trunk_ports if a.switch == "t"))
    for switch in ("u", "v", "w"):
        assert not site.to_server(switch).loops
        assert not site.to_client(switch, "t").loops


@FEW
@given(sites(known=True))
def test_what_arrives_arrives_with_its_own_mac_where_it_belongs(site: Campus) -> None:
    cards = {card.attachment: mac(card.mac) for card in site.network.file_interfaces.values()}
    for switch in site.network.switches:
        for delivery in site.to_server(switch).deliveries:
            assert delivery.packet["eth_dst"] == cards[delivery.attachment]
    for switch, target in pairs(site):
        host = client(site.network, target)
        for delivery in site.to_client(switch, target).deliveries:
            assert delivery.attachment == host.attachment
            assert delivery.packet["eth_dst"] == mac(host.mac)


@FEW
@given(sites(known=True), st.data())
def test_with_offsets_nothing_loops_and_all_goes_where_the_routes_say(
    found: Campus, data: st.DataObject
) -> None:
    server = found.network.file_servers["files"]
    cards = tuple(replace(c, offset=data.draw(st.integers(0, 3))) for c in server.interfaces)
    files = replace(server, interfaces=cards)
    site = replace(found, network=replace(found.network, file_servers={"files": files}))
    trees = backbones.trees(site.graph, {"files": site.live})
    for switch in site.network.switches:
        trace = site.to_server(switch)
        assert not trace.loops
        if not site.dead:
            ends = trees.ends(Destination.file_server("files"), switch)
            assert {place.switch for place in trace.places} <= ends
            assert bool(trace.places) == bool(ends)


@FEW
@given(networks())
def test_every_client_reaches_a_nearest_interface_by_a_shortest_way(network: Network) -> None:
    site = Campus(network)
    homes = {card.attachment.switch for card in network.file_interfaces.values()}
    for switch in network.switches:
        costs = nx.single_source_dijkstra_path_length(site.alive, switch, weight="weight")
        nearest = min((costs[home] for home in homes if home in costs), default=None)
        trace = site.to_server(switch)
        reached = {costs[place.switch] for place in trace.places}
        assert reached == ({nearest} if nearest is not None else set())
        assert len(trace.outcomes()) == 1 or not trace.drops


@FEW
@given(sites())
def test_rules_that_know_what_failed_bring_all_that_can_be_brought(found: Campus) -> None:
    site = Campus(found.network, known=found.dead)
    homes = {card.attachment.switch for card in site.live}
    for switch in site.network.switches:
        reachable = nx.node_connected_component(site.alive, switch)
        assert bool(site.to_server(switch).places) == bool(homes & reachable)
        for target in site.network.switches:
            if target != switch:
                assert bool(site.to_client(switch, target).places) == (target in reachable)


@FEW
@given(networks(), st.data())
def test_one_dead_link_is_repaired_without_the_controller_where_a_hop_is_left(
    network: Network, data: st.DataObject
) -> None:
    link = data.draw(st.sampled_from(network.links))
    site = Campus(network, frozenset({link.a, link.b}))
    routes = backbones.routes(Campus(network).graph, {"files": Campus(network).live})
    for end in (link.a, link.b):
        for destination, by_switch in routes.hops.items():
            hops = by_switch.get(end.switch)
            if hops is None or end.port not in hops.equal:
                continue
            others = {*hops.nearer, *hops.alternates} - {end.port}
            if others and destination.kind == "switch":
                assert site.to_client(end.switch, destination.name).places
            if others and destination.kind == "file server":
                assert site.to_server(end.switch).places


@FEW
@given(networks(), st.data())
def test_a_dead_interface_is_replaced_by_another_one_without_the_controller(
    network: Network, data: st.DataObject
) -> None:
    cards = sorted(network.file_interfaces.values(), key=lambda card: card.name)
    dead = data.draw(st.sampled_from(cards))
    site = Campus(network, frozenset({dead.attachment}))
    others = {card.attachment.switch for card in cards} - {dead.attachment.switch}
    others |= {c.attachment.switch for c in cards if c != dead}
    for switch in network.switches:
        reachable = nx.node_connected_component(site.alive, switch)
        if others & reachable & nx.node_connected_component(site.alive, dead.attachment.switch):
            assert site.to_server(switch).places


def from_server(network: Network, card: Interface, switch: str) -> Packet:
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


@FEW
@given(sites(known=True))
def test_what_a_server_sends_is_counted_once_and_goes_its_way(site: Campus) -> None:
    for card in site.network.file_interfaces.values():
        reachable = nx.node_connected_component(site.alive, card.attachment.switch)
        for switch in site.network.switches:
            packet = from_server(site.network, card, switch)
            trace = site.walk(packet, card.attachment)
            counted = [m.rule for m in trace.steps() if isinstance(m, Matched) and counts(m.rule)]
            assert [rule.intent for rule in counted] == [
                f"count what {card.name} sends to {switch}"
            ]
            if switch in reachable and not site.dead:
                assert {place.switch for place in trace.places} == {switch}


@FEW
@given(networks())
def test_only_switches_with_interfaces_count(network: Network) -> None:
    homes = [card.attachment.switch for card in network.file_interfaces.values()]
    for name, held in Campus(network).rule_sets.items():
        counting = [rule for rule in held.rules.values() if counts(rule)]
        assert len(counting) == homes.count(name) * len(network.switches)


@pytest.mark.parametrize("card", range(3))
def test_a_probe_may_be_answered_by_any_interface_of_its_server(card: int) -> None:
    network = campus([("a", "b"), ("b", "c")], ["a", "a", "c"], prober="b")
    site, prober = Campus(network), network.segments["campus"].prober
    assert prober is not None
    sender = network.file_servers["files"].interfaces[card]
    for sources in prober.sources.values():
        asked = arp_request((sender.mac, str(SERVICE)), str(sources[0]))
        (told,) = site.walk(asked, sender.attachment).deliveries
        assert (told.attachment, told.packet["arp_sha"]) == (sender.attachment, mac(prober.mac))
        ends = (str(SERVICE), 445), (str(sources[0]), 40000)
        trace = site.walk(tcp((sender.mac, prober.mac), *ends), sender.attachment)
        assert trace.places == {prober.attachment}


def counts(rule: Rule) -> bool:
    return (rule.cookie & ~COOKIE_MASK) >> 32 == CookieKind.ANSWERS


def asking(network: Network, switch: str, target: int) -> Packet:
    """The client at a switch asks who has an address."""
    host = client(network, switch)
    return Packet.of(
        eth_src=mac(host.mac),
        eth_dst=BROADCAST,
        eth_type=ETH_ARP,
        arp_op=1,
        arp_sha=mac(host.mac),
        arp_spa=int(host.addresses[0]),
        arp_tpa=target,
    )


def answers(trace: Trace, wanted: Callable[[Delivered], bool]) -> list[Delivered]:
    return [delivery for delivery in trace.deliveries if wanted(delivery)]


@FEW
@given(sites(known=True))
def test_a_broadcast_reaches_nobody_twice_and_never_loops(site: Campus) -> None:
    for switch in site.network.switches:
        unknown = asking(site.network, switch, int(SERVICE) + 1)
        trace = site.walk(unknown, Attachment(switch, CLIENT_PORT))
        assert not trace.loops
        places = [d.attachment for d in trace.steps() if isinstance(d, Delivered)]
        assert len(places) == len(set(places))
        assert {place.port for place in places} <= {CLIENT_PORT}


@FEW
@given(networks())
def test_a_broadcast_reaches_every_client_that_can_be_reached(network: Network) -> None:
    site = Campus(network)
    for switch in network.switches:
        unknown = asking(network, switch, int(SERVICE) + 1)
        places = site.walk(unknown, Attachment(switch, CLIENT_PORT)).places
        reachable = nx.node_connected_component(site.alive, switch) - {switch}
        assert {place.switch for place in places} == reachable


@FEW
@given(networks())
def test_who_asks_for_a_file_server_is_answered_by_his_own_switch(network: Network) -> None:
    site = Campus(network)
    for switch in network.switches:
        at = Attachment(switch, CLIENT_PORT)
        (answer,) = site.walk(asking(network, switch, int(SERVICE)), at).deliveries
        assert answer.attachment == at
        assert answer.packet["arp_sha"] == mac(VIRTUAL_MAC)


@FEW
@given(networks())
def test_who_asks_for_a_known_host_learns_its_locator_from_his_own_switch(
    network: Network,
) -> None:
    site, locators = Campus(network), Locators.of(network)
    for switch, target in pairs(site):
        at, host = Attachment(switch, CLIENT_PORT), client(network, target)
        (answer,) = site.walk(asking(network, switch, int(host.addresses[0])), at).deliveries
        assert answer.attachment == at
        assert answer.packet["arp_sha"] == locators.host(host)


#: Every switch has groups of several kinds and contents.
MESHED = campus([*itertools.combinations("abcd", 2)], ["a", "b"])


def test_groups_whose_digests_fall_together_get_ids_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apart = Campus(MESHED).rule_sets
    monkeypatch.setattr(groups_module, "content_ids", lambda _content: itertools.count(OWN_IDS[1]))
    together = Campus(MESHED)
    for switch, rules in together.rule_sets.items():
        assert len(rules.groups) == len(apart[switch].groups) > 2
    for switch, target in itertools.permutations(MESHED.switches, 2):
        endings = together.to_client(switch, target).steps()
        assert any(isinstance(step, Delivered) for step in endings)


def test_a_digest_never_takes_the_id_of_a_group_that_has_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Campus(MESHED)
    named = frozenset(all_ids(MESHED, intents(MESHED, site.live)).values())
    monkeypatch.setattr(
        groups_module, "content_ids", lambda _content: itertools.chain(named, OWN_IDS[1:])
    )
    for rules in site.rule_sets.values():
        ids = {group.id for group in rules.groups.values() if group.type is not GroupType.ALL}
        assert ids
        assert not ids & named


def test_who_remembers_compiles_as_who_begins_anew_when_one_of_two_interfaces_there_fails() -> None:
    network = campus([("a", "b")], ["a", "a"])
    cards, graph = network.file_servers["files"].interfaces, LiveGraph.of(network)
    routes = backbones.routes(graph, {"files": cards})
    compiler = BackboneCompiler()
    both = compiler.at(graph, intents(network, cards), routes)
    for switch in network.switches:
        both(switch)
    one = intents(network, cards[:1])
    remembering = compiler.at(graph, one, routes)
    for switch, rules in compile(network, graph, one, routes).items():
        assert remembering(switch) == rules


def test_who_remembers_compiles_as_who_begins_anew_in_another_network() -> None:
    before, after = campus([("a", "b")], ["a"]), campus([("a", "b")], ["a"], prober="b")
    graph, nobody = LiveGraph.of(after), intents(after, ())
    routes = backbones.routes(graph, {"files": ()})
    compiler = BackboneCompiler()
    without_prober = compiler.at(LiveGraph.of(before), nobody, routes)
    for switch in before.switches:
        without_prober(switch)
    remembering = compiler.at(graph, nobody, routes)
    for switch, rules in compile(after, graph, nobody, routes).items():
        assert remembering(switch) == rules


@FEW
@given(networks())
def test_a_host_is_also_found_by_the_mac_that_it_has_in_truth(network: Network) -> None:
    """A DHCP server sends its offer to the MAC that it reads in the question, and who has heard
    a router's advertisement sends to the MAC in there."""
    site = Campus(network)
    for switch, target in pairs(site):
        server, host = client(network, switch), client(network, target)
        ends = (str(server.addresses[0]), 67), ("10.0.7.7", 68)
        offer = udp((server.mac, host.mac), *ends)
        trace = site.walk(offer, Attachment(switch, CLIENT_PORT))
        if nx.has_path(site.alive, switch, target):
            (delivery,) = trace.deliveries
            assert delivery.attachment == host.attachment
            assert delivery.packet["eth_dst"] == mac(host.mac)
        else:
            assert not trace.places
