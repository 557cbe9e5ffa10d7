"""A backbone for tests: any graph of switches, a client at each, a file server with interfaces at
some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from flows.intents import Intents, Nearest
from flows.walk.packet import ETH_IPV4, UDP, Packet, mac
from hactrl.site.model import Controller, Listen, ProbeSettings, Service, Site, Timers
from topology.model import (
    Attachment,
    FileServer,
    Host,
    Interface,
    Link,
    Network,
    Prober,
    Segment,
    Switch,
    derived_mac,
)

SERVICE = ip_address("10.0.0.10")
SERVICE_V6 = ip_address("2001:db8::10")
VIRTUAL_MAC = derived_mac("files")

#: The client's port at every switch, and the interfaces' (two at most at one switch).
CLIENT_PORT, CARD_PORTS, FIRST_TRUNK = 1, (2, 3), 11


def campus(edges: Sequence[tuple[str, str]], homes: Iterable[str], prober: str = "") -> Network:
    """Args:
    edges: links between switches. The n-th one is at port 11 + n of the one, and at a port of
        the other that counts down, so that not both prefer the same of several.
    homes: where the file server has an interface, at most twice at each switch.
    prober: the switch of the prober, at port 4; empty if there is none.
    """
    names = sorted({name for edge in edges for name in edge} | set(homes))
    switches = {name: Switch(name, n, "campus") for n, name in enumerate(names, 1)}
    links = tuple(
        Link(Attachment(a, FIRST_TRUNK + n), Attachment(b, FIRST_TRUNK + 2 * len(edges) - n))
        for n, (a, b) in enumerate(edges)
    )
    cards: list[Interface] = []
    for home in homes:
        port = CARD_PORTS[sum(card.attachment.switch == home for card in cards)]
        name = f"{home}-{port}"
        card_mac = derived_mac(name)
        cards.append(Interface(name, "files", "campus", Attachment(home, port), card_mac))
    files = FileServer("files", "campus", VIRTUAL_MAC, (SERVICE, SERVICE_V6), tuple(cards))
    sources = {
        card.name: (ip_address(f"10.0.0.{240 + n}"), ip_address(f"2001:db8::f{n}"))
        for n, card in enumerate(cards)
    }
    asking = Prober("campus", Attachment(prober, 4), derived_mac("prober"), sources)
    networks = (ip_network("10.0.0.0/16"), ip_network("2001:db8::/64"))
    segment = Segment("campus", networks, asking if prober else None, backbone=True)
    return Network({"campus": segment}, switches, links, file_servers={"files": files})


def client(network: Network, switch: str) -> Host:
    """The host at a switch's first port."""
    number = network.switches[switch].datapath_id
    addresses = (ip_address(f"10.0.1.{number}"), ip_address(f"2001:db8::1:{number}"))
    return Host(f"02:00:00:00:99:{number:02x}", Attachment(switch, CLIENT_PORT), number, addresses)


def clients(network: Network) -> tuple[Host, ...]:
    return tuple(client(network, switch) for switch in network.switches)


def intents(network: Network, live: Iterable[Interface]) -> Intents:
    """All clients are known, and the file server is to be reached by these interfaces."""
    server = network.file_servers["files"]
    return Intents(nearest=(Nearest(server, tuple(live)),), hosts=clients(network))


def from_client(network: Network, switch: str, target: int, eth_dst: int) -> Packet:
    """What the client at a switch sends to an IPv4 address."""
    sender = client(network, switch)
    return Packet.of(
        eth_src=mac(sender.mac),
        eth_dst=eth_dst,
        eth_type=ETH_IPV4,
        ipv4_src=int(sender.addresses[0]),
        ipv4_dst=target,
        ip_proto=UDP,
        udp_src=50000,
        udp_dst=9,
    )


def site_of(network: Network) -> Site:
    """A site with nothing but this backbone; the file server's port 445 is probed."""
    here = Listen("127.0.0.1", 0)
    smb = Service(
        name="smb",
        segment="campus",
        protocol="tcp",
        port=445,
        anyone=True,
        roles=(),
        networks=(),
        probe=ProbeSettings("tcp", interval=0.25, timeout=1.0, rise=2, fall=3),
    )
    return Site(
        name="campus",
        network=network,
        roles={},
        resources=(),
        power_fences={},
        timers=Timers(),
        controller=Controller(here, here, here, "", "", ""),
        file_services={"files": (smb,)},
    )
