"""What a planned move needs before it cuts anybody off.

A planned move interrupts what is served well. So it does not begin while it can be seen that it
would come to a halt with the role's addresses shut: whoever must let go, or the target, cannot be
asked, or a switch cannot be told where users are to be sent. An agent may be connected and frozen;
so all are asked for a sign of life first, while users are still served.

Nothing of this holds where the role is served ill, or where the operator says `force`.
"""

from __future__ import annotations

from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.roles import ledger
from hactrl.engine.roles.fencing import ask_for_sign, gave_sign
from hactrl.engine.roles.standing import Standing
from hactrl.engine.roles.target import standing_now
from hactrl.engine.state import AskKind, State, Takeover
from hactrl.engine.turn import Turn
from hactrl.vocabulary import Outcome


def is_called_for(state: State, role: str) -> bool:
    """Is there anything to lose: is the role served well where it is?"""
    return standing_now(state, role) is Standing.WELL


def unready(state: State, role: str, target: str) -> tuple[Obstacle, ...]:
    """Why a move to `target` would leave users unserved that are served well now; empty if nothing
    is known that would."""
    if not is_called_for(state, role):
        return ()
    away = (Obstacle(Reason.SWITCH_AWAY, name) for name in _switches_away(state, role))
    return (*_deaf(state, role, target), *away)


def _deaf(state: State, role: str, target: str) -> tuple[Obstacle, ...]:
    """Those who cannot be asked, and the target if its former self is in its way."""
    if not state.site.roles[role].needs_fence:
        return ()
    blocking = sorted(ledger.in_the_way(state, role, target))
    found = tuple(
        Obstacle(Reason.NO_PROOF if server == target else Reason.CANNOT_RELEASE, server)
        for server in blocking
        if not ledger.vouches(state, role, server) or _was_silent(state, server)
    )
    if target not in blocking and _was_silent(state, target):
        return (*found, Obstacle(Reason.AGENT_SILENT, target))
    return found


def _switches_away(state: State, role: str) -> tuple[str, ...]:
    network = state.site.network
    names = {
        switch.name
        for segment in state.site.roles[role].segments
        for switch in network.switches_of(segment)
    }
    connected = {name for name, known in state.switches.items() if known.connected}
    return tuple(sorted(names - connected))


def _was_silent(state: State, server: str) -> bool:
    return any(
        ask.kind is AskKind.PING
        and ask.server == server
        and ask.outcome not in (None, Outcome.DONE)
        for ask in state.asks.values()
    )


def sought(turn: Turn, takeover: Takeover) -> tuple[Obstacle, ...]:
    """Ask all who must let go, and the target, for a sign of life; who has not given one yet."""
    role, target = takeover.role, takeover.target
    if hindrances := unready(turn.state, role, target):
        return hindrances
    servers = sorted(ledger.in_the_way(turn.state, role, target) | {target})
    for server in servers:
        ask_for_sign(turn, takeover, server, urgent=False)
    return tuple(
        Obstacle(Reason.AGENT_SILENT if server == target else Reason.CANNOT_RELEASE, server)
        for server in servers
        if not gave_sign(turn.state, takeover, server)
    )
