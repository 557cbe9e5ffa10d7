"""A packet's way in words, on backbones and barrier segments."""

from __future__ import annotations

from copy import copy
from ipaddress import ip_address

import pytest
from rest_fixture import CAMPUS, SITE, Controller

from flows.backbone.locators import Locators
from flows.walk.packet import show
from hactrl.engine.decide import initial
from hactrl.engine.events import HostSighted, LinkHeard, PortChanged
from hactrl.explain.names import UnknownNameError
from hactrl.explain.offline import rule_sets_of, told
from hactrl.explain.questions import PacketError, TraceQuestion
from hactrl.explain.tracing import Story, tell
from topology.hosts import Sighting
from topology.model import Attachment

ANN, BOB = "00:16:3e:00:00:01", "00:16:3e:00:00:02"
ANN_AT, BOB_AT = Attachment("r5", 7), Attachment("r3", 9)


@pytest.fixture(scope="module")
def campus_at_first() -> Controller:
    """The campus of the example; two hosts are known."""
    controller = Controller(CAMPUS)
    controller.everything_up()
    for mac, at, address in ((ANN, ANN_AT, "10.20.1.5"), (BOB, BOB_AT, "10.20.1.9")):
        controller.tell(HostSighted(Sighting(mac, at, ip_address(address)), b""))
    return controller


@pytest.fixture(scope="module")
def frontier_at_first() -> Controller:
    """The mail servers of the example."""
    controller = Controller(SITE)
    controller.everything_up()
    return controller


@pytest.fixture
def campus(campus_at_first: Controller) -> Controller:
    return copy(campus_at_first)


@pytest.fixture
def frontier(frontier_at_first: Controller) -> Controller:
    return copy(frontier_at_first)


def ask(controller: Controller, at: str, destination: str, **more: object) -> Story:
    question = TraceQuestion(at, destination, **more)  # type: ignore[arg-type]
    return tell(controller.state, rule_sets_of(controller.state), question)


def in_short(story: Story) -> str:
    assert story.lines[-1].startswith("in short: ")
    return story.lines[-1].removeprefix("in short: ")


