"""The site file: what is read from it, and what is said about a wrong one."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from hactrl.site import Problem, SiteError, dumps, load, loads
from hactrl.site.dump import duration
from hactrl.site.model import Listen, PowerFence, ProbeSettings, Timers
from topology.model import Attachment, derived_mac

EXAMPLE = Path(__file__).parents[3] / "examples" / "frontier.yaml"
TEXT = EXAMPLE.read_text() + "timers:\n  probe_interval: 250ms\n"

OWN_MAC_ON_A = derived_mac("card 02:00:00:00:01:0a role mailrelay")


def changed(*changes: tuple[str, str]) -> str:
    """The example with these pieces of text replaced, each once."""
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def problems(*changes: tuple[str, str]) -> list[Problem]:
    with pytest.raises(SiteError) as caught:
        loads(changed(*changes), "site.yaml")
    return list(caught.value.problems)


def problem(*changes: tuple[str, str]) -> Problem:
    found = problems(*changes)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def line_of(text: str, changed_text: str) -> int:
    return next(n for n, line in enumerate(changed_text.splitlines(), 1) if text in line)


# What is read.


def test_the_example_is_the_network_of_the_report() -> None:
    site = load(EXAMPLE)
    assert site.name == "frontier"
    assert list(site.network.switches) == ["o1", "o2", "i1", "i2", "i3"]
    assert list(site.network.interfaces) == ["A", "B", "C'", "D'", "C", "D", "A'", "B'"]
    assert site.network.interfaces["A'"].redundant_for == "A"
    assert site.network.interfaces["D"].attachment == Attachment("o2", 2)
    assert site.roles["smtp_pop"].servers == ("smtp_pop", "mailrelay")
    assert site.roles["smtp_pop"].owns == ("spool",)
    assert site.roles["smtp_pop"].lease == 15.0
    assert site.roles["mailrelay"].lease is None
    assert site.path == str(EXAMPLE)


def test_from_holds_anyone_roles_and_networks_apart() -> None:
    site = loads(
        changed(("from: [anyone, mailrelay]", 'from: [mailrelay, 10.0.0.0/25, "fd00::1"]'))
    )
    service = site.roles["smtp_pop"].services[0]
    assert not service.anyone
    assert service.roles == ("mailrelay",)
    assert service.networks == (ip_network("10.0.0.0/25"), ip_network("fd00::1"))


def test_a_virtual_mac_is_derived_from_role_and_segment_unless_it_is_given() -> None:
    given = loads(changed(("[10.0.0.80, ", '[10.0.0.80], mac: "02:00:00:00:00:80"} #'))).roles[
        "web"
    ]
    assert given.addresses[0].mac == "02:00:00:00:00:80"
    derived = load(EXAMPLE).roles["web"]
    assert derived.addresses[0].mac == derived_mac("role web segment inner")


def test_the_prober_has_one_source_of_each_family_for_every_card_in_the_order_of_the_file() -> None:
    prober = load(EXAMPLE).network.segments["inner"].prober
    assert prober is not None
    assert list(prober.sources) == ["B", "C'", "C", "B'"]
    assert prober.sources["C'"] == (ip_address("10.0.0.241"), ip_address("2001:db8:0:2::f1"))


def test_service_addresses_and_the_broadcast_address_are_no_sources() -> None:
    site = loads(changed(("[10.0.0.240/28,", "[10.0.0.24/30, 10.0.0.254/31, 10.0.0.64/30,")))
    prober = site.network.segments["inner"].prober
    assert prober is not None
    assert [str(own[0]) for own in prober.sources.values()] == [
        "10.0.0.26",
        "10.0.0.27",
        "10.0.0.254",
        "10.0.0.64",
    ]


def test_probe_settings_of_a_service_go_before_the_timers() -> None:
    site = loads(changed(("probe: {kind: http}", "probe: {kind: http, timeout: 3s, fall: 9}")))
    probe = site.roles["web"].services[0].probe
    assert probe == ProbeSettings("http", interval=0.25, timeout=3.0, rise=2, fall=9)


def test_a_service_without_a_probe_is_probed_by_its_protocol() -> None:
    tcp = loads(changed((", probe: {kind: http}", "")))
    assert tcp.roles["web"].services[0].probe.kind == "tcp"
    udp = loads(changed(("protocol: tcp, port: 80, from: [anyone], probe: {kind: http}",
                         "protocol: udp, port: 80, from: [anyone]")))  # fmt: skip
    assert udp.roles["web"].services[0].probe.kind == "icmp"


def test_a_power_fence_takes_the_fence_deadline_unless_it_has_its_own() -> None:
    site = loads(
        changed(
            ('"off", mailrelay]', '"off", mailrelay]\n      timeout: 9s'),
            ("timers:", "timers:\n  fence_deadline: 7s"),
        )
    )
    assert site.power_fences == {
        "mailrelay": PowerFence(("hactrl-lab-power", "off", "mailrelay"), 9.0),
        "smtp_pop": PowerFence(("hactrl-lab-power", "off", "smtp_pop"), 7.0),
    }


def test_without_timers_and_controller_the_documented_defaults_hold() -> None:
    site = loads(TEXT[: TEXT.index("controller:")])
    assert site.timers == Timers()
    assert site.controller.rest == Listen("127.0.0.1", 8080)
    assert site.controller.openflow == Listen("127.0.0.1", 6653)


def test_a_link_may_have_a_cost() -> None:
    site = loads(changed(('["o1:11", "o2:11"]', '{ends: ["o1:11", "o2:11"], cost: 7}')))
    assert [link.cost for link in site.network.links] == [7, 1, 1, 1, 1]


def inner_costs(first: str, second: str, third: str, reference: str = "") -> list[int]:
    """Of the inner segment's three links with these bandwidths."""
    links = ('["i1:11", "i2:11"]', '["i2:12", "i3:11"]', '["i3:12", "i1:12"]')
    given = zip(links, (first, second, third), strict=True)
    edits = [(ends, f"{{ends: {ends}, bandwidth: {width}}}") for ends, width in given]
    if reference:
        edits.append(("  inner:\n", f"  inner:\n    reference_bandwidth: {reference}\n"))
    site = loads(changed(*edits))
    inner = [link for link in site.network.links if link.a.switch.startswith("i")]
    return [link.cost for link in inner]


