"""Who may be using a role's resources: the ledger that law 4 is kept with.

    A server enters `State.holders[role]` before ASSUME is sent to it, or when its agent says
    that it has the role. It leaves only with a proof. ASSUME goes out only when every other
    entry has its proof. So no two servers ever use a resource, whatever was lost, late or
    restarted.

A server is a name; what uses the resources is a machine. Whoever has a copy of its disk can
connect under its name, so an entry is of a boot, and a name that speaks with another one (started
anew, or a copy: nobody can tell) is one more machine, against whose former self there is no proof
yet. A copy of its memory has the boot too: it is told apart only by never having said, over its
own connection, that it has the role.

A controller that starts knows of no proof: every candidate is an entry, with the stored epoch,
and every lease counts as granted just now, unless the one before has left word of when the last of
them ends (`leases.ends`). What the store says of the placement is therefore never needed for
safety; it says only where to begin. Which boots were entered is stored before anybody is asked to
assume (`entered`); a candidate whom the stored ledger does not name has only to say that it holds
nothing.

What proves that an entry is gone:

    RELEASED     its agent says that it holds nothing, at an epoch not below the entry's, with the
                 boot that was entered, and over a connection over which it had the role: an agent
                 that has not heard of an epoch above that of its ASSUME may still obey it, late,
                 and is asked to release first
    POWER        its power is proven off since it was entered
    PERSON       a person says by name that it is off; which is why it counts as much as POWER
    LEASE        its lease and margin have ended by our clock, and from then on nobody renews it.
                 The agent's first renewal is what ASSUME begins with, so an ASSUME that is
                 never granted a lease takes nothing
    NEVER_OWNED  nobody has ever been given the role, and its agent says that it holds nothing

Roles that own nothing have no entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hactrl.engine.events import Held
from hactrl.engine.roles import ledger
from hactrl.engine.state import AgentState, Fenced, Holder, Placement, State, Whose
from hactrl.engine.turn import Turn, with_item
from hactrl.site.model import Role
from hactrl.vocabulary import EntryKind, Holding, Proof

#: From weakest to strongest. The weakest of all entries is what the new owner is told, because
#: only RELEASED and POWER let it clear the mount guard that the last owner left.
STRENGTH = {
    Proof.LEASE: 0,
    Proof.NEVER_OWNED: 1,
    Proof.PERSON: 2,
    Proof.POWER: 3,
    Proof.RELEASED: 4,
}

#: The highest epoch that an agent's word may raise ours to; above it we count on by ourselves. So
#: there is room for 2**52 more below 2**53, and no agent can use up what store and JSON can hold.
HIGHEST_FROM_AGENTS = 2**52

#: The ledger as it is stored: by role, then server, the boot; empty where that is not known.
Entered = Mapping[str, Mapping[str, str]]


def at_start(
    role: Role,
    placement: Placement,
    margin: float,
    known: Mapping[str, str] | None,
    ends: float | None = None,
) -> dict[str, Holder]:
    """The entries of a role with this stored placement. `margin`: that of leases; `known`: what is
    stored of `entered`, None where nothing is; `ends`: what `leases.ends` said last, None where
    that is not known."""
    server, epoch = placement.server, placement.epoch
    expires = None
    if role.lease is not None:
        expires = (placement.since + role.lease if ends is None else ends) + margin
    boots = known if known is not None else {server: ""} if server is not None else {}

    def entry(name: str) -> Holder:
        boot = boots.get(name)
        if boot is None:
            return Holder(epoch, expires, whose=Whose.NOBODY)
        whose = Whose.BOOT if boot else Whose.UNKNOWN
        return Holder(epoch, expires, boot=boot, whose=whose)

    return {name: entry(name) for name in role.servers}


def entered(state: State) -> dict[str, dict[str, str]]:
    """What of the ledger must be stored: whoever may have the resources, and whoever is about to be
    given them. It must be on disk before `EpochStored` is told, and may be written at every
    change."""
    return {name: _entered(state, name) for name in state.holders}


def _entered(state: State, role: str) -> dict[str, str]:
    boots = {
        server: holder.boot if holder.whose is Whose.BOOT else ""
        for server, holder in state.holders[role].items()
        if holder.proof is None and holder.whose is not Whose.NOBODY
    }
    takeover = state.takeovers.get(role)
    if takeover is not None:
        same = boots.get(takeover.target, takeover.boot) == takeover.boot
        boots[takeover.target] = takeover.boot if same else ""
    return boots


def may_assume(state: State, role: str, target: str) -> bool:
    """Law 4: nobody else can be using the resources."""
    return not ledger.in_the_way(state, role, target)


def combined_proof(state: State, role: str) -> Proof:
    """What may be said to the new owner of all who may have been before."""
    holders = state.holders[role].values()
    own = {holder.proof for holder in holders if holder.proof}
    inherited = {holder.inherited for holder in holders if holder.proof and holder.inherited}
    return min(own | inherited, key=STRENGTH.__getitem__, default=Proof.RELEASED)


def told(proof: Proof) -> Proof:
    """The word for it to an agent, which only asks whether it may clear a mount guard: after
    a person's word as after a power cut."""
    return Proof.POWER if proof is Proof.PERSON else proof


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


