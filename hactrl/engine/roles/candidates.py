"""Why a server cannot take a role, or cannot go on with it: the reasons, as values.

`obstacles` is the one answer to "why not there?", used alike by engine, API and journal.
`failings` is the answer to "why not any longer?" for the server that has the role. Both are
lists of the same small checks:

                      taking it   taking it again   going on
    disabled               x                            x
    fenced                 x              x             x
    no live interface      x              x             x
    cut off from users     x              x             x
    reaches fewer          x                            x
    agent missing          x (owns)       x (owns)
    former boot unproven   x (owns)       x (owns)
    role failed            x                            x
    not held                                            x (owns)
    services               x (ready)                    x (not unhealthy)

*Taking it again* is what the placement's own server does after it has lost the role's
resource, or what is left when nobody else can: its services are down because of that, and a
disabled server is better than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from hactrl.engine import sight, split
from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.once import once
from hactrl.engine.roles import ledger, reach
from hactrl.engine.state import AskKind, State
from hactrl.site.model import Role, Service
from hactrl.vocabulary import RANK, Holding, Verdict
from topology.model import Interface

Check: TypeAlias = Callable[[State, Role, str], Iterator[Obstacle]]

#: What a probe finds at once and needs no confirmation: somebody answered, and said no; or was
#: silent while others answered.
CERTAIN = frozenset({"refused", "reset", "silent", "hangs"})

#: What links between switches are the reason of.
SPLIT = frozenset({Reason.CUT_OFF, Reason.REACHES_FEWER})


def obstacles(state: State, role: str, server: str) -> tuple[Obstacle, ...]:
    """The reasons why `server` cannot take `role` now; empty if it can."""
    if misnamed := _misnamed(state, role, server):
        return (misnamed,)
    return _obstacles(state, role, server)


@once
def _obstacles(state: State, role: str, server: str) -> tuple[Obstacle, ...]:
    return _run(TAKING, state, role, server)


@once
def obstacles_again(state: State, role: str, server: str) -> tuple[Obstacle, ...]:
    """The reasons why the placement's own server cannot be given the role anew."""
    return _run(TAKING_AGAIN, state, role, server)


@once
def failings(state: State, role: str, server: str) -> tuple[Obstacle, ...]:
    """The reasons why `server`, which has the role, is not serving as it should."""
    return _run(GOING_ON, state, role, server)


def best(state: State, role: str, but: frozenset[str] = frozenset()) -> str | None:
    """The first server in order of preference that can take the role."""
    for server in state.site.roles[role].servers:
        if server not in but and not obstacles(state, role, server):
            return server
    return None


@once
def serving(state: State, role: str, server: str) -> bool:
    """Every service answers as a live one, through a live card of each of the role's segments."""
    wanted = state.site.roles[role]
    return not any(_no_live_interface(state, wanted, server)) and all(
        best_verdict(state, wanted, service, server) is Verdict.HEALTHY
        for service in probed_services(state, wanted, server)
    )


def confirmed_at(state: State, role: str, server: str) -> float:
    """When the present `failings` may be acted on (clock of `now`).

    Silence that only probes have seen, one after another, must last one probe interval, so that a
    fault of the prober or of the whole segment has time to show on the other candidates too; and a
    split until all switches have told of it. Everything else counts at once.
    """
    reasons = {obstacle.reason for obstacle in failings(state, role, server)}
    moments = []
    if reasons & SPLIT:
        segments = state.site.roles[role].segments
        moments.append(max(split.confirmed_at(state, segment) for segment in segments))
    if Reason.SERVICE_UNHEALTHY in reasons:
        moments.append(probes_confirmed_at(state, role, server))
    if reasons - SPLIT - {Reason.SERVICE_UNHEALTHY}:
        moments.append(0.0)
    return min(moments, default=0.0)


def probes_confirmed_at(state: State, role: str, server: str) -> float:
    """When what the probes have seen may be acted on, whatever else there is."""
    reasons = failings(state, role, server)
    names = {o.subject for o in reasons if o.reason is Reason.SERVICE_UNHEALTHY}
    wanted = state.site.roles[role]
    moments = [0.0]
    for service in wanted.services:
        if service.name in names:
            seen = [
                found
                for card in live_cards(state, wanted, server, service.segment)
                if (found := state.found(role, service.name, card.name))
            ]
            if any(found.word not in CERTAIN for found in seen):
                moments.append(max(found.since for found in seen) + service.probe.interval)
    return max(moments)


