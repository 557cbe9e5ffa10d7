"""What the prober is told to probe, and the JSON lines that it and the controller exchange.

Both run the same code on the same machine, so a line that cannot be read is a defect of ours:
it raises, and is not answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import TypeAlias

from hactrl.engine.events import ProbeChanged
from hactrl.site.model import Service, Site
from hactrl.vocabulary import Verdict
from topology.model import Address, Interface

BEAT = 0.5
"""Seconds between two signs of life of the prober."""

WORDS = {
    Verdict.UNKNOWN: "unknown",
    Verdict.HEALTHY: "healthy",
    Verdict.READY: "ready",
    Verdict.UNHEALTHY: "unhealthy",
}
"""What goes over the wire for a verdict."""

VERDICTS = {word: verdict for verdict, word in WORDS.items()}

Order: TypeAlias = "Targets | Eager | Anew"
ProberReport: TypeAlias = "ProbeChanged | Beat | Note"


@dataclass(frozen=True)
class ProbeRoute:
    """One address family of a target. The source says the card, the destination the role."""

    source: Address
    destination: Address


@dataclass(frozen=True)
class Target:
    """A role's or file server's service through one card. It is healthy if it is on every route.

    `device_mac` is the MAC of the prober's own card in the segment, which ARP and neighbour
    discovery need; durations are in seconds. `lag` is None where its words are compared with
    nobody's, `syn_interval` where its kernel is not asked.
    """

    role: str
    service: str
    server: str
    interface: str
    kind: str
    routes: tuple[ProbeRoute, ...]
    port: int
    interval: float
    timeout: float
    rise: int
    fall: int
    device_mac: str = ""
    lag: float | None = None
    syn_interval: float | None = None
    syn_fall: int = 4
    syn_lag: float = 0.02


@dataclass(frozen=True)
class Targets:
    """To the prober: these, and no longer the ones before."""

    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Eager:
    """To the prober: somebody waits for this role on this server, `until` (CLOCK_BOOTTIME)."""

    role: str
    server: str
    until: float


@dataclass(frozen=True)
class Anew:
    """To the prober: forget what was found through these cards, and judge anew. Verdicts from then
    on carry `round`."""

    interfaces: tuple[str, ...]
    round: int


@dataclass(frozen=True)
class Beat:
    """From the prober, every BEAT seconds: it goes on judging, but not these targets (role,
    service, interface), which it has not judged for longer than that may take."""

    late: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Note:
    """From the prober, about itself. `kind` is one of

    - `scheduling`: `detail` is the policy that it runs under, and why not a better one;
    - `stall`: it did not run for `seconds`, and counted no timeout of that time.
    """

    kind: str
    seconds: float = 0.0
    detail: str = ""


def targets(site: Site) -> tuple[Target, ...]:
    """Everything that must be probed: each service of each role, through each card that could
    carry it, and each service of each file server through each of its interfaces. A segment
    without a prober has nothing probed."""
    return (*_of_roles(site), *_of_file_servers(site))


def _of_roles(site: Site) -> Iterator[Target]:
    for role in site.roles.values():
        addresses = {a.segment: a.addresses for a in role.addresses}
        for service in role.services:
            for server in role.servers:
                for card in site.cards(role, server, service.segment):
                    own = addresses.get(service.segment, ())
                    yield from _through(site, role.name, own, service, card)


def _of_file_servers(site: Site) -> Iterator[Target]:
    for server in site.network.file_servers.values():
        for service in site.file_services.get(server.name, ()):
            for card in server.interfaces:
                yield from _through(site, server.name, server.addresses, service, card)


def judged_within(probed: Iterable[Target]) -> float:
    """Seconds after which a prober that probes has a verdict on each of these."""
    return max((p.timeout + max(p.rise, p.fall) * p.interval for p in probed), default=0.0)


def _through(
    site: Site, name: str, addresses: tuple[Address, ...], service: Service, card: Interface
) -> Iterator[Target]:
    prober = site.network.segments[service.segment].prober
    if prober is None:
        return
    routes = tuple(
        ProbeRoute(source, destination)
        for destination in addresses
        for source in prober.sources.get(card.name, ())
        if source.version == destination.version
    )
    if routes:
        probe = service.probe
        yield Target(
            role=name,
            service=service.name,
            server=card.server,
            interface=card.name,
            kind=probe.kind,
            routes=routes,
            port=service.port,
            interval=probe.interval,
            timeout=probe.timeout,
            rise=probe.rise,
            fall=probe.fall,
            device_mac=prober.mac,
            lag=site.timers.probe_lag,
            syn_interval=site.timers.syn_interval,
            syn_fall=site.timers.syn_fall,
            syn_lag=site.timers.syn_lag,
        )


def encode(message: Order | ProberReport) -> bytes:
    """The message as one line."""
    body = {type(message).__name__: asdict(message)}
    return json.dumps(body, default=lambda value: WORDS.get(value) or str(value)).encode() + b"\n"


def decode_order(line: bytes) -> Order:
    """What the controller sent. Raises ValueError, KeyError or TypeError on anything else."""
    ((name, body),) = json.loads(line).items()
    match name:
        case "Targets":
            return Targets(tuple(_target(target) for target in body["targets"]))
        case "Eager":
            return Eager(**body)
        case "Anew":
            return Anew(tuple(body["interfaces"]), body["round"])
    raise ValueError(f"no order to a prober: {name!r}")


def decode_report(line: bytes) -> ProberReport:
    """What the prober sent. Raises ValueError, KeyError or TypeError on anything else."""
    ((name, body),) = json.loads(line).items()
    match name:
        case "ProbeChanged":
            return ProbeChanged(verdict=VERDICTS[body.pop("verdict")], **body)
        case "Beat":
            return Beat(tuple((role, service, card) for role, service, card in body["late"]))
        case "Note":
            return Note(**body)
    raise ValueError(f"no report of a prober: {name!r}")


def _target(body: dict[str, object]) -> Target:
    routes = body.pop("routes")
    assert isinstance(routes, list)
    pairs = ((ip_address(route["source"]), ip_address(route["destination"])) for route in routes)
    return Target(routes=tuple(ProbeRoute(*pair) for pair in pairs), **body)  # type: ignore[arg-type]
