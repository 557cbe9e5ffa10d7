"""Scan every address from the WAN, whatever fails: it finds mailrelay's port 25, nothing else.

In normal state, after the failure of either server, and with the controller dead.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mininet_lab.network import Node
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Stage, standing
from mininet_lab.ways import service_addresses
from topology.model import Address

#: Probes a second; lost ones are sent once more.
_RATE = "15000"

Finding = tuple[str, str, int]


def play(directory: Path, options: Options, story: Story) -> None:
    """Four states, one scan each."""
    results = Results("scan", options.seed)
    with standing(directory, story) as stage:
        look(stage, "normal state", results)
        for server, other in (("smtp_pop", "mailrelay"), ("mailrelay", "smtp_pop")):
            story.chapter(f"{server} loses its power")
            stage.lab.power_cut(server)
            for role in stage.lab.site.roles:
                stage.await_served(role, other)
            look(stage, f"{server} is dead", results)
            stage.repair(server)
        story.chapter("The controller dies")
        stage.lab.kill_controller()
        look(stage, "the controller is dead", results)
    story.tell(f"figures are in {results.write()}")


def look(stage: Stage, state: str, results: Results) -> None:
    """One scan, and whether it found what it may."""
    lab = stage.lab
    allowed = {(a, "tcp", 25) for a in service_addresses(lab, "mailrelay", "outer")}
    with stage.story.working(f"{state}: scanning all ports of every address from the WAN"):
        found = scan(lab.wan, every_address(stage))
    results.add(f"{state}: open ports", "hactrl", "ports", [len(found)])
    stage.story.expect(
        found == allowed,
        f"{state}: mailrelay's port 25 is open, and nothing else",
        "; ".join(f"{host} {kind} {port}" for host, kind, port in sorted(found ^ allowed)),
    )


def every_address(stage: Stage) -> list[Address]:
    """On the outer segment, which is all that the WAN has a way to: of roles and of the prober."""
    site = stage.lab.site
    addresses = [
        address
        for role in site.roles.values()
        for on in role.addresses
        for address in on.addresses
        if on.segment == "outer"
    ]
    prober = site.network.segments["outer"].prober
    pairs = prober.sources.values() if prober else ()
    return addresses + [source for pair in pairs for source in pair]


def scan(host: Node, addresses: list[Address]) -> set[Finding]:
    """Open ports: all of TCP, and UDP's most used."""
    found: set[Finding] = set()
    for version in (4, 6):
        of_family = [str(a) for a in addresses if a.version == version]
        family = ("-6",) if version == 6 else ()
        common = ("nmap", *family, "-n", "-Pn", "-oX", "-", "--max-retries", "1", "--open")
        tcp = ("-sS", "-p-", "--min-rate", _RATE)
        udp = ("-sU", "--top-ports", "50", "--min-rate", "1000")
        for kind in (tcp, udp):
            found |= open_ports(host.run(*common, *kind, *of_family, timeout=600.0))
    return found


def open_ports(xml: str) -> set[Finding]:
    """Address, protocol and port of each port that nmap's XML calls open; `open|filtered`, which
    is what UDP that nobody answers looks like, is not open."""
    found: set[Finding] = set()
    for host in ElementTree.fromstring(xml).iter("host"):
        addresses = [a.get("addr", "") for a in host.iter("address") if a.get("addrtype") != "mac"]
        for port in host.iter("port"):
            state = port.find("state")
            if state is not None and state.get("state") == "open":
                found.add((addresses[0], port.get("protocol", ""), int(port.get("portid", "0"))))
    return found
