"""A backbone's rules in a real switch: it takes all of them, holds what was sent, and treats
packets as the walker says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from campus_network import (
    CLIENT_PORT,
    SERVICE,
    SERVICE_V6,
    VIRTUAL_MAC,
    campus,
    client,
    clients,
    intents,
)
from ofproto_trace import delivered, ofproto_trace
from private_ovs import Bridge, PrivateOvs

from flows.backbone.locators import DETOUR, Locators
from flows.compile import compile
from flows.diff import diff
from flows.openflow import error_text, messages
from flows.openflow.ryu_mended import parser
from flows.rules import RuleSet
from flows.walk.packet import Packet, arp_request, mac, tcp
from flows.walk.walker import Walker
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, Network

pytestmark = pytest.mark.integration

#: The square has two equal ways across, the diagonal's end an alternate, `e` one link only.
EDGES = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "e"), ("b", "d")]
NETWORK = campus(EDGES, ["a", "c", "c", "e"], prober="b")
PORTS = tuple(range(1, 5)) + tuple(range(11, 24))


def rule_sets(network: Network) -> dict[str, RuleSet]:
    live = tuple(network.file_interfaces.values())
    ports = {name: PORTS for name in network.switches}
    graph = LiveGraph.of(network, ports_up={n: set(p) for n, p in ports.items()})
    routes = backbones.routes(graph, {"files": live})
    return compile(network, graph, intents(network, live), routes)


HELD = rule_sets(NETWORK)


@pytest.fixture(scope="module")
def bridge(ovs: PrivateOvs) -> Bridge:
    return ovs.add_bridge("campus", 0x41, PORTS)


@pytest.fixture(params=sorted(NETWORK.switches))
def installed(bridge: Bridge, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the switch that the bridge plays."""
    name: str = request.param
    for what in ("del-flows", "del-groups", "del-meters"):
        bridge.ofctl(what)
    with bridge.connect() as channel:
        for batch in diff(RuleSet(), HELD[name]):
            sends = [m for change in batch for m in messages(channel.datapath, change)]
            errors = channel.barrier(*sends)
            assert [error_text(e) for e in errors if isinstance(e, parser.OFPErrorMsg)] == []
        assert list(diff(channel.read_back(), HELD[name])) == []
        yield name


def packets(switch: str) -> Iterator[tuple[int, Packet]]:
    """Ports of entry, and packets that clients, interfaces and other switches send there."""
    locators, here = Locators.of(NETWORK), client(NETWORK, switch)
    trunks = [end.port for end in NETWORK.trunk_ports if end.switch == switch]
    four, six = (str(address) for address in here.addresses)
    for target in (mac(VIRTUAL_MAC), mac(VIRTUAL_MAC) | DETOUR):
        for entry in (CLIENT_PORT, *trunks):
            yield entry, _to(here.mac, target, (four, str(SERVICE)))
            yield entry, _to(here.mac, target, (six, str(SERVICE_V6)))
    others = [locators.host(host) for host in clients(NETWORK)]
    others += [locators.interface(card) for card in NETWORK.file_interfaces.values()]
    for other in others:
        for entry in (CLIENT_PORT, *trunks):
            yield entry, _to(here.mac, other, (four, "10.0.1.99"))
            yield entry, _to(here.mac, other | DETOUR, (four, "10.0.1.99"))
    for host in (*(str(h.addresses[0]) for h in clients(NETWORK)), str(SERVICE), "10.0.1.99"):
        yield CLIENT_PORT, arp_request((here.mac, four), host)
    for card in NETWORK.file_interfaces.values():
        if card.attachment.switch == switch:
            yield card.attachment.port, _to(card.mac, others[0], (str(SERVICE), "10.0.1.99"))
            yield card.attachment.port, arp_request((card.mac, str(SERVICE)), "10.0.1.99")


def _to(sender: str, target: int, ends: tuple[str, str]) -> Packet:
    octets = ":".join(f"{octet:02x}" for octet in target.to_bytes(6))
    return tcp((sender, octets), (ends[0], 40000), (ends[1], 445))


def test_the_switch_does_what_the_walker_says(bridge: Bridge, installed: str) -> None:
    walker = Walker({installed: HELD[installed]}, ())
    exists = {Attachment(installed, port) for port in PORTS}
    for number, (port, packet) in enumerate(packets(installed)):
        trace, happens = ofproto_trace(bridge, packet, port, number + 1)
        walked = walker.walk(exists.__contains__, packet, Attachment(installed, port))
        possible = [delivered(outcome) for outcome in walked.outcomes()]
        assert happens in possible, f"{packet} at {port}: {possible}\n{trace}"


def test_the_switch_leaves_dead_ports_as_the_walker_says(bridge: Bridge, installed: str) -> None:
    walker = Walker({installed: HELD[installed]}, ())
    ports = {end.port for end in NETWORK.trunk_ports if end.switch == installed} | {2}
    for dead in sorted(ports):
        bridge.set_port(dead, up=False)
        live = {Attachment(installed, port) for port in PORTS if port != dead}
        try:
            for number, (port, packet) in enumerate(packets(installed)):
                if port == dead or number % 5:
                    continue
                trace, happens = ofproto_trace(bridge, packet, port, number + 1)
                happens = [(out, seen) for out, seen in happens if out != dead]
                walked = walker.walk(live.__contains__, packet, Attachment(installed, port))
                possible = [delivered(outcome) for outcome in walked.outcomes()]
                assert happens in possible, f"{packet} at {port}: {possible}\n{trace}"
        finally:
            bridge.set_port(dead, up=True)
