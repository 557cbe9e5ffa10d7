"""How a proof is sought that a server no longer uses what a role owns: by asking it to release, or
by cutting its power. What counts as a proof is said in `ownership`."""

from __future__ import annotations

from hactrl.engine.candidates import all_ports_down, confirmed_at, connected, failings
from hactrl.engine.effects import AskAgent, FencePower, Reason, Verb
from hactrl.engine.events import Proof
from hactrl.engine.state import Ask, AskKind, State, Takeover
from hactrl.engine.turn import Turn


def may_cut_power(turn: Turn, takeover: Takeover, server: str) -> bool:
    """The server looks dead; or it did not release when asked; or its agent stays away.

    A planned change may cut only a third server that has gone, never the origin. And none is
    cut when nobody has yet been given the role: then only the agents' first word is missing.
    """
    state, role = turn.state, takeover.role
    well = server == takeover.origin or connected(state, server)
    if (takeover.planned and well) or server not in state.site.power_fences:
        return False
    if state.holders[role][server].epoch == 0:
        return False
    if all_ports_down(state, server) or release_failed(state, takeover, server):
        return True
    if connected(state, server):
        return False
    silent = any(o.reason is Reason.SERVICE_UNHEALTHY for o in failings(state, role, server))
    if silent and turn.reached(confirmed_at(state, role, server)):
        return True
    agent = state.agents.get(server)
    away_since = max(takeover.entered, agent.since if agent else state.started)
    return turn.reached(away_since + state.site.timers.release_deadline)


def ask_release(turn: Turn, role: str, server: str, epoch: int) -> None:
    """Ask the server's agent, if it is there, unless it is being asked or failed just now."""
    known = _ask_of(turn.state, AskKind.RELEASE, server, role, epoch)
    if known is not None or not connected(turn.state, server):
        return
    deadline = turn.now + turn.state.site.timers.release_deadline
    operation = turn.start_ask(Ask(AskKind.RELEASE, server, role, epoch, deadline))
    turn.do(AskAgent(operation, server, Verb.RELEASE, role, epoch))


def ask_power(turn: Turn, server: str) -> None:
    """Cut the server's power, unless that is being done or failed just now."""
    if _ask_of(turn.state, AskKind.POWER, server, "", 0):
        return
    site = turn.state.site
    patience = max(site.timers.fence_deadline, site.power_fences[server].timeout)
    agent = turn.state.agents.get(server)
    boot = agent.boot if agent else ""
    ask = Ask(AskKind.POWER, server, "", 0, turn.now + patience, boot)
    turn.do(FencePower(turn.start_ask(ask), server))


def strengthen(turn: Turn, takeover: Takeover) -> bool:
    """Cut the power also of who is proven gone only by the end of its lease: that proof clears no
    mount guard, and the new owner would wait for it far longer than a power fence takes. Tells
    whether an answer is still open; when it fails, the lease must do."""
    role, target = takeover.role, takeover.target
    for server, holder in sorted(turn.state.holders[role].items()):
        if holder.proof is Proof.LEASE and server != target:
            if may_cut_power(turn, takeover, server):
                ask_power(turn, server)
            ask = _ask_of(turn.state, AskKind.POWER, server, "", 0)
            if ask is not None and ask.outcome is None:
                return True
    return False


def _ask_of(state: State, kind: AskKind, server: str, role: str, epoch: int) -> Ask | None:
    for ask in state.asks.values():
        if (ask.kind, ask.server, ask.role, ask.epoch) == (kind, server, role, epoch):
            return ask
    return None


def being_released(state: State, role: str, server: str) -> bool:
    """Is it being asked, with the answer still open?"""
    return any(
        (ask.kind, ask.server, ask.role, ask.outcome) == (AskKind.RELEASE, server, role, None)
        for ask in state.asks.values()
    )


def release_failed(state: State, takeover: Takeover, server: str) -> bool:
    """Has it been asked in this change, and did not do it?"""
    ask = _ask_of(state, AskKind.RELEASE, server, takeover.role, takeover.epoch)
    return ask is not None and ask.outcome is not None
