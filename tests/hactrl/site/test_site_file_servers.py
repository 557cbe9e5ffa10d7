"""Backbones and file servers in the site file: what is read, and what is said of a wrong one."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hactrl.cli.commands import app
from hactrl.site import Problem, SiteError, dumps, load, loads
from hactrl.site.model import ProbeSettings
from topology.backbones import backbone_switches
from topology.model import Attachment, derived_mac

EXAMPLES = Path(__file__).parents[3] / "examples"
CAMPUS = (EXAMPLES / "campus.yaml").read_text()
_FRONTIER = (EXAMPLES / "frontier.yaml").read_text()
_SEGMENT = CAMPUS[CAMPUS.index("  campus:\n") : CAMPUS.index("file_servers:")]
_FILE_SERVERS = CAMPUS[CAMPUS.index("file_servers:") :]

#: The network of the report, and the campus beside it.
BOTH = _FRONTIER.replace("servers:\n", f"{_SEGMENT}servers:\n", 1) + "\n" + _FILE_SERVERS


def changed(text: str, *changes: tuple[str, str]) -> str:
    """The text with these pieces replaced, each once."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def problems(text: str, *changes: tuple[str, str]) -> list[Problem]:
    with pytest.raises(SiteError) as caught:
        loads(changed(text, *changes), "site.yaml")
    return list(caught.value.problems)


# What is read.


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_passes_the_check(example: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(example)])
    assert result.exit_code == 0, result.output


def test_the_example_is_a_backbone_with_two_file_servers() -> None:
    site = load(EXAMPLES / "campus.yaml")
    campus = site.network.segments["campus"]
    assert campus.backbone
    assert campus.discover
    assert backbone_switches(site.network) == {"r1", "r2", "r3", "r4", "r5", "r6"}
    files, archive = site.network.file_servers.values()
    assert files.segment == "campus"
    assert files.addresses == (ip_address("10.20.0.10"), ip_address("2001:db8:20::10"))
    assert [card.attachment.switch for card in files.interfaces] == ["r3", "r4", "r5", "r6"]
    assert [card.attachment for card in archive.interfaces] == [
        Attachment("r1", 3),
        Attachment("r3", 3),
        Attachment("r6", 3),
    ]
    assert {card.server for card in files.interfaces} == {"files"}
    assert {card.segment for card in files.interfaces} == {"campus"}
    assert sorted(link.cost for link in site.network.links) == [1] * 9 + [2, 3]


def test_file_servers_are_no_servers_that_play_roles() -> None:
    site = loads(BOTH)
    assert set(site.network.servers) == {"mailrelay", "smtp_pop"}
    assert set(site.network.file_servers) == {"files", "archive"}
    assert not site.network.interfaces.keys() & site.network.file_interfaces.keys()


def test_a_segment_is_no_backbone_unless_it_says_so() -> None:
    site = loads(BOTH)
    assert [s.name for s in site.network.segments.values() if s.backbone] == ["campus"]
    assert [s.name for s in site.network.segments.values() if s.discover] == ["campus"]


def test_a_virtual_mac_is_derived_from_name_and_segment_unless_it_is_given() -> None:
    servers = load(EXAMPLES / "campus.yaml").network.file_servers
    assert servers["archive"].mac == "02:00:00:00:20:20"
    assert servers["files"].mac == derived_mac("file server files segment campus")


def test_services_take_what_they_leave_out_from_the_timers() -> None:
    site = load(EXAMPLES / "campus.yaml")
    (files,), (archive,) = site.file_services["files"], site.file_services["archive"]
    assert (files.name, files.segment, files.protocol, files.port) == ("smb", "campus", "tcp", 445)
    assert files.anyone
    assert files.probe == ProbeSettings("tcp", interval=0.25, timeout=1.0, rise=2, fall=3)
    assert archive.probe.interval == 1.0