class TestOnABackbone:
    def test_a_client_is_brought_to_the_nearest_interface_switch_by_switch(
        self, campus: Controller
    ) -> None:
        story = ask(campus, "10.20.1.5", "archive")
        here = Locators.of(CAMPUS.network).host(campus.state.host_table.hosts[ANN])
        locator = show("eth_src", here)
        assert story.lines == (
            f"host {ANN} (10.20.1.5) at r5:7 sends TCP to port 445 of archive (10.20.0.20)",
            "r5: comes in at port 7",
            f"  admit: let {ANN} speak at r5:7",
            "  arp: go on to the policy",
            "  policy: a backbone has no policy",
            "  source: show only locators",
            f"  eth_src {ANN} becomes {locator}, the locator of host {ANN} at r5:7",
            "  steer: archive by its nearest interface",
            "  forward: archive by its nearest interface",
            "  group 'next hops': way 1 of 3, the first live one",
            "  crosses the link r1:15-r5:11 to r1:15",
            "r1: comes in at port 15",
            "  admit: trust trunks",
            "  forward: archive by its nearest interface",
            "  group 'next hops': way 1 of 3, the first live one",
            "  eth_dst 02:00:00:00:20:20 becomes 02:00:00:00:20:21, the MAC of archive-1",
            "  DELIVERED at r1:3: interface archive-1 of archive",
            "in short: r5 → r1, delivered at r1:3 to interface archive-1 of archive",
        )
        assert (story.delivered, story.ways) == (("r1:3",), 1)

    @pytest.mark.parametrize("at", ["10.20.1.5", ANN, "00-16-3E-00-00-01", "r5:7"])
    @pytest.mark.parametrize("destination", ["archive", "10.20.0.20"])
    def test_who_and_where_may_be_said_in_several_ways(
        self, campus: Controller, at: str, destination: str
    ) -> None:
        assert ask(campus, at, destination) == ask(campus, ANN, "archive")

    def test_of_equal_ways_each_is_told(self, campus: Controller) -> None:
        carl = Sighting("00:16:3e:00:00:03", Attachment("r1", 7), ip_address("10.20.1.7"))
        campus.tell(HostSighted(carl, b""))
        story = ask(campus, "r1:7", "files")
        assert story.ways == 4
        assert story.delivered == ("r3:2", "r4:2", "r5:2", "r6:2")
        assert "  group 'equal next hops': one of 4 ways, by a hash of the packet" in story.lines
        assert in_short(story) == (
            "by one of 4 ways, as the switches' hashes choose, delivered at r3:2 to interface"
            " files-3 of files or at r4:2 to interface files-4 of files or at r5:2 to interface"
            " files-5 of files or at r6:2 to interface files-6 of files"
        )

    def test_a_file_server_answers_a_client(self, campus: Controller) -> None:
        story = ask(campus, "archive-1", ANN)
        assert story.lines[0] == (
            "interface archive-1 of archive (10.20.0.20) at r1:3 answers from TCP port 445 to"
            f" host {ANN} at r5:7 (10.20.1.5)"
        )
        assert in_short(story) == f"r1 → r5, delivered at r5:7 to host {ANN}"

    def test_a_host_sends_to_another_host(self, campus: Controller) -> None:
        story = ask(campus, ANN, BOB, protocol="icmp")
        assert "sends an echo request to" in story.lines[0]
        assert story.ways == 2
        assert in_short(story).endswith(f", delivered at r3:9 to host {BOB}")

    def test_switches_take_the_next_way_by_themselves(self, campus: Controller) -> None:
        story = ask(campus, ANN, "archive", what_if="link:r1-r5")
        assert story.lines[1] == "if link:r1-r5 fails, before the controller has changed a rule:"
        assert "  group 'next hops': way 2 of 3, the first live one" in story.lines
        assert in_short(story) == "r5 → r6, delivered at r6:3 to interface archive-6 of archive"

    def test_a_packet_that_takes_an_alternate_is_seen_to_be_marked(
        self, campus: Controller
    ) -> None:
        before = rule_sets_of(campus.state)
        for port in (11, 16):
            campus.tell(PortChanged(Attachment("r5", port), up=False))
        story = tell(campus.state, before, TraceQuestion(ANN, "archive"))
        assert any(
            line.endswith(", the virtual MAC of archive, marked as on a detour")
            for line in story.lines
        )

    @pytest.mark.parametrize("what_if", ["port:r5:7", "switch:r5"])
    def test_nothing_comes_in_at_a_dead_port(self, campus: Controller, what_if: str) -> None:
        story = ask(campus, ANN, "archive", what_if=what_if)
        assert in_short(story) == "r5:7 is down, so that nothing comes in there"
        assert story.delivered == ()

    def test_a_discovered_link_is_crossed_like_any_other(self, campus: Controller) -> None:
        one, other = Attachment("r4", 20), Attachment("r5", 20)
        for port in (2, 11, 12, 16):  # its interface, and all its declared links
            campus.tell(PortChanged(Attachment("r5", port), up=False))
        campus.tell(LinkHeard(one, other), LinkHeard(other, one))
        story = ask(campus, ANN, "files")
        assert in_short(story) == "r5 → r4, delivered at r4:2 to interface files-4 of files"

    def test_the_prober_asks_one_interface(self, campus: Controller) -> None:
        story = ask(campus, "r1:4", "files", source="10.20.255.225")
        assert story.lines[0].startswith("the prober of campus (10.20.255.225) at r1:4 sends")
        assert story.delivered == ("r4:2",)
        assert ask(campus, "files-4", "10.20.255.225").delivered == ("r1:4",)

    def test_ipv6_is_asked_for_by_an_address_of_it(self, campus: Controller) -> None:
        six = ip_address("2001:db8:20::5")
        campus.tell(HostSighted(Sighting(ANN, ANN_AT, six), b""))
        for story in (ask(campus, str(six), "files"), ask(campus, ANN, "2001:db8:20::10")):
            assert story.lines[0].endswith("port 445 of files (2001:db8:20::10)")
            assert story.delivered == ("r5:2",)


