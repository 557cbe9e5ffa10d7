"""Operators' requests: what is wrong with them, and what they start."""

from __future__ import annotations

from collections.abc import Mapping

from hactrl.engine import memory
from hactrl.engine.effects import AnswerRequest, Obstacle, Reason, by_reason
from hactrl.engine.events import Requested, RequestKind
from hactrl.engine.roles import caution, ledger, ownership
from hactrl.engine.roles.candidates import best, failings, obstacles
from hactrl.engine.roles.standing import (
    best_that_is_there,
    standing_of_candidate,
    standing_of_owner,
)
from hactrl.engine.roles.takeover import path, start
from hactrl.engine.state import State
from hactrl.engine.turn import Turn
from hactrl.vocabulary import EntryKind, Proof

_MISNAMED = frozenset({Reason.UNKNOWN_ROLE, Reason.UNKNOWN_SERVER, Reason.NOT_A_CANDIDATE})


def requested(turn: Turn, event: Requested) -> None:
    """Answer a request, and unless it is refused or a dry run, begin what it asks for. What is
    only remembered is answered when it is on disk."""
    if event.kind not in memory.KEPT_REQUESTS:
        _move(turn, event)
    elif reasons := _misnamed(turn.state, event) or _contradicted(turn, event):
        _refuse(turn, event, reasons)
    elif event.dry_run:
        _accept(turn, event, steps=(event.kind.value,))
    else:
        memory.pend(turn, event)


def _misnamed(state: State, event: Requested) -> tuple[Obstacle, ...]:
    if event.kind is RequestKind.RETRY:
        known = event.role in state.site.roles
        return () if known else (Obstacle(Reason.UNKNOWN_ROLE, event.role),)
    server = event.target or ""
    if server not in state.site.network.servers:
        return (Obstacle(Reason.UNKNOWN_SERVER, server),)
    return ()


def _contradicted(turn: Turn, event: Requested) -> tuple[Obstacle, ...]:
    """Does anything speak against a person's word that a server is without power?"""
    if event.kind is not RequestKind.CONFIRM_OFF:
        return ()
    server = event.target or ""
    reason = ledger.against_off(turn.state, server, turn.now)
    return (Obstacle(reason, server),) if reason else ()


def settle_pending(turn: Turn) -> None:
    """Carry out and answer what is on disk now; refuse what could not be written."""
    for each in turn.state.pending:
        ask = turn.state.asks.get(each.operation)
        if each.operation == 0 or (ask is not None and ask.outcome is None):
            continue
        turn.update(pending=tuple(p for p in turn.state.pending if p is not each))
        if ask is not None:
            _refuse(turn, each.request, (Obstacle(Reason.NOT_WRITTEN, each.request.kind.value),))
            continue
        if reasons := _contradicted(turn, each.request):
            turn.update(kept=())  # what was written as if it counted is written again without it
            _refuse(turn, each.request, reasons)
            continue
        _carry_out(turn, each.request)
        _accept(turn, each.request, steps=(each.request.kind.value,))


def _carry_out(turn: Turn, request: Requested) -> None:
    """For CONFIRM_OFF a person says that all that bears the server's name is without power, which
    is a proof (law 4)."""
    if request.kind is RequestKind.CONFIRM_OFF:
        server = request.target or ""
        ownership.proven_off(turn, server, Proof.PERSON, ledger.boot_entered(turn.state, server))
    else:
        turn.state = memory.wished(turn.state, request)


def _move(turn: Turn, event: Requested) -> None:
    target = _target(turn.state, event)
    reasons = _refusals(turn.state, event, target)
    if reasons or target is None:
        _refuse(turn, event, reasons)
        return
    epoch = ownership.next_epoch(turn.state, event.role)
    steps = tuple(step.value for step in path(turn.state, event.role))
    _accept(turn, event, steps, epoch)
    if not event.dry_run:
        cause, request = event.kind.value, event.request
        start(turn, event.role, target, cause, planned=True, request=request, forced=event.force)


def _target(state: State, event: Requested) -> str | None:
    """The server meant: the one named, the preferred one (failback), or the best other one."""
    role = state.site.roles.get(event.role)
    if event.target is not None or role is None:
        return event.target
    if event.kind is RequestKind.FAILBACK:
        return role.servers[0]
    live = state.placements[event.role].server
    others = frozenset({live} if live else ())
    found = best(state, event.role, others) or best_that_is_there(state, event.role, others)
    return found if found and not _hindrances(state, event.role, found) else None


def _refusals(state: State, event: Requested, target: str | None) -> tuple[Obstacle, ...]:
    if event.role not in state.site.roles:
        return (Obstacle(Reason.UNKNOWN_ROLE, event.role),)
    live = state.placements[event.role].server
    if target is None:
        servers = [s for s in state.site.roles[event.role].servers if s != live]
        each = (o for server in servers for o in obstacles(state, event.role, server))
        return (Obstacle(Reason.NO_CANDIDATE, event.role), *each)
    if event.role in state.takeovers:
        return (Obstacle(Reason.BUSY, event.role),)
    if target == live and not failings(state, event.role, target):
        return (Obstacle(Reason.ALREADY_THERE, target),)
    found = _hindrances(state, event.role, target)
    return found if found or event.force else caution.unready(state, event.role, target)


def _hindrances(state: State, role: str, target: str) -> tuple[Obstacle, ...]:
    """Obstacles, unless the target would do better, such as it is, than the server that is left."""
    found = obstacles(state, role, target)
    misnamed = any(o.reason in _MISNAMED for o in found)
    live = None if misnamed else state.placements[role].server
    if live is None or target == live:
        return found
    better = standing_of_candidate(state, role, target) > standing_of_owner(state, role, live)
    return () if better else found


def _refuse(turn: Turn, event: Requested, reasons: tuple[Obstacle, ...]) -> None:
    turn.do(AnswerRequest(event.request, False, reasons))
    _record(turn, event, EntryKind.REQUEST_REFUSED, by_reason(reasons))


def _accept(turn: Turn, event: Requested, steps: tuple[str, ...], epoch: int = 0) -> None:
    turn.do(AnswerRequest(event.request, True, (), steps, epoch))
    if not event.dry_run:
        _record(turn, event, EntryKind.REQUEST_ACCEPTED, {"epoch": epoch})


def _record(turn: Turn, event: Requested, kind: EntryKind, more: Mapping[str, str | int]) -> None:
    turn.record(
        kind,
        event.role,
        request=event.request,
        kind_of_request=event.kind.value,
        target=event.target or "",
        reason=event.reason,
        **more,
    )
