"""What is remembered of servers that failed at a role, so that nothing is tried for ever.

A server that was left because it served ill, or to which a move did not succeed, is expected to
do as ill again (`expected`), whatever it promises as a standby: a role is not brought there from
a server that does no worse. That ends

- by a new boot of the server, or an operator (`hactl retry ROLE`, or a move that succeeds);
- by a better sign than the one it failed with, if our own move has not caused it: of a role that
  owns something a standby shows none, because 'try again later' is all that it can say;
- by a pause, which doubles with each failure from `failback_hold` up to a day. Then it may be
  tried once more, and when it has done nothing wrong for an hour all is forgotten.

A role that has moved several times without an hour's quiet also rests (`Rest`): it goes back to
where it has failed only after a time that grows to an hour. Moves to servers that have not failed,
and away from one that is gone, never wait for that. So a fault that lasts causes five moves in its
first hour at most, and two in each later one.
"""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.roles.candidates import obstacles
from hactrl.engine.roles.standing import Standing, standing_of_candidate
from hactrl.engine.state import Failure, HoldDown, Rest, State
from hactrl.engine.turn import Turn, with_item
from hactrl.vocabulary import EntryKind

#: Seconds: the longest pause before what failed is tried again.
LONGEST_PAUSE = 86400.0

#: Seconds without a failure, after the pause, that make a failure forgotten; likewise moves.
FORGOTTEN_AFTER = 3600.0

#: Seconds of rest after the first, second, ... move without an hour's quiet, and all later ones.
RESTS = (0.0, 10.0, 60.0, 600.0, 3600.0)


def remember(turn: Turn, role: str, server: str, standing: Standing) -> None:
    """Note that a server has failed at a role, and how."""
    known = turn.state.failures.get((role, server))
    count = known.count + 1 if known else 1
    hold = turn.state.site.timers.failback_hold
    pause = min(hold * 2 ** min(count - 1, 32), max(hold, LONGEST_PAUSE))
    agent = turn.state.agents.get(server)
    boot = agent.boot if agent else ""
    failure = Failure(count, standing, turn.now, turn.now + pause, pause, boot)
    turn.update(failures=with_item(turn.state.failures, (role, server), failure))
    turn.record(
        EntryKind.ROLE_FAILED,
        role,
        server=server,
        standing=standing.name.lower(),
        count=count,
        pause=pause,
    )


def expected(turn: Turn, role: str, server: str) -> Standing:
    """How well a candidate would do: as well as it looks, and no better than it did last time."""
    looks = standing_of_candidate(turn.state, role, server)
    failure = turn.state.failures.get((role, server))
    if failure is None or turn.reached(failure.until):
        return looks
    return min(looks, Standing(failure.standing))


def failed_before(turn: Turn, role: str, server: str) -> bool:
    """Is a failure of this server still held against it?"""
    failure = turn.state.failures.get((role, server))
    return failure is not None and not turn.reached(failure.until)


def rests(turn: Turn, role: str, target: str) -> bool:
    """Has the role moved so often that it must not go back to this server yet?"""
    rest = turn.state.rests.get(role)
    if rest is None or turn.reached(rest.until):
        return False
    return (role, target) in turn.state.failures


def note_move(turn: Turn, role: str) -> None:
    """The role has changed its server by itself."""
    known = turn.state.rests.get(role)
    moves = known.moves + 1 if known else 1
    until = turn.now + RESTS[min(moves, len(RESTS)) - 1]
    turn.update(rests=with_item(turn.state.rests, role, Rest(moves, until)))


def hold_down(turn: Turn, role: str) -> None:
    """Move the role by itself only after a pause, which doubles from one such to the next."""
    timers = turn.state.site.timers
    last = turn.state.hold_downs.get(role)
    pause = timers.retry_pause
    if last is not None and turn.now < last.until + timers.failback_hold:
        pause = min(last.pause * 2, timers.failback_hold)
    down = HoldDown(turn.now + pause, pause)
    turn.update(hold_downs=with_item(turn.state.hold_downs, role, down))


def forgiven(state: State, role: str, server: str | None = None) -> State:
    """The state in which nothing is held against a server, or against any of them, in a role."""
    return replace(
        state,
        failures={
            key: failure
            for key, failure in state.failures.items()
            if key[0] != role or server not in (None, key[1])
        },
        rests={name: rest for name, rest in state.rests.items() if name != role},
        hold_downs={name: down for name, down in state.hold_downs.items() if name != role},
    )


def expire(turn: Turn) -> None:
    """Forget what time, a new boot or a better sign has put right."""
    state = turn.state
    for (role, server), failure in state.failures.items():
        agent = state.agents.get(server)
        started_anew = agent is not None and failure.boot not in ("", agent.boot)
        if started_anew or turn.reached(failure.until + FORGOTTEN_AFTER):
            _replace(turn, role, server, None)
        elif turn.now < failure.until and _does_better(turn, role, server, failure):
            _replace(turn, role, server, replace(failure, until=turn.now))
    rests = {
        role: rest
        for role, rest in state.rests.items()
        if not turn.reached(rest.until + FORGOTTEN_AFTER)
    }
    if len(rests) != len(state.rests):
        turn.update(rests=rests)
    hold = state.site.timers.failback_hold
    hold_downs = {
        role: down for role, down in state.hold_downs.items() if not turn.reached(down.until + hold)
    }
    if len(hold_downs) != len(state.hold_downs):
        turn.update(hold_downs=hold_downs)


def _replace(turn: Turn, role: str, server: str, failure: Failure | None) -> None:
    failures = dict(turn.state.failures)
    del failures[role, server]
    if failure is not None:
        failures[role, server] = failure
    turn.update(failures=failures)


def _does_better(turn: Turn, role: str, server: str, failure: Failure) -> bool:
    """A sign that does not come from our having left the server. A standby of a role that owns
    something gives none, and the server that has the role needs none."""
    state = turn.state
    if state.site.roles[role].needs_fence or state.placements[role].server == server:
        return False
    if role in state.takeovers or obstacles(state, role, server):
        return False
    return standing_of_candidate(state, role, server) > failure.standing
