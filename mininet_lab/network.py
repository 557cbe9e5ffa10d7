"""The site's network, built by Mininet from the site file: switches, cables, hosts, and the two
networks that are no segment: management, and the prober's cards."""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Host, OVSSwitch

from hactrl.site.model import Site
from mininet_lab import plan
from mininet_lab.namespaces import in_network_namespace
from topology.model import Attachment, Switch, derived_mac

# Linux, include/uapi/linux/sockios.h and if.h.
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

#: Nobody speaks to the prober's cards unasked. Neighbour advertisements are not tracked.
_PROBER_GUARD = """
table inet prober {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "prober-*" ct state established,related accept
    iifname "prober-*" icmpv6 type nd-neighbor-advert accept
    iifname "prober-*" drop
  }
  chain forward { type filter hook forward priority filter; policy drop; }
}
"""


@dataclass(frozen=True)
class Node:
    """A network namespace of the lab, kept alive by the process `pid`."""

    name: str
    pid: int
    flags: socket.socket

    def command(self, *words: str) -> tuple[str, ...]:
        """What to execute so that `words` run in this network namespace."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *words)

    def run(self, *words: str, timeout: float | None = 60.0) -> str:
        """Run a command here; its output.

        Raises:
            RuntimeError: it failed; with what it wrote.
        """
        return run(*self.command(*words), timeout=timeout)

    def sent_packets(self) -> int:
        """How many packets a guest's card has sent."""
        answer = json.loads(self.run("ip", "-json", "-statistics", "link", "show", self.name))
        sent: int = answer[0]["stats64"]["tx"]["packets"]
        return sent

    def set_link(self, device: str, *, up: bool) -> None:
        """Switch a network device on or off, as pulling its cable would; within 1 ms."""
        request = struct.pack("16sH14x", device.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(self.flags, _SIOCGIFFLAGS, request), 16)[0]
        flags = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(self.flags, _SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), flags))


