"""What the probers can see, and what their verdicts are worth meanwhile.

A verdict is worth something only while somebody goes on judging. Each segment with a prober is
judged as usual, or has a `Sight` that says why not:

    STARTING ──────────────► as usual ◄───────── ANEW ◄──┐
    (nothing judged yet)      │     │              ▲     │ somebody answers
                              ▼     ▼              │     │
                            BLIND  MUTE ───────────┼─────┘
                              └────────────────────┘ sees again

BLIND: the prober's process is silent, or its port is down. Its verdicts are unknown, nobody is
left or refused because of one, and what agents say decides alone.

MUTE: nobody on the segment answers in time. Either the prober's way is cut or everybody is down;
verdicts count, because a role stays anyway where nobody does better. But when somebody answers
again, whoever's probes recover first must not win by that.

ANEW: after both, all verdicts are forgotten and the prober is told to begin again (`JudgeAnew`).
No service counts as failing before all have been judged, or for as long as that takes at most;
nobody takes a role whose services have not been judged. `judging` has the rules that go from one
to the other.

A single card that the prober cannot ask through (no address to ask from, no network card) does
not make its segment blind: only that card's verdicts mean nothing; see `cannot_ask`.
"""

from __future__ import annotations

from collections.abc import Iterator

from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.state import Health, SightPhase, State
from hactrl.site.model import Probed
from hactrl.vocabulary import Verdict

#: What a prober says that can learn nothing, for a reason of its own.
OWN_FAULTS = {
    "no_address": Reason.PROBER_NO_ADDRESS,
    "no_card": Reason.PROBER_NO_CARD,
    "local_fault": Reason.PROBER_FAULT,
}

#: What a prober says of who answers, but later than a probe waits.
SLOW = "slow"

#: What is found where nobody answers in time. Somebody who is slow does not end that: patient
#: dialogues end one after another, and whoever's ends first must not win by that either.
SILENCE = frozenset({"timeout", "silent", "hangs", "unreachable", SLOW})

#: The reason of a verdict that has been forgotten, to be judged anew.
ANEW = "judged_anew"

Key = tuple[str, str, str]


def blind(state: State, segment: str) -> bool:
    """Do the segment's probes mean nothing now?"""
    sight = state.sights.get(segment)
    return sight is not None and sight.phase is SightPhase.BLIND


def being_judged(state: State, segment: str) -> bool:
    """Has sight just come back, and is not everybody judged yet?"""
    sight = state.sights.get(segment)
    return sight is not None and sight.phase is SightPhase.ANEW


def unseen(state: State, role: str) -> bool:
    """Is what is known of the role's services too little for a move that is not needed?"""
    return any(
        blind(state, segment) or being_judged(state, segment)
        for segment in state.site.roles[role].segments
    )


def cannot_ask(state: State, probed: Probed) -> bool:
    """Can the prober ask nothing through this card, or has not asked for too long?"""
    if not probed.asked or probed.key in state.late:
        return True
    found = state.found(*probed.key)
    return found is not None and found.verdict is Verdict.UNKNOWN and found.word in OWN_FAULTS


def obstacles(state: State, now: float) -> tuple[Obstacle, ...]:
    """All that is relied on and not seen now."""
    return tuple(
        obstacle
        for segment, probed in state.site.probed.items()
        for obstacle in of_segment(state, segment, probed, now)
    )


def of_role(state: State, role: str, now: float) -> tuple[Obstacle, ...]:
    """Those that concern one role."""
    return tuple(
        obstacle
        for segment, probed in state.site.probed.items()
        if (own := tuple(each for each in probed if each.role == role))
        for obstacle in of_segment(state, segment, own, now)
    )


def of_segment(
    state: State, segment: str, probed: tuple[Probed, ...], now: float
) -> tuple[Obstacle, ...]:
    """Those of some of a segment's services and cards."""
    return tuple(dict.fromkeys(_of_segment(state, segment, probed, now)))


def _of_segment(
    state: State, segment: str, probed: tuple[Probed, ...], now: float
) -> Iterator[Obstacle]:
    sight = state.sights.get(segment)
    if sight is not None and sight.phase is SightPhase.BLIND:
        yield from sight.why
        return
    if sight is not None and sight.phase is SightPhase.MUTE:
        yield Obstacle(Reason.PROBER_HEARS_NOBODY, segment)
    elif sight is not None and sight.phase is SightPhase.ANEW:
        yield Obstacle(Reason.JUDGED_ANEW, segment)
        return
    patient = sight is not None and now < sight.until
    for each in probed:
        if (obstacle := _unjudged(state, segment, each, patient)) is not None:
            yield obstacle


def _unjudged(state: State, segment: str, probed: Probed, patient: bool) -> Obstacle | None:
    """Why one target is not judged; None if it is, or has still time."""
    if not probed.asked:
        return Obstacle(Reason.PROBER_NO_ADDRESS, segment, probed.card)
    if probed.key in state.late:
        return Obstacle(Reason.NOT_JUDGED, probed.service, probed.card)
    found = state.found(*probed.key)
    if found is not None and found.verdict is not Verdict.UNKNOWN:
        return None
    reason = OWN_FAULTS.get(found.word) if found is not None else None
    if reason is Reason.PROBER_NO_CARD:
        prober = state.site.network.segments[segment].prober
        assert prober is not None, "what is probed has a prober"
        return Obstacle(reason, segment, prober.mac)
    if reason is not None:
        return Obstacle(reason, segment, probed.card)
    return None if patient else Obstacle(Reason.NOT_JUDGED, probed.service, probed.card)


def before(state: State, segment: str, key: Key) -> Verdict | None:
    """What was judged last, also if that has been forgotten since."""
    found = state.found(*key)
    if found is not None and found.reason == ANEW and segment in state.sights:
        return state.sights[segment].before.get(key)
    return None if found is None else found.verdict


def nobody_answers(state: State, probed: tuple[Probed, ...]) -> bool:
    """Everybody who was asked has been silent."""
    silent = [each for each in probed if not cannot_ask(state, each)]
    return bool(silent) and all(
        (found := state.found(*each.key)) is not None
        and found.verdict is Verdict.UNHEALTHY
        and found.word in SILENCE
        for each in silent
    )


def slow(found: Health | None) -> bool:
    """Does somebody answer, but later than a probe waits?"""
    return found is not None and found.word == SLOW
