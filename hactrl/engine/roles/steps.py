"""The steps of a change of placement: what each does first, waits for, and does if that fails.

None begins or ends a change: each says what is to come of it, and `takeover` carries that out.
`STEPS` is the table, and says in words what each waits for and what else follows.

Another target is one that has no obstacles, at last the origin again; who was asked to assume is
asked to release (as a suspect, in the next FENCE).

The origin's power is cut only by an unplanned change. A planned one becomes unplanned when
nobody serves any more: its target has failed after it was asked to assume, or its release
failed, or could not be asked for, and the origin's agent is gone too, so that nobody knows who
holds the resource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum

from hactrl.engine import memory
from hactrl.engine.effects import (
    AskAgent,
    Obstacle,
    ProbeEagerly,
    Reason,
    StorePlacement,
    Verb,
)
from hactrl.engine.roles import caution, failures, ledger, ownership
from hactrl.engine.roles.candidates import (
    failings,
    holding,
    obstacles,
    obstacles_again,
    serving,
)
from hactrl.engine.roles.fencing import (
    ask_power,
    ask_release,
    ask_whether_alive,
    being_released,
    may_cut_power,
    release_failed,
    strengthen,
)
from hactrl.engine.roles.standing import (
    UNWANTED,
    Standing,
    best_that_is_there,
    standing_of_owner,
)
from hactrl.engine.roles.target import (
    hindrances_of,
    is_another,
    is_better_than_nobody,
    remember_failure,
    target_may_return,
)
from hactrl.engine.state import Ask, AskKind, Placement, State, Step, Takeover
from hactrl.engine.turn import Turn, with_item
from hactrl.vocabulary import EntryKind, Holding

#: The operation of a change that has not begun to write its epoch.
NOT_YET = 0


class Progress(Enum):
    """DONE: on to the next step."""

    WAIT = "wait"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Again:
    """The change is to begin again from its first step, with a new epoch."""

    takeover: Takeover
    target: str


@dataclass(frozen=True)
class GiveUp:
    """The change is to end with the placement as it was. `in_peace`: nobody was cut off for it, so
    nothing need be held down."""

    reasons: tuple[Obstacle, ...]
    in_peace: bool = False


Next = Progress | Again | GiveUp


# STORE: the epoch is on disk before anybody hears of it. Of a role that owns nothing nobody does:
# where it is, is written with the rest of what is remembered (`memory.stays`) while it is steered.


def _enter_store(turn: Turn, takeover: Takeover) -> None:
    """A planned change first asks for a sign of life; nothing is written before."""
    if _is_cautious(takeover):
        turn.put_takeover(replace(takeover, operation=NOT_YET))
    else:
        _store(turn, takeover)


def _is_cautious(takeover: Takeover) -> bool:
    """Is it planned, of users who are served well, and at its beginning?"""
    begins = not takeover.step_times and takeover.target != takeover.origin
    well = takeover.left == Standing.WELL
    return takeover.planned and not takeover.forced and well and begins


def _store(turn: Turn, takeover: Takeover) -> None:
    role, target, epoch = takeover.role, takeover.target, takeover.epoch
    operation = turn.start_ask(Ask(AskKind.STORE, target, role, epoch, takeover.deadline))
    turn.do(StorePlacement(operation, role, target, epoch))
    turn.put_takeover(replace(takeover, operation=operation))


def _stored(turn: Turn, takeover: Takeover) -> Progress:
    if takeover.operation == NOT_YET:
        return _begins_well(turn, takeover)
    _seek_proof_of_death(turn, takeover)  # names no epoch, so it need not wait for the disk
    ask = turn.state.asks.get(takeover.operation)
    if (ask is not None and ask.outcome is not None) or memory.could_not_write(turn.state):
        return Progress.FAILED
    written = ask is None and not memory.being_written(turn.state)
    return Progress.DONE if written else Progress.WAIT


def _begins_well(turn: Turn, takeover: Takeover) -> Progress:
    """Users are served all the while. Should that end, the engine judges anew what to do."""
    if not caution.is_called_for(turn.state, takeover.role):
        return Progress.FAILED
    missing = caution.sought(turn, takeover)
    _wait_for(turn, takeover, missing)
    if not missing:
        deadline = turn.now + STEPS[Step.STORE].patience(turn)
        _store(turn, replace(turn.state.takeovers[takeover.role], deadline=deadline))
    return Progress.WAIT


def _store_failed(_turn: Turn, takeover: Takeover) -> Next:
    if takeover.operation == NOT_YET:
        return GiveUp(takeover.waiting_for, in_peace=True)
    return GiveUp((Obstacle(Reason.STORE_FAILED, takeover.role),))


# FENCE: entering it shuts the role's addresses (`wanted.closed`); all proofs are sought at once.


def _proven(turn: Turn, takeover: Takeover) -> Next:
    role, target = takeover.role, takeover.target
    if turn.state.epochs[role] > takeover.epoch or is_another(turn.state, takeover):
        return Again(replace(takeover, overtaken=takeover.overtaken + 1), target)
    others = sorted(ledger.in_the_way(turn.state, role, target))
    for server in others:
        if server != target:
            ask_release(turn, role, server, takeover.epoch)
    _seek_proof_of_death(turn, takeover)
    better = strengthen(turn, takeover)
    if holding(turn.state, role, target) is Holding.FAILED:
        ask_release(turn, role, target, takeover.epoch)
    if hindrances := hindrances_of(turn.state, takeover):
        _wait_for(turn, takeover, hindrances)
        return Progress.WAIT if target_may_return(turn, takeover, hindrances) else Progress.FAILED
    if ownership.may_assume(turn.state, role, target):
        busy = better or being_released(turn.state, role, target)
        return Progress.WAIT if busy else Progress.DONE
    if takeover.planned and any(_does_not_release(turn, takeover, server) for server in others):
        return Progress.FAILED
    _wait_for(turn, takeover, tuple(Obstacle(Reason.NO_PROOF, server) for server in others))
    return Progress.FAILED if _origin_is_well(turn, takeover) else Progress.WAIT


def _seek_proof_of_death(turn: Turn, takeover: Takeover) -> None:
    for server in sorted(ledger.in_the_way(turn.state, takeover.role, takeover.target)):
        if server != takeover.target:
            ask_whether_alive(turn, takeover, server)
            if may_cut_power(turn, takeover, server):
                ask_power(turn, server)


def _does_not_release(turn: Turn, takeover: Takeover, server: str) -> bool:
    """It was asked in vain, or cannot even be asked, for as long as the step may last."""
    asked = being_released(turn.state, takeover.role, server)
    failed = release_failed(turn.state, takeover, server)
    return failed or (not asked and turn.reached(takeover.deadline))


def _fence_failed(turn: Turn, takeover: Takeover) -> Next:
    state, origin = turn.state, takeover.origin
    hindered = bool(hindrances_of(state, takeover))
    if takeover.planned and origin is not None and origin != takeover.target:
        if not obstacles_again(state, takeover.role, origin):
            return Again(takeover, origin)
        if not hindered:
            turn.put_takeover(replace(takeover, planned=False, entered=turn.now))
            turn.record(EntryKind.TAKEOVER_ESCALATED, takeover.role, target=takeover.target)
            return Progress.WAIT
    return _another(turn, takeover) if hindered else GiveUp(takeover.waiting_for)


def _origin_is_well(turn: Turn, takeover: Takeover) -> bool:
    """Nothing is proven, time is up, and meanwhile the origin serves again as before."""
    origin = takeover.origin
    return (
        origin is not None
        and origin != takeover.target
        and not failings(turn.state, takeover.role, origin)
        and turn.reached(takeover.deadline)
    )


# ASSUME: the target takes the resource.


def _enter_assume(turn: Turn, takeover: Takeover) -> None:
    proof = ownership.combined_proof(turn.state, takeover.role)
    turn.put_takeover(replace(takeover, proof=proof))
    if not is_another(turn.state, takeover):
        _ask_assume(turn, turn.state.takeovers[takeover.role])


def _ask_assume(turn: Turn, takeover: Takeover) -> None:
    role, target, epoch = takeover.role, takeover.target, takeover.epoch
    ownership.assuming(turn, role, target, epoch)
    operation = turn.start_ask(Ask(AskKind.ASSUME, target, role, epoch, takeover.deadline))
    turn.put_takeover(replace(takeover, operation=operation))
    proof = ownership.told(takeover.proof) if takeover.proof else None
    turn.do(AskAgent(operation, target, Verb.ASSUME, role, epoch, proof))


def _assumed(turn: Turn, takeover: Takeover) -> Next:
    state, role, target = turn.state, takeover.role, takeover.target
    if state.epochs[role] > takeover.epoch:
        return Again(replace(takeover, overtaken=takeover.overtaken + 1), target)
    # It has been asked, so it is entered; when it comes back, its boot decides.
    found = obstacles_again(state, role, target)
    hindrances = tuple(o for o in found if o.reason is not Reason.NO_PROOF)
    _wait_for(turn, takeover, hindrances or (Obstacle(Reason.NOT_HELD, target),))
    if hindrances:
        return Progress.WAIT if target_may_return(turn, takeover, hindrances) else Progress.FAILED
    if is_another(state, takeover):
        return Progress.FAILED
    held = state.agents[target].roles.get(role)
    if held is not None and held.epoch == takeover.epoch and held.holding in ASSUME_ENDS:
        return ASSUME_ENDS[held.holding]
    ask = state.asks.get(takeover.operation)
    if ask is None:  # forgotten, because the agent has connected anew
        _ask_assume(turn, takeover)
    return Progress.FAILED if ask is not None and ask.outcome is not None else Progress.WAIT


ASSUME_ENDS = {Holding.HELD: Progress.DONE, Holding.FAILED: Progress.FAILED}


# SERVE: its services answer through its own cards, before users are sent there.


def _enter_serve(turn: Turn, takeover: Takeover) -> None:
    turn.do(ProbeEagerly(takeover.role, takeover.target, takeover.deadline))


def _serves(turn: Turn, takeover: Takeover) -> Progress:
    state, role, target = turn.state, takeover.role, takeover.target
    if serving(state, role, target) or is_better_than_nobody(state, takeover):
        return Progress.DONE
    reasons = failings(state, role, target)
    _wait_for(turn, takeover, reasons or (Obstacle(Reason.SERVICE_UNKNOWN, target),))
    return Progress.FAILED if any(o.reason not in PASSING for o in reasons) else Progress.WAIT


#: What may pass while a new owner comes up.
PASSING = frozenset({Reason.SERVICE_UNHEALTHY}) | UNWANTED


def _serve_failed(turn: Turn, takeover: Takeover) -> Next:
    """It has what the role owns, and only probes say that it serves ill: if nobody is expected to
    do better, it stays there, because a move would only interrupt what is served."""
    state, role, target = turn.state, takeover.role, takeover.target
    standing = standing_of_owner(state, role, target)
    only_probes = {o.reason for o in failings(state, role, target)} <= PASSING
    held = holding(state, role, target) is Holding.HELD
    others = set(state.site.roles[role].servers) - {target} - takeover.tried
    better = any(failures.expected(turn, role, server) > standing for server in others)
    if only_probes and held and not better:
        remember_failure(turn, takeover)
        return Progress.DONE
    return _another(turn, takeover)


def _another(turn: Turn, takeover: Takeover) -> Next:
    """The next target: one that has no obstacles, then the origin, then whoever does better than
    nobody, each tried once."""
    state, role, origin = turn.state, takeover.role, takeover.origin
    remember_failure(turn, takeover)
    tried = takeover.tried | {takeover.target}
    own = {origin} if origin is not None else set()
    ready = [
        server
        for server in state.site.roles[role].servers
        if server not in tried | own and not obstacles(state, role, server)
    ]
    target = max(ready, key=lambda server: failures.expected(turn, role, server), default=None)
    owned = state.site.roles[role].needs_fence
    if target is None and owned and own - tried and not obstacles_again(state, role, *own):
        target = origin
    if target is None:
        target = best_that_is_there(state, role, tried | own)
    if target is None:
        return GiveUp(takeover.waiting_for)
    return Again(replace(takeover, planned=False, tried=tried), target)


# STEER: users' packets go to the new place.


def _enter_steer(turn: Turn, takeover: Takeover) -> None:
    role = takeover.role
    placement = Placement(takeover.target, takeover.epoch, turn.now)
    turn.update(placements=with_item(turn.state.placements, role, placement))
    turn.refresh_version()
    turn.put_takeover(replace(takeover, version=turn.state.version))


def _steered(turn: Turn, takeover: Takeover) -> Progress:
    behind = unsteered(turn.state, takeover.role, takeover.version)
    _wait_for(turn, takeover, tuple(Obstacle(Reason.NOT_STEERED, name) for name in behind))
    return Progress.WAIT if behind else Progress.DONE


def _steer_failed(_turn: Turn, _takeover: Takeover) -> Next:
    return Progress.DONE


def unsteered(state: State, role: str, version: int) -> tuple[str, ...]:
    """The connected switches of the role's segments that have not confirmed these rules."""
    network = state.site.network
    return tuple(
        switch.name
        for segment in state.site.roles[role].segments
        for switch in network.switches_of(segment)
        if (known := state.switches.get(switch.name))
        and known.connected
        and state.installed_on(switch.name) < version
    )