def live_cards(state: State, role: Role, server: str, segment: str) -> tuple[Interface, ...]:
    """The server's cards on a segment whose ports are up and where users are, the best first."""
    return _live_cards(state, role.name, server, segment)


@once
def _live_cards(state: State, role: str, server: str, segment: str) -> tuple[Interface, ...]:
    cards = state.site.cards(state.site.roles[role], server, segment)
    up = (card for card in cards if state.port_up(card.attachment))
    return tuple(card for card in up if reach.reaches_users(state, card))


def probed_services(state: State, role: Role, server: str) -> tuple[Service, ...]:
    """The services whose verdicts on this server mean something: those on segments whose prober
    sees, and can ask through one of the server's live cards at least."""
    return _probed_services(state, role.name, server)


@once
def _probed_services(state: State, name: str, server: str) -> tuple[Service, ...]:
    role = state.site.roles[name]
    return tuple(service for service in role.services if _means(state, role, service, server))


def _means(state: State, role: Role, service: Service, server: str) -> bool:
    """Do verdicts on this service say anything of this server?"""
    probed = state.site.probed_through(role.name, service.name, server)
    if not probed or sight.blind(state, service.segment):
        return False
    live = {card.name for card in live_cards(state, role, server, service.segment)}
    own = [each for each in probed if each.card in live]
    return not own or not all(sight.cannot_ask(state, each) for each in own)


def verdict(state: State, role: str, service: str, card: str) -> Verdict:
    """What was found last. A prober that cannot see knows nothing."""
    found = state.found(role, service, card)
    if found is None or sight.blind(state, state.site.segment_of(card)):
        return Verdict.UNKNOWN
    return found.verdict


def best_verdict(state: State, role: Role, service: Service, server: str) -> Verdict:
    """The best that a service shows through the server's live cards of its segment."""
    return max(
        (
            verdict(state, role.name, service.name, card.name)
            for card in live_cards(state, role, server, service.segment)
        ),
        key=RANK.__getitem__,
        default=Verdict.UNKNOWN,
    )


def card_works(state: State, role: Role, card: Interface) -> bool:
    """No service is known to be unhealthy through this card."""
    return not any(
        verdict(state, role.name, service.name, card.name) is Verdict.UNHEALTHY
        for service in probed_services(state, role, card.server)
        if service.segment == card.segment
    )


def holding(state: State, role: str, server: str) -> Holding | None:
    """What the server's agent says now; None when it is not connected."""
    agent = state.agents.get(server)
    if agent is None or not agent.connected:
        return None
    held = agent.roles.get(role)
    return held.holding if held else Holding.NOTHING


def connected(state: State, server: str) -> bool:
    agent = state.agents.get(server)
    return agent is not None and agent.connected


def all_ports_down(state: State, server: str) -> bool:
    cards = state.site.network.servers[server].interfaces
    return not any(state.port_up(card.attachment) for card in cards)


def _misnamed(state: State, role: str, server: str) -> Obstacle | None:
    if role not in state.site.roles:
        return Obstacle(Reason.UNKNOWN_ROLE, role)
    if server not in state.site.network.servers:
        return Obstacle(Reason.UNKNOWN_SERVER, server)
    if server not in state.site.roles[role].servers:
        return Obstacle(Reason.NOT_A_CANDIDATE, server)
    return None


def _run(checks: tuple[Check, ...], state: State, role: str, server: str) -> tuple[Obstacle, ...]:
    wanted = state.site.roles[role]
    return tuple(obstacle for check in checks for obstacle in check(state, wanted, server))


def _disabled(state: State, _role: Role, server: str) -> Iterator[Obstacle]:
    if server in state.disabled:
        yield Obstacle(Reason.SERVER_DISABLED, server)


def _fenced(state: State, _role: Role, server: str) -> Iterator[Obstacle]:
    if server in state.fenced or _being_cut(state, server):
        yield Obstacle(Reason.SERVER_FENCED, server)


@once
def _being_cut(state: State, server: str) -> bool:
    """Is its power being cut? Asked apart, because operations begin and end all the time."""
    return any(
        ask.kind is AskKind.POWER and ask.server == server and ask.outcome is None
        for ask in state.asks.values()
    )