class TestNobodyAnswers:
    def test_because_no_interface_is_up(self, campus: Controller) -> None:
        for card in CAMPUS.network.file_servers["archive"].interfaces:
            campus.tell(PortChanged(card.attachment, up=False))
        story = ask(campus, ANN, "archive")
        assert in_short(story) == (
            "nobody gets it, so nothing answers: dropped in r5: the ports of all interfaces of"
            " archive are down: archive-1 (r1:3), archive-3 (r3:3), archive-6 (r6:3)"
        )

    def test_because_no_way_leads_there(self, campus: Controller) -> None:
        for port in (11, 12, 16):
            campus.tell(PortChanged(Attachment("r5", port), up=False))
        assert in_short(ask(campus, ANN, "archive")) == (
            "nobody gets it, so nothing answers: dropped in r5: no way that is up leads from r5 to"
            " an interface of archive (`hactl paths` shows which are live)"
        )
        assert in_short(ask(campus, ANN, BOB)).endswith("no way that is up leads from r5 to r3")

    def test_before_the_controller_has_learnt_who_sends(self, campus: Controller) -> None:
        story = ask(campus, "r4:9", "files", source="10.20.7.7")
        assert story.lines[0].startswith("a host that is not known (10.20.7.7) at r4:9 sends")
        assert in_short(story).endswith("handed by r4 to the controller")


class TestWhatIsUnknown:
    @pytest.mark.parametrize(
        ("at", "destination", "said"),
        [
            ("10.20.1.6", "files", "no host with 10.20.1.6 is known on campus (a host is known"),
            (ANN, "10.20.1.55", "did you mean '10.20.1.5'?"),
            (ANN, "fils", "fils is no role, file server, address, host or switch:port; did you"),
            (ANN, "r4:9", "nobody is known at r4:9 (a host is known once it has sent a packet"),
            ("r4:9", "files", "with a source address it is told what becomes of a new host's"),
            ("r9:1", "files", "r9:1: no switch is named r9; there are: r1, r2"),
            ("r5", "files", "r5 is a switch: name a port of it, as r5:7"),
            ("files", ANN, "files has the interfaces files-3, files-4, files-5, files-6"),
        ],
    )
    def test_is_told_with_what_helps(
        self, campus: Controller, at: str, destination: str, said: str
    ) -> None:
        with pytest.raises(UnknownNameError) as raised:
            ask(campus, at, destination)
        assert said in str(raised.value)
        assert raised.value.name in {at, destination, "r9"}

    def test_of_several_hosts_at_a_port_one_must_be_named(self, campus: Controller) -> None:
        campus.tell(HostSighted(Sighting(BOB[:-1] + "3", ANN_AT, ip_address("10.20.1.6")), b""))
        with pytest.raises(PacketError, match="several hosts are known at r5:7: name one"):
            ask(campus, "r5:7", "files")
        with pytest.raises(PacketError, match=r"10\.20\.1\.5, 10\.20\.1\.6"):
            ask(campus, BOB, "r5:7")
        assert ask(campus, "r5:7", "files", source="10.20.1.6").delivered == ("r5:2",)

    def test_behind_a_router_is_its_router(self, campus: Controller) -> None:
        with pytest.raises(PacketError, match="name the router's MAC"):
            ask(campus, ANN, "192.0.2.1")
        assert ask(campus, ANN, "192.0.2.1", destination_mac=BOB).delivered == ("r3:9",)

    @pytest.mark.parametrize(
        ("at", "destination", "more", "said"),
        [
            (ANN, ANN, {}, "would send to himself"),
            (ANN, "files-3", {}, "nobody sends to interface files-3 itself: name what files"),
            (ANN, "2001:db8:20::10", {}, "have none of the same family"),
            (ANN, "files", {"source": "x"}, "the source 'x' is no address"),
            (ANN, "files", {"protocol": "sctp"}, "'sctp' is no protocol"),
            (ANN, "files", {"source_mac": "x"}, "x"),
            (ANN, "files", {"what_if": "r1"}, "'r1' is no failure"),
            ("r1:4", "files", {}, "says by its source which interface it means"),
        ],
    )
    def test_a_packet_that_cannot_be(
        self, campus: Controller, at: str, destination: str, more: dict[str, str], said: str
    ) -> None:
        with pytest.raises(PacketError, match=said):
            ask(campus, at, destination, **more)


