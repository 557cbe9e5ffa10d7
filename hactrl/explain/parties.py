"""Who sends a packet that is asked about, and who should get it."""

from __future__ import annotations

from dataclasses import dataclass

from flows.backbone.locators import Locators
from flows.walk.packet import show
from hactrl.engine.state import State
from hactrl.explain import names
from hactrl.explain.questions import PacketError, TraceQuestion, free_addresses, segment_of
from hactrl.site.model import Role, Service
from topology.model import Address, Host, Interface


@dataclass(frozen=True)
class Party:
    """Who sends or gets a packet: its name, the addresses that are meant, the MAC that it sends
    with or is sent to, and its services on this segment."""

    name: str
    addresses: tuple[Address, ...]
    mac: str
    services: tuple[Service, ...] = ()


# Who sends.


def sender_of(state: State, question: TraceQuestion, place: names.Place) -> Party:
    source = names.as_address(question.source)
    if question.source and source is None:
        raise PacketError(f"the source {question.source!r} is no address")
    card, segment = place.interface, segment_of(state, place.attachment)
    prober = state.site.network.segments[segment].prober
    if card is not None and card.name in state.site.network.file_interfaces:
        return _file_card(state, card, source)
    if card is not None:
        return _role_card(state, card, source)
    if prober is not None and prober.attachment == place.attachment:
        return _prober(state, segment, source)
    return _host_there(state, question.at, place, source)


def _file_card(state: State, card: Interface, source: Address | None) -> Party:
    server = state.site.network.file_servers[card.server]
    addresses = server.addresses if source is None else (source,)
    services = state.site.file_services.get(server.name, ())
    return Party(f"interface {card.name} of {server.name}", addresses, card.mac, services)


def _role_card(state: State, card: Interface, source: Address | None) -> Party:
    """A role's own MAC where the source is its service address."""
    found = {
        address: role
        for role in state.site.roles.values()
        for on in role.addresses
        if card.server in role.servers and on.segment == card.segment
        for address in on.addresses
    }
    name = f"interface {card.name} of {card.server}"
    if source is not None:
        role = found.get(source)
        mac = card.mac if role is None else card.role_mac(role.name)
        return Party(name, (source,), mac, _services(role, card.segment))
    placements = state.placements
    here = {r.name: r for r in found.values() if placements[r.name].server == card.server}
    if len(here) != 1:
        choices = ", ".join(f"{address} ({role.name})" for address, role in found.items())
        raise PacketError(f"{name} may speak for several roles: name the source, {choices}")
    (role,) = here.values()
    own = tuple(address for address, owner in found.items() if owner is role)
    return Party(name, own, card.role_mac(role.name), _services(role, card.segment))


def _services(role: Role | None, segment: str) -> tuple[Service, ...]:
    return tuple(s for s in role.services if s.segment == segment) if role else ()


def _prober(state: State, segment: str, source: Address | None) -> Party:
    prober = state.site.network.segments[segment].prober
    assert prober is not None
    name = f"the prober of {segment}"
    if source is None:
        choices = ", ".join(
            f"{own} ({card})" for card, sources in prober.sources.items() for own in sources[:1]
        )
        raise PacketError(f"{name} says by its source which interface it means: name it, {choices}")
    return Party(name, (source,), prober.mac)


def _host_there(state: State, name: str, place: names.Place, source: Address | None) -> Party:
    """A host that is known at a port; a stranger if none is, or if none has this source."""
    segment = segment_of(state, place.attachment)
    known = _hosts_at(state, place)
    meant = source or names.as_address(name)
    if meant is not None and place.host is None:
        known = [host for host in known if meant in host.addresses]
    if len(known) == 1:
        (host,) = known
        return Party(called(host), (meant,) if meant else host.addresses, host.mac)
    if source is not None:
        strange = state.site.network.segments[segment].backbone
        return Party(
            "a host that is not known" if strange else "a host", (source,), names.MADE_UP[0]
        )
    if known:
        raise PacketError(f"several hosts are known at {name}: name one of them, {_listed(known)}")
    if state.site.network.segments[segment].backbone:
        raise _nobody_at(name)
    return Party("the made-up host", tuple(free_addresses(state, segment)), names.MADE_UP[0])


def _nobody_at(name: str) -> names.UnknownNameError:
    return names.UnknownNameError(
        name,
        f"nobody is known at {name} (a host is known once it has sent a packet: `hactl hosts` shows"
        " them all); with a source address it is told what becomes of a new host's first packet,"
        " and `hactl paths` tells the way from any switch",
    )


