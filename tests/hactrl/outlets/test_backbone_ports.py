"""What a backbone's ports say becomes events; what the engine asks becomes frames."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from campus_network import campus, client, site_of

from flows.backbone.locators import Locators
from flows.frames import announcement, question
from flows.rules import RuleSet
from hactrl.engine.decide import initial
from hactrl.engine.effects import AnnounceHost, AskHost, SendAgain
from hactrl.engine.events import Event, HostSighted, LinkHeard
from hactrl.engine.state import State, SwitchState
from hactrl.outlets.backbone_ports import BackbonePorts
from hactrl.switches.session import Wanted
from topology.hosts import Sighting
from topology.locators import ASKER_MAC
from topology.model import Attachment

NETWORK = campus([("a", "b")], ["a"])
HOST = client(NETWORK, "a")
TRUNK_A, TRUNK_B = NETWORK.links[0].a, NETWORK.links[0].b
FRAME = bytes.fromhex("ffffffffffff") + bytes.fromhex(HOST.mac.replace(":", "")) + b"\x08\x06"
ARP = FRAME + bytes.fromhex("0001080006040001") + FRAME[6:12] + bytes([10, 0, 1, 1]) + bytes(10)


class Switches:
    """Remembers what was sent: (switch, frame, port, again)."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, int, bool]] = []

    def emit(self, switch: str, frame: bytes, port: int) -> None:
        self.sent.append((switch, frame, port, False))

    def resubmit(self, switch: str, frame: bytes, port: int) -> None:
        self.sent.append((switch, frame, port, True))


class Bench:
    """A backbone whose clock and state stand still unless told."""

    def __init__(self) -> None:
        self.switches, self.events, self.now = Switches(), list[Event](), 100.0
        ports = {"a": frozenset({1, 2, TRUNK_A.port}), "b": frozenset({1, TRUNK_B.port})}
        known = {name: SwitchState(True, up) for name, up in ports.items()}
        self.state: State = replace(
            initial(site_of(NETWORK), {}, 0.0), switches=known, installed=dict.fromkeys(ports, 1)
        )
        self.backbone = BackbonePorts(
            self.switches, lambda: self.state, self.events.append, lambda: self.now
        )

    def installed(self, switch: str, version: int) -> None:
        self.backbone.installed(switch, Wanted(RuleSet(), version, provisional=False))

    def announced(self, port: Attachment) -> bytes:
        """What is announced out of a port."""
        self.backbone._announce(port, 5)
        return self.switches.sent[-1][1]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_announcement_heard_at_the_other_end_is_a_link(bench: Bench) -> None:
    bench.backbone.frame_in(TRUNK_B, bench.announced(TRUNK_A))
    assert bench.events == [LinkHeard(TRUNK_B, TRUNK_A)]


def test_a_link_that_is_heard_again_is_told_once(bench: Bench) -> None:
    for _ in range(3):
        bench.backbone.frame_in(TRUNK_B, bench.announced(TRUNK_A))
    assert len(bench.events) == 1


def test_a_link_that_was_down_is_told_again(bench: Bench) -> None:
    bench.backbone.frame_in(TRUNK_B, bench.announced(TRUNK_A))
    bench.backbone.port_down(TRUNK_A)
    bench.backbone.frame_in(TRUNK_B, bench.announced(TRUNK_A))
    assert bench.events == [LinkHeard(TRUNK_B, TRUNK_A)] * 2


def test_an_announcement_that_was_kept_for_later_is_not_believed(bench: Bench) -> None:
    frame = bench.announced(TRUNK_A)
    bench.now += 60.0
    bench.backbone.frame_in(TRUNK_B, frame)
    assert bench.events == []


def test_a_forged_announcement_is_not_believed(bench: Bench) -> None:
    bench.backbone.frame_in(TRUNK_B, Bench().announced(TRUNK_A))
    assert bench.events == []


def rounds(bench: Bench, *lengths: float) -> list[Event]:
    """What is told at the beginnings of rounds in which nothing is heard."""
    bench.events.clear()
    for seconds in lengths:
        bench.now += seconds
        bench.backbone._grow_old(bench.backbone._ports())
    return bench.events


def test_a_controller_that_was_suspended_takes_no_link_to_be_silent(bench: Bench) -> None:
    bench.backbone._grow_old(bench.backbone._ports())
    for speaker, listener in ((TRUNK_A, TRUNK_B), (TRUNK_B, TRUNK_A)):
        bench.backbone.frame_in(listener, bench.announced(speaker))
    assert rounds(bench, 1.0, 600.0) == []
    silent = {LinkHeard(TRUNK_A, None), LinkHeard(TRUNK_B, None)}
    assert set(rounds(bench, 1.0, 1.0)) == silent


