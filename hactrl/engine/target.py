"""Is the target of a change still there, and is it still the same machine?"""

from __future__ import annotations

from hactrl.engine.candidates import best
from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.state import State, Takeover
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
