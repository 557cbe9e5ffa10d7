"""Operators' requests: what is wrong with them, and what they start."""

from __future__ import annotations

from collections.abc import Mapping

from hactrl.engine import ledger, ownership
from hactrl.engine.candidates import best, failings, obstacles
from hactrl.engine.effects import Answer, Obstacle, Reason, by_reason
from hactrl.engine.events import Proof, Requested, RequestKind
from hactrl.engine.state import State
from hactrl.engine.takeover import path, start
from hactrl.engine.turn import Turn


def requested(turn: Turn, event: Requested) -> None:
    """Answer a request, and unless it is refused or a dry run, begin what it asks for."""
    if event.kind in (RequestKind.ENABLE, RequestKind.DISABLE):
        _set_enabled(turn, event)
    elif event.kind is RequestKind.CONFIRM_OFF:
        _confirm_off(turn, event)
    else:
        _move(turn, event)


def _set_enabled(turn: Turn, event: Requested) -> None:
    server = event.target or ""
    if server not in turn.state.site.network.servers:
        _refuse(turn, event, (Obstacle(Reason.UNKNOWN_SERVER, server),))
        return
    _accept(turn, event, steps=(event.kind.value,))
    if event.dry_run:
        return
    others = turn.state.disabled - {server}
    disable = event.kind is RequestKind.DISABLE
    turn.update(disabled=others | {server} if disable else others)


def _confirm_off(turn: Turn, event: Requested) -> None:
    """A person says that all that bears the server's name is without power (law 4)."""
    server = event.target or ""
    if reason := ledger.against_off(turn.state, server, turn.now):
        _refuse(turn, event, (Obstacle(reason, server),))
        return
    _accept(turn, event, steps=(event.kind.value,))
    if not event.dry_run:
        ownership.proven_off(turn, server, Proof.PERSON, ledger.boot_entered(turn.state, server))


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
        start(turn, event.role, target, event.kind.value, planned=True, request=event.request)


def _target(state: State, event: Requested) -> str | None:
    """The server meant: the one named, the preferred one (failback), or the best other one."""
    role = state.site.roles.get(event.role)
    if event.target is not None or role is None:
        return event.target
    if event.kind is RequestKind.FAILBACK:
        return role.servers[0]
    live = state.placements[event.role].server
    return best(state, event.role, frozenset({live} if live else ()))


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
    return obstacles(state, event.role, target)


def _refuse(turn: Turn, event: Requested, reasons: tuple[Obstacle, ...]) -> None:
    turn.do(Answer(event.request, False, reasons))
    _record(turn, event, "request.refused", by_reason(reasons))


def _accept(turn: Turn, event: Requested, steps: tuple[str, ...], epoch: int = 0) -> None:
    turn.do(Answer(event.request, True, (), steps, epoch))
    if not event.dry_run:
        _record(turn, event, "request.accepted", {"epoch": epoch})


def _record(turn: Turn, event: Requested, kind: str, more: Mapping[str, str | int]) -> None:
    turn.record(
        kind,
        event.role,
        request=event.request,
        kind_of_request=event.kind.value,
        target=event.target or "",
        reason=event.reason,
        **more,
    )