def believable(state: State, role: str, epoch: int) -> bool:
    """May an agent know of this epoch? Of a higher one than we could have made from what agents
    may bring us up to, none can."""
    return 0 <= epoch <= max(HIGHEST_FROM_AGENTS, state.epochs.get(role, 0))


def learn_epoch(turn: Turn, role: str, epoch: int) -> None:
    """An agent knows of it: ours must be above."""
    if epoch > turn.state.epochs.get(role, 0) and believable(turn.state, role, epoch):
        turn.update(epochs=with_item(turn.state.epochs, role, epoch))


def has_let_go(held: Held, holder: Holder, agent: AgentState) -> bool:
    """Does the agent's word prove that this entry is gone?"""
    here = ledger.is_of(holder, agent, held.role)
    return here and held.holding is Holding.NOTHING and held.epoch >= holder.epoch


def assuming(turn: Turn, role: str, server: str, epoch: int) -> None:
    """Enter the new owner, before ASSUME leaves.

    If it is the old owner too, what it was granted before still lasts. How the others were proven
    gone stays known until it holds the role: should it fail, its own release says nothing of
    them, and the mount guard that one of them left may still have to be waited for.

    Asked again over a new connection, it has not been given the role over that one: its refusal
    would say nothing of what it made of the first order, should it be a copy of that machine.
    """
    timers = turn.state.site.timers
    agent = turn.state.agents[server]
    before = turn.state.holders[role].get(server)
    expires = None
    if turn.state.site.roles[role].lease is not None:
        granted = before.expires if before is not None and before.expires is not None else 0.0
        expires = max(granted, turn.now + timers.assume_deadline + timers.lease_margin)
    inherited = None
    if before is not None:
        inherited = before.inherited
        if before.boot != agent.boot and before.proof is Proof.LEASE:
            inherited = Proof.LEASE
    if ledger.vouches(turn.state, role, server):
        had = replace(agent, had=agent.had | {role})
        turn.update(agents=with_item(turn.state.agents, server, had))
    # At this epoch it may have been asked to release, too, and may have said that it holds nothing
    # before it hears the order: only what it says at a higher one proves anything.
    holder = Holder(epoch + 1, expires, boot=agent.boot, inherited=inherited)
    enter(turn, role, server, holder)


def hear(turn: Turn, server: str, held: Held) -> None:
    """Take in what an agent says of a role. An epoch that it cannot know counts as none: then its
    word proves nothing, and raises nothing."""
    role = turn.state.site.roles.get(held.role)
    if role is None or not role.needs_fence or server not in role.servers:
        return
    if not believable(turn.state, held.role, held.epoch):
        turn.record(EntryKind.AGENT_ABSURD, held.role, server=server, epoch=str(held.epoch)[:40])
        held = replace(held, epoch=0)
    learn_epoch(turn, held.role, held.epoch)
    if held.holding is not Holding.NOTHING:
        _hear_of_a_holder(turn, server, held)
        return
    holder = turn.state.holders[held.role].get(server)
    if holder is not None and has_let_go(held, holder, turn.state.agents[server]):
        never = turn.state.epochs.get(held.role, 0) == 0
        prove(turn, held.role, server, Proof.NEVER_OWNED if never else Proof.RELEASED)


