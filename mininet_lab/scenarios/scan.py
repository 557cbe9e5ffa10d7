"""Scan every address from the WAN, whatever fails: it finds mailrelay's port 25, nothing else.

In normal state, after the failure of either server, and with the controller dead: all TCP and UDP
ports of the service addresses that the WAN can reach, and of every other address, which it could
reach only if a server forwarded or the switches were lax; those are sent by force: to the prober's
MAC, or with mailrelay as router. Port 25 as the source of connections opens nothing more. What a
stateless policy does let through is scanned for and told: bare ACKs from port 25.

Four states of some seven minutes each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

from mininet_lab import plan
from mininet_lab.lab import Lab
from mininet_lab.network import Node
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Stage, standing
from mininet_lab.ways import service_addresses
from topology.model import Address

#: Probes a second. What the switch has no time for is lost before it: `Look` counts that.
_RATE = "10000"

#: Share of the ports that must have been tried, of those that were to be.
ENOUGH = 0.97

_SWITCH = "o1"

_ALL, _PORTS = ("-p-",), 65_535
_MOST_USED = ("--top-ports", "1000")
_SYN, _UDP = ("-sS",), ("-sU",)
_TWICE, _ONCE = ("--max-retries", "1"), ("--max-retries", "0")
# So few ports that nmap names each.
_BARE_ACK = ("-sA", "--source-port", "25", *_TWICE, "-p", "1024-1033")

Finding = tuple[str, str, int]


@dataclass(frozen=True)
class Look:
    """What one scan of everything found. `sent` and `arrived`: probes, at the WAN's card and in
    the first switch. `ports` were to be tried, `tried` of them were."""

    state: str
    found: set[Finding]
    revealed: set[Finding]
    sent: int
    arrived: int
    ports: int
    tried: float

    @property
    def share(self) -> float:
        """The share of the ports that were tried."""
        return self.tried / self.ports


def play(directory: Path, options: Options, story: Story) -> None:
    """Four states, one scan each."""
    looks: list[Look] = []
    with standing(directory, story) as stage:
        open_ways(stage.lab)
        looks.append(look(stage, "normal state"))
        for server, other in (("smtp_pop", "mailrelay"), ("mailrelay", "smtp_pop")):
            story.chapter(f"{server} loses its power")
            stage.lab.power_cut(server)
            for role in stage.lab.site.roles:
                stage.await_served(role, other)
            looks.append(look(stage, f"{server} is dead"))
            stage.repair(server)
        story.chapter("The controller dies")
        stage.lab.kill_controller()
        looks.append(look(stage, "the controller is dead"))
        reachable, others = targets(stage.lab)
        scanned = len(reachable) + len(others)
        allowed = {(a, "tcp", 25) for a in service_addresses(stage.lab, "mailrelay", "outer")}
    results = Results("scan", options.seed)
    for seen in looks:
        results.add(f"{seen.state}: open ports", "hactrl", "ports", [len(seen.found)])
        results.add(f"{seen.state}: ports tried", "hactrl", "share", [seen.share])
        wrong = "; ".join(f"{host} {kind} {port}" for host, kind, port in seen.found ^ allowed)
        promise = f"{seen.state}: mailrelay's port 25 is open, and nothing else"
        story.expect(seen.found == allowed, promise, wrong)
        enough = f"{seen.state}: {seen.share:.1%} of the ports were tried"
        story.expect(seen.share >= ENOUGH, f"{enough} (at least {ENOUGH:.0%})")
    show(story, looks, f"all ports of {scanned} addresses, {len(others)} of them by force")
    story.tell(f"figures are in {results.write()}")


def show(story: Story, looks: list[Look], what: str) -> None:
    """The table, and what is no promise."""
    rows = [
        (
            seen.state,
            ", ".join(f"{host} {kind}/{port}" for host, kind, port in sorted(seen.found)) or "none",
            f"{seen.arrived:,} of {seen.sent:,}",
            f"{seen.share:.2%} of {seen.ports:,}",
            ", ".join(sorted({host for host, _, _ in seen.revealed})) or "nobody",
        )
        for seen in looks
    ]
    counted = ("probes that arrived", "ports tried")
    columns = ("state", "open ports found", *counted, "who resets a bare ACK")
    story.table(f"What the WAN sees: {what}", columns, rows)
    story.tell(
        "a bare ACK from port 25 passes a stateless policy as an answer would, and is reset: it"
        " shows that the address lives, no service"
    )


def targets(lab: Lab) -> tuple[list[Address], list[Address]]:
    """Service addresses of the outer segment, to which the WAN has a way; and all others: of the
    inner segment, of the probers, of the management network."""
    reachable: list[Address] = []
    others: list[Address] = []
    for role in lab.site.roles.values():
        for on in role.addresses:
            (reachable if on.segment == plan.OUTER else others).extend(on.addresses)
    for segment in lab.site.network.segments.values():
        if segment.prober:
            others += chain.from_iterable(segment.prober.sources.values())
    management = [plan.management_address(lab.site, server) for server in lab.servers]
    others += [ip_interface(text).ip for text in management]
    return reachable, [*others, ip_address(lab.site.controller.agents.host)]


def open_ways(lab: Lab) -> None:
    """Teach the WAN to send where nobody answers it."""
    segments = lab.site.network.segments
    if prober := segments[plan.OUTER].prober:
        for source in chain.from_iterable(prober.sources.values()):
            entry = ("neighbour", "replace", str(source), "lladdr", prober.mac)
            lab.wan.run("ip", *entry, "dev", lab.wan.name, "nud", "permanent")
    hidden = [n for s in segments.values() if s.name != plan.OUTER for n in s.networks]
    for router in map(ip_address, service_addresses(lab, "mailrelay", plan.OUTER)):
        for network in [*hidden, plan.MANAGEMENT]:
            if network.version == router.version:
                lab.wan.run("ip", "route", "replace", str(network), "via", str(router))


def look(stage: Stage, state: str) -> Look:
    """One scan of everything."""
    lab = stage.lab
    found: set[Finding] = set()
    revealed: set[Finding] = set()
    all_sent = all_arrived = ports_to_try = 0
    tried = 0.0
    for scan in scans(lab):
        with stage.story.working(f"{state}: {scan.name}, {scan.ports:,} ports, from the WAN"):
            sent, arrived = lab.wan.sent_packets(), looked_at(lab)
            found |= ports(nmap(lab.wan, scan.arguments), "open")
            sent = lab.wan.sent_packets() - sent
            arrived = looked_at(lab) - arrived
        all_sent, all_arrived = all_sent + sent, all_arrived + arrived
        ports_to_try += scan.ports
        tried += scan.ports * share_tried(sent, arrived, scan.tries)
    reachable, _ = targets(lab)
    for option, names in by_family(reachable):
        answer = nmap(lab.wan, [*option, *_BARE_ACK, *names])
        revealed |= ports(answer, "unfiltered")
    return Look(state, found, revealed, all_sent, all_arrived, ports_to_try, tried)


def looked_at(lab: Lab) -> int:
    """Probes that the first switch has looked at: in its policy, or, if they were sent to the
    prober's MAC, already where it is decided who may enter."""
    prober = lab.site.network.segments[plan.OUTER].prober
    assert prober, "the outer segment has a prober"
    rules = ("table=3", f"table=0,dl_dst={prober.mac}")
    return sum(lab.ovs.packets(_SWITCH, each) for each in rules)


