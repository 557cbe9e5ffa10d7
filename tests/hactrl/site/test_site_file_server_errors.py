"""What is said about backbones and file servers that do not fit: where, what, and the remedy."""

from __future__ import annotations

import pytest
from test_site_file_servers import BOTH, CAMPUS, changed, problems

from hactrl.site import SiteError, loads
from topology.model import derived_mac

DERIVED = derived_mac("file server files segment campus")
CARD = '      E: {segment: campus, attachment: "r2:1", mac: "02:00:00:00:09:09"}\n'

_SHORT_LINKS = (
    '["r1:20", "r2:20"]', '["r1:13", "r3:11"]', '["r1:14", "r4:11"]', '["r1:15", "r5:11"]',
    '["r1:16", "r6:11"]', '["r2:13", "r3:12"]', '["r2:14", "r4:12"]', '["r2:15", "r5:12"]',
    '["r3:14", "r4:13"]',
)  # fmt: skip
_EVERY_LINK_1G = [(ends, f"{{ends: {ends}, bandwidth: 1G}}") for ends in _SHORT_LINKS]

#: Changes to the campus beside the network of the report, path, message, expectation, suggestion.
WRONG: dict[str, tuple[list[tuple[str, str]], str, str, str, str]] = {
    "an unknown segment": (
        [("  files:\n    segment: campus", "  files:\n    segment: campsu")],
        "file_servers.files.segment",
        "unknown segment 'campsu'",
        "one of campus, inner, outer",
        "campus",
    ),
    "an unknown switch": (
        [('attachment: "r6:3"', 'attachment: "r7:3"')],
        "file_servers.archive.interfaces.archive-6.attachment",
        "unknown switch 'r7'",
        "one of r1, r2",
        "",
    ),
    "a switch of another segment": (
        [('attachment: "r6:3"', 'attachment: "i3:3"')],
        "file_servers.archive.interfaces.archive-6.attachment",
        "i3 is a switch of segment inner, not of campus",
        "a switch of campus: r1",
        "",
    ),
    "a port that does not exist": (
        [('attachment: "r6:3"', 'attachment: "r6:25"')],
        "file_servers.archive.interfaces.archive-6.attachment",
        "r6 has no port 25",
        "1 to 24",
        "",
    ),
    "a misspelt key": (
        [("    interfaces:\n      files-3", "    interface:\n      files-3")],
        "file_servers.files.interface",
        "unknown key",
        "one of addresses, interfaces",
        "interfaces",
    ),
    "a misspelt section": (
        [("file_servers:", "file_server:")],
        "file_server",
        "unknown key",
        "file_servers",
        "file_servers",
    ),
    "backbone that is no truth value": (
        [("backbone: true", "backbone: maybe"), ("discover: true", "discover: false")],
        "segments.campus.backbone",
        "'maybe' stands here",
        "true or false",
        "",
    ),
    "a link that costs nothing": (
        [("cost: 3", "cost: 0")],
        "segments.campus.links.10.cost",
        "0 is out of range",
        "at least 1",
        "",
    ),
    "a link with a cost and a bandwidth": (
        [("cost: 3}", "cost: 3, bandwidth: 1G}"), *_EVERY_LINK_1G],
        "segments.campus.links.10.bandwidth",
        "the link has both a cost and a bandwidth",
        "one of the two",
        "",
    ),
    "a link without a bandwidth among others that have one": (
        [*_EVERY_LINK_1G[:1], *_EVERY_LINK_1G[2:]],
        "segments.campus.links.1",
        "the link has no bandwidth, and others of its segment have one",
        "a bandwidth or a cost",
        "",
    ),
    "a link so slow that its cost is out of range": (
        [("cost: 3}", "bandwidth: 1k}"), *_EVERY_LINK_1G],
        "segments.campus.links.10.bandwidth",
        "the link would cost 1000000, by its bandwidth and the reference",
        "a reference_bandwidth that makes it 65535 at most",
        "",
    ),
    "a bandwidth without a unit": (
        [("cost: 3}", "bandwidth: 1000}")],
        "segments.campus.links.10.bandwidth",
        "1000 is no bandwidth",
        "bits a second with a unit (k, M, G, T), like 10G",
        "",
    ),
    "a bandwidth without a unit, among others that are right": (
        [("cost: 3}", "bandwidth: fast}"), *_EVERY_LINK_1G],
        "segments.campus.links.10.bandwidth",
        "'fast' is no bandwidth",
        "like 10G",
        "",
    ),
    "a bandwidth with more digits than a number can have": (
        [("cost: 3}", f"bandwidth: {'9' * 400}G}}")],
        "segments.campus.links.10.bandwidth",
        "G' is no bandwidth",
        "like 10G",
        "",
    ),
    "a misspelt policy": (
        [("  files:\n    segment: campus", "  files:\n    policy: spraed\n    segment: campus")],
        "file_servers.files.policy",
        "'spraed' is no policy",
        "one of nearest, spread",
        "spread",
    ),
    "a reference that no link refers to": (
        [("discover: true", "discover: true\n    reference_bandwidth: 10G")],
        "segments.campus.reference_bandwidth",
        "no link of campus has a bandwidth",
        "links with a bandwidth",
        "",
    ),
    "discovery on a segment that is no backbone": (
        [("  outer:\n", "  outer:\n    discover: true\n")],
        "segments.outer.discover",
        "outer is no backbone",
        "backbone: true",
        "",
    ),
    "switches that no declared link joins, without discovery": (
        [
            ("discover: true", "discover: false"),
            ('      - ["r1:15", "r5:11"]\n', ""),
            ('      - ["r2:15", "r5:12"]\n', ""),
            ('      - {ends: ["r5:16", "r6:15"], cost: 3}', ""),
        ],
        "segments.campus.switches.r5",
        "no link leads from r5 to the rest of campus",
        "links that join",
        "",
    ),
    "a card of a server on a backbone": (
        [("    power_fence:", f"{CARD}    power_fence:")],
        "servers.mailrelay.interfaces.E.segment",
        "campus is a backbone, which carries file servers and clients, not a card of a server",
        "one of outer, inner",
        "",
    ),
    "a role on a backbone": (
        [("      inner: {addresses: [10.0.0.80,", "      campus: {addresses: [10.20.0.80]}\n"
          "      inner: {addresses: [10.0.0.80,")],
        "roles.web.addresses.campus",
        "campus is a backbone, which carries file servers and clients, not an address of a role",
        "one of outer, inner",
        "",
    ),
}  # fmt: skip

