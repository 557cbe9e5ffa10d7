"""What only a person could say again, or only bad luck would teach again: kept over a restart.

Every field of `State` says what becomes of it when the controller ends (`state.Kept`). Placements
and hosts have tables of their own in the store; the rest of what is stored is one text, written
whole whenever it changes (`keep`). A moment is written as what is left of it, because the clock
begins anew with each boot of the controller's machine.

A change of placement that was given up has left its last target on disk, with an epoch that must
never be given again; so the memory says where the role stays (`stays`). Of a role that owns nothing
it says so always: there nobody needs to hear of an epoch, and so a move need not wait for the disk.
One that could not be written is made all the same, and is written after a pause; a controller that
starts before that begins where the role was, and finds out again.

An operator's wish counts when it is on disk, and is answered then: `Pending` requests are written
first, as if they counted already, and carried out when the store has confirmed them. So an answer
never promises what a `kill -9` could take back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hactrl.engine.effects import Remember
from hactrl.engine.events import Requested, RequestKind
from hactrl.engine.roles import failures, ledger, ownership
from hactrl.engine.state import (
    Ask,
    AskKind,
    Failure,
    Fenced,
    HoldDown,
    Holder,
    Pending,
    Rest,
    State,
    Whose,
)
from hactrl.engine.turn import Turn
from hactrl.vocabulary import Proof

#: What was written, as JSON gives it back.
Kept = Mapping[str, Any]

#: The kinds of requests that change nothing but the memory.
KEPT_REQUESTS = frozenset(
    {RequestKind.ENABLE, RequestKind.DISABLE, RequestKind.RETRY, RequestKind.CONFIRM_OFF}
)

#: Seconds after which pauses that go on are written again, so that less is left of them.
WRITTEN_AGAIN = 600.0


def wished(state: State, request: Requested) -> State:
    """The state in which a kept request has been carried out."""
    if request.kind is RequestKind.RETRY:
        return failures.forgiven(state, request.role)
    server = request.target or ""
    if request.kind is RequestKind.CONFIRM_OFF:
        fence = Fenced(state.started, ledger.boot_entered(state, server), Proof.PERSON)
        return replace(state, fenced={**state.fenced, server: fence})
    others = state.disabled - {server}
    disable = request.kind is RequestKind.DISABLE
    return replace(state, disabled=others | {server} if disable else others)


def keep(turn: Turn) -> None:
    """Write the memory if it has changed, unless it could not be written just now. Before anything
    else that is to be done: who may get what a role owns is on disk before the epoch is."""
    state = turn.state
    if could_not_write(state):
        turn.update(kept=())  # whatever was to be written is written after a pause
        return
    stale = _pauses(state) and turn.reached(state.kept_at + WRITTEN_AGAIN)
    if not (stale or _parts(state) != state.kept or _waiting(state)):
        return
    deadline = turn.now + state.site.timers.fence_deadline
    operation = turn.start_ask(Ask(AskKind.REMEMBER, "", "", 0, deadline))
    pending = tuple(
        each if each.operation else replace(each, operation=operation) for each in state.pending
    )
    turn.update(pending=pending, kept=_parts(state), kept_at=turn.now)
    for each in pending:
        state = wished(state, each.request)
    turn.effects.insert(0, Remember(operation, text(state, turn.now)))


def being_written(state: State) -> bool:
    """Is something still on its way to the disk?"""
    return any(ask.kind is AskKind.REMEMBER and ask.outcome is None for ask in state.asks.values())


def could_not_write(state: State) -> bool:
    """Has writing failed within the last pause?"""
    return any(
        ask.kind is AskKind.REMEMBER and ask.outcome is not None for ask in state.asks.values()
    )


def _parts(state: State) -> tuple[Any, ...]:
    named = (state.disabled, state.fenced, state.hold_downs, state.failures, state.rests)
    return (*named, ownership.entered(state), stays(state))


def _pauses(state: State) -> bool:
    return bool(state.hold_downs or state.failures or state.rests)


def _waiting(state: State) -> bool:
    return any(each.operation == 0 for each in state.pending)


def text(state: State, now: float) -> str:
    """The memory as JSON."""

    def left(moment: float) -> float:
        return round(max(0.0, moment - now), 3)

    return json.dumps(
        {
            "entered": ownership.entered(state),
            "stays": stays(state),
            "disabled": sorted(state.disabled),
            "fenced": {
                server: {"boot": fence.boot, "proof": fence.proof.value}
                for server, fence in state.fenced.items()
            },
            "hold_downs": {
                role: {"left": left(down.until), "pause": down.pause}
                for role, down in state.hold_downs.items()
            },
            "failures": [
                {
                    "role": role,
                    "server": server,
                    "count": failure.count,
                    "standing": int(failure.standing),
                    "ago": round(now - failure.at, 3),
                    "left": left(failure.until),
                    "pause": failure.pause,
                    "boot": failure.boot,
                }
                for (role, server), failure in state.failures.items()
            ],
            "rests": {
                role: {"left": left(rest.until), "moves": rest.moves}
                for role, rest in state.rests.items()
            },
        }
    )


def stays(state: State) -> dict[str, dict[str, Any]]:
    """Of each role that owns nothing, and of each whose last change was given up: the server and
    epoch of its placement, and the epoch up to which the store's placement counts less."""
    return {
        role: {"server": placement.server, "epoch": placement.epoch, "given_up": given}
        for role, placement in state.placements.items()
        if (given := state.given.get(role, 0)) > placement.epoch
        or (given > 0 and not state.site.roles[role].needs_fence)
        if role not in state.takeovers or not state.site.roles[role].needs_fence
    }


