"""What the ledger of `ownership` says: questions only, asked by everybody."""

from __future__ import annotations

from hashlib import sha256

from hactrl.engine.effects import Reason
from hactrl.engine.state import AgentState, Holder, State, Whose


def suspects(state: State, role: str) -> frozenset[str]:
    """The servers that may be using the role's resources."""
    holders = state.holders.get(role, {})
    return frozenset(server for server, holder in holders.items() if holder.proof is None)


def in_the_way(state: State, role: str, target: str) -> frozenset[str]:
    """The suspects that must be proven gone before `target` may be asked to assume: all others,
    and the target's own name, if what was entered is not the machine that it would be asked of."""
    if vouches(state, role, target):
        return suspects(state, role) - {target}
    return suspects(state, role)


def vouches(state: State, role: str, server: str) -> bool:
    """Is its agent here, and are its words those of what was entered? Where nothing is, or nobody
    in particular, they are."""
    agent = state.agents.get(server)
    holder = state.holders.get(role, {}).get(server)
    if agent is None or not agent.connected:
        return False
    return holder is None or holder.proof is not None or is_of(holder, agent, role)


def is_of(holder: Holder, agent: AgentState, role: str) -> bool:
    """Is it this agent's machine that was entered?"""
    if holder.whose is Whose.BOOT:
        return bool(agent.boot) and agent.boot == holder.boot and role in agent.had
    return holder.whose is Whose.NOBODY


def unprovable(state: State, role: str, server: str) -> bool:
    """Is it entered for another machine than the one that speaks for it now, so that neither a
    word nor the end of a lease can prove that one gone?"""
    agent = state.agents.get(server)
    holder = state.holders.get(role, {}).get(server)
    return (
        holder is not None
        and holder.proof is None
        and holder.expires is None
        and agent is not None
        and agent.connected
        and not is_of(holder, agent, role)
    )


def boot_entered(state: State, server: str) -> str:
    """The boot for which the server is entered without a proof, in any role; else the one that it
    spoke with last."""
    for holders in state.holders.values():
        holder = holders.get(server)
        if holder is not None and holder.proof is None and holder.whose is Whose.BOOT:
            return holder.boot
    agent = state.agents.get(server)
    return agent.boot if agent else ""


def against_off(state: State, server: str, now: float) -> Reason | None:
    """What speaks against a person's word that the server is off; None if nothing does.

    An agent with another boot than the entered one is no contradiction: the machine was started
    anew since, or another one bears its name.
    """
    if server not in state.site.network.servers:
        return Reason.UNKNOWN_SERVER
    agent = state.agents.get(server)
    entries = [holders[server] for holders in state.holders.values() if server in holders]
    unproven = [holder for holder in entries if holder.proof is None]
    boots = {holder.boot for holder in unproven if holder.whose is Whose.BOOT}
    if agent is not None and agent.connected and (agent.boot in boots or not boots):
        return Reason.STILL_SPEAKS
    if any((holder.expires or 0.0) > now for holder in unproven):
        return Reason.LEASE_RUNS
    return None


def fingerprint(boot: str) -> str:
    """What the journal, which everybody may read, says of a boot: enough to tell two apart, and
    nothing to pass for one with."""
    return sha256(boot.encode("utf-8", "surrogateescape")).hexdigest()[:12] if boot else ""
