"""Who may be using a role's resources: the ledger that law 4 is kept with.

    A server enters `State.holders[role]` before ASSUME is sent to it, or when its agent says
    that it has the role. It leaves only with a proof. ASSUME goes out only when every other
    entry has its proof. So no two servers ever use a resource, whatever was lost, late or
    restarted.

A controller that starts knows of no proof: every candidate is an entry, with the stored epoch,
and every lease counts as granted just now. What the store says of the placement is therefore
never needed for safety; it says only where to begin.

What proves that an entry is gone:

    RELEASED     its agent confirms a release, or says that it holds nothing at an epoch not
                 below the entry's: an agent that has not heard of that epoch may still obey a
                 late ASSUME, and is asked to release first
    POWER        its power is proven off since it was entered
    LEASE        its lease and margin have ended by our clock, and from then on nobody renews it.
                 The agent's first renewal is what ASSUME begins with, so an ASSUME that is
                 never granted a lease takes nothing
    NEVER_OWNED  nobody has ever been given the role, and its agent says that it holds nothing

Roles that own nothing have no entries.
"""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.effects import GrantLease
from hactrl.engine.events import Held, Holding, LeaseAsked, Proof
from hactrl.engine.state import Holder, State, Step
from hactrl.engine.turn import Turn, with_item

#: From weakest to strongest. The weakest of all entries is what the new owner is told, because
#: only RELEASED and POWER let it clear the mount guard that the last owner left.
STRENGTH = {Proof.LEASE: 0, Proof.NEVER_OWNED: 1, Proof.POWER: 2, Proof.RELEASED: 3}

#: Seconds granted to a guard of a role whose `lease` is none: it need not ask at all.
UNBOUND_LEASE = 3600.0


def suspects(state: State, role: str) -> frozenset[str]:
    """The servers that may be using the role's resources."""
    holders = state.holders.get(role, {})
    return frozenset(server for server, holder in holders.items() if holder.proof is None)


def may_assume(state: State, role: str, target: str) -> bool:
    """Law 4: nobody else can be using the resources."""
    return not suspects(state, role) - {target}


def combined_proof(state: State, role: str) -> Proof:
    """What may be said to the new owner of all who may have been before."""
    proofs = [holder.proof for holder in state.holders[role].values() if holder.proof]
    return min(proofs, key=STRENGTH.__getitem__, default=Proof.RELEASED)


def next_epoch(state: State, role: str) -> int:
    """Above everything that store, agents and we ourselves have ever named, or may have."""
    return max(state.epochs.get(role, 0), state.epoch_floor) + 1


def forgetful(state: State, floor: int) -> State:
    """The state of a controller that starts from an old copy of its store: any epoch up to `floor`
    may have been given since, to servers that cannot be asked now, too.

    So none of these is given again, and an agent that says that it holds nothing is believed only
    above them: one that was sent since may still be on its way.
    """
    holders = {
        role: {
            server: replace(holder, epoch=max(holder.epoch, floor))
            for server, holder in entries.items()
        }
        for role, entries in state.holders.items()
    }
    return replace(state, epoch_floor=floor, holders=holders)


def has_let_go(held: Held, holder: Holder) -> bool:
    """Does the agent's word prove that this entry is gone?"""
    return held.holding is Holding.NOTHING and held.epoch >= holder.epoch


def lease_over_at(holder: Holder) -> float | None:
    """When the entry's lease, margin included, has ended for certain; None: never."""
    return holder.expires


def may_renew(state: State, role: str, server: str, epoch: int) -> bool:
    """A lease is renewed for who has the role or is being given it, and for nobody from whom it
    is being taken."""
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
    given_up = state.site.roles[role].needs_fence and server not in suspects(state, role)
    return (server, epoch) == entitled and server not in state.fenced and not given_up


def answer_lease(turn: Turn, asked: LeaseAsked) -> None:
    """Grant or refuse a renewal. The controller counts from answering."""
    role = turn.state.site.roles.get(asked.role)
    if role is None or not may_renew(turn.state, asked.role, asked.server, asked.epoch):
        turn.do(GrantLease(asked.request, False, 0.0))
        return
    if role.needs_fence and role.lease is not None:
        expires = turn.now + role.lease + turn.state.site.timers.lease_margin
        enter(turn, asked.role, asked.server, Holder(asked.epoch, expires))
    turn.do(GrantLease(asked.request, True, role.lease or UNBOUND_LEASE))


def expire_leases(turn: Turn) -> None:
    """Note the proofs that time alone has brought."""
    for role, holders in turn.state.holders.items():
        for server, holder in holders.items():
            over = lease_over_at(holder)
            if holder.proof is None and over is not None and turn.reached(over):
                prove(turn, role, server, Proof.LEASE)


def assuming(turn: Turn, role: str, server: str, epoch: int) -> None:
    """Enter the new owner, before ASSUME leaves.

    If it is the old owner too, what it was granted before still lasts. How the others were proven
    gone stays known until it holds the role: should it fail, its own release says nothing of
    them, and the mount guard that one of them left may still have to be waited for.
    """
    timers = turn.state.site.timers
    holders = turn.state.holders[role]
    expires = None
    if turn.state.site.roles[role].lease is not None:
        granted = holders.get(server)
        before = granted.expires if granted is not None and granted.expires is not None else 0.0
        expires = max(before, turn.now + timers.assume_deadline + timers.lease_margin)
    enter(turn, role, server, Holder(epoch, expires))


def hear(turn: Turn, server: str, held: Held) -> None:
    """Take in what an agent says of a role."""
    state = turn.state
    role = state.site.roles.get(held.role)
    if role is None or not role.needs_fence or server not in role.servers:
        return
    if held.epoch > state.epochs.get(held.role, 0):
        turn.update(epochs=with_item(state.epochs, held.role, held.epoch))
    holder = turn.state.holders[held.role].get(server)
    if held.holding is not Holding.NOTHING:
        if holder is None or holder.proof is not None or holder.epoch < held.epoch:
            lease, margin = role.lease, state.site.timers.lease_margin
            expires = None if lease is None else turn.now + lease + margin
            enter(turn, held.role, server, Holder(held.epoch, expires))
        if held.holding is Holding.HELD and held.epoch == turn.state.epochs[held.role]:
            _strike_proven(turn, held.role)
    elif holder is not None and has_let_go(held, holder):
        never = turn.state.epochs.get(held.role, 0) == 0
        prove(turn, held.role, server, Proof.NEVER_OWNED if never else Proof.RELEASED)


def _strike_proven(turn: Turn, role: str) -> None:
    """Somebody has taken what the role owns: whatever others left has been waited for."""
    holders = turn.state.holders[role]
    left = {server: holder for server, holder in holders.items() if holder.proof is None}
    if left.keys() != holders.keys():
        turn.update(holders=with_item(turn.state.holders, role, left))


def enter(turn: Turn, role: str, server: str, holder: Holder) -> None:
    entries = with_item(turn.state.holders[role], server, holder)
    turn.update(holders=with_item(turn.state.holders, role, entries))


def prove(turn: Turn, role: str, server: str, proof: Proof) -> None:
    """Note a proof, unless a stronger one is known."""
    holder = turn.state.holders.get(role, {}).get(server)
    if holder is None:
        return
    if holder.proof is None or STRENGTH[holder.proof] < STRENGTH[proof]:
        enter(turn, role, server, replace(holder, proof=proof))
        turn.record("ownership.proven", role, server=server, proof=proof.value)
