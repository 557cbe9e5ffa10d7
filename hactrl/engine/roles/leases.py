"""Who is granted a lease, and when one has ended: LEASE, among the proofs of `ownership`."""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.effects import GrantLease
from hactrl.engine.events import LeaseAsked
from hactrl.engine.roles.ownership import enter, prove
from hactrl.engine.state import Holder, State, Step, Whose
from hactrl.engine.turn import Turn
from hactrl.vocabulary import Proof

#: Seconds granted to a guard of a role whose `lease` is none: it need not ask at all.
UNBOUND_LEASE = 3600.0


#: Seconds from the end of an absence of the controller until the end of a lease counts of whoever
#: is not there: agents that are well have connected again by then. Else a role would go to whoever
#: is back first, and its owner would seem to be dead.
RETURN = 3.0


def ends(state: State) -> dict[str, float]:
    """By role, when the last lease that anybody may have been granted ends; nothing of roles
    without one. What outlives the controller must say so before a grant leaves: then one that
    starts need not count all as granted just now. See `hactrl.store.lease_ends`."""
    margin = state.site.timers.lease_margin
    found = {}
    for role, holders in state.holders.items():
        moments = [holder.expires for holder in holders.values() if holder.expires is not None]
        if moments and len(moments) == len(holders):
            found[role] = max(moments) - margin
    return found


def lease_over_at(holder: Holder) -> float | None:
    """When the entry's lease, margin included, has ended for certain; None: never."""
    return holder.expires


def may_renew(state: State, role: str, server: str, epoch: int, boot: str = "") -> bool:
    """A lease is renewed for who has the role or is being given it, and for nobody from whom it
    is being taken.

    A guard that does not say its boot, or whose server is entered with no boot, gets it by the
    epoch alone: that can only make an entry last longer, because what takes the resource is never
    the lease but ASSUME, which goes to one boot. For the same reason a guard of the placement's
    server may ask at a higher epoch before its agent has told of that.
    """
    takeover = state.takeovers.get(role)
    if takeover is not None and takeover.step in (Step.ASSUME, Step.SERVE, Step.STEER):
        entitled = (takeover.target, takeover.epoch)
    elif takeover is not None and takeover.step is Step.FENCE and takeover.target != server:
        return False
    else:
        placement = state.placements[role]
        if placement.server is None:
            return False
        entitled = (placement.server, placement.epoch)
    before_its_agent = takeover is None and server not in state.agents and epoch > entitled[1]
    if (server, entitled[1] if before_its_agent else epoch) != entitled or server in state.fenced:
        return False
    if not state.site.roles[role].needs_fence:
        return True
    holder = state.holders[role].get(server)
    return holder is not None and holder.proof is None and grants_to(holder, boot)


def grants_to(holder: Holder, boot: str) -> bool:
    """Is the guard on the machine that was entered, as far as can be known?"""
    return holder.whose is not Whose.BOOT or boot in ("", holder.boot)


def answer_lease(turn: Turn, asked: LeaseAsked) -> None:
    """Grant or refuse a renewal. The controller counts from answering."""
    role = turn.state.site.roles.get(asked.role)
    if role is None or not _renewable(turn, asked):
        turn.do(GrantLease(asked.request, False, 0.0))
        return
    if role.needs_fence and role.lease is not None:
        holder = turn.state.holders[asked.role].get(asked.server) or Holder(asked.epoch, None)
        whose = Whose.UNKNOWN if holder.whose is Whose.NOBODY else holder.whose
        renewed = replace(
            holder,
            epoch=max(holder.epoch, asked.epoch),
            expires=turn.now + role.lease + turn.state.site.timers.lease_margin,
            whose=whose,
        )
        enter(turn, asked.role, asked.server, renewed)
    turn.do(GrantLease(asked.request, True, role.lease or UNBOUND_LEASE))


def _renewable(turn: Turn, asked: LeaseAsked) -> bool:
    """What has ended is renewed no more, proven or not: a controller that was stopped hears first
    what guards sent it that have died since."""
    holder = turn.state.holders.get(asked.role, {}).get(asked.server)
    over = lease_over_at(holder) if holder is not None else None
    ended = over is not None and turn.now >= over
    return not ended and may_renew(turn.state, asked.role, asked.server, asked.epoch, asked.boot)


def expire_leases(turn: Turn) -> None:
    """Note the proofs that time alone has brought."""
    for role, holders in turn.state.holders.items():
        for server, holder in holders.items():
            if holder.proof is None and _is_over(turn, server, holder):
                prove(turn, role, server, Proof.LEASE)


def _is_over(turn: Turn, server: str, holder: Holder) -> bool:
    """Has its lease ended, and could its agent be back since? See `RETURN`."""
    over = lease_over_at(holder)
    if over is None:
        return False
    since = turn.state.running_since
    agent = turn.state.agents.get(server)
    # One that was there before an absence may have gone meanwhile: its end is heard in its turn.
    there = agent is not None and agent.connected and agent.since >= since
    return turn.reached(over if there else max(over, since + RETURN))
