"""Two questions about a site, each with its reasons.

*Settled*: nothing is under way or waited for, every switch has the newest rules, every role is
served, and everything that is relied on is seen. *Protected*: each role could lose any one server
now. A standby in repair is settled and not protected.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from hactrl.engine import sight, split
from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.roles.candidates import (
    best_verdict,
    connected,
    failings,
    holding,
    live_cards,
    obstacles,
)
from hactrl.engine.state import State, SwitchState
from hactrl.site.model import Role
from hactrl.vocabulary import RANK, Holding, Verdict

#: What an agent says while it changes what it has.
UNFINISHED = (Holding.ASSUMING, Holding.RELEASING)


def unsettled(state: State, now: float) -> tuple[Obstacle, ...]:
    """Why the site is not settled; empty if it is."""
    roles = state.site.roles.values()
    found = [
        *unready(state),
        *(Obstacle(Reason.BUSY, role) for role in state.takeovers),
        *(obstacle for role in roles for obstacle in waiting(state, role)),
        *(obstacle for role in roles for obstacle in _not_served(state, role)),
        *(
            Obstacle(Reason.NOT_STEERED, name)
            for name in state.site.network.switches
            if not rules_current(state, name, state.version)
        ),
        *sight.obstacles(state, now),
        *split.of_roles(state),
        *(obstacle for role in roles for obstacle in _unwatched(state, role, now)),
        *(obstacle for role in roles for obstacle in _sent_away(state, role)),
    ]
    return tuple(dict.fromkeys(found))


def unprotected(state: State, now: float) -> dict[str, tuple[Obstacle, ...]]:
    """For each role why it could not lose any one server now; empty if it could."""
    return {
        name: tuple(dict.fromkeys(_unprotected(state, role, now)))
        for name, role in state.site.roles.items()
    }


def unready(state: State) -> list[Obstacle]:
    """What the controller has not got in hand yet since its start."""
    missing = [
        Obstacle(Reason.NOT_STEERED, name)
        for name in state.site.network.switches
        if not rules_current(state, name, 1)
    ]
    missing += [
        Obstacle(Reason.NOT_PLACED, name)
        for name in state.site.roles
        if name not in state.placements or state.placements[name].server is None
    ]
    return missing


def rules_current(state: State, switch: str, version: int) -> bool:
    """Is the switch connected, and has it confirmed the rules of this version or a newer one?"""
    known = state.switches.get(switch, SwitchState())
    return known.connected and state.installed_on(switch) >= version


def waiting(state: State, role: Role) -> tuple[Obstacle, ...]:
    """Why a role that nobody serves well stays where it is, and what those answer who could have
    it, as far as that is not what it takes."""
    reasons = state.waiting.get(role.name, ())
    if not reasons:
        return ()
    live = state.placements[role.name].server
    others = (server for server in role.servers if server != live)
    return (*reasons, *(o for server in others for o in answers(state, role, server)))


def answers(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    """What a standby answers that is not what a standby should."""
    enough = RANK[Verdict.READY if role.needs_fence else Verdict.HEALTHY]
    reason = Reason.STANDBY_ANSWERS if role.needs_fence else Reason.ANSWERS
    for service in role.services:
        if RANK[best_verdict(state, role, service, server)] >= enough:
            continue
        for card in live_cards(state, role, server, service.segment):
            found = state.found(role.name, service.name, card.name)
            if found is None or found.verdict is Verdict.UNKNOWN or not found.reason:
                continue
            subject = f"{service.name} on {server} through {card.name}"
            yield Obstacle(reason, subject, found.said or found.reason)


def _not_served(state: State, role: Role) -> tuple[Obstacle, ...]:
    live = state.placements[role.name].server
    return failings(state, role.name, live) if live is not None else ()


def _unwatched(state: State, role: Role, now: float) -> Iterator[Obstacle]:
    """The agent of the server that has what the role owns is gone, alone or its guard too, or has
    not ended taking or leaving it, perhaps because a controller that asked for that is gone."""
    live = state.placements[role.name].server
    if live is None or not role.needs_fence:
        return
    if connected(state, live):
        said = holding(state, role.name, live)
        if said in UNFINISHED and role.name not in state.takeovers:
            yield Obstacle(Reason.UNFINISHED, live, said.value)
        return
    holder = state.holders[role.name].get(live)
    bound = holder is not None and holder.proof is None and holder.expires is not None
    if not bound or (live, role.name) in state.guards:
        yield Obstacle(Reason.NOT_WATCHED, live)
        return
    assert holder is not None, "it is bound"
    assert holder.expires is not None, "it is bound"
    left = holder.expires - state.site.timers.lease_margin - now
    yield Obstacle(Reason.LEASE_ENDS, live, str(max(0, ceil(left))))


def _sent_away(state: State, role: Role) -> Iterator[Obstacle]:
    """The role's own server asks to try again later, though it has what the role owns: a full
    spool, or a limit that the prober has run into."""
    live = state.placements[role.name].server
    if live is None or role.name in state.takeovers:
        return
    for service in role.services:
        for card in live_cards(state, role, live, service.segment):
            found = state.found(role.name, service.name, card.name)
            if found is not None and found.verdict is Verdict.READY:
                subject = f"{service.name} on {live} through {card.name}"
                yield Obstacle(Reason.TRY_AGAIN, subject, found.said or found.reason)


def _out_of_hand(state: State, role: Role) -> Iterator[Obstacle]:
    """Switches of the role's segments that are away: nobody knows which of their ports are up, and
    nobody could steer there."""
    network = state.site.network
    for segment in role.segments:
        for switch in network.switches_of(segment):
            if not state.switches.get(switch.name, SwitchState()).connected:
                yield Obstacle(Reason.NOT_STEERED, switch.name)


def _lacks(state: State, role: str, server: str, now: float) -> tuple[Obstacle, ...]:
    """Why one should not count on a server: it lacks something, or has failed at the role."""
    failure = state.failures.get((role, server))
    failed = failure is not None and now < failure.until
    found = obstacles(state, role, server)
    return (*found, Obstacle(Reason.FAILED_BEFORE, server)) if failed else found


def _unprotected(state: State, role: Role, now: float) -> Iterator[Obstacle]:
    name = role.name
    live = state.placements[name].server
    if name in state.takeovers:
        yield Obstacle(Reason.BUSY, name)
        return
    if live is None:
        yield Obstacle(Reason.NOT_PLACED, name)
        return
    yield from _not_served(state, role)
    yield from _out_of_hand(state, role)
    yield from sight.of_role(state, name, now)
    lacks = {s: _lacks(state, name, s, now) for s in role.servers if s != live}
    if all(lacks.values()):
        yield Obstacle(Reason.NO_CANDIDATE, name)
        for server, reasons in lacks.items():
            yield from reasons
            yield from answers(state, role, server)
    hold_down = state.hold_downs.get(name)
    if hold_down is not None and now < hold_down.until:
        yield Obstacle(Reason.HELD_DOWN, name)
    if role.needs_fence and role.lease is None and not state.site.has_fence(live):
        yield Obstacle(Reason.UNPROVABLE, live)
