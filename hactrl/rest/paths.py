"""Ways to file servers, and what a failure would change, as the JSON of GET /v1/paths: pure
functions of the state."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from hactrl.engine.backbone import nearest
from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.outlook import ports_up
from hactrl.engine.state import State, SwitchState
from hactrl.explain import names
from hactrl.rest.problem import ProblemError
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, FileServer, Host
from topology.paths import what_if
from topology.paths.ways import Leg, Way, Ways

Json = dict[str, Any]


@dataclass(frozen=True)
class PathsQuery:
    """Of all file servers if `server` is None, from all switches if `origin` is. Names are as in
    `hactrl.explain.names`. `failure`: see `topology.paths.what_if.FORMS`."""

    server: str | None = None
    origin: str | None = None
    failure: str | None = None


def paths(state: State, question: PathsQuery) -> Json:
    """The ways that are asked for; with a failure, those that it would change.

    Raises:
        UnknownNameError: a name that nothing has.
        ProblemError: what is no failure.
    """
    servers = _servers(state, question.server)
    origin, host = (None, None) if question.origin is None else _origin(state, question.origin)
    if question.failure is not None:
        return _changes(state, question.failure, {s.name for s in servers}, origin)
    found = ways(state)
    hosts = _hosts_at(state)
    return {
        "paths": [
            {
                "server": server.name,
                "switch": switch,
                "host": host.mac if host is not None else None,
                "hosts": hosts.get(switch, 0),
                "way": _way(found.way(server.name, switch)),
                **_roundabout(found, server, switch),
            }
            for server in servers
            for switch in _switches(state, server, origin)
        ]
    }


def ways(state: State, down: Set[Attachment] = frozenset()) -> Ways:
    """Those of the present, or of a present in which these ports are down too."""
    then = _without(state, down) if down else state
    network = network_now(state.site.network, state.cabling)
    servers = state.site.network.file_servers.items()
    live = {name: nearest.live(then, server) for name, server in servers}
    return Ways(LiveGraph.of(network, ports_up=ports_up(then)), live)


def _without(state: State, down: Set[Attachment]) -> State:
    """A switch that has told nothing has all its ports up, but these."""
    switches = dict(state.switches)
    for name in {port.switch for port in down}:
        known = switches.get(name, SwitchState(ports_up=_named(state, name)))
        lost = {port.port for port in down if port.switch == name}
        switches[name] = replace(known, ports_up=known.ports_up - lost)
    return replace(state, switches=switches)


def _named(state: State, switch: str) -> frozenset[int]:
    """The ports of a switch at which something is plugged in, as far as known."""
    network = network_now(state.site.network, state.cabling)
    probers = (s.prober.attachment for s in network.segments.values() if s.prober is not None)
    cards = (card.attachment for card in network.file_interfaces.values())
    ends = (*network.trunk_ports, *cards, *probers)
    return frozenset(end.port for end in ends if end.switch == switch)


def _switches(state: State, server: FileServer, origin: str | None) -> Iterable[str]:
    """Those to tell of: all of the file server's backbone, if no one is asked for."""
    own = state.site.network.switches_of(server.segment)
    return [switch.name for switch in own] if origin is None else [origin]


def _hosts_at(state: State) -> dict[str, int]:
    """How many hosts are known at each switch."""
    found: dict[str, int] = {}
    for host in state.host_table.hosts.values():
        found[host.attachment.switch] = found.get(host.attachment.switch, 0) + 1
    return found


# What is found, as JSON.


def _way(found: Way | None) -> Json | None:
    if found is None:
        return None
    return {
        "cost": found.cost,
        "offset": found.offset,
        "interface": found.interface,
        "interfaces": list(found.interfaces),
        "crossings": [{"out": str(c.out), "into": str(c.into)} for c in found.crossings],
        "equal_ways": found.equal_ways,
        "hops": {
            "equal": list(found.hops.equal),
            "downstream": list(found.hops.downstream),
            "alternates": list(found.hops.alternates),
        },
    }


def _roundabout(found: Ways, server: FileServer, switch: str) -> Json:
    roundabout = found.roundabout(server, switch)
    farthest = roundabout.farthest
    return {
        "single_homed": _leg(roundabout.single_homed),
        "farthest": None if farthest is None else _leg(farthest),
    }


def _leg(leg: Leg) -> Json:
    return {"interface": leg.interface, "cost": leg.cost}


def _changes(state: State, text: str, servers: Set[str], origin: str | None) -> Json:
    before = ways(state)
    failed = _failure(state, text)
    hosts = _hosts_at(state)
    return {
        "failure": {"name": failed.name, "down": [str(port) for port in sorted(failed.down)]},
        "changes": [
            {
                "server": change.server,
                "switch": change.switch,
                "hosts": hosts.get(change.switch, 0),
                "before": _way(change.before),
                "after": _way(change.after),
                "repairer": change.repairer.value,
                "means": [means.value for means in change.means],
            }
            for change in what_if.changes(before, ways(state, failed.down), failed)
            if change.server in servers and origin in (None, change.switch)
        ],
    }


# Names.


def _servers(state: State, name: str | None) -> list[FileServer]:
    known = state.site.network.file_servers
    if name is None:
        return list(known.values())
    found = names.file_server(state, name)
    if found is None:
        raise names.unknown(f"no file server is named {name}", name, known)
    return [found]


def _origin(state: State, name: str) -> tuple[str, Host | None]:
    """The switch that is meant, and the host, if one is."""
    switch, host = names.switch(state, name)
    if switch not in backbones.backbone_switches(state.site.network):
        message = f"{switch} is no switch of a backbone: only these have ways to file servers"
        raise names.UnknownNameError(name, message)
    return switch, host


def _failure(state: State, text: str) -> what_if.AssumedFailure:
    try:
        return names.failure(state, text)
    except what_if.UnknownFailureError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", str(error)) from error
