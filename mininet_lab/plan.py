"""What stands where in the lab: hosts that the site file does not name, device names, and how
a role's addresses lie on a server's cards. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network

from hactrl.site.model import Role, RoleAddress, Site
from topology.model import Address, Attachment, FileServer, Interface, Prober, Segment, Subnet

AnyInterface = IPv4Interface | IPv6Interface

#: The world beyond the WAN's router: RFC 5737 and RFC 3849 keep these for documentation.
WORLD = (ip_interface("198.51.100.10/32"), ip_interface("2001:db8:ffff::10/128"))

#: The outer segment's routers, one of each family, and their attachment.
ROUTERS = (ip_interface("192.0.2.1/24"), ip_interface("2001:db8:0:1::1/64"))
OUTER = "outer"

MANAGEMENT = ip_network("172.16.0.0/24")
MANAGEMENT_BRIDGE = "management"

#: Linux: IFNAMSIZ is 16, with the closing zero.
_NAME_LENGTH = 15


@dataclass(frozen=True)
class Guest:
    """A host that is no server of the site: the WAN, or a client workstation.

    `beyond` are addresses that it has besides those on its card. Where `other` is given it has a
    second cable, which leads there and is not plugged in: the host can move.
    """

    name: str
    attachment: Attachment
    mac: str
    addresses: tuple[AnyInterface, ...]
    beyond: tuple[AnyInterface, ...] = ()
    other: Attachment | None = None

    @property
    def cables(self) -> dict[str, Attachment]:
        """By the host's devices, where their cables lead."""
        if self.other is None:
            return {self.name: self.attachment}
        return {f"{self.name}-1": self.attachment, f"{self.name}-2": self.other}


WAN = Guest("wan", Attachment("o1", 1), "02:00:00:00:01:01", ROUTERS, WORLD)

CLIENTS = tuple(
    Guest(
        f"client{number}",
        attachment,
        f"02:00:00:00:02:{100 + number:02x}",
        (ip_interface(f"10.0.0.{100 + number}/24"), ip_interface(f"2001:db8:0:2::{number:x}01/64")),
    )
    for number, attachment in enumerate(
        (Attachment("i1", 5), Attachment("i2", 5), Attachment("i3", 5), Attachment("i3", 6)), 1
    )
)

GUESTS = (WAN, *CLIENTS)


def device(card: str) -> str:
    """Name of a card's network device: `C'` is not one that every program takes."""
    return card.replace("'", "-prime")[:_NAME_LENGTH]


def port_device(attachment: Attachment) -> str:
    """Name of the network device behind a switch's port."""
    return f"{attachment.switch}-{attachment.port}"


#: Several interfaces in one network: answers go by the mark, not by the source address alone.
_FILE_SERVER_SETTINGS = tuple(
    f"net.{family}.conf.{scope}.{setting}"
    for scope in ("all", "default")
    for family, setting in (
        ("ipv4", "rp_filter=0"),
        ("ipv4", "ignore_routes_with_linkdown=1"),
        ("ipv6", "ignore_routes_with_linkdown=1"),
        ("ipv6", "addr_gen_mode=1"),
    )
)


def prober_device(segment: str) -> str:
    return f"prober-{segment}"[:_NAME_LENGTH]


def management_address(site: Site, server: str) -> str:
    """With its prefix length, as `ip` takes it."""
    number = 11 + list(site.network.servers).index(server)
    return f"{MANAGEMENT[number]}/{MANAGEMENT.prefixlen}"


def prober_script(prober: Prober, networks: tuple[Subnet, ...]) -> list[str]:
    """Shell lines that give the prober's card its source addresses.

    The host speaks with them only when a program asks for one, and answers nobody.
    """
    name = prober_device(prober.segment)
    lines = [
        *quiet(name),
        f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=0 net.ipv4.conf.{name}.arp_ignore=8",
        f"ip link set {name} up",
    ]
    sources = [source for pair in prober.sources.values() for source in pair]
    lines += [f"ip address add {host(source)} dev {name}{no_dad(source)}" for source in sources]
    for network in networks:
        of_family = [source for source in sources if source.version == network.version]
        lines += [f"ip route add {network} dev {name} src {source}" for source in of_family[:1]]
    return lines