def test_without_services_no_prober_is_needed() -> None:
    prober = CAMPUS[CAMPUS.index("    prober:") : CAMPUS.index("file_servers:")]
    site = loads(
        changed(
            CAMPUS,
            (prober, "\n"),
            ("    services:\n      smb: {port: 445}\n", ""),
            ("    services:\n      smb: {port: 445, probe: {interval: 1s}}\n", ""),
        )
    )
    assert site.file_services == {"files": (), "archive": ()}
    assert site.network.segments["campus"].prober is None
    assert loads(dumps(site)) == site


def test_the_prober_has_a_source_of_each_family_for_every_interface() -> None:
    prober = load(EXAMPLES / "campus.yaml").network.segments["campus"].prober
    assert prober is not None
    assert list(prober.sources) == [
        *("files-3", "files-4", "files-5", "files-6"),
        *("archive-1", "archive-3", "archive-6"),
    ]
    assert prober.sources["files-4"] == (
        ip_address("10.20.255.225"),
        ip_address("2001:db8:20::ff01"),
    )


def test_service_addresses_of_file_servers_are_no_sources() -> None:
    site = loads(changed(CAMPUS, ("[10.20.255.224/28,", "[10.20.0.10/31, 10.20.255.224/28,")))
    prober = site.network.segments["campus"].prober
    assert prober is not None
    first, second, *_ = (own[0] for own in prober.sources.values())
    assert (str(first), str(second)) == ("10.20.0.11", "10.20.255.224")


def test_one_family_of_addresses_is_enough() -> None:
    site = loads(
        changed(
            CAMPUS,
            ('[10.20.0.10, "2001:db8:20::10"]', "[10.20.0.10]"),
            ('[10.20.0.20, "2001:db8:20::20"]', "[10.20.0.20]"),
        )
    )
    prober = site.network.segments["campus"].prober
    assert prober is not None
    assert all(len(own) == 1 for own in prober.sources.values())


def test_where_links_are_discovered_none_must_be_declared() -> None:
    links = CAMPUS[CAMPUS.index("    links:") : CAMPUS.index("    prober:")]
    assert loads(changed(CAMPUS, (links, ""))).network.links == ()


@pytest.mark.parametrize("text", [CAMPUS, BOTH], ids=["campus", "both"])
def test_the_effective_site_file_reads_as_an_equal_site(text: str) -> None:
    site = loads(text)
    assert loads(dumps(site)) == site


def test_the_effective_site_file_shows_what_was_left_to_defaults() -> None:
    text = dumps(loads(BOTH))
    assert "discover: false" in text
    assert f"mac: {derived_mac('file server files segment campus')}" in text


def test_a_prober_with_nothing_to_probe_is_written_as_it_was_read() -> None:
    alone = "  attic:\n    networks: [10.9.0.0/24]\n    switches:\n      a1: {datapath_id: 0x99}\n"
    alone += (
        '    prober: {attachment: "a1:1", mac: "02:00:00:00:09:fe", addresses: [10.9.0.8/29]}\n'
    )
    site = loads(changed(BOTH, ("segments:\n", f"segments:\n{alone}")))
    assert loads(dumps(site)) == site


def lopsided() -> str:
    """The campus, with nearly all clients at r2, where no interface is, and files at two switches
    of which one is nearer."""
    files = CAMPUS[CAMPUS.index("      files-4:") : CAMPUS.index("      files-6:")]
    busy = ("r2: {datapath_id: 0x52, ports: 24}", "r2: {datapath_id: 0x52, ports: 24, clients: 50}")
    policy = ("  files:\n    segment", "  files:\n    policy: spread\n    segment")
    return changed(CAMPUS, (files, ""), busy, policy)


def test_a_file_server_that_spreads_gives_its_interfaces_offsets() -> None:
    network = loads(lopsided()).network
    assert network.switches["r2"].clients == 50
    spreading, nearest = network.file_servers["files"], network.file_servers["archive"]
    assert {card.name: card.offset for card in spreading.interfaces} == {"files-3": 1, "files-6": 0}
    assert {card.offset for card in nearest.interfaces} == {0}


def test_a_spreading_file_server_is_written_as_it_was_read() -> None:
    site = loads(lopsided())
    assert "policy: spread" in dumps(site)
    assert loads(dumps(site)) == site
