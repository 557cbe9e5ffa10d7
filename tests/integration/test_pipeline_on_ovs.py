"""The compiled rules of the report's network in real switches, with namespaces as its machines.

Every server is a namespace with its cards; every role on it is a namespace of its own with a
macvlan on each card. Whoever answers a connection says on which server it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from private_ovs import Bridge, Channel, PrivateOvs, wait_until
from report_network import (
    ADDRESSES,
    CANDIDATES,
    HOSTS,
    LINKS,
    NETWORK,
    SUBNETS,
    Situation,
    at,
    placed,
)

from flows.diff import diff
from flows.openflow import error_text, messages
from flows.openflow.ryu_mended import parser
from flows.rules import LEARNT_COOKIE, RuleSet
from topology.model import Attachment, Interface, Link

pytestmark = pytest.mark.integration

SERVICE_PORTS = {"mailrelay": (25,), "smtp_pop": (25, 110), "web": (80,)}


def device(name: str) -> str:
    return name.replace(":", "-").replace("'", "2")


def cable(a: str, b: str) -> list[str]:
    return [f"ip link add {a} type veth peer name {b}", f"ip link set {a} up"]


def plug(where: Attachment, name: str) -> list[str]:
    """The switch's end of a cable to a machine; the other end is called `name`."""
    end = device(str(where))
    return [
        *cable(end, name),
        f"ovs-vsctl add-port {where.switch} {end}"
        f" -- set interface {end} ofport_request={where.port}",
    ]


def attend(namespace: str, name: str, mac: str = "") -> list[str]:
    """Move a cable's end into a namespace."""
    return [
        f"ip link set {name} netns {namespace}",
        *([f"ip -n {namespace} link set {name} address {mac}"] if mac else []),
        f"ip -n {namespace} link set {name} up",
        f"ip netns exec {namespace} ethtool -K {name} tx off >/dev/null",
    ]


def trunk(link: Link) -> list[str]:
    script = cable(*(device(str(end)) for end in (link.a, link.b)))
    for end in (link.a, link.b):
        name = device(str(end))
        script += [
            f"ip link set {name} up",
            f"ovs-vsctl add-port {end.switch} {name}"
            f" -- set interface {name} ofport_request={end.port}",
        ]
    return script


def host(where: Attachment, segment: str, number: int) -> list[str]:
    name = device(f"h{where}")
    four, six = SUBNETS[segment]
    return [
        f"ip netns add {name}",
        f"ip -n {name} link set lo up",
        *plug(where, name),
        *attend(name, name),
        f"ip -n {name} addr add {four}.{number}/24 dev {name}",
        f"ip -n {name} addr add {six}::{number}/64 dev {name} nodad",
    ]


def prober(segment: str) -> list[str]:
    found = NETWORK.segments[segment].prober
    assert found is not None
    name = f"p{segment}"
    bits = {4: 24, 6: "64 nodad"}
    return [
        f"ip netns add {name}",
        *plug(found.attachment, name),
        *attend(name, name, found.mac),
        *(
            f"ip -n {name} addr add {a}/{bits[a.version]} dev {name}"
            for addresses in found.sources.values()
            for a in addresses
        ),
    ]


def card(found: Interface) -> list[str]:
    name = device(found.name)
    return [*plug(found.attachment, name), *attend(found.server, name, found.mac)]


def role(name: str, server: str) -> list[str]:
    """A macvlan for each candidate card, all with the role's addresses, the first preferred; the
    answer to a probe leaves by the card that it came in on."""
    namespace = f"{name}-{server}"
    script = [f"ip netns add {namespace}", f"ip -n {namespace} link set lo up"]
    script.append(f"ip netns exec {namespace} sysctl -qw net.ipv4.conf.all.rp_filter=0")
    for family in ("ipv4", "ipv6"):
        gone = f"net.{family}.conf.all.ignore_routes_with_linkdown=1"
        script.append(f"ip netns exec {namespace} sysctl -qw {gone}")
    metric = 10
    for candidate in CANDIDATES.values():
        if (candidate.role, candidate.server) != (name, server):
            continue
        end, lower = f"{device(candidate.interface)}-{name}", device(candidate.interface)
        script += [
            f"ip -n {server} link add link {lower} name {end} address {candidate.mac}"
            " type macvlan mode private",
            f"ip -n {server} link set {end} netns {namespace}",
            f"ip -n {namespace} link set {end} up",
            f"ip netns exec {namespace} ethtool -K {end} tx off >/dev/null",
        ]
        for own in ADDRESSES[name, candidate.segment].addresses:
            bits = "24" if own.version == 4 else "64 nodad"
            script.append(f"ip -n {namespace} addr add {own}/{bits} dev {end} metric {metric}")
        found = NETWORK.segments[candidate.segment].prober
        assert found is not None
        script += [
            f"ip -n {namespace} route add {a} dev {end}" for a in found.sources[candidate.interface]
        ]
        metric += 10
    return script


