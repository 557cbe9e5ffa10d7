"""What the compiled rules do with packets in the report's network, walked through all switches."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_network import (
    ADDRESSES,
    CANDIDATES,
    HOSTS,
    LINKS,
    NETWORK,
    PORTS,
    SEGMENTS,
    Situation,
    at,
    intents,
    placed,
)

from flows.compile import compile
from flows.intents import Candidate, Fence, Intents
from flows.pipeline import HOSTS as HOSTS_TABLE
from flows.rules import GroupType, RuleSet
from flows.walk.packet import (
    ACK,
    ARP_REPLY,
    NEIGHBOUR_ADVERTISEMENT,
    RST,
    SYN,
    Packet,
    arp_reply,
    arp_request,
    icmp,
    mac,
    neighbour_advertisement,
    neighbour_solicitation,
    tcp,
    udp,
)
from flows.walk.walker import Trace, Walker, with_learnt
from topology.graph import LiveGraph
from topology.model import Attachment

HOST = "02:c0:00:00:00:07"
NEIGHBOUR = "02:c0:00:00:00:08"
STRANGER = "02:c0:00:00:00:99"
ADDRESS = {
    ("outer", 4): "192.0.2.7",
    ("outer", 6): "2001:db8:0:1::7",
    ("inner", 4): "10.0.0.7",
    ("inner", 6): "2001:db8:0:2::7",
}
SERVICES = {
    ("mailrelay", "outer"): (25,),
    ("mailrelay", "inner"): (),
    ("smtp_pop", "inner"): (25, 110, 587),
    ("smtp_pop", "outer"): (),
    ("web", "inner"): (80,),
}
FAMILIES = pytest.mark.parametrize("family", [4, 6])
TRUNK_PORTS = sorted(NETWORK.trunk_ports)
CARD_PORTS = sorted(card.attachment for card in NETWORK.interfaces.values())
CANDIDATE_NAMES = pytest.mark.parametrize("name", sorted(CANDIDATES), ids="-".join)


@cache
def compiled(situation: Situation) -> dict[str, RuleSet]:
    return situation.compiled()


@cache
def walker(situation: Situation) -> Walker:
    return Walker(compiled(situation), LINKS)


def walk(
    packet: Packet,
    entry: Attachment,
    situation: Situation | None = None,
    down: frozenset[Attachment] | None = None,
) -> Trace:
    """`down` are the ports that really are down, if others than the compiler knows."""
    situation = situation or Situation()
    really_down = situation.down if down is None else down
    return walker(situation).walk(lambda port: port not in really_down, packet, entry)


def service(role: str, segment: str, family: int) -> str:
    return str(next(a for a in ADDRESSES[role, segment].addresses if a.version == family))


def to_service(
    role: str, segment: str, family: int, port: int, *, sport: int = 40000, flags: int = SYN
) -> Packet:
    eth = (HOST, ADDRESSES[role, segment].mac)
    source = (ADDRESS[segment, family], sport)
    return tcp(eth, source, (service(role, segment, family), port), flags)


def from_service(
    candidate: Candidate, family: int, port: int, dport: int = 40000, flags: int = SYN | ACK
) -> Packet:
    """To the host, from where the candidate is."""
    source = (service(candidate.role, candidate.segment, family), port)
    destination = (ADDRESS[candidate.segment, family], dport)
    return tcp((candidate.mac, HOST), source, destination, flags)


def only(trace: Trace) -> tuple[Attachment, Packet]:
    """Where the one copy of the packet came out, and how."""
    assert not trace.loops
    assert len(trace.places) == 1, trace.places
    return next((d.attachment, d.packet) for d in trace.deliveries)


def live(role: str, segment: str, situation: Situation | None = None) -> Candidate:
    """The first candidate in order whose port is up."""
    situation = situation or Situation()
    steers = intents(dict(situation.placement)).steers
    order = next(s.order for s in steers if s.address == ADDRESSES[role, segment])
    return next(c for c in order if c.attachment not in situation.down)


PERMITTED = [
    (role, segment, port, family)
    for (role, segment), ports in SERVICES.items()
    for port in ports
    for family in (4, 6)
]


# Users and services


@pytest.mark.parametrize(("role", "segment", "port", "family"), PERMITTED)
def test_every_host_reaches_every_permitted_service_at_the_live_card(
    role: str, segment: str, port: int, family: int
) -> None:
    for entry in HOSTS[segment]:
        place, packet = only(walk(to_service(role, segment, family, port), entry))
        assert place == live(role, segment).attachment
        assert packet["eth_dst"] == mac(live(role, segment).mac)


@pytest.mark.parametrize("destination", [STRANGER, "ff:ff:ff:ff:ff:ff"])
@pytest.mark.parametrize(("role", "segment", "port", "family"), PERMITTED)
def test_whatever_mac_a_packet_for_a_service_address_has_it_goes_to_the_role_alone(
    role: str, segment: str, port: int, family: int, destination: str
) -> None:
    card = live(role, segment)
    source = (ADDRESS[segment, family], 40000)
    packet = tcp((HOST, destination), source, (service(role, segment, family), port), SYN)
    for entry in HOSTS[segment]:
        where, arrived = only(walk(packet, entry))
        assert where == card.attachment
        assert arrived["eth_dst"] == mac(card.mac)


@pytest.mark.parametrize("segment", sorted(SEGMENTS))
def test_what_hosts_say_to_each_other_never_comes_over_a_link_off_the_tree(segment: str) -> None:
    tree = {switch: LiveGraph.of(NETWORK).tree_ports(switch) for switch in SEGMENTS[segment]}
    off_tree = [
        end for end in TRUNK_PORTS if end.switch in tree and end.port not in tree[end.switch]
    ]
    assert off_tree
    packet = udp((HOST, STRANGER), (ADDRESS[segment, 4], 5000), (ADDRESS[segment, 4], 5000))
    for end in off_tree:
        trace = walk(packet, end)
        assert not trace.deliveries
        assert {learnt.rule.table for learnt in trace.learnt} <= {HOSTS_TABLE.number}


@FAMILIES
@pytest.mark.parametrize(("role", "segment"), sorted(SERVICES))
def test_no_other_port_of_a_role_is_reached(role: str, segment: str, family: int) -> None:
    for port in {22, 25, 53, 80, 110, 143, 587, 8080} - set(SERVICES[role, segment]):
        for flags in (SYN, ACK, RST, 0):
            packet = to_service(role, segment, family, port, sport=50000, flags=flags)
            assert not walk(packet, HOSTS[segment][0]).places


@FAMILIES
def test_udp_and_echo_requests_do_not_reach_a_role(family: int) -> None:
    own = service("mailrelay", "outer", family)
    eth = (HOST, ADDRESSES["mailrelay", "outer"].mac)
    asked = udp(eth, (ADDRESS["outer", family], 40000), (own, 25))
    ping = icmp(eth, ADDRESS["outer", family], own, 8 if family == 4 else 128)
    assert not walk(asked, at("o2:1")).places
    assert not walk(ping, at("o2:1")).places


@FAMILIES
def test_what_a_role_opens_is_answered(family: int) -> None:
    candidate = live("smtp_pop", "outer")
    opened = from_service(candidate, family, 50000, dport=25, flags=SYN)
    assert at("o1:1") in walk(opened, candidate.attachment).places
    answer = to_service("smtp_pop", "outer", family, 50000, sport=25, flags=SYN | ACK)
    assert only(walk(answer, at("o1:1")))[0] == candidate.attachment


@FAMILIES
def test_the_port_that_answers_come_from_opens_nothing(family: int) -> None:
    packet = to_service("smtp_pop", "outer", family, 50000, sport=25, flags=SYN)
    assert not walk(packet, at("o1:1")).places


@FAMILIES
def test_a_role_opens_nothing_that_it_may_not(family: int) -> None:
    candidate = live("mailrelay", "outer")
    for port in (22, 25, 80):
        packet = from_service(candidate, family, 50000, dport=port, flags=SYN)
        assert not walk(packet, candidate.attachment).places
    from_its_service_port = from_service(candidate, family, 25, flags=SYN)
    assert not walk(from_its_service_port, candidate.attachment).places


@FAMILIES
def test_what_a_role_sends_shows_only_its_virtual_mac(family: int) -> None:
    candidate = live("mailrelay", "outer")
    trace = walk(from_service(candidate, family, 25), candidate.attachment)
    assert trace.places
    assert {d.packet["eth_src"] for d in trace.deliveries} == {
        mac(ADDRESSES["mailrelay", "outer"].mac)
    }


@FAMILIES
def test_mailrelay_reaches_smtp_pop_and_hears_its_answer(family: int) -> None:
    relay, pop = live("mailrelay", "inner"), live("smtp_pop", "inner")
    ends = (service("mailrelay", "inner", family), service("smtp_pop", "inner", family))
    there = tcp(
        (relay.mac, ADDRESSES["smtp_pop", "inner"].mac), (ends[0], 50000), (ends[1], 25), SYN
    )
    back = tcp(
        (pop.mac, ADDRESSES["mailrelay", "inner"].mac), (ends[1], 25), (ends[0], 50000), SYN | ACK
    )
    place, packet = only(walk(there, relay.attachment))
    assert (place, packet["eth_dst"]) == (pop.attachment, mac(pop.mac))
    assert packet["eth_src"] == mac(ADDRESSES["mailrelay", "inner"].mac)
    assert only(walk(back, pop.attachment))[0] == relay.attachment


@FAMILIES
def test_roles_without_a_word_for_each_other_are_apart(family: int) -> None:
    relay = live("mailrelay", "inner")
    source = (service("mailrelay", "inner", family), 50000)
    for role, port in (("web", 80), ("smtp_pop", 110)):
        target = (service(role, "inner", family), port)
        packet = tcp((relay.mac, ADDRESSES[role, "inner"].mac), source, target, SYN)
        assert not walk(packet, relay.attachment).places


@FAMILIES
def test_both_roles_on_one_card_reach_each_other(family: int) -> None:
    situation = replace(placed(smtp_pop="mailrelay"), down=frozenset({at("i2:3")}))
    relay, pop = CANDIDATES["mailrelay", "B"], CANDIDATES["smtp_pop", "B"]
    packet = tcp(
        (relay.mac, ADDRESSES["smtp_pop", "inner"].mac),
        (service("mailrelay", "inner", family), 50000),
        (service("smtp_pop", "inner", family), 25),
    )
    place, arrived = only(walk(packet, relay.attachment, situation))
    assert (place, arrived["eth_dst"]) == (relay.attachment, mac(pop.mac))


@pytest.mark.parametrize(("family", "kind", "code"), [(4, 3, 4), (4, 11, 0), (6, 2, 0), (6, 3, 0)])
def test_icmp_errors_reach_a_role_through_the_meter(family: int, kind: int, code: int) -> None:
    own = service("mailrelay", "outer", family)
    packet = icmp(
        (HOST, ADDRESSES["mailrelay", "outer"].mac), ADDRESS["outer", family], own, kind, code
    )
    trace = walk(packet, at("o2:1"))
    assert only(trace)[0] == at("o1:2")
    metered = [r for r in compiled(Situation())["o2"].rules.values() if r.meter is not None]
    assert {r.meter for r in metered} == set(compiled(Situation())["o2"].meters)


# Standbys, probes, fences


@FAMILIES
@CANDIDATE_NAMES
def test_every_candidate_live_or_not_is_probed_on_its_own_card(
    name: tuple[str, str], family: int
) -> None:
    candidate = CANDIDATES[name]
    prober = NETWORK.segments[candidate.segment].prober
    assert prober is not None
    source = next(a for a in prober.sources[candidate.interface] if a.version == family)
    own = service(candidate.role, candidate.segment, family)
    virtual = ADDRESSES[candidate.role, candidate.segment].mac
    probe = tcp((prober.mac, virtual), (str(source), 40000), (own, 25))
    place, packet = only(walk(probe, prober.attachment))
    assert (place, packet["eth_dst"]) == (candidate.attachment, mac(candidate.mac))

    answer = tcp((candidate.mac, prober.mac), (own, 25), (str(source), 40000), SYN | ACK)
    assert only(walk(answer, candidate.attachment))[0] == prober.attachment
    attack = tcp((candidate.mac, prober.mac), (own, 50000), (str(source), 8080), SYN)
    assert not walk(attack, candidate.attachment).places


@FAMILIES
@CANDIDATE_NAMES
def test_who_may_not_speak_reaches_nobody_but_the_prober(
    name: tuple[str, str], family: int
) -> None:
    candidate = CANDIDATES[name]
    speaks = any(s.candidate == candidate for s in intents().speaks)
    for port in (25, 80, 110):
        trace = walk(from_service(candidate, family, port), candidate.attachment)
        permitted = port in SERVICES[candidate.role, candidate.segment]
        assert bool(trace.places) == (speaks and permitted)


def fenced(fence: Fence) -> Intents:
    return replace(intents(), fences=(fence,))


@FAMILIES
def test_a_fenced_card_hears_and_says_nothing(family: int) -> None:
    card = NETWORK.interfaces["C"]
    graph = LiveGraph.of(NETWORK, ports_up=PORTS)
    closed = compile(NETWORK, graph, fenced(Fence("C", card.attachment, card.mac)))
    world = Walker(closed, LINKS)
    candidate = CANDIDATES["smtp_pop", "C"]

    def go(packet: Packet, entry: Attachment) -> Trace:
        return world.walk(lambda _: True, packet, entry)

    prober = NETWORK.segments["inner"].prober
    assert prober is not None
    source = next(a for a in prober.sources["C"] if a.version == family)
    own = service("smtp_pop", "inner", family)
    virtual = ADDRESSES["smtp_pop", "inner"].mac
    probe = tcp((prober.mac, virtual), (str(source), 40000), (own, 25))
    answer = tcp((candidate.mac, prober.mac), (own, 25), (str(source), 40000), SYN | ACK)
    assert not go(probe, prober.attachment).places
    assert not go(answer, card.attachment).places
    assert not go(from_service(candidate, family, 25), card.attachment).places
    user = go(to_service("smtp_pop", "inner", family, 25), at("i3:1"))
    assert user.places == {at("i1:3")}, "the same server's other card"


@FAMILIES
def test_nobody_serves_and_packets_are_dropped(family: int) -> None:
    nobody = intents()
    nobody = replace(nobody, steers=tuple(replace(s, order=()) for s in nobody.steers))
    rules = compile(NETWORK, LiveGraph.of(NETWORK, ports_up=PORTS), nobody)
    trace = Walker(rules, LINKS).walk(
        lambda _: True, to_service("smtp_pop", "inner", family, 25), at("i3:1")
    )
    assert not trace.places
    assert trace.drops


# ARP and neighbour discovery


@pytest.mark.parametrize(("role", "segment"), sorted(ADDRESSES))
def test_a_host_that_asks_for_a_service_address_is_answered_by_its_own_switch(
    role: str, segment: str
) -> None:
    virtual = mac(ADDRESSES[role, segment].mac)
    for entry in HOSTS[segment]:
        four = arp_request((HOST, ADDRESS[segment, 4]), service(role, segment, 4))
        place, packet = only(walk(four, entry))
        assert place == entry
        assert packet["arp_op"] == ARP_REPLY
        assert (packet["arp_sha"], packet["eth_src"]) == (virtual, virtual)
        assert (packet["arp_tha"], packet["eth_dst"]) == (mac(HOST), mac(HOST))
        assert (packet["arp_spa"], packet["arp_tpa"]) == (four["arp_tpa"], four["arp_spa"])

        six = neighbour_solicitation((HOST, ADDRESS[segment, 6]), service(role, segment, 6))
        place, packet = only(walk(six, entry))
        assert place == entry
        assert packet["icmpv6_type"] == NEIGHBOUR_ADVERTISEMENT
        assert (packet["ipv6_nd_tll"], packet["eth_src"]) == (virtual, virtual)
        assert (packet["ipv6_src"], packet["ipv6_dst"]) == (six["ipv6_nd_target"], six["ipv6_src"])


def test_a_roles_question_for_a_host_shows_its_virtual_mac_to_every_host_and_no_server() -> None:
    candidate = live("smtp_pop", "inner")
    virtual = mac(ADDRESSES["smtp_pop", "inner"].mac)
    four = arp_request((candidate.mac, service("smtp_pop", "inner", 4)), ADDRESS["inner", 4])
    six = neighbour_solicitation(
        (candidate.mac, service("smtp_pop", "inner", 6)), ADDRESS["inner", 6]
    )
    for question, sender in ((four, "arp_sha"), (six, "ipv6_nd_sll")):
        trace = walk(question, candidate.attachment)
        assert trace.places == set(HOSTS["inner"])
        for delivered in trace.deliveries:
            assert delivered.packet["eth_src"] == delivered.packet[sender] == virtual


def test_a_hosts_answer_reaches_every_candidate_of_the_role() -> None:
    virtual = ADDRESSES["smtp_pop", "inner"].mac
    four = arp_reply((HOST, ADDRESS["inner", 4]), (virtual, service("smtp_pop", "inner", 4)))
    six = neighbour_advertisement(
        (HOST, ADDRESS["inner", 6]), (virtual, service("smtp_pop", "inner", 6))
    )
    wanted = {
        (c.attachment, mac(c.mac))
        for c in CANDIDATES.values()
        if (c.role, c.segment) == ("smtp_pop", "inner")
    }
    for answer in (four, six):
        trace = walk(answer, at("i3:1"))
        assert {(d.attachment, d.packet["eth_dst"]) for d in trace.deliveries} == wanted


def test_a_standby_finds_the_prober_and_nobody_else() -> None:
    standby = CANDIDATES["smtp_pop", "C'"]
    prober = NETWORK.segments["inner"].prober
    assert prober is not None
    four, six = prober.sources["C'"]
    own = (standby.mac, service("smtp_pop", "inner", 4))
    own6 = (standby.mac, "fe80::1")
    for question in (arp_request(own, str(four)), neighbour_solicitation(own6, str(six))):
        place, packet = only(walk(question, standby.attachment))
        assert (place, packet["eth_src"]) == (standby.attachment, mac(prober.mac))
    for question in (
        arp_request(own, ADDRESS["inner", 4]),
        arp_request(own, service("mailrelay", "inner", 4)),
        neighbour_solicitation(own6, ADDRESS["inner", 6]),
    ):
        assert not walk(question, standby.attachment).places


@CANDIDATE_NAMES
def test_a_servers_own_announcements_go_nowhere(name: tuple[str, str]) -> None:
    candidate = CANDIDATES[name]
    own = service(candidate.role, candidate.segment, 4)
    own6 = service(candidate.role, candidate.segment, 6)
    for announcement in (
        arp_request((candidate.mac, own), own),
        arp_request((candidate.mac, "0.0.0.0"), own),
        arp_reply((candidate.mac, own), ("ff:ff:ff:ff:ff:ff", own)),
        neighbour_solicitation((candidate.mac, "::"), own6),
        neighbour_solicitation((candidate.mac, own6), own6),
        neighbour_advertisement((candidate.mac, own6), ("33:33:00:00:00:01", "ff02::1")),
    ):
        assert not walk(announcement, candidate.attachment).places


# What hosts may not do


@pytest.mark.parametrize(
    "packet",
    [
        tcp((HOST, NEIGHBOUR), ("10.0.0.25", 25), ("10.0.0.8", 40000), ACK),
        tcp((HOST, NEIGHBOUR), ("2001:db8:0:2::25", 25), ("2001:db8:0:2::8", 40000), ACK),
        tcp((HOST, NEIGHBOUR), ("10.0.0.241", 25), ("10.0.0.8", 40000), ACK),
        tcp((CANDIDATES["smtp_pop", "C"].mac, NEIGHBOUR), ("10.0.0.7", 1), ("10.0.0.8", 2)),
        tcp((ADDRESSES["smtp_pop", "inner"].mac, NEIGHBOUR), ("10.0.0.7", 1), ("10.0.0.8", 2)),
        arp_request((HOST, "10.0.0.25"), "10.0.0.8"),
        arp_reply((HOST, "10.0.0.25"), (NEIGHBOUR, "10.0.0.8")),
        neighbour_advertisement((HOST, "2001:db8:0:2::25"), (NEIGHBOUR, "2001:db8:0:2::8")),
        tcp((HOST, NEIGHBOUR), ("127.0.0.1", 1), ("10.0.0.8", 2)),
    ],
    ids=[
        "service-address",
        "service-address-v6",
        "prober-address",
        "card-mac",
        "virtual-mac",
        "arp-request",
        "arp-reply",
        "advertisement",
        "martian",
    ],
)
def test_what_a_host_may_not_claim_is_dropped(packet: Packet) -> None:
    for entry in HOSTS["inner"]:
        assert not walk(packet, entry).places


@CANDIDATE_NAMES
def test_a_host_does_not_get_past_the_policy_by_a_mac_of_ours(name: tuple[str, str]) -> None:
    candidate = CANDIDATES[name]
    segment = candidate.segment
    here = ADDRESS[segment, 4]
    for target in (candidate.mac, ADDRESSES[candidate.role, segment].mac):
        for packet in (
            tcp((HOST, target), (here, 40000), ("198.51.100.1", 22)),
            tcp((HOST, target), (ADDRESS[segment, 6], 40000), ("fe80::1", 22)),
            icmp((HOST, target), ADDRESS[segment, 6], "fe80::1", 134),
            arp_request((HOST, here), here).with_(eth_dst=mac(target)),
            neighbour_solicitation((HOST, ADDRESS[segment, 6]), "fe80::1").with_(
                eth_dst=mac(target)
            ),
            Packet.of(eth_src=mac(HOST), eth_dst=mac(target), eth_type=0x9000),
        ):
            assert not walk(packet, HOSTS[segment][0]).places


def test_a_later_fragment_does_not_reach_a_role() -> None:
    packet = to_service("mailrelay", "outer", 4, 25).with_(tcp_dst=0, tcp_src=0, tcp_flags=0)
    assert not walk(packet.with_(ip_frag=3), at("o1:1")).places


# Hosts among themselves


@pytest.mark.parametrize("segment", sorted(SEGMENTS))
def test_a_broadcast_reaches_every_other_host_once_and_nobody_else(segment: str) -> None:
    for entry in HOSTS[segment]:
        trace = walk(arp_request((HOST, ADDRESS[segment, 4]), "198.51.100.1"), entry)
        assert sorted(d.attachment for d in trace.deliveries) == sorted(
            set(HOSTS[segment]) - {entry}
        )
        assert [len(outcome) for outcome in trace.outcomes()] == [len(next(iter(trace.outcomes())))]


@pytest.mark.parametrize(("role", "segment", "port", "family"), PERMITTED)
def test_an_answer_goes_to_the_host_that_asked_and_to_no_other(
    role: str, segment: str, port: int, family: int
) -> None:
    for entry in HOSTS[segment]:
        asked = walk(to_service(role, segment, family, port), entry)
        rules = with_learnt(compiled(Situation()), asked)
        candidate = live(role, segment)
        trace = Walker(rules, LINKS).walk(
            lambda _: True, from_service(candidate, family, port), candidate.attachment
        )
        assert only(trace)[0] == entry


def test_ours_are_never_learnt() -> None:
    ours = {mac(c.mac) for c in CANDIDATES.values()} | {mac(a.mac) for a in ADDRESSES.values()}
    for candidate in CANDIDATES.values():
        for packet in (
            from_service(candidate, 4, 25),
            arp_request((candidate.mac, service(candidate.role, candidate.segment, 4)), "10.9.9.9"),
        ):
            for learnt in walk(packet, candidate.attachment).learnt:
                assert {f.value for f in learnt.rule.match}.isdisjoint(ours)


# Failures


def sets_of(ports: list[Attachment]) -> st.SearchStrategy[frozenset[Attachment]]:
    return st.frozensets(st.sampled_from(ports), max_size=8)


SERVICE = st.sampled_from(PERMITTED)
DOWN = sets_of(TRUNK_PORTS + CARD_PORTS)
PLACEMENT = st.sampled_from(
    [placed(), placed(smtp_pop="mailrelay"), placed(mailrelay="smtp_pop", web="smtp_pop")]
)


@settings(max_examples=40, deadline=None)
@given(PLACEMENT, DOWN, DOWN, SERVICE, st.integers(0, 2))
def test_no_packet_to_a_service_loops_whatever_fails(
    place: Situation,
    known: frozenset[Attachment],
    really: frozenset[Attachment],
    what: tuple[str, str, int, int],
    host: int,
) -> None:
    role, segment, port, family = what
    entry = HOSTS[segment][host % len(HOSTS[segment])]
    trace = walk(to_service(role, segment, family, port), entry, replace(place, down=known), really)
    assert not trace.loops
    assert all(len(outcome) <= 1 or not trace.places for outcome in trace.outcomes())


def some_of(cables: list[frozenset[Attachment]]) -> list[frozenset[Attachment]]:
    """What is down for every choice of dead cables."""
    return [
        frozenset().union(*dead)
        for count in range(len(cables) + 1)
        for dead in combinations(cables, count)
    ]


@pytest.mark.parametrize("role", ["smtp_pop", "web"])
def test_no_packet_loops_for_any_set_of_dead_cables_known_or_not(role: str) -> None:
    ring = [frozenset({link.a, link.b}) for link in LINKS if link.a.switch.startswith("i")]
    card = live(role, "inner").attachment
    port = SERVICES[role, "inner"][0]
    for known in some_of(ring):
        for really in some_of([*ring, frozenset({card})]):
            for entry in HOSTS["inner"]:
                packet = to_service(role, "inner", 4, port)
                trace = walk(packet, entry, Situation(down=known), really)
                assert not trace.loops, (known, really)


def connected(a: str, b: str, down: frozenset[Attachment]) -> bool:
    return LiveGraph.of(NETWORK, down).reaches(a, b)


@settings(max_examples=40, deadline=None)
@given(PLACEMENT, DOWN, SERVICE, st.integers(0, 2))
def test_recompiled_every_packet_reaches_the_first_candidate_that_is_alive_and_connected(
    place: Situation,
    down: frozenset[Attachment],
    what: tuple[str, str, int, int],
    host: int,
) -> None:
    role, segment, port, family = what
    entry = HOSTS[segment][host % len(HOSTS[segment])]
    order = next(
        s.order
        for s in intents(dict(place.placement)).steers
        if s.address == ADDRESSES[role, segment]
    )
    wanted = [
        c
        for c in order
        if c.attachment not in down and connected(entry.switch, c.attachment.switch, down)
    ]
    trace = walk(to_service(role, segment, family, port), entry, replace(place, down=down))
    assert not trace.loops
    if wanted:
        place_reached, packet = only(trace)
        assert place_reached == wanted[0].attachment
        assert packet["eth_dst"] == mac(wanted[0].mac)
    else:
        assert not trace.places


#: Both ends of a cable see it die.
CABLES = [frozenset({link.a, link.b}) for link in LINKS] + [frozenset({c}) for c in CARD_PORTS]


@pytest.mark.parametrize("dead", CABLES, ids=lambda dead: "-".join(map(str, sorted(dead))))
def test_one_dead_cable_is_survived_without_the_controller(dead: frozenset[Attachment]) -> None:
    for role, segment, port, family in PERMITTED:
        for entry in HOSTS[segment]:
            trace = walk(to_service(role, segment, family, port), entry, down=dead)
            wanted = live(role, segment, Situation(down=dead))
            assert trace.places == {wanted.attachment}
            assert all(d.packet["eth_dst"] == mac(wanted.mac) for d in trace.deliveries)


def of_role(role: str, segment: str) -> list[Candidate]:
    return [c for c in CANDIDATES.values() if (c.role, c.segment) == (role, segment)]


#: Roles that own nothing, where they have services.
SHARED = [what for what in PERMITTED if ADDRESSES[what[0], what[1]].shared]


@pytest.mark.parametrize("place", [placed(), placed(web="smtp_pop", mailrelay="smtp_pop")])
def test_without_the_controller_a_shared_role_is_reached_while_any_of_its_cards_lives(
    place: Situation,
) -> None:
    """Whichever die together, and on whatever switches: all of a server, too."""
    for role, segment, port, family in SHARED:
        cards = of_role(role, segment)
        for count in range(1, len(cards)):
            for dead in combinations(cards, count):
                down = frozenset(card.attachment for card in dead)
                living = {(c.attachment, mac(c.mac)) for c in cards if c not in dead}
                for entry in HOSTS[segment]:
                    trace = walk(to_service(role, segment, family, port), entry, place, down)
                    where, packet = only(trace)
                    assert (where, packet["eth_dst"]) in living, (dead, entry)


def test_without_the_controller_what_a_role_owns_is_never_left_for_another_server() -> None:
    for role, segment, port, family in set(PERMITTED) - set(SHARED):
        cards = of_role(role, segment)
        owner = live(role, segment).server
        for count in range(1, len(cards) + 1):
            for dead in combinations(cards, count):
                down = frozenset(card.attachment for card in dead)
                for entry in HOSTS[segment]:
                    trace = walk(to_service(role, segment, family, port), entry, down=down)
                    owners = {c.attachment for c in cards if c.server == owner}
                    assert trace.places <= owners, (dead, entry)


@CANDIDATE_NAMES
def test_a_probe_that_finds_its_card_dead_is_answered_by_no_other(name: tuple[str, str]) -> None:
    candidate = CANDIDATES[name]
    prober = NETWORK.segments[candidate.segment].prober
    assert prober is not None
    source = next(a for a in prober.sources[candidate.interface] if a.version == 4)
    own = service(candidate.role, candidate.segment, 4)
    virtual = ADDRESSES[candidate.role, candidate.segment].mac
    probe = tcp((prober.mac, virtual), (str(source), 40000), (own, 25))
    assert walk(probe, prober.attachment).places
    assert not walk(probe, prober.attachment, down=frozenset({candidate.attachment})).places


def test_what_was_diverted_to_a_dead_card_goes_to_no_fenced_one() -> None:
    cards = {c.interface: c for c in of_role("web", "inner")}
    card = NETWORK.interfaces["C"]
    graph = LiveGraph.of(NETWORK, ports_up=PORTS)
    world = Walker(compile(NETWORK, graph, fenced(Fence("C", card.attachment, card.mac))), LINKS)
    down = {cards[name].attachment for name in ("B", "C'", "B'")}
    packet = to_service("web", "inner", 4, 80)
    assert not world.walk(lambda port: port not in down, packet, at("i1:1")).places


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), DOWN, SERVICE), max_size=4),
    DOWN,
    DOWN,
    st.sampled_from(sorted(CANDIDATES)),
)
def test_no_packet_to_a_host_loops_however_old_what_was_learnt(
    talk: list[tuple[int, frozenset[Attachment], tuple[str, str, int, int]]],
    known: frozenset[Attachment],
    really: frozenset[Attachment],
    name: tuple[str, str],
) -> None:
    rules = compiled(Situation(down=known))
    for host, down, (role, segment, port, family) in talk:
        entry = HOSTS[segment][host % len(HOSTS[segment])]
        for packet in (
            to_service(role, segment, family, port),
            arp_request((HOST, ADDRESS[segment, 4]), "198.51.100.1"),
        ):
            trace = walk(packet, entry, Situation(down=known), down)
            rules = with_learnt(rules, trace)
    candidate = CANDIDATES[name]
    packet = from_service(candidate, 4, 25)
    if name == ("web", candidate.interface):
        packet = from_service(candidate, 4, 80)
    trace = Walker(rules, LINKS).walk(lambda port: port not in really, packet, candidate.attachment)
    assert not trace.loops


@settings(max_examples=30, deadline=None)
@given(sets_of(TRUNK_PORTS), st.sampled_from(sorted(SEGMENTS)), st.integers(0, 2))
def test_recompiled_a_broadcast_reaches_every_connected_host_exactly_once(
    down: frozenset[Attachment], segment: str, host: int
) -> None:
    entry = HOSTS[segment][host % len(HOSTS[segment])]
    trace = walk(
        arp_request((HOST, ADDRESS[segment, 4]), "198.51.100.1"), entry, Situation(down=down)
    )
    reachable = [
        h for h in HOSTS[segment] if h != entry and connected(entry.switch, h.switch, down)
    ]
    (outcome,) = trace.outcomes()
    delivered = [ending.attachment for ending in outcome if hasattr(ending, "attachment")]
    assert sorted(delivered) == sorted(reachable)


# Rule sets as values


def test_equal_input_gives_equal_output() -> None:
    first, second = Situation().compiled(), Situation().compiled()
    assert first == second
    assert [list(held.rules) for held in first.values()] == [
        list(held.rules) for held in second.values()
    ]


@pytest.mark.parametrize("roles", [{"smtp_pop": "mailrelay"}, {"mailrelay": "smtp_pop"}])
def test_a_change_of_placement_changes_one_group_a_switch_and_who_may_speak(
    roles: dict[str, str],
) -> None:
    before, after = compiled(Situation()), compiled(placed(**roles))
    (role,) = roles
    for switch in before:
        groups = before[switch].groups
        assert groups.keys() == after[switch].groups.keys()
        changed = [g for g in groups if groups[g] != after[switch].groups[g]]
        segment = NETWORK.switches[switch].segment
        assert [groups[g].intent for g in changed] == [f"steer {role} on {segment}"]
        rules = set(before[switch].rules.values()) ^ set(after[switch].rules.values())
        cards = {
            mac(c.mac)
            for c in CANDIDATES.values()
            if c.role == role and c.attachment.switch == switch
        }
        for rule in rules:
            assert rule.table == 0
            assert next(f.value for f in rule.match if f.name == "eth_src") in cards
            assert f"let {role} speak at" in rule.intent


@pytest.mark.parametrize("count", [1, 2])
def test_a_failed_link_changes_no_group_id(count: int) -> None:
    before = compiled(Situation())
    for links in combinations(LINKS, count):
        after = compiled(Situation(down=frozenset(link.a for link in links)))
        for switch in before:
            steering = {
                g.id: g.intent
                for g in before[switch].groups.values()
                if g.type is not GroupType.SELECT
            }
            assert (
                steering.items() <= {g.id: g.intent for g in after[switch].groups.values()}.items()
            )


@pytest.mark.parametrize("dead", CABLES, ids=lambda dead: "-".join(map(str, sorted(dead))))
def test_answers_come_back_over_one_dead_cable_without_the_controller(
    dead: frozenset[Attachment],
) -> None:
    """Where the host has spoken before, and then asks again over what is left."""
    for role, segment, port in (
        ("mailrelay", "outer", 25),
        ("smtp_pop", "inner", 110),
        ("web", "inner", 80),
    ):
        for entry in HOSTS[segment]:
            question = to_service(role, segment, 4, port)
            rules = with_learnt(compiled(Situation()), walk(question, entry))
            asked = Walker(rules, LINKS).walk(lambda p: p not in dead, question, entry)
            rules = with_learnt(rules, asked)
            candidate = live(role, segment, Situation(down=dead))
            answer = from_service(candidate, 4, port)
            trace = Walker(rules, LINKS).walk(lambda p: p not in dead, answer, candidate.attachment)
            assert not trace.loops
            assert entry in trace.places
