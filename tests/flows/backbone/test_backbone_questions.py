"""What hosts of a backbone ask and say about addresses: what switches answer, and what they leave
to the hosts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from campus_network import CLIENT_PORT, campus, client, intents

from flows.backbone.locators import Locators
from flows.compile import compile
from flows.rules import CONTROLLER, Output, RuleSet
from flows.walk.packet import (
    NEIGHBOUR_ADVERTISEMENT,
    Packet,
    arp_request,
    mac,
    neighbour_advertisement,
    neighbour_solicitation,
    udp,
)
from flows.walk.trace import ToController, Trace
from flows.walk.walker import walk
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, Host

NETWORK = campus([("a", "b"), ("b", "c")], ["c"])
AT_A, AT_B, AT_C = (Attachment(switch, CLIENT_PORT) for switch in "abc")
ANN, BOB, CAT = (client(NETWORK, switch) for switch in "abc")
#: Behind the same port as Ann.
DAN = Host("02:00:00:00:98:01", AT_A, 99, (ip_address("10.0.2.1"), ip_address("2001:db8::2:1")))
LOCATORS = Locators.of(NETWORK)
ANYWHERE = "0.0.0.0", "::"
FOUR, SIX = 0, 1
CARDS = tuple(NETWORK.file_interfaces.values())
#: At each switch, up, with nobody behind it who is known.
FREE_PORT = 5


def rule_sets() -> dict[str, RuleSet]:
    ports = {name: {end.port for end in NETWORK.trunk_ports} | {1, 2, FREE_PORT} for name in "abc"}
    graph = LiveGraph.of(NETWORK, ports_up=ports)
    wishes = intents(NETWORK, CARDS)
    wishes = replace(wishes, hosts=(*wishes.hosts, DAN))
    return compile(NETWORK, graph, wishes, backbones.routes(graph, {"files": CARDS}))


def sent(packet: Packet, at: Attachment = AT_A) -> Trace:
    up = {AT_A, AT_B, AT_C, *(card.attachment for card in CARDS)} | NETWORK.trunk_ports
    return walk(rule_sets(), NETWORK.links, lambda port: port in up, packet, at)


def question(asker: Host, source: str, target: Host, family: int) -> Packet:
    address = str(target.addresses[family])
    if family == FOUR:
        return arp_request((asker.mac, source), address)
    found = neighbour_solicitation((asker.mac, source), address)
    return found if source != "::" else found.with_(ipv6_nd_sll=0)


def told(trace: Trace, family: int) -> set[int]:
    """The MACs that those who hear it learn from it."""
    name = "arp_sha" if family == FOUR else "ipv6_nd_sll"
    return {delivery.packet[name] for delivery in trace.deliveries}


@pytest.mark.parametrize("family", [FOUR, SIX])
def test_what_a_host_announces_reaches_the_others_and_is_not_answered(family: int) -> None:
    """Answered, it would believe that another host has its address (RFC 5227, 2.4)."""
    trace = sent(question(ANN, str(ANN.addresses[family]), ANN, family))
    assert trace.places == {AT_B, AT_C}
    assert told(trace, family) == {LOCATORS.host(ANN)}


@pytest.mark.parametrize("family", [FOUR, SIX])
@pytest.mark.parametrize("owner", [ANN, BOB])
def test_whether_an_address_is_free_is_for_the_hosts_to_say(owner: Host, family: int) -> None:
    """Whom we know as its owner may be gone long since."""
    trace = sent(question(ANN, ANYWHERE[family], owner, family))
    assert trace.places == {AT_B, AT_C}
    assert not [step for step in trace.steps() if isinstance(step, ToController)]


@pytest.mark.parametrize("family", [FOUR, SIX])
def test_whether_a_service_address_is_free_says_the_switch(family: int) -> None:
    server = NETWORK.file_servers["files"]
    asked = question(ANN, ANYWHERE[family], replace(ANN, addresses=server.addresses), family)
    assert sent(asked).places == {AT_A}


def test_who_detects_a_duplicate_of_a_service_address_is_told_as_all_nodes_are() -> None:
    """It has no address yet: what is sent to `::` it never takes, nor what is sent to all and
    calls itself solicited (RFC 4861, sections 7.1.2 and 7.2.4)."""
    server = NETWORK.file_servers["files"]
    asked = question(ANN, "::", replace(ANN, addresses=server.addresses), SIX)
    (delivery,) = sent(asked).deliveries
    told = delivery.packet
    assert told["ipv6_dst"] == int(ip_address("ff02::1"))
    assert told["eth_dst"] == mac("33:33:00:00:00:01")
    assert told["icmpv6_type"] == NEIGHBOUR_ADVERTISEMENT
    assert told["ipv6_nd_target"] == told["ipv6_src"] == int(server.addresses[SIX])
    assert told["nd_reserved"] == 0x2000_0000


@pytest.mark.parametrize("family", [FOUR, SIX])
def test_hosts_behind_one_port_answer_each_other_alone(family: int) -> None:
    assert not sent(question(ANN, str(ANN.addresses[family]), DAN, family)).deliveries


@pytest.mark.parametrize("family", [FOUR, SIX])
def test_a_host_is_answered_for_one_behind_another_port(family: int) -> None:
    trace = sent(question(DAN, str(DAN.addresses[family]), BOB, family))
    assert trace.places == {AT_A}


def test_who_knows_a_host_behind_his_own_port_by_its_locator_reaches_it() -> None:
    """As one that was elsewhere when he asked."""
    locator = LOCATORS.host(DAN).to_bytes(6).hex(":")
    ends = (str(ANN.addresses[0]), 9), (str(DAN.addresses[0]), 9)
    (delivery,) = sent(udp((ANN.mac, locator), *ends)).deliveries
    assert delivery.attachment == AT_A
    assert (delivery.packet["eth_dst"], delivery.packet["eth_src"]) == (
        mac(DAN.mac),
        LOCATORS.host(ANN),
    )


def test_an_unasked_advertisement_reaches_the_others() -> None:
    group = "33:33:00:00:00:01", "ff02::1"
    trace = sent(neighbour_advertisement((ANN.mac, str(ANN.addresses[1])), group))
    assert trace.places == {AT_B, AT_C}
    assert {d.packet["ipv6_nd_tll"] for d in trace.deliveries} == {LOCATORS.host(ANN)}


@pytest.mark.parametrize("family", [FOUR, SIX])
@pytest.mark.parametrize("who", [ANN, replace(DAN, mac="02:00:00:00:98:02")])
def test_who_says_that_he_is_the_file_server_is_named_to_the_controller_alone(
    who: Host, family: int
) -> None:
    """A host that is known and one that is not, by what each family says unasked."""
    service = str(NETWORK.file_servers["files"].addresses[family])
    if family == FOUR:
        trace = sent(arp_request((who.mac, service), service))
    else:
        group = "33:33:00:00:00:01", "ff02::1"
        trace = sent(neighbour_advertisement((who.mac, service), group))
    assert not trace.deliveries
    (told,) = [step for step in trace.steps() if isinstance(step, ToController)]
    assert (told.switch, told.packet["eth_src"]) == ("a", mac(who.mac))


def test_spoofs_keep_no_host_from_being_learnt() -> None:
    held = rule_sets()["a"]
    spoofs = {r.meter for r in held.rules.values() if r.apply == (Output(CONTROLLER, 128),)}
    others = {r.meter for r in held.rules.values() if r.apply == (Output(CONTROLLER, 0xFFFF),)}
    assert len(spoofs) == 1
    assert not spoofs & others


def test_what_one_port_tells_the_controller_keeps_no_other_port_from_telling() -> None:
    """Or whoever sends a lot would keep a host from answering for what he claims himself."""
    held = rule_sets()["a"]
    told = [r for r in held.rules.values() if r.apply == (Output(CONTROLLER, 0xFFFF),) and r.meter]
    at_ports: dict[int, set[int | None]] = {}
    for rule in told:
        for port in (f.value for f in rule.match if f.name == "in_port"):
            at_ports.setdefault(port, set()).add(rule.meter)
    assert {CLIENT_PORT, FREE_PORT} <= at_ports.keys()
    used = [meter for meters in at_ports.values() for meter in meters]
    assert len(used) == len(set(used)) == len(at_ports)
    hosts = {mac(host.mac) for host in (ANN, DAN)}
    by_host = [r for r in told if any(f.name == "eth_src" and f.value in hosts for f in r.match)]
    assert {rule.meter for rule in by_host} == at_ports[CLIENT_PORT]


@pytest.mark.parametrize("octet", ["0a", "0e"])
def test_of_a_host_whose_own_mac_is_like_a_locator_the_controller_is_told(octet: str) -> None:
    """One of 32 MACs that devices make up is; silently dropped, nobody would find out why."""
    unlucky = replace(ANN, mac=f"{octet}:00:00:00:99:01")
    trace = sent(question(unlucky, "10.0.9.9", BOB, FOUR))
    assert not trace.deliveries
    assert trace.to_controller
