"""Who plays: clients of the campus, and hosts that only this scenario has."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface

from mininet_lab import plan
from mininet_lab.campus import Campus, clients
from mininet_lab.clock import now
from mininet_lab.dhcp import Pool
from mininet_lab.network import Node
from topology.model import Address, Attachment

#: Seconds until a host that nobody knows is answered, at most.
_PATIENCE = 20.0

#: The file server that all of them use, in both families.
SERVER = "files"
SERVICE = (ip_address("10.20.0.10"), ip_address("2001:db8:20::10"))


def _client_at(switch: str) -> plan.Guest:
    return next(guest for guest in clients() if guest.attachment.switch == switch)


PEER, VICTIM, ATTACKER = _client_at("r2"), _client_at("r5"), _client_at("r4")

#: It says nothing before somebody asks for it.
SILENT = _client_at("r6")

#: Comes without an address, and asks a DHCP server far away.
LAPTOP = plan.Guest("laptop", Attachment("r3", 7), "02:00:00:00:22:01", ())
DHCP = plan.Guest(
    "dhcp", Attachment("r6", 7), "02:00:00:00:22:02", (ip_interface("10.20.1.200/16"),)
)
POOL = Pool(IPv4Address("10.20.2.1"), IPv4Address("10.20.2.99"), IPv4Network("10.20.0.0/16"))

#: Chooses its addresses itself.
NEWCOMER = plan.Guest("newcomer", Attachment("r4", 7), "02:00:00:00:22:03", ())

ROAMER = plan.Guest(
    "roamer",
    Attachment("r3", 8),
    "02:00:00:00:22:04",
    (ip_interface("10.20.1.201/16"), ip_interface("2001:db8:20::1:201/64")),
    other=Attachment("r5", 8),
)

MORE = (LAPTOP, DHCP, NEWCOMER, ROAMER)


def node(campus: Campus, guest: plan.Guest) -> Node:
    return campus.network.nodes[guest.name]


def addresses(guest: plan.Guest) -> tuple[Address, ...]:
    return tuple(interface.ip for interface in guest.addresses)


def reach(campus: Campus, guest: plan.Guest, *targets: Address) -> None:
    """The guest gets an answer from each of these addresses; the first one of a host that nobody
    knows yet takes a while, longer where the controller has just been started.

    Raises:
        RuntimeError: it gets none.
    """
    deadline = now() + _PATIENCE
    for target in targets:
        while True:
            try:
                node(campus, guest).run("ping", "-n", "-c", "1", "-w", "2", f"{target}")
                break
            except RuntimeError:
                if now() > deadline:
                    raise
