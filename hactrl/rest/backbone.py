"""The hosts and links of backbones as the JSON of GET /v1/hosts and GET /v1/links: pure functions
of the state."""

from __future__ import annotations

from typing import Any

from hactrl.engine.backbone.learning import OF_TROUBLE
from hactrl.engine.state import State
from hactrl.explain import words
from topology.discovery import LinkFinding, LinkSight, LinkView, backbone_links

Json = dict[str, Any]


def hosts(state: State) -> Json:
    """All hosts that are known, in the order of their places; and how often what somebody said at
    a port was refused since the controller started."""
    known = sorted(state.host_table.hosts.values(), key=lambda host: (host.attachment, host.mac))
    return {
        "hosts": [
            {
                "mac": host.mac,
                "attachment": str(host.attachment),
                "addresses": [str(address) for address in host.addresses],
                "number": host.number,
                "port_up": state.port_up(host.attachment),
            }
            for host in known
        ],
        "refused": [
            {"port": str(port), "reason": reason, "count": count}
            for (reason, port), (count, _) in sorted(
                state.refused_sightings.items(), key=lambda item: (item[0][1], item[0][0])
            )
        ],
    }


def links(state: State) -> Json:
    """The declared links and those that are seen beside them. Before any is heard nothing is
    judged: all declared ones wait to be seen, and are used."""
    views = state.cabling.links or tuple(
        LinkView(link, True, LinkSight.WAITING, True) for link in backbone_links(state.site.network)
    )
    return {"links": [_link(state, view) for view in views]}


def _link(state: State, view: LinkView) -> Json:
    """`up`: the ports at both ends; `used`: packets are sent over it while it is up."""
    link, name = view.link, str(view.link)
    return {
        "name": name,
        "ends": [str(link.a), str(link.b)],
        "cost": link.cost,
        "origin": "declared" if view.declared else "discovered",
        "seen": view.sight.value,
        "up": state.port_up(link.a) and state.port_up(link.b),
        "used": view.used,
        "troubles": [_trouble(found) for found in state.cabling.reports if found.link == name],
    }


def _trouble(report: LinkFinding) -> Json:
    ends = {
        "listener": report.listener,
        "expected": report.expected,
        "speaker": report.speaker,
    }
    details = {name: str(port) for name, port in ends.items() if port is not None}
    return {
        "trouble": report.trouble.value,
        **details,
        "words": words.entry(OF_TROUBLE[report.trouble], {"link": report.link, **details}),
    }
