"""From the state to what the switches should achieve.

    state ──► outlook ──┬──► intents ──┐
                        │              ├──► (flows.compile) rule sets
              site ─────┘   ports_up ┘

`outlook` picks out of the state all that the rules depend on, and nothing else: the engine
raises `State.version` exactly when the outlook changes.
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
from hactrl.engine import nearest
from hactrl.engine.candidates import card_works
from hactrl.engine.standing import Standing, standing_of_candidate
from hactrl.engine.state import Outlook, State, Step
from hactrl.site.model import Connection, Role, Service, Site
from topology.model import Address, Interface, Network, Subnet

#: While these steps last nobody can be the owner for certain, so nobody gets or sends anything.
CLOSED = frozenset({Step.FENCE, Step.ASSUME, Step.SERVE})


def intents(site: Site, state: State) -> Intents:
    """What the switches should achieve now."""
    view, network = outlook(state), site.network
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


def ports_up(state: State) -> dict[str, frozenset[int]]:
    """The ports that are up on each switch that has told, for the live graph."""
    return {name: switch.ports_up for name, switch in state.switches.items()}


def outlook(state: State) -> Outlook:
    """All of the state that `intents` and `ports_up` depend on."""
    roles = state.site.roles.values()
    return Outlook(
        orders=tuple(
            (role.name, segment, order(state, role, segment))
            for role in roles
            for segment in role.segments
        ),
        speakers=tuple((role.name, speakers(state, role)) for role in roles),
        fenced=frozenset(state.fenced),
        ports_up=ports_up(state),
        nearest=tuple(
            (name, tuple(card.name for card in nearest.live(state, server)))
            for name, server in state.site.network.file_servers.items()
        ),
        hosts=state.host_table.in_order,
        misled=state.cabling.misled,
        discovered=state.cabling.discovered,
    )


def order(state: State, role: Role, segment: str) -> tuple[str, ...]:
    """The cards that get a role's packets: the live server's, those that work first; then, if
    the role needs no fence, those of servers that could take it, the best first, so that a switch
    can move it alone."""
    live = state.placements[role.name].server
    if closed(state, role) or live is None:
        return ()
    cards: list[Interface] = []
    if may_receive(state, live):
        own = state.site.cards(role, live, segment)
        cards += sorted(own, key=lambda card: not card_works(state, role, card))
    if not role.needs_fence:
        for peer in _peers_in_order(state, role, live):
            theirs = state.site.cards(role, peer, segment)
            working = [card for card in theirs if card_works(state, role, card)]
            cards += working or theirs
    return tuple(card.name for card in cards)


def _peers_in_order(state: State, role: Role, live: str) -> list[str]:
    """Somebody is better than nobody: all that are there, by how well they would serve."""
    stand = {
        peer: standing_of_candidate(state, role.name, peer)
        for peer in role.servers
        if peer != live and may_receive(state, peer)
    }
    there = [peer for peer, standing in stand.items() if standing > Standing.GONE]
    return sorted(there, key=lambda peer: -stand[peer])


def speakers(state: State, role: Role) -> frozenset[str]:
    """The servers that may send with the role's addresses: the live one; where nothing needs a
    fence all that the operator wants, because a switch may have moved the role already."""
    live = state.placements[role.name].server
    if closed(state, role):
        return frozenset()
    chosen = {live} if live is not None else set()
    if not role.needs_fence:
        chosen |= set(role.servers) - state.disabled
    return frozenset(server for server in chosen if may_receive(state, server))


def closed(state: State, role: Role) -> bool:
    """The role's addresses are shut while its resources change hands."""
    takeover = state.takeovers.get(role.name)
    return role.needs_fence and takeover is not None and takeover.step in CLOSED


def may_receive(state: State, server: str) -> bool:
    """Nothing is ever sent to a server that is proven off."""
    return server not in state.fenced


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