def guest_script(guest: Guest) -> list[str]:
    """Shell lines, in the guest's network namespace, that give it its addresses."""
    name = guest.name
    lines = [] if guest.other is None else _bridge(guest)
    lines += [*quiet(name), f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=0", "ip link set lo up"]
    lines += [f"ip address add {a} dev {name}{no_dad(a)}" for a in guest.addresses]
    lines += [f"ip address add {a} dev lo{no_dad(a)}" for a in guest.beyond]
    return [*lines, f"ip link set {name} up"]


def _bridge(guest: Guest) -> list[str]:
    """Shell lines that make one card of two cables, of which the first one is plugged in. The
    cables themselves say nothing, whether the card has them or not."""
    name, (first, second) = guest.name, guest.cables
    return [
        f"ip link set {second} down",
        *quiet(first),
        *quiet(second),
        f"sysctl -qw net.ipv4.conf.{first}.arp_ignore=8 net.ipv4.conf.{second}.arp_ignore=8",
        f"ip link add {name} address {guest.mac} type bridge mcast_snooping 0",
        f"ip link set {first} master {name}",
        f"ip link set {second} master {name}",
    ]


def chassis_script(cards: tuple[Interface, ...]) -> list[str]:
    """Shell lines for a server's cards themselves, which carry no address: they stay silent."""
    lines = ["ip link set lo up"]
    for card in cards:
        lines += [*quiet(device(card.name)), f"ip link set {device(card.name)} up"]
    return lines


def role_script(site: Site, role: Role, server: str) -> list[str]:
    """Shell lines, in the server, that make a role's network namespace: on each card of the
    role's segments a macvlan with the role's own MAC on that card and all its addresses.

    `private` macvlans never hear each other, so that two roles of one server talk over the
    switches, like everybody. The preferred card has the lower metric, and its routes are ignored
    while its link is down. A prober's source is answered by the card that it stands for; everybody
    else by the card that was asked, because the preferred one's switch may be cut off from users
    to whom the switches have given another card.
    """
    into = f"ip -n {role.name}"
    lines = [
        f"ip netns add {role.name}",
        f"ip netns exec {role.name} sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1"
        " net.ipv6.conf.all.ignore_routes_with_linkdown=1"
        " net.ipv4.conf.default.ignore_routes_with_linkdown=1"
        " net.ipv6.conf.default.ignore_routes_with_linkdown=1"
        " net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
        " net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.addr_gen_mode=1",
        f"{into} link set lo up",
    ]
    for on_segment in role.addresses:
        segment = site.network.segments[on_segment.segment]
        cards = site.cards(role, server, segment.name)
        for rank, card in enumerate(cards, 1):
            name = device(card.name)
            lines += [
                f"ip link add link {name} name {name} netns {role.name}"
                f" address {card.role_mac(role.name)} type macvlan mode private",
                f"ip netns exec {role.name} ethtool -K {name} tx off >/dev/null",
            ]
            for address in on_segment.addresses:
                network = next(n for n in segment.networks if address in n)
                lines.append(
                    f"{into} address add {address}/{network.prefixlen} dev {name}"
                    f" noprefixroute{no_dad(address)}"
                )
            lines.append(f"{into} link set {name} up")
            lines += [
                f"{into} route add {route}" for route in _routes(site, on_segment, card, rank * 100)
            ]
    return [*lines, *_answers(site, role, server)]


def _answers(site: Site, role: Role, server: str) -> Iterator[str]:
    """Shell lines that have a role answer by the card that it was asked at."""
    inside, names = f"ip netns exec {role.name}", []
    for on_segment in role.addresses:
        cards = site.cards(role, server, on_segment.segment)
        for card in cards:
            names.append(device(card.name))
            # This card first; the others behind it, for when its link is down.
            behind = [other for other in cards if other != card]
            for rank, way in enumerate((card, *behind), 1):
                for route in _to_users(site, on_segment, way, rank * 100):
                    yield f"ip -n {role.name} route add {route} table {_table(len(names))}"
    yield f"{inside} nft '{answer_rules(names)}'"
    yield from (f"{inside} {rule}" for rule in rules_by_mark(len(names)))


def _table(mark: int) -> int:
    """The number of the routes for what has this mark."""
    return 100 + mark


def file_server_script(segment: Segment, server: FileServer) -> list[str]:
    """Shell lines that give a file server its addresses, on every interface, and have it answer by
    the interface that it was asked at, as long as that one is up (docs/file-server.md).

    The mark follows the newest packet of a connection, so that answers move when packets do.
    """
    cards = [device(card.name) for card in server.interfaces]
    lines = ["ip link set lo up", "sysctl -qw " + " ".join(_FILE_SERVER_SETTINGS)]
    lines += [f"nft '{answer_rules(cards)}'"]
    for name in cards:
        lines += [*quiet(name), f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=0"]
        lines += [
            f"ip address add {address}/{network.prefixlen} dev {name} noprefixroute"
            f"{no_dad(address)}"
            for address in server.addresses
            for network in segment.networks
            if address in network
        ]
        lines.append(f"ip link set {name} up")
    for number, name in enumerate(cards, 1):
        # This interface first; the others behind it, for when its link is down.
        others = [other for other in cards if other != name]
        for version, family in ((4, "-4"), (6, "-6")):
            for rank, way in enumerate((name, *others), 1):
                lines += [
                    f"ip {family} route add {network} dev {way} src {address}"
                    f" metric {rank * 100} table {_table(number)}"
                    for network in segment.networks
                    for address in server.addresses
                    if network.version == address.version == version
                ]
    lines += rules_by_mark(len(server.interfaces))
    for family in ("-4", "-6"):
        lines.append(f"ip {family} rule add from all lookup {_table(1)} priority 32767")
    return lines


def rules_by_mark(interfaces: int) -> list[str]:
    """Shell lines that have each mark looked up in the table of its interface."""
    return [
        f"ip {family} rule add fwmark {number} lookup {_table(number)}"
        for number in range(1, interfaces + 1)
        for family in ("-4", "-6")
    ]


def answer_rules(cards: list[str]) -> str:
    """nftables: packets that go out are marked with the number of the interface by which the
    newest one of their connection came in, and routed by that."""
    marks = "".join(f'    iifname "{name}" ct mark set {n}\n' for n, name in enumerate(cards, 1))
    return f"""table inet answers {{
  chain in {{
    type filter hook prerouting priority mangle
{marks}  }}
  chain out {{
    type route hook output priority mangle
    meta mark set ct mark
  }}
}}"""


def _to_users(site: Site, on_segment: RoleAddress, card: Interface, metric: int) -> Iterator[str]:
    segment = site.network.segments[card.segment]
    name = device(card.name)
    for address in on_segment.addresses:
        network = next(n for n in segment.networks if address in n)
        yield f"{network} dev {name} src {address} metric {metric}"
        if segment.name == OUTER:
            router = next(r.ip for r in ROUTERS if r.version == address.version)
            yield f"default via {router} dev {name} src {address} metric {metric}"


def _routes(site: Site, on_segment: RoleAddress, card: Interface, metric: int) -> Iterator[str]:
    segment = site.network.segments[card.segment]
    name = device(card.name)
    yield from _to_users(site, on_segment, card, metric)
    for address in on_segment.addresses:
        if segment.prober is None:
            continue
        for source in segment.prober.sources.get(card.name, ()):
            if source.version == address.version:
                yield f"{host(source)} dev {name} src {address}"


def quiet(name: str) -> list[str]:
    """A card on user-space switches: checksums are made in software (switches rewrite headers),
    and nothing speaks IPv6 unless told."""
    return [
        f"ethtool -K {name} tx off >/dev/null",
        f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1 net.ipv6.conf.{name}.accept_ra=0"
        f" net.ipv6.conf.{name}.addr_gen_mode=1",
    ]


def host(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def no_dad(address: Address | AnyInterface) -> str:
    return " nodad" if address.version == 6 else ""