def _wait_for(turn: Turn, takeover: Takeover, reasons: tuple[Obstacle, ...]) -> None:
    if takeover.waiting_for != reasons:
        turn.put_takeover(replace(turn.state.takeovers[takeover.role], waiting_for=reasons))


@dataclass(frozen=True)
class StepRule:
    """`patience`: seconds until the step's deadline; `ends`: the deadline is a failure.

    The rest are words of the table in ARCHITECTURE.md, and nothing decides by them: the timer of
    the site file that `patience` follows, what the step waits for, and what happens when that has
    not come by the deadline, or cannot come any more.
    """

    enter: Callable[[Turn, Takeover], None] | None
    look: Callable[[Turn, Takeover], Next]
    fail: Callable[[Turn, Takeover], Next]
    patience: Callable[[Turn], float]
    ends: bool = True
    _: KW_ONLY
    timer: str
    waits_for: str
    otherwise: str


STEPS: Mapping[Step, StepRule] = {
    Step.STORE: StepRule(
        _enter_store,
        _stored,
        _store_failed,
        lambda turn: turn.state.site.timers.fence_deadline,
        timer="fence_deadline",
        waits_for="the new epoch, and what a restart must not forget, to be on disk",
        otherwise="given up",
    ),
    Step.FENCE: StepRule(
        None,
        _proven,
        _fence_failed,
        lambda turn: turn.state.site.timers.fence_deadline,
        False,
        timer="fence_deadline",
        waits_for="proof that nobody else can touch what the role owns",
        otherwise=(
            "planned: back to the origin, or on by force if that cannot take it any more; "
            "else it waits on for proof, and is given up if the origin serves again. "
            "Where the target is what fails: another target"
        ),
    ),
    Step.ASSUME: StepRule(
        _enter_assume,
        _assumed,
        _another,
        lambda turn: turn.state.site.timers.assume_deadline,
        timer="assume_deadline",
        waits_for="the target's agent to have what the role owns, at this epoch",
        otherwise="another target",
    ),
    Step.SERVE: StepRule(
        _enter_serve,
        _serves,
        _serve_failed,
        lambda turn: turn.state.site.timers.serve_deadline,
        timer="serve_deadline",
        waits_for=(
            "good answers of the role's services through the target's own cards; "
            "of a role that owns nothing, better ones than where it is"
        ),
        otherwise=(
            "on to `steer` if it has what the role owns, only probes find it ill, and nobody is "
            "expected to do better; else another target"
        ),
    ),
    Step.STEER: StepRule(
        _enter_steer,
        _steered,
        _steer_failed,
        lambda turn: turn.state.site.timers.steer_deadline,
        timer="steer_deadline",
        waits_for="the connected switches of the role's segments to confirm their rules",
        otherwise="finished all the same; `hactl status` names the switches (`not_steered`)",
    ),
}
