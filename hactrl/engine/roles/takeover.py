"""A change of placement, from its beginning to its end.

    owns something    STORE ─► FENCE ─► ASSUME ─► SERVE ─► STEER ─► finished
    owns nothing                                  SERVE ─► STEER ─► finished

What each step does and waits for is in `steps`; here it is carried out: on to the next step, again
from the first (another target means a new epoch), or given up. When all targets have been tried, or
it was given up, it begins anew after a pause.
"""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.effects import Obstacle, by_reason
from hactrl.engine.roles import failures, ownership
from hactrl.engine.roles.steps import STEPS, Again, GiveUp, Next, Progress
from hactrl.engine.roles.target import boot_of, out_of_sight, standing_now
from hactrl.engine.state import State, Step, Takeover
from hactrl.engine.turn import Turn, with_item, without
from hactrl.vocabulary import EntryKind

#: How often a change lets itself be overtaken by higher epochs before it takes one that is above
#: all that an agent may name.
PATIENT = 3

OWNING = (Step.STORE, Step.FENCE, Step.ASSUME, Step.SERVE, Step.STEER)
FREE = (Step.SERVE, Step.STEER)


def start(
    turn: Turn,
    role: str,
    target: str,
    cause: str,
    *,
    planned: bool,
    request: str | None = None,
    forced: bool = False,
) -> None:
    """Begin to move `role` to `target`. `cause` is a word of the journal."""
    takeover = Takeover(
        role=role,
        origin=turn.state.placements[role].server,
        target=target,
        epoch=0,
        cause=cause,
        planned=planned,
        left=standing_now(turn.state, role),
        step=path(turn.state, role)[0],
        started=turn.now,
        deadline=turn.now,
        request=request,
        forced=forced,
    )
    _begin(turn, takeover, target)
    turn.record(
        EntryKind.TAKEOVER_STARTED,
        role,
        origin=takeover.origin or "",
        target=target,
        epoch=turn.state.epochs[role],
        cause=cause,
        request=request or "",
    )


def advance(turn: Turn, role: str) -> None:
    """Go on as far as facts and time allow by one step."""
    takeover = turn.state.takeovers[role]
    rule = STEPS[takeover.step]
    follows = rule.look(turn, takeover)
    takeover = turn.state.takeovers[role]
    late = rule.ends and turn.reached(takeover.deadline)
    if follows is Progress.FAILED or (follows is Progress.WAIT and late):
        follows = rule.fail(turn, takeover)
    _carry_out(turn, role, follows)


def _carry_out(turn: Turn, role: str, follows: Next) -> None:
    takeover = turn.state.takeovers[role]
    match follows:
        case Progress.DONE:
            _go_on(turn, takeover)
        case Again(changed, target):
            _begin(turn, changed, target)
        case GiveUp(reasons, in_peace):
            _give_up(turn, takeover, reasons, in_peace)


def path(state: State, role: str) -> tuple[Step, ...]:
    """The steps that a change of this role's placement takes."""
    return OWNING if state.site.roles[role].needs_fence else FREE


def _begin(turn: Turn, takeover: Takeover, target: str) -> None:
    """(Again) from the first step, with an epoch above all others."""
    role = takeover.role
    epoch = ownership.next_epoch(turn.state, role)
    if takeover.overtaken >= PATIENT:
        epoch = max(epoch, ownership.HIGHEST_FROM_AGENTS + 1)
    turn.update(
        epochs=with_item(turn.state.epochs, role, epoch),
        given=with_item(turn.state.given, role, epoch),
    )
    boot = boot_of(turn.state, target)
    begun = replace(takeover, target=target, epoch=epoch, boot=boot)
    _enter(turn, begun, path(turn.state, role)[0])


def _enter(turn: Turn, takeover: Takeover, step: Step) -> None:
    rule = STEPS[step]
    deadline = turn.now + rule.patience(turn)
    takeover = replace(takeover, step=step, entered=turn.now, deadline=deadline, waiting_for=())
    turn.put_takeover(takeover)
    if rule.enter:
        rule.enter(turn, takeover)


def _go_on(turn: Turn, takeover: Takeover) -> None:
    times = (*takeover.step_times, (takeover.step, turn.now))
    takeover = replace(takeover, step_times=times)
    turn.record(
        EntryKind.TAKEOVER_STEP,
        takeover.role,
        step=takeover.step.value,
        target=takeover.target,
        epoch=takeover.epoch,
        seconds=turn.now - takeover.entered,
    )
    steps = path(turn.state, takeover.role)
    following = steps.index(takeover.step) + 1
    if following < len(steps):
        _enter(turn, takeover, steps[following])
    else:
        _finish(turn, takeover)


def _finish(turn: Turn, takeover: Takeover) -> None:
    role = takeover.role
    turn.update(takeovers=without(turn.state.takeovers, role))
    if takeover.request is not None and takeover.planned:
        turn.state = failures.forgiven(turn.state, role, takeover.target)
    elif takeover.target != takeover.origin:
        failures.note_move(turn, role)
    if not takeover.planned and not takeover.interrupted:
        failures.hold_down(turn, role)
    durations: dict[str, float] = {}
    begun = takeover.started
    for step, ended in takeover.step_times:
        durations[step.value] = durations.get(step.value, 0.0) + ended - begun
        begun = ended
    turn.record(
        EntryKind.TAKEOVER_FINISHED,
        role,
        origin=takeover.origin or "",
        target=takeover.target,
        epoch=takeover.epoch,
        cause=takeover.cause,
        proof=takeover.proof.value if takeover.proof else "",
        request=takeover.request or "",
        total=turn.now - takeover.started,
        **durations,
    )


def _give_up(turn: Turn, takeover: Takeover, reasons: tuple[Obstacle, ...], in_peace: bool) -> None:
    """Leave the placement as it is, and begin nothing automatically for a pause, unless it failed
    only because somebody, or the controller itself, was away for a while."""
    role = takeover.role
    turn.update(
        takeovers=without(turn.state.takeovers, role),
        waiting=with_item(turn.state.waiting, role, reasons),
    )
    if not (in_peace or takeover.interrupted or out_of_sight(reasons)):
        failures.hold_down(turn, role)
    turn.record(
        EntryKind.TAKEOVER_FAILED,
        role,
        target=takeover.target,
        epoch=takeover.epoch,
        step=takeover.step.value,
        request=takeover.request or "",
        **by_reason(reasons),
    )
