"""File servers as the JSON of GET /v1/status: pure functions."""

from __future__ import annotations

from typing import Any

from hactrl.engine.backbone import answers, nearest
from hactrl.engine.state import AnswerCounts, State
from topology.model import FileServer, Interface

Json = dict[str, Any]


def file_server(state: State, server: FileServer, now: float) -> Json:
    """`now` is of the state's clock."""
    live = nearest.live(state, server)
    return {
        "segment": server.segment,
        "policy": server.policy,
        "mac": server.mac,
        "addresses": [str(address) for address in server.addresses],
        "interfaces": {
            card.name: _interface(state, server, card, live, now) for card in server.interfaces
        },
        "answers": _answers(state, server.name),
    }


def _answers(state: State, server: str) -> Json:
    """As last counted; `roundabout` names the switches whose hosts get theirs so, the worst
    first."""
    share = answers.roundabout_share(state, server)
    return {
        "state": answers.manner(state, server).value,
        "roundabout_share": None if share is None else round(share, 3),
        "roundabout": [
            {
                "switch": way.switch,
                "share": round(answers.share(way), 3),
                "interfaces": list(way.interfaces),
            }
            for way in answers.detours(state.answers.get(server, AnswerCounts()))
        ],
    }


def _interface(
    state: State, server: FileServer, card: Interface, live: tuple[Interface, ...], now: float
) -> Json:
    """`state` is 'live', 'down' (its port), or 'unhealthy'; `used`: clients are brought to it,
    which is so where no interface is live too."""
    unhealthy = nearest.unhealthy(state, server, card)
    up = state.port_up(card.attachment)
    services = state.site.file_services.get(server.name, ())
    found = {s.name: state.found(server.name, s.name, card.name) for s in services}
    return {
        "name": card.name,
        "attachment": str(card.attachment),
        "offset": card.offset,
        "port_up": up,
        "state": "down" if not up else "unhealthy" if unhealthy else "live",
        "used": card in live,
        "health": {
            name: {
                "verdict": health.verdict.value,
                "reason": health.reason,
                "since": round(now - health.since, 3),
            }
            for name, health in found.items()
            if health is not None
        },
    }