def test_a_link_costs_as_often_as_its_bandwidth_goes_into_the_greatest() -> None:
    assert inner_costs("100G", "10G", "1G") == [1, 10, 100]


def test_a_cost_by_bandwidth_is_the_nearest_whole_number_and_at_least_one() -> None:
    assert inner_costs("10G", "4G", "25G") == [3, 6, 1]
    assert inner_costs("10G", "4G", "25G", reference="1G") == [1, 1, 1]


def test_a_reference_bandwidth_leaves_room_for_faster_links_to_come() -> None:
    assert inner_costs("10G", "2.5G", "100M", reference="100G") == [10, 40, 1000]


def test_an_ipv6_place_to_listen_stands_in_brackets() -> None:
    site = loads(changed(('"127.0.0.1:8080"', '"[::1]:8080"')))
    assert site.controller.rest == Listen("::1", 8080)


def test_the_effective_site_file_reads_as_an_equal_site() -> None:
    site = load(EXAMPLE)
    assert loads(dumps(site)) == site


def test_the_effective_site_file_shows_what_was_left_to_defaults() -> None:
    text = dumps(load(EXAMPLE))
    assert "agent_heartbeat: 200ms" in text
    assert "failback: manual" in text
    assert f"mac: {derived_mac('role web segment inner')}" in text


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.25, "250ms"), (4.0, "4s"), (1.5, "1.5s"), (90.0, "90s")]
)
def test_durations_are_written_with_the_unit_that_reads_best(seconds: float, written: str) -> None:
    assert duration(seconds) == written


# What is refused, one at a time: where, and what is said.

