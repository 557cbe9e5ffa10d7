"""From the outlook to what the switches should achieve.

outlook ──┬──► intents ──┐
          │              ├──► (flows.compile) rule sets
site ─────┘   live graph ┘
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from hactrl.site.model import AllowedConnection, Role, Service, Site
from topology.model import Address, Interface, Network, Subnet


def intents(site: Site, view: Outlook) -> Intents:
    """What the switches should achieve in this outlook."""
    network, fixed = site.network, _fixed_of(site)
    candidates = {(each.role, each.interface): each for each in fixed.candidates}
    addresses = {(each.role, each.segment): each for each in fixed.addresses}
    speakers = dict(view.speakers)
    return replace(
        fixed,
        steers=tuple(
            Steer(addresses[role, segment], tuple(candidates[role, card] for card in cards))
            for role, segment, cards in view.orders
        ),
        speaks=tuple(
            Speak(candidate)
            for candidate in fixed.candidates
            if candidate.server in speakers[candidate.role]
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
        hosts=view.hosts,
    )


def _fixed_of(site: Site) -> Intents:
    """`_fixed`, made once for a site: whoever compares can tell at once that it is the same."""
    global _known  # noqa: PLW0603 - a cache of one; sites cannot be hashed
    if _known is None or _known[0] is not site:
        _known = site, _fixed(site)
    return _known[1]


_known: tuple[Site, Intents] | None = None


def _fixed(site: Site) -> Intents:
    """The intents that follow from the site file alone."""
    candidates = {
        (role.name, card.name): _candidate(role, card)
        for role in site.roles.values()
        for card in _cards(site, role)
    }
    addresses = {
        (role.name, address.segment): ServiceAddress(
            *(role.name, address.segment, address.mac, address.addresses),
            shared=not role.needs_fence,
        )
        for role in site.roles.values()
        for address in role.addresses
    }
    return Intents(
        addresses=tuple(addresses.values()),
        candidates=tuple(candidates.values()),
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
        interface_probes=tuple(_interface_probes(site.network)),
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


def _connect(site: Site, address: ServiceAddress, connection: AllowedConnection) -> Connect:
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