@dataclass
class Lab:
    ovs: PrivateOvs
    bridges: dict[str, Bridge]
    channels: dict[str, Channel]

    def install(self, situation: Situation) -> int:
        """Bring all switches to the rules of this situation; gives the number of changes."""
        changes = 0
        for switch, wanted in situation.compiled().items():
            channel = self.channels[switch]
            for batch in diff(self.read(switch), wanted):
                changes += len(batch)
                sent = [m for change in batch for m in messages(channel.datapath, change)]
                answers = channel.barrier(*sent)
                refused = [a for a in answers if isinstance(a, parser.OFPErrorMsg)]
                assert [error_text(a) for a in refused] == []
        return changes

    def read(self, switch: str) -> RuleSet:
        return self.channels[switch].read_back()

    def set_cable(self, ends: tuple[str, ...], state: str) -> None:
        """Set a cable up or down, and wait until the switches at its ends have seen it."""
        self.ovs.run("ip", "link", "set", ends[0], state)
        for end in ends:
            look = ("ovs-vsctl", "get", "interface", end, "link_state")
            wait_until(lambda look=look: self.ovs.run(*look).strip() == state, f"{end} {state}")

    def inside(self, namespace: str, *words: str) -> str:
        return self.ovs.run("ip", "netns", "exec", namespace, *words, check=False)

    def connect(
        self, namespace: str, target: str, port: int, options: str = "", patience: int = 6
    ) -> str:
        """Connect, and give what is said there; nothing if nobody is reached within `patience`
        seconds (a SYN that is lost while a switch notices a dead port comes again after 1 s)."""
        address = f"[{target}]" if ":" in target else target
        family = "TCP6" if ":" in target else "TCP4"
        ends = ("-", f"{family}:{address}:{port},connect-timeout={patience}{options}")
        return self.inside(namespace, "socat", "-T2", *ends).strip()


def cabling() -> list[str]:
    """Everything that is plugged together, as a shell script."""
    script = ["set -e", "mkdir -p /run/netns"]
    for link in LINKS:
        script += trunk(link)
    for segment, entries in HOSTS.items():
        for number, entry in enumerate(entries, start=101):
            script += host(entry, segment, number)
        script += prober(segment)
    for server in NETWORK.servers.values():
        script.append(f"ip netns add {server.name}")
        for found in server.interfaces:
            script += card(found)
        for name in SERVICE_PORTS:
            script += role(name, server.name)
    return script


def serve(ovs: PrivateOvs, name: str, server: str) -> None:
    """Listen at the role's ports, and say to everybody on which server."""
    inside = ("ip", "netns", "exec", f"{name}-{server}")
    for port in SERVICE_PORTS[name]:
        listen = f"TCP6-LISTEN:{port},fork,reuseaddr,ipv6only=0"
        ovs.start(*inside, "socat", listen, f"SYSTEM:echo {server}")
        wait_until(
            lambda port=port: f":{port} " in ovs.run(*inside, "ss", "-Hltn"),
            f"{name} on {server} to listen",
        )


@pytest.fixture(scope="module")
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    bridges = {s.name: ovs.add_bridge(s.name, s.datapath_id) for s in NETWORK.switches.values()}
    ovs.run("sh", "-c", "\n".join(cabling()), timeout=120)
    for server in NETWORK.servers:
        for name in SERVICE_PORTS:
            serve(ovs, name, server)
    with ExitStack() as stack:
        channels = {name: stack.enter_context(b.connect()) for name, b in bridges.items()}
        yield Lab(ovs, bridges, channels)


@pytest.fixture
def normal(lab: Lab) -> Lab:
    lab.install(Situation())
    return lab


def addresses(role: str, segment: str) -> tuple[str, ...]:
    return tuple(map(str, ADDRESSES[role, segment].addresses))


def machine(where: Attachment) -> str:
    return device(f"h{where}")


def test_switches_give_back_what_they_were_given(normal: Lab) -> None:
    assert normal.install(Situation()) == 0


