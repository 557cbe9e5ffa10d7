"""How a proof is sought that a server no longer uses what a role owns: by asking it to release, or
by cutting its power. What counts as a proof is said in `ownership`."""

from __future__ import annotations

from enum import Enum

from hactrl.engine.effects import AskAgent, FencePower, Reason, Verb
from hactrl.engine.roles import ledger
from hactrl.engine.roles.candidates import (
    all_ports_down,
    best_verdict,
    connected,
    failings,
    holding,
    probed_services,
    probes_confirmed_at,
)
from hactrl.engine.state import Ask, AskKind, State, Takeover
from hactrl.engine.turn import Turn
from hactrl.vocabulary import Holding, Outcome, Proof, Verdict

#: Kinds of evidence that it takes to cut a server's power.
ENOUGH = 2

#: Part of a lease after which a guard that has not renewed is late: it does so five times in one.
UNRENEWED = 0.5


class Evidence(Enum):
    """Who says that a server is dead, or holds on."""

    PORTS = "ports"
    PROBES = "probes"
    AGENT = "agent"
    GUARD = "guard"


def may_cut_power(turn: Turn, takeover: Takeover, server: str) -> bool:
    """Two kinds of evidence say that the server is dead, or does not let go: none is cut on one
    party's word, be it a switch, a prober, an agent or a guard.

    A planned change may cut only a third server that has gone, never the origin. And none is
    cut when nobody has yet been given the role: then only the agents' first word is missing.
    """
    state, role = turn.state, takeover.role
    well = server == takeover.origin or connected(state, server)
    if (takeover.planned and well) or server not in state.site.power_fences:
        return False
    if state.holders[role][server].epoch == 0:
        return False
    return len(evidence(turn, takeover, server)) >= ENOUGH


def evidence(turn: Turn, takeover: Takeover, server: str) -> frozenset[Evidence]:
    """What speaks for it that the server does not serve the role, and will not let go of it."""
    state, role = turn.state, takeover.role
    reasons = {o.reason for o in failings(state, role, server)}
    found = set()
    if all_ports_down(state, server) or Reason.NO_LIVE_INTERFACE in reasons:
        found.add(Evidence.PORTS)
    silent = _says_nothing_good(state, role, server) and Reason.SERVICE_UNHEALTHY in reasons
    if silent and turn.reached(probes_confirmed_at(state, role, server)):
        found.add(Evidence.PROBES)
    if _agent_fails(state, takeover, server):
        found.add(Evidence.AGENT)
    if _guard_fails(state, takeover, server):
        found.add(Evidence.GUARD)
    return frozenset(found)


def _says_nothing_good(state: State, role: str, server: str) -> bool:
    """Who says 'try again' is alive."""
    wanted = state.site.roles[role]
    return any(
        best_verdict(state, wanted, service, server) is Verdict.UNHEALTHY
        for service in probed_services(state, wanted, server)
    )


def _agent_fails(state: State, takeover: Takeover, server: str) -> bool:
    """It is not there, or what speaks is not what was entered; it did not release when asked; or
    it did not answer at once, although asked with all its ports down."""
    if not ledger.vouches(state, takeover.role, server):
        return True
    ping = _ask_of(state, AskKind.PING, server, takeover.role, takeover.epoch)
    dead = ping is not None and ping.outcome not in (None, Outcome.DONE)
    return dead or release_failed(state, takeover, server)


def _guard_fails(state: State, takeover: Takeover, server: str) -> bool:
    """Its lease had not been renewed for long when the change began, although the controller was
    there; later it is denied."""
    lease = state.site.roles[takeover.role].lease
    holder = state.holders[takeover.role][server]
    if lease is None or holder.expires is None:
        return False
    renewed = holder.expires - lease - state.site.timers.lease_margin
    renewed = max(renewed, state.running_since)
    return renewed + lease * UNRENEWED <= takeover.started


def ask_whether_alive(turn: Turn, takeover: Takeover, server: str) -> None:
    """All its ports are down: ask the agent, if it is there, whether the server is dead too. The
    target's is asked beside it, because a silence beside somebody's answer tells more, and sooner,
    than one alone: see `agent_server.PING_PATIENCE`."""
    state, role, epoch = turn.state, takeover.role, takeover.epoch
    if takeover.planned or not all_ports_down(state, server):
        return
    asked = _ask_of(state, AskKind.PING, server, role, epoch)
    if asked is not None or not ledger.vouches(state, role, server):
        return
    if ledger.vouches(state, role, takeover.target):
        ask_for_sign(turn, takeover, takeover.target, urgent=True)
    ask_for_sign(turn, takeover, server, urgent=True)


def ask_for_sign(turn: Turn, takeover: Takeover, server: str, *, urgent: bool) -> None:
    """Ask a server's agent for a sign of life, once in an epoch. `urgent`: see `AskAgent`."""
    role, epoch = takeover.role, takeover.epoch
    if _ask_of(turn.state, AskKind.PING, server, role, epoch) is None:
        deadline = turn.now + turn.state.site.timers.agent_timeout
        operation = turn.start_ask(Ask(AskKind.PING, server, role, epoch, deadline))
        turn.do(AskAgent(operation, server, Verb.STATUS, role, epoch, urgent=urgent))


def gave_sign(state: State, takeover: Takeover, server: str) -> bool:
    """Has its agent answered in this epoch?"""
    asked = _ask_of(state, AskKind.PING, server, takeover.role, takeover.epoch)
    return asked is not None and asked.outcome is Outcome.DONE


def ask_release(turn: Turn, role: str, server: str, epoch: int) -> None:
    """Ask the server's agent, if it is there and its word can prove anything or it says itself
    that it has the role, unless it is being asked or failed just now."""
    known = _ask_of(turn.state, AskKind.RELEASE, server, role, epoch)
    has_nothing = holding(turn.state, role, server) in (None, Holding.NOTHING)
    if known is not None or (has_nothing and not ledger.vouches(turn.state, role, server)):
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
