"""The engine: which server plays which role, and what must be done for it.

    event ─► facts ─► ┌─ deadlines, leases ─► takeovers ─► new takeovers ─► tidying ─┐ ─► effects
                      └──────────────── until nothing changes ◄──────────────────────┘

`decide` takes one event into the facts (`facts.NOTE`), and then goes round a few rules until
none of them changes anything. The rules look at what is, never at what has just happened, so
it does not matter in which order events came, or that the controller was started between two of
them. The earliest moment at which a rule could answer otherwise becomes the next `Wake`.

**What is watched.** A role's server fails (`candidates.failings`) when no card of it on one of
the role's segments has a live port, or all are cut off from users; when another server reaches
more of them (`reach`); when its agent says that a daemon of the role has ended; when a service
answers on none of its live cards; when it is fenced; when it has lost what the role owns (released,
rebooted, lease ended); or when the operator disabled it. Losing the agent, a switch or the prober
(`sight`) is losing sight, not the server. One bad card only changes the order of cards.

**When it moves.** At once, to the server that would serve it best (`standing`), and only to one
that would do better than its own: it stays where it is when nobody could. Then `State.waiting`
says why. Who has failed is expected to fail again (`failures`), until there is a reason to think
better of it. What only probes have seen must last one probe interval: by then a fault of the
prober or of a whole segment shows on the other candidates too. A server that has only lost its
resource gets it again. After an automatic move, and after a failed one, the role is held down for
a pause that doubles up to `failback_hold`, so that flapping settles. An operator's move that
succeeds ends all that: somebody has looked, and the next fault is a new one.

**How it moves.** Step by step (`steps.STEPS`), each with its deadline and way back:

    STORE   the new epoch is on disk
    FENCE   the role's addresses are shut at once, and every proof is sought in parallel that
            nobody uses what the role owns: release, power, end of lease (`ownership`)
    ASSUME  the new owner takes it
    SERVE   its services answer through its own cards
    STEER   the switches send users there

A planned move of what is served well begins only when nothing is seen that would bring it to a halt
meanwhile, and when owner and target have given a sign of life (`caution`).

A role that owns nothing begins at SERVE: its daemons run everywhere, a switch may have moved it
already, and nobody needs to hear of its epoch, so that the disk can be written meanwhile.

**What an operator's request may do.** It never cuts the power of a server that is well; when
the old server does not let go, it gets the role back.

**Who comes back.** A server proven off stays fenced until its agent speaks after a new boot. An
agent that has a role which is another's is asked to release it. One that has a role at a higher
epoch than ours, while ours is held by nobody, is right: the store was lost, and we adopt it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hactrl.engine import absence, doubts, judging, memory, sight
from hactrl.engine.backbone import learning
from hactrl.engine.effects import (
    Effect,
    KeepHosts,
    Obstacle,
    Reason,
    StorePlacement,
    Wake,
    by_reason,
)
from hactrl.engine.events import Event, Requested, Tick
from hactrl.engine.facts import NOTE, expire_asks
from hactrl.engine.outlook import outlook
from hactrl.engine.requests import requested, settle_pending
from hactrl.engine.roles import caution, failures, leases, ownership
from hactrl.engine.roles.candidates import (
    confirmed_at,
    failings,
    gives_users_more,
    holding,
    obstacles,
    obstacles_again,
    serving,
)
from hactrl.engine.roles.fencing import ask_release
from hactrl.engine.roles.standing import (
    UNWANTED,
    Standing,
    standing_of_candidate,
    standing_of_owner,
)
from hactrl.engine.roles.takeover import advance, start
from hactrl.engine.state import Ask, AskKind, Placement, State
from hactrl.engine.turn import Turn, with_item, without
from hactrl.site.model import Role, Site
from hactrl.vocabulary import EntryKind, Holding
from topology.model import Host

#: More rounds than any event can need; going beyond is a defect, never a load.
MOST_ROUNDS = 100

#: What the placement's own server can put right by taking the role again.
LOST_RESOURCE = frozenset({Reason.NOT_HELD, Reason.SERVICE_UNHEALTHY})


def initial(
    site: Site,
    stored: Mapping[str, tuple[str, int]],
    now: float,
    hosts: Iterable[Host] = (),
    remembered: str = "",
    *,
    lease_ends: Mapping[str, float] | None = None,
) -> State:
    """The state of a controller that starts. `stored`: server and epoch of each role's last
    placement, as far as the store knows any that the site still has; `hosts`: those that were
    known; `remembered`: what `Remember` carried last; `lease_ends`: what `leases.ends` said last,
    as far as that is certain.

    Raises:
        ValueError: what was remembered cannot be read.
    """
    kept = memory.loaded(remembered)
    entered = kept.get("entered")
    placements, epochs, holders = {}, {}, {}
    for role in site.roles.values():
        last = stored.get(role.name, (None, 0))
        known = memory.placed(kept, role.name, last)
        placements[role.name] = _placed(role, known.server, known.epoch, now)
        epochs[role.name] = known.given
        if role.needs_fence:
            holders[role.name] = ownership.at_start(
                role,
                _placed(role, last[0], last[1], now),
                site.timers.lease_margin,
                None if entered is None else entered.get(role.name, {}),
                (lease_ends or {}).get(role.name),
            )
    state = State(
        site=site,
        started=now,
        running_since=now,
        placements=placements,
        epochs=epochs,
        given=dict(epochs),
        holders=holders,
        sights=judging.starting(site, now),
    )
    state = replace(state, host_table=learning.remembered(state, hosts))
    state = memory.restored(state, kept, now)
    return replace(state, outlook=outlook(state))


def _placed(role: Role, server: str | None, epoch: int, now: float) -> Placement:
    """Where a role begins, if this is known of it: a role that owns nothing is always somewhere."""
    if server not in role.servers:
        server = None if role.needs_fence else role.servers[0]
    return Placement(server, epoch, now)


def decide(state: State, event: Event, now: float) -> tuple[State, tuple[Effect, ...]]:
    """Take in one event. Pure: the same state, event and time give the same answer."""
    turn = Turn(state, now)
    absence.note(turn)
    if isinstance(event, Requested):
        _look_round(turn)  # with what time has brought, before an operator's wish
        requested(turn, event)
    elif not isinstance(event, Tick):
        NOTE[type(event)](turn, event)
    _look_round(turn)
    if turn.state.host_table.hosts is not state.host_table.hosts:
        turn.do(KeepHosts(tuple(turn.state.host_table.hosts.values())))
    memory.keep(turn)
    turn.refresh_version()
    _set_wake(turn, isinstance(event, Tick))
    return turn.state, tuple(turn.effects)


def _look_round(turn: Turn) -> None:
    for _ in range(MOST_ROUNDS):
        before = turn.state
        turn.moments.clear()
        settle_pending(turn)
        expire_asks(turn)
        leases.expire_leases(turn)
        doubts.confirm(turn)
        learning.expire(turn)
        failures.expire(turn)
        judging.look(turn)
        for role in turn.state.site.roles.values():
            if role.name in turn.state.takeovers:
                advance(turn, role.name)
            else:
                _adopt(turn, role)
                _tidy(turn, role)
                _consider(turn, role)
        if turn.state is before:
            return
    raise AssertionError(f"rules of the engine do not come to rest: {turn.effects[-10:]}")


def _consider(turn: Turn, role: Role) -> None:
    """Begin a takeover if the role needs one and somebody could do better."""
    _note_served(turn, role)
    state, name = turn.state, role.name
    live = state.placements[name].server
    reasons = failings(state, name, live) if live else (Obstacle(Reason.NOT_PLACED, name),)
    if not reasons:
        _note_waiting(turn, name, ())
        _fail_back(turn, role)
        return
    if live is not None and not turn.reached(confirmed_at(state, name, live)):
        return
    target, hindrances = _choose(turn, role, live, reasons)
    planned = all(o.reason in UNWANTED for o in reasons)
    if target is None:
        _note_waiting(turn, name, tuple(dict.fromkeys((*reasons, *hindrances))))
    elif held_down(turn, name):
        _note_waiting(turn, name, (*reasons, Obstacle(Reason.HELD_DOWN, name)))
    elif _awaits_preferred(turn, role, target):
        _note_waiting(turn, name, (*reasons, Obstacle(Reason.AWAITS_PREFERRED, role.servers[0])))
    elif planned and (unready := caution.unready(state, name, target)):
        _note_waiting(turn, name, (*reasons, *unready))
    else:
        _note_waiting(turn, name, ())
        _remember_owner(turn, name, live)
        start(turn, name, target, reasons[0].reason.value, planned=planned)


def _remember_owner(turn: Turn, role: str, live: str | None) -> None:
    """What served ill is remembered; that a server is gone is seen at once when it is back."""
    if live is None:
        return
    standing = standing_of_owner(turn.state, role, live)
    if Standing.GONE < standing < Standing.WELL:
        failures.remember(turn, role, live, standing)


def _note_served(turn: Turn, role: Role) -> None:
    state, name = turn.state, role.name
    live = state.placements[name].server
    if name not in state.served and live is not None and serving(state, name, live):
        turn.update(served=state.served | {name})


def _awaits_preferred(turn: Turn, role: Role, target: str) -> bool:
    """On a cold start, with nothing ever placed, whole sites boot: a role then waits a while for
    its preferred server, and for who is ready, before another gets it. Who has served has come
    up."""
    cold = turn.state.placements[role.name].epoch == 0 and role.name not in turn.state.served
    patience = turn.state.started + turn.state.site.timers.startup_patience
    best = target == role.servers[0] and not obstacles(turn.state, role.name, target)
    return cold and not best and not turn.reached(patience)


def _choose(
    turn: Turn, role: Role, live: str | None, reasons: tuple[Obstacle, ...]
) -> tuple[str | None, tuple[Obstacle, ...]]:
    """Who should have the role, or why nobody: its own server, if that lost only the resource;
    else the best other, if that would do better; else, for an owner, its own server once more."""
    state, name = turn.state, role.name
    again = obstacles_again(state, name, live) if live is not None else ()
    own = live is not None and role.needs_fence and not again
    what = {o.reason for o in reasons}
    if own and Reason.NOT_HELD in what and what <= LOST_RESOURCE:
        return live, ()
    now = standing_of_owner(state, name, live) if live else Standing.GONE
    others = [server for server in role.servers if server != live]
    hindrances = {server: _hindrances(turn, role, server, now) for server in others}
    able = [server for server in others if not hindrances[server]]
    if able:
        return max(able, key=lambda server: failures.expected(turn, name, server)), ()
    if own and what & {Reason.NOT_HELD, Reason.ROLE_FAILED}:
        return live, ()
    unproven = (o for o in again if o.reason is Reason.NO_PROOF)  # what only a person can end
    return None, (*unproven, *(o for server in others for o in hindrances[server]))


def _hindrances(turn: Turn, role: Role, server: str, now: Standing) -> tuple[Obstacle, ...]:
    """Why a role that stands at `now` does not go to this server. WELL: it is only unwanted where
    it is, and is interrupted for a server that lacks nothing and has not failed."""
    state, name = turn.state, role.name
    found = obstacles(state, name, server)
    looks = standing_of_candidate(state, name, server)
    if now is Standing.WELL:
        live = state.placements[name].server
        if found or failures.failed_before(turn, name, server):
            return found or (Obstacle(Reason.FAILED_BEFORE, server),)
        if live is not None and not gives_users_more(state, role, server, live):
            return (Obstacle(Reason.NOT_BETTER, server),)
    elif looks <= now:
        return found or (Obstacle(Reason.NOT_BETTER, server),)
    elif failures.expected(turn, name, server) <= now:
        return (Obstacle(Reason.FAILED_BEFORE, server),)
    if now is not Standing.GONE and failures.rests(turn, name, server):
        return (Obstacle(Reason.RESTS, server),)
    return ()


def _note_waiting(turn: Turn, role: str, reasons: tuple[Obstacle, ...]) -> None:
    if turn.state.waiting.get(role, ()) == reasons:
        return
    if reasons:
        turn.update(waiting=with_item(turn.state.waiting, role, reasons))
        turn.record(EntryKind.ROLE_WAITING, role, **by_reason(reasons))
    else:
        turn.update(waiting=without(turn.state.waiting, role))


def held_down(turn: Turn, role: str) -> bool:
    """Has the role moved, or failed to move, so lately that it must not move by itself yet?"""
    hold_down = turn.state.hold_downs.get(role)
    return hold_down is not None and not turn.reached(hold_down.until)


def _fail_back(turn: Turn, role: Role) -> None:
    """Return to the preferred server once it has been able to take the role for long enough: for
    `failback_hold`, or, if it has failed, without interruption for as long as its pause."""
    name, preferred = role.name, role.servers[0]
    away = turn.state.placements[name].server != preferred
    unfit = (
        sight.unseen(turn.state, name)
        or obstacles(turn.state, name, preferred)
        or caution.unready(turn.state, name, preferred)
    )
    if role.failback != "automatic" or not away or unfit:
        if name in turn.state.ready_since:
            turn.update(ready_since=without(turn.state.ready_since, name))
        return
    since = turn.state.ready_since.get(name)
    if since is None:
        turn.update(ready_since=with_item(turn.state.ready_since, name, turn.now))
        since = turn.now
    failure = turn.state.failures.get((name, preferred))
    hold = max(turn.state.site.timers.failback_hold, failure.pause if failure else 0.0)
    at_rest = failures.rests(turn, name, preferred) or held_down(turn, name)
    if turn.reached(since + hold) and not at_rest:
        turn.update(ready_since=without(turn.state.ready_since, name))
        start(turn, name, preferred, "failback", planned=True)


def _adopt(turn: Turn, role: Role) -> None:
    """An agent has the role at an epoch above the placement's: the store was behind, or the agent
    was late. Once the role has been served nobody can know of an epoch that we have not given."""
    if not role.needs_fence:
        return
    state, name = turn.state, role.name
    placement = state.placements[name]
    for server in role.servers:
        if holding(state, name, server) is not Holding.HELD:
            continue
        epoch = state.agents[server].roles[name].epoch
        foreign = server != placement.server and epoch > state.given.get(name, 0)
        if foreign and name in state.served:
            continue
        if epoch > placement.epoch and epoch == state.epochs[name]:
            turn.update(
                placements=with_item(state.placements, name, Placement(server, epoch, turn.now))
            )
            deadline = turn.now + state.site.timers.fence_deadline
            ask = Ask(AskKind.STORE, server, name, epoch, deadline)
            turn.do(StorePlacement(turn.start_ask(ask), name, server, epoch))
            turn.record(EntryKind.PLACEMENT_ADOPTED, name, server=server, epoch=epoch)
            return


def _tidy(turn: Turn, role: Role) -> None:
    """Whoever says that it has what is another's is asked to let go."""
    if not role.needs_fence:
        return
    live = turn.state.placements[role.name].server
    for server in role.servers:
        said = holding(turn.state, role.name, server)
        if server != live and said not in (None, Holding.NOTHING):
            ask_release(turn, role.name, server, turn.state.epochs[role.name])


def _set_wake(turn: Turn, woken: bool) -> None:
    at = min(turn.moments, default=None)
    if at is not None and (woken or at != turn.state.wake):
        turn.do(Wake(at))
    if at != turn.state.wake:
        turn.update(wake=at)