WRONG |= {
    "an interface at the port of another one": (
        [('attachment: "r3:3"', 'attachment: "r3:2"')],
        "file_servers.archive.interfaces.archive-3.attachment",
        "port r3:2 is already that of file_servers.files.interfaces.files-3.attachment",
        "another one",
        "",
    ),
    "an interface at a trunk port": (
        [('attachment: "r3:3"', 'attachment: "r3:14"')],
        "file_servers.archive.interfaces.archive-3.attachment",
        "port r3:14 is already that of segments.campus.links.9.0",
        "another one",
        "",
    ),
    "an interface at the prober's port": (
        [('attachment: "r1:3"', 'attachment: "r1:4"')],
        "file_servers.archive.interfaces.archive-1.attachment",
        "port r1:4 is already that of segments.campus.prober.attachment",
        "another one",
        "",
    ),
    "an address outside the segment's networks": (
        [("[10.20.0.20,", "[10.21.0.20,")],
        "file_servers.archive.addresses.0",
        "10.21.0.20 is outside the networks of campus",
        "10.20.0.0/16, 2001:db8:20::/64",
        "",
    ),
    "the network's broadcast address": (
        [("[10.20.0.20,", "[10.20.255.255,")],
        "file_servers.archive.addresses.0",
        "10.20.255.255 is the network's own address",
        "a host's address",
        "",
    ),
    "an address of another file server": (
        [('"2001:db8:20::20"]', '"2001:db8:20::10"]')],
        "file_servers.archive.addresses.1",
        "the address 2001:db8:20::10 is already that of file_servers.files.addresses.1",
        "another one",
        "",
    ),
    "a prober's address that a file server has": (
        [("[10.20.255.224/28,", "[10.20.255.224/28, 10.20.0.20,")],
        "segments.campus.prober.addresses.1",
        "10.20.0.20 is a service address of archive",
        "nobody else",
        "",
    ),
    "too few addresses for the prober": (
        [("[10.20.255.224/28,", "[10.20.255.224/30,")],
        "segments.campus.prober.addresses",
        "4 usable IPv4 addresses for 7 cards",
        "at least 7",
        "",
    ),
    "an interface with the name of a server's card": (
        [("      archive-6:", "      A:")],
        "file_servers.archive.interfaces.A",
        "the name A is already that of servers.mailrelay.interfaces.A",
        "another one",
        "",
    ),
    "an interface with the name of another file server's": (
        [("      archive-6:", "      files-6:")],
        "file_servers.archive.interfaces.files-6",
        "the name files-6 is already that of file_servers.files.interfaces.files-6",
        "another one",
        "",
    ),
    "a file server with the name of a server": (
        [("  archive:\n", "  smtp_pop:\n")],
        "file_servers.smtp_pop",
        "the name smtp_pop is already that of servers.smtp_pop",
        "another one",
        "",
    ),
    "a file server with the name of a role": (
        [("  archive:\n", "  web:\n")],
        "file_servers.web",
        "the name web is already that of roles.web",
        "another one",
        "",
    ),
    "a MAC that two interfaces have": (
        [('"02:00:00:00:20:26"', '"02:00:00:00:20:16"')],
        "file_servers.archive.interfaces.archive-6.mac",
        "the MAC 02:00:00:00:20:16 is already that of file_servers.files.interfaces.files-6.mac",
        "another one",
        "",
    ),
    "a virtual MAC that a server's card has": (
        [('"02:00:00:00:20:20"', '"02:00:00:00:01:0a"')],
        "file_servers.archive.mac",
        "is already that of servers.mailrelay.interfaces.A.mac",
        "another one",
        "",
    ),
    "a MAC that is derived for another file server": (
        [('"02:00:00:00:20:20"', f'"{DERIVED}"')],
        "file_servers.archive.mac",
        f"the MAC {DERIVED} is already that of file_servers.files.mac",
        "another one",
        "",
    ),
}