class LabNetwork:
    """Context manager: the network is up inside it.

    `nodes` are the guests and the servers' chassis by name; `outside` is the lab's own network
    namespace, where controller, prober cards and management bridge are.
    """

    def __init__(self, site: Site, guests: tuple[plan.Guest, ...] = plan.GUESTS) -> None:
        self.site = site
        self.guests = guests
        self.nodes: dict[str, Node] = {}
        self.outside = _node("outside", 1)
        self._cable_ends: dict[Attachment, tuple[Node, str]] = {}
        Mininet.inited = True  # its init() would raise limits of the whole machine
        setLogLevel("warning")
        self._mininet = Mininet(build=False, controller=None, autoSetMacs=False)

    def __enter__(self) -> Self:
        network = self.site.network
        for switch in network.switches.values():
            self._add_switch(switch)
        guests = (guest.name for guest in self.guests)
        for name in (*guests, *network.servers, *network.file_servers):
            self._add_host(name)
        for link in network.links:
            self._cable(link.a, link.b.switch, plan.port_device(link.b), link.b.port)
        for guest in self.guests:
            for device, port in guest.cables.items():
                mac = guest.mac if device == guest.name else ""
                self._cable(port, guest.name, device, mac=mac)
        for card in (*network.interfaces.values(), *network.file_interfaces.values()):
            self._cable(card.attachment, card.server, plan.device(card.name), mac=card.mac)
        self._set_up_outside()
        self._mininet.start()
        self._set_up_hosts()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in (*self.nodes.values(), self.outside):
            node.flags.close()
        # Connections that died with a server keep its namespace alive for minutes, and would keep
        # its management cable.
        for server in self.site.network.servers:
            run("ip", "link", "delete", management_device(server))
        self._mininet.stop()
        probers = (s.name for s in self.site.network.segments.values() if s.prober)
        for device in (plan.MANAGEMENT_BRIDGE, *map(plan.prober_device, probers)):
            run("ip", "link", "delete", device)
        run("nft", "delete", "table", "inet", "prober")

    def _add_switch(self, switch: Switch) -> None:
        self._mininet.addSwitch(
            switch.name,
            cls=OVSSwitch,
            dpid=f"{switch.datapath_id:016x}",
            datapath="user",
            failMode="secure",
            protocols="OpenFlow13",
            reconnectms=1000,
        )

    def _add_host(self, name: str) -> None:
        host = self._mininet.addHost(name, cls=Host, ip=None)
        self.nodes[name] = _node(name, host.pid)

    def _cable(
        self, port: Attachment, peer: str, device: str, number: int | None = None, mac: str = ""
    ) -> None:
        """From a switch's port to a host's device, or to the port `number` of another switch."""
        self._mininet.addLink(
            *(self._mininet[port.switch], self._mininet[peer]),
            port1=port.port,
            port2=number,
            intfName1=plan.port_device(port),
            intfName2=device,
            addr1=derived_mac(plan.port_device(port)),
            addr2=mac or derived_mac(device),
        )
        self._cable_ends[port] = (self.nodes.get(peer, self.outside), device)
        if number is not None:
            self._cable_ends[Attachment(peer, number)] = (self.outside, plan.port_device(port))

    def _set_up_outside(self) -> None:
        """Prober cards and management network."""
        run("nft", "--file", "-", stdin=_PROBER_GUARD)
        run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        bridge = plan.MANAGEMENT_BRIDGE
        agents = self.site.controller.agents.host
        lines = [
            f"ip link add {bridge} type bridge",
            f"ip address add {agents}/{plan.MANAGEMENT.prefixlen} dev {bridge}",
            f"ip link set {bridge} up",
        ]
        for server in self.site.network.servers:
            end = management_device(server)
            lines += [
                f"ip link add {end} type veth peer name management netns {self.nodes[server].pid}",
                f"ip link set {end} master {bridge} up",
            ]
        for segment in self.site.network.segments.values():
            if (prober := segment.prober) is None:
                continue
            device, port = plan.prober_device(segment.name), plan.port_device(prober.attachment)
            lines += [
                f"ip link add {device} address {prober.mac} type veth peer name {port}",
                f"ip link set {port} up",
                *plan.prober_script(prober, segment.networks),
            ]
        # Else the kernel itself answers at the switches' ports for the prober's addresses.
        lines += [
            f"sysctl -qw net.ipv4.conf.{plan.port_device(port)}.arp_ignore=8"
            for port in self._cable_ends
        ]
        shell(lines)
        for segment in self.site.network.segments.values():
            if segment.prober is not None:
                self._adopt_port(segment.prober.attachment)

    def _adopt_port(self, port: Attachment) -> None:
        from mininet.link import Intf

        switch = self._mininet[port.switch]
        Intf(plan.port_device(port), node=switch, port=port.port)
        self._cable_ends[port] = (
            self.outside,
            plan.prober_device(self.site.network.switches[port.switch].segment),
        )

    def _set_up_hosts(self) -> None:
        for guest in self.guests:
            shell(plan.guest_script(guest), self.nodes[guest.name])
        for server in self.site.network.servers.values():
            lines = plan.chassis_script(server.interfaces)
            lines += [
                f"ip address add {plan.management_address(self.site, server.name)} dev management",
                "ip link set management up",
            ]
            shell(lines, self.nodes[server.name])
        for file_server in self.site.network.file_servers.values():
            segment = self.site.network.segments[file_server.segment]
            shell(plan.file_server_script(segment, file_server), self.nodes[file_server.name])

    def connect_to_controller(self, switches: Iterable[str] = ()) -> None:
        """Tell the switches (all of them, or these) where the controller is."""
        listen = self.site.controller.openflow
        words: list[str] = []
        for switch in switches or self.site.network.switches:
            target = f"tcp:{listen.host}:{listen.port}"
            words += ["--", "set-controller", switch, target]
            words += ["--", "set", "controller", switch, "max_backoff=1000"]
        run("ovs-vsctl", *words[1:])

    def bridge_by_hand(self) -> None:
        """Let the switches learn like plain ones, without a controller: along a tree, because
        the segments have loops."""
        tree = _tree_ports(self.site)
        for switch in self.site.network.switches:
            run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", switch, "priority=0,actions=NORMAL")
            for port in self.site.network.trunk_ports - tree:
                if port.switch == switch:
                    change = ("mod-port", switch, str(port.port), "down")
                    run("ovs-ofctl", "-O", "OpenFlow13", *change)

    def set_cable(self, port: Attachment, *, up: bool) -> None:
        """Pull the cable at a switch's port, at its far end, or plug it in again."""
        node, device = self._cable_ends[port]
        node.set_link(device, up=up)

    def set_port(self, port: Attachment, *, up: bool) -> None:
        """Pull the cable at a switch's port, at the near end: whoever is at the far end loses his
        carrier, and nothing else."""
        self.outside.set_link(plan.port_device(port), up=up)


def management_device(server: str) -> str:
    """The bridge's end of a server's management cable."""
    return f"m-{server}"[:15]


def run(*words: str, stdin: str = "", timeout: float | None = 60.0) -> str:
    """Run a command to its end; its output.

    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, check=False, timeout=timeout
    )
    if done.returncode:
        wrote = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {wrote}")
    return done.stdout


def shell(lines: list[str], node: Node | None = None) -> None:
    """Run shell lines, in a node or outside; the first that fails ends it.

    Raises:
        RuntimeError: a line failed.
    """
    # Traced, so that an error is preceded by the line that it comes from.
    words = ("sh", "-ex")
    run(*(node.command(*words) if node else words), stdin="\n".join(lines))


def _node(name: str, pid: int) -> Node:
    def open_socket() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    return Node(name, pid, in_network_namespace(Path(f"/proc/{pid}/ns/net"), open_socket))


def _tree_ports(site: Site) -> set[Attachment]:
    """Ends of the links of one spanning tree a segment, first come first taken."""
    joined = {switch: {switch} for switch in site.network.switches}
    ports: set[Attachment] = set()
    for link in site.network.links:
        a, b = joined[link.a.switch], joined[link.b.switch]
        if a is b:
            continue
        a |= b
        for switch in b:
            joined[switch] = a
        ports |= {link.a, link.b}
    return ports
