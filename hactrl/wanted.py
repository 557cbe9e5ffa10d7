"""From the outlook to what the switches should achieve.

outlook ──┬──► intents ──┐
          │              ├──► (flows.compile) rule sets
site ─────┘   live graph ┘
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_network

from flows.intents import (
    Candidate,
    Connect,
    Fence,
    Intents,
    InterfaceProbe,
    Nearest,
    Permit,
    Probe,
    ServiceAddress,
    Speak,
    Steer,
)
from hactrl.engine.state import Outlook
from hactrl.site.model import Connection, Role, Service, Site
from topology.model import Address, Interface, Network, Subnet


def intents(site: Site, view: Outlook) -> Intents:
    """What the switches should achieve in this outlook."""
    network = site.network
    candidates = {
        (role.name, card.name): _candidate(role, card)
        for role in site.roles.values()
        for card in _cards(site, role)
    }
    addresses = {
        (role.name, address.segment): ServiceAddress(
            role.name, address.segment, address.mac, address.addresses
        )
        for role in site.roles.values()
        for address in role.addresses
    }
    speakers = dict(view.speakers)
    return Intents(
        addresses=tuple(addresses.values()),
        candidates=tuple(candidates.values()),
        steers=tuple(
            Steer(addresses[role, segment], tuple(candidates[role, card] for card in cards))
            for role, segment, cards in view.orders
        ),
        speaks=tuple(
            Speak(candidate)
            for candidate in candidates.values()
            if candidate.server in speakers[candidate.role]
        ),
        probes=tuple(_probes(site, candidates)),
        permits=tuple(
            _permit(site, addresses[role.name, service.segment], service)
            for role in site.roles.values()
            for service in role.services
        ),
        connects=tuple(
            _connect(site, addresses[role.name, connection.segment], connection)
            for role in site.roles.values()
            for connection in role.connects
        ),
        fences=tuple(
            Fence(card.name, card.attachment, card.mac)
            for server in sorted(view.fenced)
            for card in network.servers[server].interfaces
        ),
        nearest=tuple(
            Nearest(network.file_servers[name], tuple(network.file_interfaces[c] for c in cards))
            for name, cards in view.nearest
        ),
        interface_probes=tuple(_interface_probes(network)),
        hosts=view.hosts,
    )


def _cards(site: Site, role: Role) -> Iterator[Interface]:
    for server in role.servers:
        for segment in role.segments:
            yield from site.cards(role, server, segment)


def _candidate(role: Role, card: Interface) -> Candidate:
    return Candidate(
        role.name,
        card.server,
        card.name,
        card.segment,
        card.attachment,
        card.role_mac(role.name),
    )


def _probes(site: Site, candidates: dict[tuple[str, str], Candidate]) -> Iterator[Probe]:
    for candidate in candidates.values():
        prober = site.network.segments[candidate.segment].prober
        if prober is not None:
            for source in prober.sources.get(candidate.interface, ()):
                yield Probe(source, candidate)


def _interface_probes(network: Network) -> Iterator[InterfaceProbe]:
    for server in network.file_servers.values():
        prober = network.segments[server.segment].prober
        sources = prober.sources if prober is not None else {}
        for card in server.interfaces:
            for source in sources.get(card.name, ()):
                yield InterfaceProbe(source, server, card)


def _permit(site: Site, address: ServiceAddress, service: Service) -> Permit:
    peers = () if service.anyone else _peers(site, service.segment, service.roles)
    networks = () if service.anyone else service.networks
    return Permit(service.name, address, service.protocol, service.port, (*peers, *networks))


def _connect(site: Site, address: ServiceAddress, connection: Connection) -> Connect:
    peers = () if connection.anyone else _peers(site, connection.segment, connection.roles)
    networks = () if connection.anyone else connection.networks
    name = f"{connection.protocol}/{connection.port}"
    return Connect(name, address, connection.protocol, connection.port, (*peers, *networks))


def _peers(site: Site, segment: str, roles: tuple[str, ...]) -> tuple[Subnet, ...]:
    """Other roles' service addresses on a segment, as networks of one host each."""
    return tuple(
        _host(address)
        for role in roles
        for owned in site.roles[role].addresses
        if owned.segment == segment
        for address in owned.addresses
    )


@lru_cache(maxsize=1024)
def _host(address: Address) -> Subnet:
    return ip_network(address)