def test_nothing_is_announced_to_servers(bench: Bench) -> None:
    ports = bench.backbone._ports()
    assert Attachment("a", 2) not in ports
    assert {TRUNK_A, TRUNK_B, Attachment("a", 1), Attachment("b", 1)} == set(ports)


def test_a_frame_of_a_host_is_a_sighting_with_its_address(bench: Bench) -> None:
    bench.backbone.frame_in(HOST.attachment, ARP)
    sighting = Sighting(HOST.mac, HOST.attachment, ip_address("10.0.1.1"))
    assert bench.events == [HostSighted(sighting, ARP)]


def test_an_answer_to_us_is_a_sighting_that_is_not_sent_on(bench: Bench) -> None:
    answer = bytes.fromhex(ASKER_MAC.replace(":", "")) + ARP[6:]
    bench.backbone.frame_in(HOST.attachment, answer)
    (event,) = bench.events
    assert isinstance(event, HostSighted)
    assert event.packet == b""


def test_a_host_is_asked_at_its_port_by_its_own_mac(bench: Bench) -> None:
    bench.backbone.ask(AskHost(HOST, HOST.addresses[0]))
    ((switch, frame, port, again),) = bench.switches.sent
    assert (switch, port, again) == ("a", HOST.attachment.port, False)
    assert frame[:6] == FRAME[6:12]


def test_a_host_is_asked_for_every_address_that_it_may_still_have(bench: Bench) -> None:
    """The oldest may be one that DHCP has taken back, to which it does not answer."""
    bench.backbone.ask(AskHost(HOST))
    frames = [frame for _, frame, _, _ in bench.switches.sent]
    assert frames == [question(ASKER_MAC, HOST.mac, address) for address in HOST.addresses]


def test_a_host_is_announced_by_its_own_switch_and_to_file_servers_by_its_locator(
    bench: Bench,
) -> None:
    bench.backbone.announce_host(AnnounceHost(HOST))
    (card,) = NETWORK.file_interfaces.values()
    locator = Locators.of(NETWORK).host(HOST).to_bytes(6).hex(":")
    assert set(bench.switches.sent) == {
        (port.switch, announcement(mac, address), port.port, again)
        for address in HOST.addresses
        for port, mac, again in (
            (HOST.attachment, HOST.mac, True),
            (card.attachment, locator, False),
        )
    }


def test_a_host_is_announced_again_when_the_last_switch_tells_its_new_name(bench: Bench) -> None:
    """A switch whose turn has not come answers questions for the host by its former name."""
    known = replace(bench.state.host_table, hosts={HOST.mac: HOST})
    bench.state = replace(bench.state, version=7, host_table=known)
    bench.backbone.announce_host(AnnounceHost(HOST))
    own = [("a", announcement(HOST.mac, a), HOST.attachment.port, True) for a in HOST.addresses]
    bench.installed("a", 7)
    assert [sent for sent in bench.switches.sent if sent[3]] == own
    bench.installed("b", 6)
    assert [sent for sent in bench.switches.sent if sent[3]] == own
    bench.installed("b", 7)
    assert [sent for sent in bench.switches.sent if sent[3]] == own * 2
    bench.installed("b", 8)
    assert [sent for sent in bench.switches.sent if sent[3]] == own * 2


@pytest.mark.parametrize("moved_on", [True, False])
def test_a_switch_that_is_out_of_reach_keeps_no_host_from_being_announced_again(
    bench: Bench, moved_on: bool
) -> None:
    """Unless it has moved on meanwhile: then the newer announcement counts."""
    now = replace(HOST, number=HOST.number + 1) if moved_on else HOST
    known = replace(bench.state.host_table, hosts={HOST.mac: now})
    lost = {**bench.state.switches, "b": SwitchState(connected=False)}
    bench.state = replace(bench.state, version=7, host_table=known, switches=lost)
    bench.backbone.announce_host(AnnounceHost(HOST))
    bench.installed("a", 7)
    again = [sent for sent in bench.switches.sent if sent[3]]
    assert len(again) == len(HOST.addresses) * (1 if moved_on else 2)


def test_a_frame_goes_on_when_its_switch_holds_the_rules_for_it(bench: Bench) -> None:
    bench.state = replace(bench.state, version=7)
    bench.backbone.send_again(SendAgain(HOST.attachment, ARP))
    bench.installed("a", 6)
    assert bench.switches.sent == []
    bench.installed("a", 7)
    assert bench.switches.sent == [("a", ARP, HOST.attachment.port, True)]


def test_a_frame_that_waited_too_long_is_not_sent(bench: Bench) -> None:
    bench.state = replace(bench.state, version=7)
    bench.backbone.send_again(SendAgain(HOST.attachment, ARP))
    bench.now += 60.0
    bench.installed("a", 7)
    assert bench.switches.sent == []
