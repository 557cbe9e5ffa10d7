"""The target of a change: is it still there, the same machine, and what does it lack?"""

from __future__ import annotations

from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.roles import failures
from hactrl.engine.roles.candidates import best, obstacles, obstacles_again
from hactrl.engine.roles.standing import Standing, standing_of_candidate, standing_of_owner
from hactrl.engine.state import State, Step, Takeover
from hactrl.engine.turn import Turn


def boot_of(state: State, server: str) -> str:
    """The boot that its agent spoke with last; empty if it never has."""
    agent = state.agents.get(server)
    return agent.boot if agent else ""


def is_another(state: State, takeover: Takeover) -> bool:
    """Does the target speak with another boot than the one that the stored ledger names? It is
    stored before anything is asked of it, so that no restart forgets whom it was asked of."""
    return boot_of(state, takeover.target) != takeover.boot


def out_of_sight(reasons: tuple[Obstacle, ...]) -> bool:
    """Is it for nothing but lost agents?"""
    return bool(reasons) and {o.reason for o in reasons} == {Reason.AGENT_NOT_CONNECTED}


def target_may_return(turn: Turn, takeover: Takeover, hindrances: tuple[Obstacle, ...]) -> bool:
    """Is nothing wrong but that its agent is away, and has it time to come back?

    That is until the step's deadline, or `agent_timeout` where another server could take it.
    """
    if not out_of_sight(hindrances):
        return False
    patience = takeover.deadline
    tried = takeover.tried | {takeover.target, takeover.origin or takeover.target}
    agent = turn.state.agents.get(takeover.target)
    if agent is not None and best(turn.state, takeover.role, tried):
        patience = min(patience, agent.since + turn.state.site.timers.agent_timeout)
    return not turn.reached(patience)


def standing_now(state: State, role: str) -> Standing:
    """How well the role is played where it is."""
    live = state.placements[role].server
    return standing_of_owner(state, role, live) if live else Standing.GONE


def hindrances_of(state: State, takeover: Takeover) -> tuple[Obstacle, ...]:
    """Why the target cannot go on; its own earlier server need not be ready, only able, and
    another one only better than the one that was left. Whom probes have lost sight of for a while
    is looked at again in SERVE."""
    role, target = takeover.role, takeover.target
    if target == takeover.origin:
        return obstacles_again(state, role, target)
    if standing_of_candidate(state, role, target) > takeover.left and not best(
        state, role, takeover.tried | {takeover.origin or "", target}
    ):
        return ()
    found = obstacles(state, role, target)
    return tuple(obstacle for obstacle in found if obstacle.reason is not Reason.SERVICE_UNKNOWN)


def is_better_than_nobody(state: State, takeover: Takeover) -> bool:
    """The daemons of a role that owns nothing run everywhere, and nothing that we do makes them
    better: users are sent where they do better than at the server that has the role."""
    role = takeover.role
    if state.site.roles[role].needs_fence:
        return False
    return standing_of_candidate(state, role, takeover.target) > standing_now(state, role)


def remember_failure(turn: Turn, takeover: Takeover) -> None:
    """A target that was hindered before it was asked has not failed, unless there was no need to
    ask it; nor has one that was only lost from sight."""
    lost = out_of_sight(takeover.waiting_for)
    optional = takeover.planned and takeover.request is None
    if takeover.step is Step.SERVE:
        standing = standing_of_owner(turn.state, takeover.role, takeover.target)
    elif optional or (takeover.step is Step.ASSUME and not lost):
        standing = Standing.REFUSED
    else:
        return
    ill = Standing.GONE < standing < Standing.WELL and not takeover.interrupted
    if optional or ill:
        standing = max(standing, Standing.REFUSED)
        failures.remember(turn, takeover.role, takeover.target, standing)