def share_tried(sent: int, arrived: int, tries: int) -> float:
    """The share of ports of which a probe arrived, when each is sent `tries` times."""
    lost = max(0.0, 1 - arrived / sent)
    return 1.0 - lost**tries


@dataclass(frozen=True)
class Scan:
    """What nmap is asked, besides how. `tries`: how often each port is tried that stays silent."""

    name: str
    arguments: list[str]
    ports: int
    tries: int


def scans(lab: Lab) -> Iterator[Scan]:
    """All that is asked in one state. What the WAN has a way to is asked twice by TCP."""
    reachable, others = targets(lab)
    for where, addresses, again in (("reachable", reachable, 2), ("by force", others, 1)):
        for option, names in by_family(addresses):
            count = len(names) * _PORTS
            for kind, how, tries in (("TCP", _SYN, again), ("UDP", _UDP, 1)):
                retries = _TWICE if tries == 2 else _ONCE
                arguments = [*option, *how, *retries, *_ALL, *names]
                yield Scan(f"{len(names)} addresses {where}, {kind}", arguments, count, tries)
    for option, names in by_family(reachable):
        arguments = [*option, *_SYN, *_TWICE, "--source-port", "25", *_MOST_USED, *names]
        yield Scan(f"{len(names)} addresses, from port 25", arguments, len(names) * 1000, 2)


def by_family(addresses: list[Address]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """nmap's option for each family, and its addresses."""
    for option, version in (((), 4), (("-6",), 6)):
        if names := [str(a) for a in addresses if a.version == version]:
            yield option, names


def nmap(host: Node, arguments: list[str]) -> str:
    """nmap's XML. Packets go by the host's own routes and neighbours."""
    pace = ("--min-rate", _RATE, "--max-rate", _RATE, "-T5", "--min-hostgroup", "64")
    return host.run("nmap", "-n", "-Pn", "--send-ip", *pace, "-oX", "-", *arguments, timeout=600.0)


def ports(xml: str, wanted: str) -> set[Finding]:
    """Address, protocol and port of each port that nmap's XML gives this state; `open|filtered`,
    which is what UDP that nobody answers looks like, is not `open`."""
    found: set[Finding] = set()
    for host in ElementTree.fromstring(xml).iter("host"):
        addresses = [a.get("addr", "") for a in host.iter("address") if a.get("addrtype") != "mac"]
        for port in host.iter("port"):
            state = port.find("state")
            if state is not None and state.get("state") == wanted:
                found.add((addresses[0], port.get("protocol", ""), int(port.get("portid", "0"))))
    return found