WRONG = {
    "an unknown key": (
        [("owns: [spool]", "onws: [spool]")],
        "roles.smtp_pop.onws",
        "unknown key",
        "owns",
    ),
    "a key written twice": (
        [("    owns: [spool]", "    owns: [spool]\n    lease: 9s")],
        "roles.smtp_pop.lease",
        "key written twice",
        "",
    ),
    "a key that is missing": (
        [("segment: inner, protocol: tcp, port: 80,", "segment: inner, protocol: tcp,")],
        "roles.web.services.http.port",
        "missing",
        "",
    ),
    "a port out of range": (
        [("port: 80,", "port: 70000,")],
        "roles.web.services.http.port",
        "70000 is out of range",
        "",
    ),
    "a port that is no number": (
        [("port: 80,", 'port: "80",')],
        "roles.web.services.http.port",
        "'80' stands here",
        "",
    ),
    "a duration without a unit": (
        [("lease: 15s", "lease: 4")],
        "roles.smtp_pop.lease",
        "4 is no duration",
        "",
    ),
    "a lease that leaves no time to renew it": (
        [("lease: 15s", "lease: 800ms")],
        "roles.smtp_pop.lease",
        "leaves no time",
        "",
    ),
    "a duration out of range": (
        [("probe_interval: 250ms", "probe_interval: 0s")],
        "timers.probe_interval",
        "out of range",
        "",
    ),
    "an agent's timeout below two heartbeats": (
        [("timers:", "timers:\n  agent_heartbeat: 600ms")],
        "timers.agent_timeout",
        "too short",
        "",
    ),
    "an unknown timer": (
        [("probe_interval:", "probe_intervall:")],
        "timers.probe_intervall",
        "unknown key",
        "probe_interval",
    ),
    "a network with host bits": (
        [("[192.0.2.0/24,", "[192.0.2.1/24,")],
        "segments.outer.networks.0",
        "bits set behind its prefix",
        "",
    ),
    "networks of two segments that overlap": (
        [("[10.0.0.0/24,", "[10.0.0.0/24, 192.0.2.128/25,")],
        "segments.inner.networks.1",
        "overlaps 192.0.2.0/24 of outer",
        "",
    ),
    "a datapath id that two switches claim": (
        [("datapath_id: 0x12", "datapath_id: 0x11")],
        "segments.outer.switches.o2.datapath_id",
        "the datapath id 0x11 is already that of segments.outer.switches.o1",
        "",
    ),
    "an address that two roles claim": (
        [("[10.0.0.80,", "[10.0.0.25,")],
        "roles.web.addresses.inner.addresses.0",
        "10.0.0.25 is already that of roles.smtp_pop.addresses.inner",
        "",
    ),
    "an address outside the segment's networks": (
        [("[10.0.0.80,", "[10.0.1.80,")],
        "roles.web.addresses.inner.addresses.0",
        "10.0.1.80 is outside the networks of inner",
        "",
    ),
    "the network's broadcast address": (
        [("[10.0.0.80,", "[10.0.0.255,")],
        "roles.web.addresses.inner.addresses.0",
        "the network's own address",
        "",
    ),
    "an address that no host can have": (
        [("[10.0.0.80,", "[224.0.0.1,")],
        "roles.web.addresses.inner.addresses.0",
        "not the address of one host",
        "",
    ),
    "a port that two cards share": (
        [('attachment: "o1:3"', 'attachment: "o1:2"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "port o1:2 is already that of servers.mailrelay.interfaces.A.attachment",
        "",
    ),
    "a card on a trunk port": (
        [('attachment: "o1:3"', 'attachment: "o1:11"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "port o1:11 is already that of segments.outer.links.0.0",
        "",
    ),
    "a card on the prober's port": (
        [('attachment: "o1:3"', 'attachment: "o1:4"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "port o1:4 is already that of segments.outer.prober.attachment",
        "",
    ),
    "a port that does not exist": (
        [('attachment: "o1:3"', 'attachment: "o1:13"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "o1 has no port 13",
        "",
    ),
    "port 0": (
        [('attachment: "o1:3"', 'attachment: "o1:0"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "0 is no port of a switch",
        "",
    ),
    "an unknown switch": (
        [('attachment: "o1:3"', 'attachment: "o3:3"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "unknown switch 'o3'",
        "",
    ),
    "a switch of another segment": (
        [('attachment: "o1:3"', 'attachment: "i3:3"')],
        "servers.smtp_pop.interfaces.A'.attachment",
        "i3 is a switch of segment inner, not of outer",
        "",
    ),
    "a link across segments": (
        [('["o1:12", "o2:12"]', '["o1:12", "i3:5"]')],
        "segments.outer.links.1.1",
        "i3 is a switch of segment inner",
        "",
    ),
    "a link from a switch to itself": (
        [('["o1:12", "o2:12"]', '["o1:12", "o1:10"]')],
        "segments.outer.links.1.1",
        "ends where it begins",
        "",
    ),
    "switches that no link joins": (
        [('- ["i2:12", "i3:11"]', ""), ('- ["i3:12", "i1:12"]', "")],
        "segments.inner.switches.i3",
        "no link leads from i3 to the rest of inner",
        "",
    ),
    "a MAC that two cards have": (
        [('"02:00:00:00:01:1a"', '"02:00:00:00:01:0A"')],
        "servers.smtp_pop.interfaces.A'.mac",
        "the MAC 02:00:00:00:01:0a is already that of servers.mailrelay.interfaces.A.mac",
        "",
    ),
    "a MAC of a group": (
        [('"02:00:00:00:01:1a"', '"03:00:00:00:01:1a"')],
        "servers.smtp_pop.interfaces.A'.mac",
        "not the address of one card",
        "",
    ),
    "a MAC that is a role's own on a card": (
        [
            (
                'mac: "02:00:00:00:01:1a"',
                f'mac: "{derived_mac("card 02:00:00:00:01:0a role mailrelay")}"',
            )
        ],
        "roles.mailrelay.addresses.outer.(own MAC on A)",
        "is already that of servers.smtp_pop.interfaces.A'.mac",
        "",
    ),
    "an unknown segment": (
        [('"A":  {segment: outer', '"A":  {segment: outre')],
        "servers.mailrelay.interfaces.A.segment",
        "unknown segment 'outre'",
        "outer",
    ),
    "an unknown server": (
        [("servers: [smtp_pop, mailrelay]", "servers: [smtp_pop, mailrely]")],
        "roles.smtp_pop.servers.1",
        "unknown server 'mailrely'",
        "mailrelay",
    ),
    "a server named twice": (
        [("servers: [smtp_pop, mailrelay]", "servers: [smtp_pop, smtp_pop]")],
        "roles.smtp_pop.servers.1",
        "the server smtp_pop is already that of",
        "",
    ),
    "an unknown resource": (
        [("owns: [spool]", "owns: [spol]")],
        "roles.smtp_pop.owns.0",
        "unknown resource 'spol'",
        "spool",
    ),
    "a resource that two roles own": (
        [("  web:\n", "  web:\n    owns: [spool]\n    lease: 4s\n")],
        "roles.web.owns.0",
        "the resource spool is already that of roles.smtp_pop.owns.0",
        "",
    ),
    "an unknown role": (
        [("to: [smtp_pop]", "to: [smtp-pop]")],
        "roles.mailrelay.connects.0.to.0",
        "unknown role 'smtp-pop'",
        "smtp_pop",
    ),
    "a role that may not be reached": (
        [("from: [anyone, mailrelay]", "from: [anyone]")],
        "roles.mailrelay.connects.0.to.0",
        "smtp_pop lets mailrelay reach no service at tcp port 25 on inner",
        "",
    ),
    "a network in from that is none": (
        [
            (
                "port: 80,  from" if "port: 80,  from" in TEXT else "port: 80, from: [anyone]",
                "port: 80, from: [10.0.0.0/33]",
            )
        ],
        "roles.web.services.http.from.0",
        "is no network",
        "",
    ),
    "a service on a segment without an address": (
        [("http: {segment: inner", "http: {segment: outer")],
        "roles.web.services.http.segment",
        "web has no address on outer",
        "",
    ),
    "two services on one port": (
        [("port: 587", "port: 110")],
        "roles.smtp_pop.services.pop3.port",
        "port tcp/110 on inner is already that of roles.smtp_pop.services.submission.port",
        "",
    ),
    "a probe that does not fit the protocol": (
        [("protocol: tcp, port: 80", "protocol: udp, port: 80")],
        "roles.web.services.http.probe.kind",
        "http probes go over tcp",
        "",
    ),
    "an unknown kind of probe": (
        [("kind: http", "kind: htpp")],
        "roles.web.services.http.probe.kind",
        "'htpp' is no kind of probe",
        "http",
    ),
    "redundant for nobody": (
        [('redundant_for: "A"', 'redundant_for: "AA"')],
        "servers.smtp_pop.interfaces.A'.redundant_for",
        "unknown interface 'AA'",
        "A",
    ),
    "redundant for a card of the same server": (
        [('redundant_for: "A"', 'redundant_for: "D"')],
        "servers.smtp_pop.interfaces.A'.redundant_for",
        "D is a card of the same server",
        "",
    ),
    "redundant for a redundant card": (
        [('redundant_for: "A"', 'redundant_for: "D\'"')],
        "servers.smtp_pop.interfaces.A'.redundant_for",
        "D' is itself redundant",
        "",
    ),
    "redundant for a card on another segment": (
        [('redundant_for: "A"', 'redundant_for: "B"')],
        "servers.smtp_pop.interfaces.A'.redundant_for",
        "B is on segment inner",
        "",
    ),
    "an owner that could never be cut off": (
        [
            ("    lease: 15s", "    #"),
            ("    power_fence:\n", "  #"),
            ('      command: [hactrl-lab-power, "off", mailrelay]\n', "\n"),
        ],
        "roles.smtp_pop.servers.1",
        "mailrelay could never be proven to have given up spool",
        "",
    ),
    "too few addresses for the prober": (
        [("[10.0.0.240/28,", "[10.0.0.24/30,")],
        "segments.inner.prober.addresses",
        "2 usable IPv4 addresses for 4 cards",
        "",
    ),
    "a prober's address that a role has": (
        [("[10.0.0.240/28,", "[10.0.0.240/28, 10.0.0.25,")],
        "segments.inner.prober.addresses.1",
        "10.0.0.25 is a service address of smtp_pop",
        "",
    ),
    "a prober's pool outside the segment": (
        [("[10.0.0.240/28,", "[10.0.0.240/28, 10.9.0.0/28,")],
        "segments.inner.prober.addresses.1",
        "10.9.0.0/28 is outside the networks of inner",
        "",
    ),
    "a place where two listen": (
        [('"127.0.0.1:8080"', '"127.0.0.1:6653"')],
        "controller.rest.listen",
        "the place 127.0.0.1:6653 is already that of controller.openflow.listen",
        "",
    ),
    "a place without a port": (
        [('"127.0.0.1:8080"', '"127.0.0.1"')],
        "controller.rest.listen",
        "'127.0.0.1' is no place to listen",
        "",
    ),
    "an empty list": (
        [("  web:\n    servers: [mailrelay, smtp_pop]", "  web:\n    servers: []")],
        "roles.web.servers",
        "nothing stands here",
        "",
    ),
    "a list where a mapping belongs": (
        [("  spool: {}", "  spool: []")],
        "resources.spool",
        "[] stands here",
        "",
    ),
    "a role named as everybody": (
        [("  web:\n", "  anyone:\n")],
        "roles.anyone",
        "a role cannot be named 'anyone'",
        "",
    ),
    "a name that could leave a path": (
        [("  web:\n", "  ../web:\n")],
        "roles.../web",
        "'../web' is no name",
        "",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses(case: str) -> None:
    changes, path, message, suggestion = WRONG[case]
    found = problem(*changes)
    assert found.path == path
    assert message in found.message
    assert found.suggestion == suggestion
    assert found.line > 1


def test_a_problem_names_the_line_of_what_is_wrong() -> None:
    text = changed(("port: 80,", "port: 70000,"))
    assert problem(("port: 80,", "port: 70000,")).line == line_of("port: 70000", text)
    second = changed(("    owns: [spool]", "    owns: [spool]\n    lease: 9s"))
    assert problem(("    owns: [spool]", "    owns: [spool]\n    lease: 9s")).line == line_of(
        "lease: 15s", second
    )


def test_a_server_without_a_card_on_a_segment_cannot_play_a_role_there() -> None:
    inner_only = "\n".join(
        line
        for line in TEXT.splitlines()
        if not line.lstrip().startswith(('"D"', '"A\'"', '"D\'"'))
    )
    with pytest.raises(SiteError) as caught:
        loads(inner_only)
    assert [(p.path, p.message) for p in caught.value.problems] == [
        (
            "roles.mailrelay.servers.1",
            "smtp_pop has no interface on outer, where mailrelay has addresses",
        ),
        (
            "roles.smtp_pop.servers.0",
            "smtp_pop has no interface on outer, where smtp_pop has addresses",
        ),
    ]


def test_a_segment_with_service_addresses_needs_a_prober() -> None:
    start = TEXT.index("    prober:", TEXT.index("  inner:"))
    with pytest.raises(SiteError) as caught:
        loads(TEXT[:start] + TEXT[TEXT.index("servers:") :])
    assert [p.path for p in caught.value.problems] == ["segments.inner.prober"]


def test_all_errors_come_at_once_sorted_by_line() -> None:
    found = problems(
        ("datapath_id: 0x12", "datapath_id: 0x11"),
        ("owns: [spool]", "onws: [spool]"),
        ("[10.0.0.80,", "[10.0.0.25,"),
        ("port: 80,", "port: 70000,"),
        ('attachment: "o1:3"', 'attachment: "o1:13"'),
        ("servers: [smtp_pop, mailrelay]", "servers: [smtp_pop, mailrely]"),
        ("probe_interval: 250ms", "probe_interval: soon"),
    )
    assert [p.path for p in found] == [
        "segments.outer.switches.o2.datapath_id",
        "servers.smtp_pop.interfaces.A'.attachment",
        "roles.smtp_pop.servers.1",
        "roles.smtp_pop.onws",
        "roles.web.addresses.inner.addresses.0",
        "roles.web.services.http.port",
        "timers.probe_interval",
    ]
    assert [p.line for p in found] == sorted(p.line for p in found)


def test_two_errors_in_one_part_hide_nothing_elsewhere() -> None:
    found = problems(
        ("port: 80, from: [anyone]", "port: 0, from: []"),
        ('["i1:11", "i2:11"]', '["i1:x", "i2:y"]'),
        ("owns: [spool]", "owns: [spol]"),
    )
    assert [p.path for p in found] == [
        "segments.inner.links.0.0",
        "segments.inner.links.0.1",
        "roles.smtp_pop.owns.0",
        "roles.web.services.http.from",
        "roles.web.services.http.port",
    ]


def test_an_item_that_was_cut_out_of_a_list_does_not_shift_those_behind_it() -> None:
    changes = (('["i1:11", "i2:11"]', '["i1:x", "i2:11"]'), ('"i3:12", "i1:12"', '"i3:12", "i1:2"'))
    cut, shared = problems(*changes)
    assert cut.path == "segments.inner.links.0.0"
    assert shared.path == "servers.mailrelay.interfaces.B.attachment"
    assert "already that of segments.inner.links.2.1" in shared.message
    wrong = problems(changes[0], ('"i3:12", "i1:12"', '"i3:12", "i9:12"'))[1]
    assert wrong.path == "segments.inner.links.2.1"
    text = changed(changes[0], ('"i3:12", "i1:12"', '"i3:12", "i9:12"'))
    assert wrong.line == line_of("i9:12", text)


def test_a_misspelt_key_is_not_also_missing_and_what_is_below_it_is_checked() -> None:
    found = problems(("    addresses:\n      inner: {addresses: [10.0.0.80,",
                      "    adresses:\n      inner: {addresses: [10.0.0.25,"))  # fmt: skip
    assert [p.path for p in found] == [
        "roles.web.adresses",
        "roles.web.addresses.inner.addresses.0",
    ]


def test_the_listing_shows_file_line_path_expectation_and_suggestion() -> None:
    changes = (("owns: [spool]", "onws: [spool]"), ("port: 80,", "port: 0,"))
    with pytest.raises(SiteError) as caught:
        loads(changed(*changes), "site.yaml")
    heading, owns, port = str(caught.value).splitlines()
    assert heading == "site.yaml: refused, 2 errors:"
    assert owns.startswith(
        f"  site.yaml:{line_of('onws:', changed(*changes))}: roles.smtp_pop.onws: "
    )
    assert owns.endswith("; did you mean 'owns'?")
    assert "expected at least 1" in port


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("- a\n- b\n", "not a site file"),
        ("site: [", "not YAML"),
        ("site: 'x", "not YAML"),
        ("site: &x a\nsegments: *x\n", "an alias (*name) stands here"),
        ("site: x\0", "not YAML"),
        ("a: &a [*a]\n", "an alias (*name) stands here"),
        ("a: " + 2000 * "[" + 2000 * "]", "nested too deeply"),
    ],
)
def test_what_is_no_site_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(SiteError) as caught:
        loads(text)
    assert message in str(caught.value)


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(SiteError, match="alias"):
        loads("\n".join(lines))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"site: \xe9\n")
    with pytest.raises(SiteError, match="not UTF-8"):
        load(tmp_path / "latin.yaml")