def _hear_of_a_holder(turn: Turn, server: str, held: Held) -> None:
    """It says that it has the role, or has something of it left."""
    name = held.role
    agent = turn.state.agents[server]
    agent = replace(agent, had=agent.had | {name})
    turn.update(agents=with_item(turn.state.agents, server, agent))
    holder = turn.state.holders[name].get(server)
    lease, margin = turn.state.site.roles[name].lease, turn.state.site.timers.lease_margin
    expires = None if lease is None else turn.now + lease + margin
    if holder is None or holder.proof is not None:
        enter(turn, name, server, Holder(held.epoch, expires, boot=agent.boot))
    else:
        claimed = _claimed(holder, held, agent)
        if holder.epoch < held.epoch and expires is not None:
            claimed = replace(claimed, expires=max(expires, holder.expires or 0.0))
        if claimed != holder:
            enter(turn, name, server, claimed)
    if held.holding is Holding.HELD and held.epoch == turn.state.epochs[name]:
        takeover, placement = turn.state.takeovers.get(name), turn.state.placements[name]
        if server in (placement.server, takeover.target if takeover else None):
            _strike_proven(turn, name)


def _claimed(holder: Holder, held: Held, agent: AgentState) -> Holder:
    """An entry without a proof, and somebody under that name says that it is his."""
    epoch = max(holder.epoch, held.epoch)
    its_own = replace(holder, epoch=epoch, boot=agent.boot, whose=Whose.BOOT)
    match holder.whose:
        case Whose.NOBODY:
            return its_own
        case Whose.UNKNOWN if held.epoch >= holder.epoch and held.holding is not Holding.RELEASING:
            return its_own
        case Whose.BOOT if holder.boot != agent.boot:
            # An agent that starts says that it is letting go until it has seen that it has nothing.
            only_started = held.holding is Holding.RELEASING and held.epoch <= holder.epoch
            return holder if only_started else replace(holder, epoch=epoch, whose=Whose.SEVERAL)
        case _:
            return replace(holder, epoch=epoch)


def _strike_proven(turn: Turn, role: str) -> None:
    """Somebody has taken what the role owns: whatever others left has been waited for."""
    holders = turn.state.holders[role]
    left = {
        server: replace(holder, inherited=None) if holder.inherited else holder
        for server, holder in holders.items()
        if holder.proof is None
    }
    if left != holders:
        turn.update(holders=with_item(turn.state.holders, role, left))


def enter(turn: Turn, role: str, server: str, holder: Holder) -> None:
    entries = with_item(turn.state.holders[role], server, holder)
    turn.update(holders=with_item(turn.state.holders, role, entries))


def proven_off(turn: Turn, server: str, proof: Proof, boot: str) -> None:
    """It has no power: whatever it held is gone, in every role. It stays fenced until its agent
    speaks with another boot than `boot`; if it does already, it is not fenced."""
    for role in turn.state.site.roles:
        prove(turn, role, server, proof)
    turn.record(EntryKind.SERVER_FENCED, server=server, proof=proof.value)
    agent = turn.state.agents.get(server)
    if agent is None or not agent.connected or agent.boot == boot:
        fence = Fenced(turn.now, boot, proof)
        turn.update(fenced=with_item(turn.state.fenced, server, fence))


def prove(turn: Turn, role: str, server: str, proof: Proof) -> None:
    """Note a proof, unless a stronger one is known."""
    holder = turn.state.holders.get(role, {}).get(server)
    if holder is None:
        return
    if holder.proof is None or STRENGTH[holder.proof] < STRENGTH[proof]:
        inherited = None if proof in (Proof.POWER, Proof.PERSON) else holder.inherited
        enter(turn, role, server, replace(holder, proof=proof, inherited=inherited))
        turn.record(EntryKind.OWNERSHIP_PROVEN, role, server=server, proof=proof.value)
