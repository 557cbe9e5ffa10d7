"""The state as the JSON of GET /v1/status: a pure function.

Enabled (what the operator wants), healthy (what probes, ports and agents tell) and active (what
the switches do) are three facts, shown apart (law 7). Times are durations in seconds up to now.
"""

from __future__ import annotations

from typing import Any

from hactrl.engine import readiness
from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.readiness import rules_current
from hactrl.engine.roles.candidates import best_verdict, connected, failings, obstacles
from hactrl.engine.roles.standing import Standing
from hactrl.engine.state import Failure, State, SwitchState, Takeover
from hactrl.explain import words
from hactrl.rest.file_servers import file_server
from hactrl.site.model import Role
from topology.model import Interface

Json = dict[str, Any]

#: What the operator wants is no matter of health.
_WISHES = frozenset({Reason.SERVER_DISABLED})


def status(state: State, now: float, version: str, looking_round: bool) -> Json:
    """Everything. `now` is of the state's clock; `version` is hactrl's own. `looking_round`: it
    has just been started, and changes no switch that is set up before it knows enough."""
    site = state.site
    return {
        "site": site.name,
        "version": version,
        "uptime": _ago(now, state.started),
        "rules_version": state.version,
        **health(state, now, looking_round),
        "roles": {name: _role(state, role, now) for name, role in site.roles.items()},
        "servers": {name: _server(state, name, now) for name in site.network.servers},
        "interfaces": {
            name: _interface(state, card, now) for name, card in site.network.interfaces.items()
        },
        "file_servers": {
            name: file_server(state, server, now)
            for name, server in site.network.file_servers.items()
        },
        "switches": {name: _switch(state, name) for name in site.network.switches},
    }


def health(state: State, now: float, looking_round: bool) -> Json:
    """The two answers of GET /v1/health, with their reasons; see `hactrl.engine.readiness`."""
    unsettled = [obstacle_json(value) for value in _unsettled(state, now, looking_round)]
    unprotected = readiness.unprotected(state, now)
    return {
        "settled": not unsettled,
        "unsettled": unsettled,
        "protected": not any(unprotected.values()),
        "unprotected": {
            role: [obstacle_json(value) for value in reasons]
            for role, reasons in unprotected.items()
            if reasons
        },
    }


def _unsettled(state: State, now: float, looking_round: bool) -> tuple[Obstacle, ...]:
    looks = (Obstacle(Reason.LOOKING_ROUND, state.site.name),) if looking_round else ()
    return (*looks, *readiness.unsettled(state, now))


def obstacle_json(value: Obstacle) -> Json:
    """`detail` only where there is one."""
    document = {"reason": value.reason.value, "subject": value.subject}
    if value.detail:
        document["detail"] = value.detail
    return document | {"words": words.obstacle(value)}


def _ago(now: float, then: float) -> float:
    return round(max(0.0, now - then), 3)


def _role(state: State, role: Role, now: float) -> Json:
    placement = state.placements[role.name]
    takeover = state.takeovers.get(role.name)
    server = placement.server
    wanted = takeover.version if takeover and takeover.version else state.version
    return {
        "server": server,
        "preferred": role.servers[0],
        "epoch": placement.epoch,
        "since": _ago(now, placement.since),
        "owns": list(role.owns),
        "addresses": {
            on.segment: {"mac": on.mac, "addresses": [str(a) for a in on.addresses]}
            for on in role.addresses
        },
        "services": {
            service.name: {
                "segment": service.segment,
                "protocol": service.protocol,
                "port": service.port,
                "verdict": best_verdict(state, role, service, server).value
                if server
                else "unknown",
            }
            for service in role.services
        },
        "takeover": None if takeover is None else _takeover(takeover, now),
        "waiting": [obstacle_json(value) for value in readiness.waiting(state, role)],
        "segments_not_steered": [
            segment
            for segment in role.segments
            if not all(
                rules_current(state, switch.name, wanted)
                for switch in state.site.network.switches_of(segment)
            )
        ],
        "candidates": {name: _candidate(state, role, name) for name in role.servers},
        "failed": {
            server: _failure(failure, now)
            for (of, server), failure in state.failures.items()
            if of == role.name
        },
    }


def _failure(failure: Failure, now: float) -> Json:
    """What is held against a server; `hactl retry` forgets it."""
    return {
        "times": failure.count,
        "standing": Standing(failure.standing).name.lower(),
        "ago": _ago(now, failure.at),
        "counts_for": _ago(failure.until, now),
    }


def _takeover(takeover: Takeover, now: float) -> Json:
    return {
        "origin": takeover.origin,
        "target": takeover.target,
        "epoch": takeover.epoch,
        "cause": takeover.cause,
        "planned": takeover.planned,
        "step": takeover.step.value,
        "step_words": words.STEPS[takeover.step],
        "running": _ago(now, takeover.started),
        "deadline_in": round(takeover.deadline - now, 3),
        "waiting_for": [obstacle_json(value) for value in takeover.waiting_for],
        "request": takeover.request,
    }


def _candidate(state: State, role: Role, server: str) -> Json:
    """`obstacles` is why the server could not take the role, or for the one that has it, why it
    does not serve as it should."""
    active = state.placements[role.name].server == server
    found = (
        failings(state, role.name, server)
        if active
        else (*obstacles(state, role.name, server), *readiness.answers(state, role, server))
    )
    return {
        "enabled": server not in state.disabled,
        "healthy": not [value for value in found if value.reason not in _WISHES],
        "active": active,
        "obstacles": [obstacle_json(value) for value in found],
    }


def _server(state: State, server: str, now: float) -> Json:
    roles = state.site.roles.values()
    as_candidate = {r.name: _candidate(state, r, server) for r in roles if server in r.servers}
    agent = state.agents.get(server)
    fence = state.fenced.get(server)
    return {
        "enabled": server not in state.disabled,
        "healthy": all(each["healthy"] for each in as_candidate.values()),
        "active": [name for name, each in as_candidate.items() if each["active"]],
        "fenced": fence is not None,
        "fenced_since": None if fence is None else _ago(now, fence.since),
        "agent_connected": connected(state, server),
        "holding": {
            name: {"holding": held.holding.value, "epoch": held.epoch}
            for name, held in (agent.roles if agent else {}).items()
        },
        "interfaces": [card.name for card in state.site.network.servers[server].interfaces],
        "roles": as_candidate,
    }


def _interface(state: State, card: Interface, now: float) -> Json:
    health: Json = {}
    for (role, service, name), found in state.all_found():
        if name == card.name:
            health.setdefault(role, {})[service] = {
                "verdict": found.verdict.value,
                "reason": found.reason,
                "said": found.said,
                "since": _ago(now, found.since),
            }
    return {
        "server": card.server,
        "segment": card.segment,
        "attachment": str(card.attachment),
        "redundant_for": card.redundant_for,
        "port_up": state.port_up(card.attachment),
        "health": health,
    }


def _switch(state: State, name: str) -> Json:
    switch = state.site.network.switches[name]
    known = state.switches.get(name, SwitchState())
    return {
        "segment": switch.segment,
        "datapath_id": f"{switch.datapath_id:#x}",
        "connected": known.connected,
        "rules_installed": state.installed_on(name),
        "rules_current": rules_current(state, name, state.version),
        "ports_up": sorted(known.ports_up),
    }
