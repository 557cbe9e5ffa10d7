"""From a site file to a `Site`, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path as FilePath
from typing import Any

from hactrl.site.check import check
from hactrl.site.derived import assign, families, file_server_mac, virtual_mac
from hactrl.site.document import Document, parse
from hactrl.site.endpoints import ANYONE, is_network
from hactrl.site.errors import Problem, SiteError
from hactrl.site.model import (
    AllowedConnection,
    Controller,
    PowerFence,
    ProbeSettings,
    Role,
    RoleAddress,
    Service,
    Site,
    Timers,
)
from hactrl.site.schema import FileServerPart, ProbedPart, RolePart, SitePart
from hactrl.site.structure import validate
from hactrl.vocabulary import ProbeKind
from topology.model import (
    Address,
    FileServer,
    Interface,
    Link,
    Network,
    Prober,
    Segment,
    Server,
    Subnet,
    Switch,
)
from topology.paths.spread import spread_out


def load(path: str | FilePath) -> Site:
    """Read a site file and check it.

    Raises:
        SiteError: it cannot be read, or something in it is wrong; with everything that is.
    """
    file = str(path)
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SiteError(file, [Problem(file, 0, "", f"cannot be read: {reason}")]) from error
    return loads(text, file)


def loads(text: str, file: str = "site file") -> Site:
    """Like `load`, of the file's text; `file` names it in messages.

    Raises:
        SiteError: see `load`.
    """
    document = parse(text, file)
    sound = validate(document)
    if sound is not None:
        check(document, sound)
    if document.problems or sound is None:
        raise SiteError(file, document.problems)
    return _site(sound.site, document)


def _site(part: SitePart, document: Document) -> Site:
    timers = part.effective_timers()
    return Site(
        name=part.site,
        network=_network(part),
        roles={name: _role(name, role, timers) for name, role in part.roles.items()},
        resources=tuple(part.resources),
        power_fences={
            name: PowerFence(
                tuple(server.power_fence.command),
                server.power_fence.timeout or timers.fence_deadline,
            )
            for name, server in part.servers.items()
            if server.power_fence is not None
        },
        timers=timers,
        controller=Controller(
            openflow=part.controller.openflow.listen,
            agents=part.controller.agents.listen,
            rest=part.controller.rest.listen,
            agent_tokens=part.controller.agents.tokens,
            operator_token=part.controller.rest.token,
            store=part.controller.store,
            rest_hosts=tuple(part.controller.rest.hosts),
        ),
        file_services={
            name: _file_services(server, timers) for name, server in part.file_servers.items()
        },
        path=document.file,
    )


def _network(part: SitePart) -> Network:
    servers = {
        name: Server(
            name,
            tuple(
                Interface(card, name, at.segment, at.attachment, at.mac, at.redundant_for)
                for card, at in server.interfaces.items()
            ),
        )
        for name, server in part.servers.items()
    }
    file_servers = {name: _file_server(name, at) for name, at in part.file_servers.items()}
    cards = [card for server in servers.values() for card in server.interfaces]
    cards += [card for server in file_servers.values() for card in server.interfaces]
    network = Network(
        segments={
            name: Segment(
                name,
                tuple(segment.networks),
                _prober(part, name, [card.name for card in cards if card.segment == name]),
                backbone=segment.backbone,
                discover=segment.discover,
            )
            for name, segment in part.segments.items()
        },
        switches={
            switch: Switch(switch, described.datapath_id, name, described.clients)
            for name, segment in part.segments.items()
            for switch, described in segment.switches.items()
        },
        links=tuple(
            Link(link.ends[0], link.ends[1], segment.cost_of(link))
            for segment in part.segments.values()
            for link in segment.links
        ),
        servers=servers,
        file_servers=file_servers,
    )
    spread = {name: spread_out(network, server) for name, server in file_servers.items()}
    return replace(network, file_servers=spread)


def _file_server(name: str, part: FileServerPart) -> FileServer:
    return FileServer(
        name=name,
        segment=part.segment,
        mac=part.mac or file_server_mac(name, part.segment),
        addresses=tuple(part.addresses),
        interfaces=tuple(
            Interface(card, name, part.segment, at.attachment, at.mac)
            for card, at in part.interfaces.items()
        ),
        policy=part.policy,
    )


def _prober(part: SitePart, segment: str, cards: list[str]) -> Prober | None:
    described = part.segments[segment]
    if described.prober is None:
        return None
    service: list[Address] = [a for _, a in part.service_addresses(segment)]
    pools = described.prober.addresses
    sources: dict[str, tuple[Address, ...]] = {card: () for card in cards}
    for version in families(service):
        found = assign(pools, version, cards, described.networks, service)
        sources = {card: (*sources[card], found[card]) for card in cards}
    return Prober(segment, described.prober.attachment, described.prober.mac, sources)


def _role(name: str, part: RolePart, timers: Timers) -> Role:
    return Role(
        name=name,
        servers=tuple(part.servers),
        addresses=tuple(
            RoleAddress(segment, at.mac or virtual_mac(name, segment), tuple(at.addresses))
            for segment, at in part.addresses.items()
        ),
        services=tuple(
            Service(
                name=service,
                segment=at.segment,
                protocol=at.protocol,
                port=at.port,
                probe=_probe(at, timers),
                **_peers(at.sources),
            )
            for service, at in part.services.items()
        ),
        connects=tuple(
            AllowedConnection(to.segment, to.protocol, to.port, **_peers(to.destinations))
            for to in part.connects
        ),
        owns=tuple(part.owns),
        lease=part.lease,
        failback=part.failback,
    )


def _file_services(part: FileServerPart, timers: Timers) -> tuple[Service, ...]:
    return tuple(
        Service(
            name=service,
            segment=part.segment,
            protocol=at.protocol,
            port=at.port,
            probe=_probe(at, timers),
            **_peers([ANYONE]),
        )
        for service, at in part.services.items()
    )


def _peers(names: list[str]) -> dict[str, Any]:
    """'anyone', roles and networks apart, as `Service` and `AllowedConnection` have them."""
    networks: tuple[Subnet, ...] = tuple(ip_network(n) for n in names if is_network(n))
    roles = tuple(n for n in names if n != ANYONE and not is_network(n))
    return {"anyone": ANYONE in names, "roles": roles, "networks": networks}


def _probe(service: ProbedPart, timers: Timers) -> ProbeSettings:
    probe = service.probe
    return ProbeSettings(
        kind=probe.kind or (ProbeKind.TCP if service.protocol == "tcp" else ProbeKind.ICMP).value,
        interval=probe.interval or timers.probe_interval,
        timeout=probe.timeout or timers.probe_timeout,
        rise=probe.rise or timers.probe_rise,
        fall=probe.fall or timers.probe_fall,
    )