def _no_live_interface(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    for segment in role.segments:
        if live_cards(state, role, server, segment):
            continue
        cards = state.site.cards(role, server, segment)
        at = {card.attachment.switch for card in cards if state.port_up(card.attachment)}
        if at:
            yield Obstacle(Reason.CUT_OFF, segment, " and ".join(sorted(at)))
        else:
            yield Obstacle(Reason.NO_LIVE_INTERFACE, segment)


def _reaches_fewer(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    """Than the server that has the role."""
    live = state.placements[role.name].server
    if live is not None and live != server:
        yield from _missed(state, role, server, live)


def _reaches_fewer_than_another(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    for other in role.servers:
        if missed := tuple(_missed(state, role, server, other)):
            yield from missed
            return


def gives_users_more(state: State, role: Role, server: str, live: str) -> bool:
    """Would a move from `live` be worth it, if nothing but its reach spoke for that?"""
    reasons = {obstacle.reason for obstacle in failings(state, role.name, live)}
    return reasons != {Reason.REACHES_FEWER} or any(_missed(state, role, live, server))


def _missed(state: State, role: Role, server: str, other: str) -> Iterator[Obstacle]:
    """Where users are that only the other one reaches, of two that could both be reached."""
    if not any(any(_no_live_interface(state, role, each)) for each in (server, other)):
        for switch in reach.missed(state, role.name, server, other):
            yield Obstacle(Reason.REACHES_FEWER, switch, other)


def _agent_missing(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    if role.needs_fence and not connected(state, server):
        yield Obstacle(Reason.AGENT_NOT_CONNECTED, server)


def _not_proven(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    if role.needs_fence and ledger.unprovable(state, role.name, server):
        yield Obstacle(Reason.NO_PROOF, server)


def _role_failed(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    if holding(state, role.name, server) is Holding.FAILED:
        yield Obstacle(Reason.ROLE_FAILED, server)


def _not_held(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    if not role.needs_fence:
        return
    holder = state.holders[role.name].get(server)
    gone = holder is not None and holder.proof is not None
    said = holding(state, role.name, server)
    if said is Holding.NOTHING and not ledger.vouches(state, role.name, server):
        # Another machine than the one that was given it, or the same started anew.
        said = Holding.NOTHING if any(_services_failing(state, role, server)) else None
    placement = state.placements[role.name]
    older = said is Holding.HELD and (
        placement.server == server and state.agents[server].roles[role.name].epoch < placement.epoch
    )
    if gone or older or said is Holding.NOTHING:
        yield Obstacle(Reason.NOT_HELD, server)


def may_own(state: State, role: Role, server: str) -> bool:
    """Does its agent say that it has what the role owns, or, while the agent is away, does nothing
    prove that it has not?"""
    said = holding(state, role.name, server)
    if not role.needs_fence or said is not None:
        return said is Holding.HELD
    holder = state.holders[role.name].get(server)
    return holder is not None and holder.proof is None


def _services_not_ready(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    """A standby without its resource says 'try again', which is as good as it can be; a role
    that owns nothing has no such excuse."""
    enough = RANK[Verdict.READY if role.needs_fence else Verdict.HEALTHY]
    for service in probed_services(state, role, server):
        found = best_verdict(state, role, service, server)
        if found is Verdict.UNKNOWN:
            yield Obstacle(Reason.SERVICE_UNKNOWN, service.name)
        elif RANK[found] < enough:
            yield Obstacle(Reason.SERVICE_UNHEALTHY, service.name)


def _services_failing(state: State, role: Role, server: str) -> Iterator[Obstacle]:
    """Unhealthy on every live card, or 'try again', unless it comes from a server that may own what
    the role needs: it may be busy or full, and is better than another. While
    all are being judged anew nobody fails: who is judged first must not lose, or win, by that."""
    for service in probed_services(state, role, server):
        if not live_cards(state, role, server, service.segment):
            continue
        if sight.being_judged(state, service.segment):
            continue
        found = best_verdict(state, role, service, server)
        unowned = not may_own(state, role, server)
        if found is Verdict.UNHEALTHY or (found is Verdict.READY and unowned):
            yield Obstacle(Reason.SERVICE_UNHEALTHY, service.name)


TAKING: tuple[Check, ...] = (
    _disabled,
    _fenced,
    _no_live_interface,
    _reaches_fewer,
    _agent_missing,
    _not_proven,
    _role_failed,
    _services_not_ready,
)
TAKING_AGAIN: tuple[Check, ...] = (_fenced, _no_live_interface, _agent_missing, _not_proven)
GOING_ON: tuple[Check, ...] = (
    _disabled,
    _fenced,
    _no_live_interface,
    _reaches_fewer_than_another,
    _role_failed,
    _not_held,
    _services_failing,
)