WRONG |= {
    "a virtual MAC of a group": (
        [('"02:00:00:00:20:20"', '"03:00:00:00:20:20"')],
        "file_servers.archive.mac",
        "not the address of one card",
        "a unicast MAC address",
        "",
    ),
    "no interfaces": (
        [("    interfaces:\n      archive-1:", "    interfaces: {}\n      #"),
         ("      archive-3:", "      #"), ("      archive-6:", "      #")],
        "file_servers.archive.interfaces",
        "nothing stands here",
        "at least one",
        "",
    ),
    "no addresses": (
        [('[10.20.0.20, "2001:db8:20::20"]', "[]")],
        "file_servers.archive.addresses",
        "nothing stands here",
        "at least one",
        "",
    ),
    "two services at one port": (
        [("      smb: {port: 445}", "      smb: {port: 445}\n      other: {port: 445}")],
        "file_servers.files.services.other.port",
        "port tcp/445 is already that of file_servers.files.services.smb.port",
        "another one",
        "",
    ),
    "a service without a port": (
        [("smb: {port: 445}", "smb: {}")],
        "file_servers.files.services.smb.port",
        "missing",
        "this key in file_servers.files.services.smb",
        "",
    ),
    "a service with sources": (
        [("smb: {port: 445}", "smb: {port: 445, from: [anyone]}")],
        "file_servers.files.services.smb.from",
        "unknown key",
        "one of port, probe, protocol",
        "",
    ),
    "a probe that the switches would answer": (
        [("smb: {port: 445}", "smb: {port: 445, probe: {kind: arp}}")],
        "file_servers.files.services.smb.probe.kind",
        "switches answer ARP for a file server",
        "icmp, or a probe over tcp",
        "",
    ),
    "a probe that does not fit the protocol": (
        [("smb: {port: 445}", "smb: {port: 445, protocol: udp, probe: {kind: http}}")],
        "file_servers.files.services.smb.probe.kind",
        "http probes go over tcp",
        "icmp",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses(case: str) -> None:
    changes, path, message, expected, suggestion = WRONG[case]
    found = problems(BOTH, *changes)
    assert [str(p.path) for p in found] == [path], [str(p) for p in found]
    assert message in found[0].message
    assert expected in found[0].expected
    assert found[0].suggestion == suggestion
    assert found[0].line > 1


@pytest.mark.parametrize("first", ["04", "06", "0a", "0e", "16"])
def test_the_backbone_keeps_first_octets_of_macs_to_itself(first: str) -> None:
    for mac, path in (
        ("02:00:00:00:20:20", "file_servers.archive.mac"),
        ("02:00:00:00:20:fe", "segments.campus.prober.mac"),
    ):
        wrong = f"{first}{mac[2:]}"
        (found,) = problems(CAMPUS, (f'"{mac}"', f'"{wrong}"'))
        assert found.path == path
        assert "the backbone needs its first octet for itself" in found.message
        assert "like 02, 12, 22 or 00" in found.expected
        loads(changed(CAMPUS, (f'"{mac}"', f'"{found.suggestion[:2]}:00:00:00:99:99"')))


@pytest.mark.parametrize("first", ["00", "02", "08", "12", "1a", "22"])
def test_other_first_octets_are_fine(first: str) -> None:
    loads(changed(CAMPUS, ("02:00:00:00:20:20", f"{first}:00:00:00:20:20")))


def test_a_file_server_is_on_a_backbone_only() -> None:
    found = problems(BOTH, ("  files:\n    segment: campus", "  files:\n    segment: inner"))
    assert found[0].path == "file_servers.files.segment"
    assert found[0].message == "inner is no backbone"
    assert found[0].expected == "one of campus"


def test_without_any_backbone_the_remedy_is_to_make_one() -> None:
    found = problems(CAMPUS, ("backbone: true", ""), ("discover: true", ""))
    assert [p.path for p in found] == ["file_servers.files.segment", "file_servers.archive.segment"]
    assert found[0].expected == "a segment with 'backbone: true'"


def test_file_servers_with_services_need_a_prober() -> None:
    prober = CAMPUS[CAMPUS.index("    prober:") : CAMPUS.index("file_servers:")]
    (found,) = problems(CAMPUS, (prober, "\n"))
    assert found.path == "segments.campus.prober"
    assert found.message == "nobody probes files, archive here"


def test_a_role_and_a_file_server_cannot_claim_one_address() -> None:
    found = problems(BOTH, ("[10.20.0.20,", "[10.0.0.80,"))
    assert [p.message for p in found] == [
        "10.0.0.80 is outside the networks of campus",
        "the address 10.0.0.80 is already that of roles.web.addresses.inner.addresses.0",
    ]


def test_a_site_without_roles_and_file_servers_does_nothing() -> None:
    with pytest.raises(SiteError) as caught:
        loads(CAMPUS[: CAMPUS.index("file_servers:")])
    (found,) = caught.value.problems
    assert found.message == "neither roles nor file_servers stand here"


def test_all_errors_come_at_once() -> None:
    found = problems(
        BOTH,
        ("datapath_id: 0x52", "datapath_id: 0x51"),
        ("  files:\n    segment: campus", "  files:\n    segment: campsu"),
        ('attachment: "r6:3"', 'attachment: "r7:3"'),
        ('"02:00:00:00:20:20"', '"0a:00:00:00:20:20"'),
        ("probe: {interval: 1s}", "probe: {interval: soon}"),
    )
    assert {p.path for p in found} == {
        "segments.campus.switches.r2.datapath_id",
        "file_servers.files.segment",
        "file_servers.archive.mac",
        "file_servers.archive.interfaces.archive-6.attachment",
        "file_servers.archive.services.smb.probe.interval",
    }