@pytest.mark.parametrize(
    ("role", "segment", "server"),
    [
        ("mailrelay", "outer", "mailrelay"),
        ("smtp_pop", "inner", "smtp_pop"),
        ("web", "inner", "mailrelay"),
    ],
)
def test_users_everywhere_reach_each_role_at_its_server(
    normal: Lab, role: str, segment: str, server: str
) -> None:
    for entry in HOSTS[segment]:
        for target in addresses(role, segment):
            for port in SERVICE_PORTS[role]:
                assert normal.connect(machine(entry), target, port) == server
        seen = normal.inside(machine(entry), "ip", "neigh").lower()
        for target in addresses(role, segment):
            entry_line = next(line for line in seen.splitlines() if line.startswith(f"{target} "))
            assert ADDRESSES[role, segment].mac in entry_line


def test_what_is_not_permitted_is_not_reached(normal: Lab) -> None:
    for target in addresses("mailrelay", "outer"):
        assert normal.connect(machine(at("o2:1")), target, 110, patience=1) == ""
    assert normal.connect(machine(at("o2:1")), "192.0.2.26", 25, patience=1) == ""


def test_a_placement_is_moved_and_users_follow_with_the_addresses_they_know(normal: Lab) -> None:
    client = machine(at("i3:1"))
    assert normal.connect(client, "10.0.0.25", 110) == "smtp_pop"
    normal.install(placed(smtp_pop="mailrelay"))
    for target in addresses("smtp_pop", "inner"):
        assert normal.connect(client, target, 110) == "mailrelay"
    normal.install(Situation())
    assert normal.connect(client, "10.0.0.25", 110) == "smtp_pop"


def test_probes_reach_every_candidate_by_its_own_card(normal: Lab) -> None:
    for candidate in CANDIDATES.values():
        found = NETWORK.segments[candidate.segment].prober
        assert found is not None
        for source, target in zip(
            found.sources[candidate.interface],
            addresses(candidate.role, candidate.segment),
            strict=True,
        ):
            bind = f",bind=[{source}]" if source.version == 6 else f",bind={source}"
            port = SERVICE_PORTS[candidate.role][0]
            said = normal.connect(f"p{candidate.segment}", target, port, bind)
            assert said == candidate.server, candidate


def test_mailrelay_hands_mail_to_smtp_pop_and_smtp_pop_to_the_world(normal: Lab) -> None:
    world = machine(at("o1:1"))
    listener = normal.ovs.start(
        "ip", "netns", "exec", world, "socat", "TCP6-LISTEN:25,fork,ipv6only=0", "SYSTEM:echo world"
    )
    wait_until(lambda: ":25 " in normal.inside(world, "ss", "-Hltn"), "the world to listen")
    for target in addresses("smtp_pop", "inner"):
        assert normal.connect("mailrelay-mailrelay", target, 25) == "smtp_pop"
    for target in ("192.0.2.101", "2001:db8:0:1::101"):
        assert normal.connect("smtp_pop-smtp_pop", target, 25) == "world"
        assert normal.connect("smtp_pop-mailrelay", target, 25, patience=1) == "", "a standby"
        assert normal.connect("mailrelay-mailrelay", target, 25, patience=1) == "", "not its job"
    listener.terminate()


def test_both_roles_on_one_server_hand_mail_to_each_other(normal: Lab) -> None:
    down = Situation(placed(smtp_pop="mailrelay").placement, frozenset({at("i2:3")}))
    normal.install(down)
    for target in addresses("smtp_pop", "inner"):
        assert normal.connect("mailrelay-mailrelay", target, 25) == "mailrelay"


@pytest.mark.parametrize("ends", [("i1-11", "i2-11"), ("i2-12", "i3-11"), ("i2-2",)])
def test_a_dead_cable_is_survived_without_the_controller(
    normal: Lab, ends: tuple[str, ...]
) -> None:
    clients = [machine(entry) for entry in HOSTS["inner"]]
    for client in clients:
        assert normal.connect(client, "10.0.0.25", 110) == "smtp_pop"
    normal.set_cable(ends, "down")
    try:
        for client in clients:
            assert normal.connect(client, "10.0.0.25", 110) == "smtp_pop", client
    finally:
        normal.set_cable(ends, "up")


def test_hosts_reach_each_other_and_are_learnt(normal: Lab) -> None:
    for target in ("10.0.0.102", "10.0.0.103", "2001:db8:0:2::102", "2001:db8:0:2::103"):
        said = normal.inside(machine(at("i1:1")), "ping", "-c1", "-W2", target)
        assert "1 received" in said, said
    learnt = normal.bridges["i1"].ofctl("dump-flows", "table=8")
    assert f"cookie={LEARNT_COOKIE >> 32:#x}" in learnt