def _hosts_at(state: State, place: names.Place) -> list[Host]:
    table = state.host_table
    if place.host is not None:
        return [place.host]
    return [table.hosts[mac] for mac in table.at_port.get(place.attachment, ())]


def called(host: Host) -> str:
    """A host in words."""
    return "the made-up host" if host.mac in names.MADE_UP else f"host {host.mac}"


def _listed(hosts: list[Host]) -> str:
    return ", ".join(str(host.addresses[0]) if host.addresses else host.mac for host in hosts)


# Who should get it.


def receiver_of(state: State, question: TraceQuestion, segment: str) -> Party:
    """As seen on this segment: under the MAC that ARP or neighbour discovery says there."""
    name, network = question.destination, state.site.network
    serving = _role(state, name, segment) or _file_server(state, name, segment)
    if serving is not None:
        return serving
    address, prober = names.as_address(name), network.segments[segment].prober
    if address is not None and prober and any(address in own for own in prober.sources.values()):
        return Party(f"the prober of {segment}", (address,), prober.mac)
    if names.is_port(state, name) and not network.segments[segment].backbone:
        return _at_barrier_port(state, name, segment)
    host = _host_meant(state, name)
    if host is None:
        assert address is not None
        return _somebody(state, question, segment, address)
    if segment_of(state, host.attachment) != segment:
        raise PacketError(f"{name} is at {host.attachment}, not on {segment}")
    locator = show("eth_dst", Locators.of(network).host(host))
    addresses = host.addresses if address is None else (address,)
    return Party(f"{called(host)} at {host.attachment}", addresses, locator)


def _role(state: State, name: str, segment: str) -> Party | None:
    """With an address of it on another segment, which is asked for here, it is not meant."""
    role, address = names.role(state, name), names.as_address(name)
    if role is None:
        return None
    for on in role.addresses:
        if on.segment == segment and (address is None or address in on.addresses):
            own = on.addresses if address is None else (address,)
            return Party(role.name, own, on.mac, _services(role, segment))
    if address is None:
        raise PacketError(f"role {name} has no service address on {segment}")
    return None


def _file_server(state: State, name: str, segment: str) -> Party | None:
    server, address = names.file_server(state, name), names.as_address(name)
    if server is None:
        return None
    if server.segment != segment:
        raise PacketError(f"{name} is on {server.segment}, not on {segment}")
    addresses = server.addresses if address is None else (address,)
    services = state.site.file_services.get(server.name, ())
    return Party(server.name, addresses, server.mac, services)


def _host_meant(state: State, name: str) -> Host | None:
    """None for an address that no host has.

    Raises:
        UnknownNameError: it is no address, and nobody is meant by it.
        PacketError: an interface is meant, to which nobody sends.
    """
    host = names.host(state, name)
    if host is not None or names.as_address(name) is not None:
        return host
    if name not in names.interfaces(state) and not names.is_port(state, name):
        choices = {*state.site.roles, *state.site.network.file_servers, *state.host_table.hosts}
        message = f"{name} is no role, file server, address, host or switch:port"
        raise names.unknown(message, name, choices)
    place = names.place(state, name)
    if place.interface is not None:
        raise _is_interface(place.interface)
    known = _hosts_at(state, place)
    if len(known) > 1:
        raise PacketError(f"several hosts are known at {name}: name one of them, {_listed(known)}")
    if not known:
        raise _nobody_at(name)
    return known[0]


def _at_barrier_port(state: State, name: str, segment: str) -> Party:
    """Whoever is at a port of a barrier segment, where hosts are not known."""
    place = names.place(state, name)
    if place.interface is not None:
        raise _is_interface(place.interface)
    if segment_of(state, place.attachment) != segment:
        raise PacketError(f"{name} is not on {segment}")
    taken = frozenset(free_addresses(state, segment))  # the sender's, if it is made up too
    own = tuple(free_addresses(state, segment, taken))
    return Party(f"the made-up host at {name}", own, names.MADE_UP[1])


def _is_interface(card: Interface) -> PacketError:
    what = f"nobody sends to interface {card.name} itself: name what {card.server} serves"
    return PacketError(what)


def _somebody(state: State, question: TraceQuestion, segment: str, address: Address) -> Party:
    """Whoever has an address that is neither a server's nor a known host's."""
    here = state.site.network.segments[segment]
    if not here.backbone:
        return Party(str(address), (address,), names.MADE_UP[1])
    if question.destination_mac:
        return Party(str(address), (address,), question.destination_mac)
    if any(address in network for network in here.networks):
        raise names.no_host(state, str(address), address)
    raise PacketError(
        f"{address} is in no network of {segment}, so that it is sent to a router: name the"
        " router's MAC as that of the destination"
    )
