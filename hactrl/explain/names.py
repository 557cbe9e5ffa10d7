"""How switches, ports, interfaces, hosts and servers are named in questions, on backbones and
barrier segments alike.

| thing | its name |
|---|---|
| switch | as in the site file: `r5` |
| port | `r5:7` |
| interface | as in the site file: `files-5` |
| host of a backbone, once it has sent a packet | its MAC, or one of its addresses |
| role, file server | as in the site file, or one of its service addresses |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.state import State
from hactrl.site.errors import closest
from hactrl.site.model import Role
from topology.model import Address, Attachment, FileServer, Host, Interface
from topology.paths import what_if

#: Names that are told where one is unknown, at most.
_MOST_NAMES = 12

#: MACs of hosts that are made up for a question; any locally administered ones do.
MADE_UP = "02:00:5e:00:53:01", "02:00:5e:00:53:02"

#: What helps whoever names a host that is not known.
REMEDY = (
    "a host is known once it has sent a packet: `hactl hosts` shows them all; let it send one, or"
    " name the port that it is plugged into"
)


class UnknownNameError(LookupError):
    """Nothing is called so, or what is called so is not what is asked for; the message says what
    helps. `name` is the name as it was given."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Place:
    """A port, and who is meant there: an interface, a host, or whoever it is."""

    attachment: Attachment
    interface: Interface | None = None
    host: Host | None = None


def place(state: State, name: str) -> Place:
    """The port, interface or host of this name; with a port, the interface that is plugged in
    there.

    Raises:
        UnknownNameError: there is none.
    """
    cards = interfaces(state)
    if name in cards:
        return Place(cards[name].attachment, cards[name])
    attachment = _port(state, name)
    if attachment is not None:
        at_port = (card for card in cards.values() if card.attachment == attachment)
        return Place(attachment, next(at_port, None))
    found = host(state, name)
    if found is not None:
        return Place(found.attachment, host=found)
    raise _no_place(state, name)


def switch(state: State, name: str) -> tuple[str, Host | None]:
    """The switch of this name, or that of the port, interface or host; and the host, if one is
    meant.

    Raises:
        UnknownNameError: there is none.
    """
    if name in state.site.network.switches:
        return name, None
    found = place(state, name)
    return found.attachment.switch, found.host


def failure(state: State, text: str) -> what_if.AssumedFailure:
    """The failure that is written so, in the network as it is.

    Raises:
        UnknownNameError: nothing is called so.
        topology.paths.what_if.UnknownFailureError: it is no failure.
    """
    try:
        return what_if.failure(network_now(state.site.network, state.cabling), text)
    except what_if.UnknownFailureError as error:
        if not error.choices:
            raise
        raise unknown(str(error), error.name, error.choices) from error


def interfaces(state: State) -> dict[str, Interface]:
    """Those of all servers, of roles and files, by name."""
    network = state.site.network
    return {**network.interfaces, **network.file_interfaces}


def host(state: State, name: str) -> Host | None:
    """The host of a backbone that is known by this MAC, or by this address.

    Raises:
        UnknownNameError: several are, on several backbones.
    """
    mac, address = name.lower().replace("-", ":"), as_address(name)
    hosts = state.host_table.hosts
    if address is None:
        return hosts.get(mac)
    owners = state.host_table.owners.get(address, ())
    if len(owners) > 1:
        raise UnknownNameError(name, f"{name} is an address of {', '.join(owners)}: name the MAC")
    return hosts[owners[0]] if owners else None


def file_server(state: State, name: str) -> FileServer | None:
    """The file server of this name, or with this service address."""
    known, address = state.site.network.file_servers, as_address(name)
    owner = next((server for server in known.values() if address in server.addresses), None)
    return known.get(name, owner)


def role(state: State, name: str) -> Role | None:
    """The role of this name, or with this service address."""
    known, address = state.site.roles, as_address(name)
    for each in known.values():
        if any(address in on.addresses for on in each.addresses):
            return each
    return known.get(name)


def as_address(name: str) -> Address | None:
    """The address that is written so, if it is one."""
    try:
        return ip_address(name)
    except ValueError:
        return None


def unknown(message: str, name: str, choices: Iterable[str]) -> UnknownNameError:
    """With what was probably meant, else with what there is."""
    known = sorted(choices)
    meant = closest(name, known)
    if meant:
        message += f"; did you mean {meant!r}?"
    elif known:
        more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
        message += f"; there are: {', '.join(known[:_MOST_NAMES])}{more}"
    else:
        message += "; there are none"
    return UnknownNameError(name, message)


def no_host(state: State, name: str, address: Address) -> UnknownNameError:
    """Nobody is known with this address: where he would be, and what helps."""
    for segment in state.site.network.segments.values():
        if any(address in network for network in segment.networks):
            if segment.backbone:
                known = _addresses_of_hosts(state)
                meant = f"; did you mean {near!r}?" if (near := closest(name, known)) else ""
                said = f"no host with {name} is known on {segment.name} ({REMEDY}){meant}"
                return UnknownNameError(name, said)
            hint = "on a barrier segment nobody is known by address: name the port, switch:port"
            return UnknownNameError(name, f"{name} is of {segment.name}, and {hint}")
    return UnknownNameError(name, f"no segment has {name} in its networks, and no host has it")


def _addresses_of_hosts(state: State) -> set[str]:
    """Only of those that there are."""
    owners = state.host_table.owners.items()
    return {str(address) for address, macs in owners if not set(macs) <= set(MADE_UP)}


def is_port(state: State, name: str) -> bool:
    """Whether it is written like a port of a switch that there is."""
    start, colon, _ = name.rpartition(":")
    return bool(colon) and start in state.site.network.switches


def _port(state: State, name: str) -> Attachment | None:
    if not is_port(state, name):
        return None
    start, _, number = name.rpartition(":")
    if not (number.isascii() and number.isdigit() and 0 < int(number[:9]) < 1 << 16):
        raise UnknownNameError(name, f"{name} is no port of {start}: a number is expected")
    return Attachment(start, int(number))


def _no_place(state: State, name: str) -> UnknownNameError:
    network, address = state.site.network, as_address(name)
    if address is not None:
        return no_host(state, name, address)
    if name in network.switches:
        return UnknownNameError(name, f"{name} is a switch: name a port of it, as {name}:7")
    server = network.servers.get(name) or network.file_servers.get(name)
    if server is not None:
        cards = ", ".join(card.name for card in server.interfaces)
        return UnknownNameError(name, f"{name} has the interfaces {cards}: name one of them")
    start, colon, number = name.rpartition(":")
    if colon and start.isalnum() and ":" not in start and number.isdigit():
        return unknown(f"{name}: no switch is named {start}", start, network.switches)
    known = {*network.switches, *interfaces(state), *state.host_table.hosts}
    known |= _addresses_of_hosts(state)
    return unknown(
        f"{name} is no switch:port, interface, or host that is known ({REMEDY})", name, known
    )