def loaded(written: str) -> Kept:
    """What `text` has written; nothing where nothing was.

    Raises:
        ValueError: it is no such text.
    """
    with _told():
        kept = json.loads(written) if written else {}
        kept.keys()
    found: Kept = kept
    return found


@dataclass(frozen=True)
class Placed:
    """Server and epoch of a role's placement, and the highest epoch that was given."""

    server: str | None
    epoch: int
    given: int


def placed(kept: Kept, role: str, stored: tuple[str | None, int]) -> Placed:
    """As it is stored, server and epoch, unless the memory knows better (`stays`).

    Raises:
        ValueError: it was not written by `text`.
    """
    with _told():
        stay = kept.get("stays", {}).get(role)
        if stay is None or stored[1] > stay["given_up"]:  # a later change was stored
            return Placed(*stored, given=stored[1])
        return Placed(stay["server"], int(stay["epoch"]), given=int(stay["given_up"]))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the engine's memory cannot be read: {error!r}") from error


def restored(state: State, kept: Kept, now: float) -> State:
    """A starting state with what was kept; of roles and servers that the site has no longer
    nothing is taken.

    Raises:
        ValueError: it was not written by `text`.
    """
    with _told():
        state = _proven(_restored(state, kept, now))
    return replace(state, kept=_parts(state), kept_at=now)


def _restored(state: State, kept: Kept, now: float) -> State:
    roles, servers = state.site.roles, state.site.network.servers
    return replace(
        state,
        disabled=frozenset(kept.get("disabled", ())) & servers.keys(),
        fenced={
            server: Fenced(now, str(fence["boot"]), Proof(fence["proof"]))
            for server, fence in kept.get("fenced", {}).items()
            if server in servers
        },
        hold_downs={
            role: HoldDown(now + float(down["left"]), float(down["pause"]))
            for role, down in kept.get("hold_downs", {}).items()
            if role in roles
        },
        failures={
            (each["role"], each["server"]): Failure(
                int(each["count"]),
                int(each["standing"]),
                now - float(each["ago"]),
                now + float(each["left"]),
                float(each["pause"]),
                str(each["boot"]),
            )
            for each in kept.get("failures", ())
            if each["role"] in roles and each["server"] in servers
        },
        rests={
            role: Rest(int(rest["moves"]), now + float(rest["left"]))
            for role, rest in kept.get("rests", {}).items()
            if role in roles
        },
    )


def _proven(state: State) -> State:
    """What proved a fenced server off proves it still: what it was given since with another boot is
    entered, and on disk, before it is given."""

    def known(server: str, holder: Holder) -> Holder:
        fence = state.fenced.get(server)
        same = holder.whose is Whose.NOBODY or (
            fence is not None and holder.whose is Whose.BOOT and holder.boot == fence.boot
        )
        return replace(holder, proof=fence.proof) if fence is not None and same else holder

    holders = {
        role: {server: known(server, holder) for server, holder in entries.items()}
        for role, entries in state.holders.items()
    }
    return replace(state, holders=holders)


def pend(turn: Turn, request: Requested) -> None:
    """Let a kept request wait until it is on disk."""
    turn.update(pending=(*turn.state.pending, Pending(request)))