class TestOnABarrierSegment:
    def test_a_role_is_asked_at_its_service(self, frontier: Controller) -> None:
        story = ask(frontier, "o1:1", "mailrelay", source="198.51.100.10")
        assert story.lines[0] == (
            "a host (198.51.100.10) at o1:1 sends TCP to port 25 of mailrelay (192.0.2.25)"
        )
        assert story.lines[-2] == (
            "  DELIVERED at o1:2: interface A of mailrelay, for its role mailrelay"
        )

    def test_a_dead_card_is_left_by_its_switch(self, frontier: Controller) -> None:
        story = ask(frontier, "i1:1", "smtp_pop", what_if="interface:C")
        assert in_short(story).endswith(
            "at i1:3 to interface B' of smtp_pop, for its role smtp_pop"
        )

    def test_a_role_answers(self, frontier: Controller) -> None:
        story = ask(frontier, "C", "i3:5")
        assert "interface C of smtp_pop (10.0.0.25) at i2:2 answers from TCP" in story.lines[0]
        assert "i3:5" in story.delivered

    def test_nobody_serves(self) -> None:
        state = initial(SITE, {}, now=0.0)
        story = tell(state, rule_sets_of(state), TraceQuestion("i1:1", "smtp_pop"))
        assert "nobody serves smtp_pop on inner now" in in_short(story)

    def test_a_server_with_several_roles_says_for_which(self, frontier: Controller) -> None:
        with pytest.raises(PacketError, match=r"name the source, 10\.0\.0\.24 \(mailrelay\)"):
            ask(frontier, "B", "smtp_pop")
        assert ask(frontier, "B", "smtp_pop", source="10.0.0.24").delivered == ("i2:2",)

    @pytest.mark.parametrize(
        ("at", "destination", "said"),
        [
            ("10.0.0.9", "smtp_pop", "10.0.0.9 is of inner, and on a barrier segment nobody is"),
            ("mailrelay", "smtp_pop", "mailrelay has the interfaces A, B, C', D': name one"),
        ],
    )
    def test_what_is_unknown(
        self, frontier: Controller, at: str, destination: str, said: str
    ) -> None:
        with pytest.raises(UnknownNameError, match=said):
            ask(frontier, at, destination)

    def test_a_role_that_is_not_on_this_segment(self, frontier: Controller) -> None:
        with pytest.raises(PacketError, match="role web has no service address on outer"):
            ask(frontier, "o1:1", "web")


class TestWithoutAController:
    def test_hosts_are_made_up_at_the_ports_that_are_named(self) -> None:
        story = told(CAMPUS, TraceQuestion("r5:7", "archive"))
        assert story.lines[0] == (
            "the made-up host (10.20.0.100) at r5:7 sends TCP to port 445 of archive (10.20.0.20)"
        )
        assert story.delivered == ("r1:3",)
        story = told(CAMPUS, TraceQuestion("files-5", "r3:9"))
        assert in_short(story).endswith(", delivered at r3:9 to the made-up host")

    def test_a_made_up_host_has_the_address_that_is_given(self) -> None:
        for source in ("10.20.3.3", "2001:db8:20::33"):
            story = told(CAMPUS, TraceQuestion("r5:7", "files", source=source))
            assert (source in story.lines[0], story.delivered) == (True, ("r5:2",))

    def test_two_made_up_hosts_are_two(self) -> None:
        story = told(CAMPUS, TraceQuestion("r5:7", "r3:9"))
        assert "(10.20.0.100) at r5:7" in story.lines[0]
        assert story.lines[0].endswith("the made-up host at r3:9 (10.20.0.101)")
        assert story.delivered == ("r3:9",)

    def test_a_port_of_a_barrier_segment_has_a_host_too(self) -> None:
        assert told(SITE, TraceQuestion("C", "i3:5")).delivered == ("i3:5",)

    def test_what_is_flooded_comes_out_nowhere(self) -> None:
        assert in_short(told(SITE, TraceQuestion("C", "10.0.0.9"))) == (
            "nobody gets it, so nothing answers: it is flooded, and no port of a host is known to"
            " be up"
        )

    def test_known_hosts_there_are_none(self) -> None:
        with pytest.raises(UnknownNameError, match="name the port that it is plugged into"):
            told(CAMPUS, TraceQuestion("10.20.1.5", "files"))
