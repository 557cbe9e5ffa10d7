"""What file servers answer is counted by a real switch, and read back by port and destination."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from campus_network import SERVICE, campus, client, clients, intents
from private_ovs import Bridge, Channel, PrivateOvs
from ryu.lib.packet import ethernet, ipv4, packet, udp

from flows.backbone.locators import Locators
from flows.compile import compile
from flows.diff import diff
from flows.openflow import Counting, error_text, frame_again, messages
from flows.openflow.ryu_mended import parser
from flows.rules import RuleSet
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Interface

pytestmark = pytest.mark.integration

NETWORK = campus([("a", "b"), ("b", "c")], ["a", "a", "c"])
LOCATORS = Locators.of(NETWORK)
CARDS = NETWORK.file_servers["files"].interfaces
PORTS = (1, 2, 3, *(end.port for end in NETWORK.trunk_ports if end.switch == "a"))


def rules_of(switch: str) -> RuleSet:
    graph = LiveGraph.of(NETWORK)
    routes = backbones.routes(graph, {"files": CARDS})
    return compile(NETWORK, graph, intents(NETWORK, CARDS), routes)[switch]


@pytest.fixture
def channel(ovs: PrivateOvs) -> Iterator[Channel]:
    """To a switch that is `a`."""
    bridge: Bridge = ovs.add_bridge("a", 0x41, PORTS)
    with bridge.connect() as connection:
        install(connection, RuleSet(), rules_of("a"))
        yield connection
    bridge.delete()


def install(channel: Channel, held: RuleSet, wanted: RuleSet) -> None:
    for batch in diff(held, wanted):
        sends = [m for change in batch for m in messages(channel.datapath, change)]
        errors = channel.barrier(*sends)
        assert [error_text(e) for e in errors if isinstance(e, parser.OFPErrorMsg)] == []


def sends(channel: Channel, card: Interface, switch: str, length: int) -> None:
    """The interface sends a frame of this length to the client at a switch."""
    host = client(NETWORK, switch)
    locator = LOCATORS.host(host)
    head = ethernet.ethernet(":".join(f"{o:02x}" for o in locator.to_bytes(6)), card.mac, 0x0800)
    inner = ipv4.ipv4(proto=17, src=str(SERVICE), dst=str(host.addresses[0]))
    frame = packet.Packet()
    for layer in (head, inner, udp.udp(445, 50000), bytes(length - 14 - 20 - 8)):
        frame.add_protocol(layer)
    frame.serialize()
    assert len(frame.data) == length
    channel.barrier(frame_again(channel.datapath, bytes(frame.data), card.attachment.port))


def counted(channel: Channel) -> dict[tuple[int, str], int]:
    """By port and switch, what is not zero."""
    counting = Counting(channel.datapath)
    channel.ask(counting)
    names = {LOCATORS.prefix(name)[0]: name for name in NETWORK.switches}
    return {(port, names[to]): count for (port, to), count in counting.found().items() if count}


def test_each_frame_is_counted_at_its_port_and_for_its_switch(channel: Channel) -> None:
    assert counted(channel) == {}
    sends(channel, CARDS[0], "b", 1000)
    sends(channel, CARDS[0], "b", 500)
    sends(channel, CARDS[0], "c", 200)
    sends(channel, CARDS[1], "a", 300)
    assert counted(channel) == {(2, "b"): 1500, (2, "c"): 200, (3, "a"): 300}


def test_only_the_rules_that_count_are_read(channel: Channel) -> None:
    counting = Counting(channel.datapath)
    channel.ask(counting)
    prefixes = {LOCATORS.prefix(name)[0] for name in NETWORK.switches}
    assert set(counting.found()) == {(port, to) for port in (2, 3) for to in prefixes}
    assert len(clients(NETWORK)) == len(prefixes)


def test_a_change_elsewhere_keeps_what_was_counted(channel: Channel) -> None:
    sends(channel, CARDS[0], "b", 1000)
    graph = LiveGraph.of(NETWORK)
    fewer = CARDS[1:]
    routes = backbones.routes(graph, {"files": fewer})
    after = compile(NETWORK, graph, intents(NETWORK, fewer), routes)["a"]
    install(channel, rules_of("a"), after)
    assert counted(channel) == {(2, "b"): 1000}
