"""A site as a site file again, with everything in it that the file had left to defaults."""

from __future__ import annotations

import dataclasses
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from hactrl.site.endpoints import ANYONE
from hactrl.site.model import AllowedConnection, Listen, ProbeSettings, Role, Service, Site
from topology.model import FileServer, Interface


def dumps(site: Site) -> str:
    """The effective site file: reading it gives an equal site."""
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    yaml.dump(describe(site), text)
    return text.getvalue()


def describe(site: Site) -> dict[str, Any]:
    """The content of the effective site file, as plain data."""
    return {
        "site": site.name,
        "segments": {name: _segment(site, name) for name in site.network.segments},
        "servers": {name: _server(site, name) for name in site.network.servers},
        "resources": {name: _flow({}) for name in site.resources},
        "roles": {name: _role(role) for name, role in site.roles.items()},
        "file_servers": {
            name: _file_server(server, site.file_services[name])
            for name, server in site.network.file_servers.items()
        },
        "controller": {
            "openflow": {"listen": _listen(site.controller.openflow)},
            "agents": {
                "listen": _listen(site.controller.agents),
                "tokens": site.controller.agent_tokens,
            },
            "rest": {
                "listen": _listen(site.controller.rest),
                "token": site.controller.operator_token,
                "hosts": list(site.controller.rest_hosts),
            },
            "store": site.controller.store,
        },
        "timers": {
            timer.name: _timer(getattr(site.timers, timer.name))
            for timer in dataclasses.fields(site.timers)
        },
    }


def duration(seconds: float) -> str:
    """As the site file writes it: 250ms, 1.5s."""
    if seconds < 1:
        return f"{round(seconds * 1000, 3):g}ms"
    return f"{round(seconds, 6):.6f}".rstrip("0").rstrip(".") + "s"


def _timer(value: float | int | None) -> str | int:
    if value is None:
        return "none"
    return value if isinstance(value, int) else duration(value)


def _listen(place: Listen) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"{host}:{place.port}"


def _flow(part: dict[str, Any]) -> CommentedMap:
    """On one line."""
    mapping = CommentedMap(part)
    mapping.fa.set_flow_style()
    return mapping


def _list(items: Any) -> CommentedSeq:
    sequence = CommentedSeq(str(item) for item in items)
    sequence.fa.set_flow_style()
    return sequence


def _segment(site: Site, name: str) -> dict[str, Any]:
    segment = site.network.segments[name]
    switches = site.network.switches_of(name)
    part: dict[str, Any] = {
        "backbone": segment.backbone,
        "discover": segment.discover,
        "networks": _list(segment.networks),
        "switches": {
            s.name: _flow({"datapath_id": s.datapath_id, "clients": s.clients}) for s in switches
        },
        "links": [
            _flow({"ends": _list((link.a, link.b)), "cost": link.cost})
            for link in site.network.links
            if site.network.switches[link.a.switch].segment == name
        ],
    }
    if segment.prober is not None:
        part["prober"] = {
            "attachment": str(segment.prober.attachment),
            "mac": segment.prober.mac,
            "addresses": _list(a for own in segment.prober.sources.values() for a in own),
        }
    return part


def _server(site: Site, name: str) -> dict[str, Any]:
    part: dict[str, Any] = {
        "interfaces": {card.name: _card(card) for card in site.network.servers[name].interfaces}
    }
    fence = site.power_fences.get(name)
    if fence is not None:
        part["power_fence"] = {"command": _list(fence.command), "timeout": duration(fence.timeout)}
    return part


def _card(card: Interface) -> CommentedMap:
    part: dict[str, Any] = {
        "segment": card.segment,
        "attachment": str(card.attachment),
        "mac": card.mac,
    }
    if card.redundant_for is not None:
        part["redundant_for"] = card.redundant_for
    return _flow(part)


def _role(role: Role) -> dict[str, Any]:
    return {
        "servers": _list(role.servers),
        "owns": _list(role.owns),
        "lease": "none" if role.lease is None else duration(role.lease),
        "failback": role.failback,
        "addresses": {
            on.segment: _flow({"addresses": _list(on.addresses), "mac": on.mac})
            for on in role.addresses
        },
        "services": {service.name: _service(service) for service in role.services},
        "connects": [_connection(connection) for connection in role.connects],
    }


def _file_server(server: FileServer, services: tuple[Service, ...]) -> dict[str, Any]:
    return {
        "segment": server.segment,
        "policy": server.policy,
        "mac": server.mac,
        "addresses": _list(server.addresses),
        "interfaces": {
            card.name: _flow({"attachment": str(card.attachment), "mac": card.mac})
            for card in server.interfaces
        },
        "services": {
            service.name: {
                "protocol": service.protocol,
                "port": service.port,
                "probe": _probe(service.probe),
            }
            for service in services
        },
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "segment": service.segment,
        "protocol": service.protocol,
        "port": service.port,
        "from": _peers(service),
        "probe": _probe(service.probe),
    }


def _connection(connection: AllowedConnection) -> CommentedMap:
    return _flow(
        {
            "segment": connection.segment,
            "protocol": connection.protocol,
            "port": connection.port,
            "to": _peers(connection),
        }
    )


def _peers(part: Service | AllowedConnection) -> CommentedSeq:
    return _list([*([ANYONE] if part.anyone else []), *part.roles, *part.networks])


def _probe(probe: ProbeSettings) -> CommentedMap:
    return _flow(
        {
            "kind": probe.kind,
            "interval": duration(probe.interval),
            "timeout": duration(probe.timeout),
            "rise": probe.rise,
            "fall": probe.fall,
        }
    )
