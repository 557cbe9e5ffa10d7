"""From one sight to another, as `sight` draws it: rules that the engine applies to every segment
with a prober, whatever has happened."""

from __future__ import annotations

from hactrl.engine.effects import JudgeAnew, Obstacle, Reason, by_reason
from hactrl.engine.events import ProberSight
from hactrl.engine.sight import ANEW, Key, before, cannot_ask, nobody_answers, of_segment
from hactrl.engine.state import Health, Sight, SightPhase, State
from hactrl.engine.turn import Turn, with_item, without
from hactrl.site.model import Probed, Site
from hactrl.vocabulary import EntryKind, Verdict

#: Seconds from the start of a controller until its prober probes.
START_UP = 3.0

#: Seconds that judging anew may take longer than probes last.
SLACK = 1.0


def starting(site: Site, now: float) -> dict[str, Sight]:
    """The sights of a controller that starts."""
    return {
        segment: Sight(SightPhase.STARTING, now, until=now + START_UP + _within(probed))
        for segment, probed in site.probed.items()
    }


def told(turn: Turn, event: ProberSight) -> None:
    """The prober goes on judging, or does not."""
    turn.update(prober_silent=event.silent, late=event.late)


def look(turn: Turn) -> None:
    """Go blind, see again, and stop waiting for what was to be judged."""
    for segment, probed in turn.state.site.probed.items():
        why = _blinded_by(turn.state, segment)
        sight = turn.state.sights.get(segment)
        if why:
            _go_blind(turn, segment, why)
        elif sight is None:
            continue
        elif sight.phase is SightPhase.BLIND:
            _judge_anew(turn, segment, sight)
        elif sight.phase is not SightPhase.MUTE and _all_judged(turn, probed, sight):
            _see(turn, segment, sight)


def heard(turn: Turn, segment: str) -> None:
    """A verdict has changed: nobody may answer any longer on its segment, or somebody again."""
    probed = turn.state.site.probed.get(segment, ())
    sight = turn.state.sights.get(segment)
    if sight is None:
        _look_for_answers(turn, segment, probed)
    elif sight.phase is SightPhase.MUTE and not nobody_answers(turn.state, probed):
        _judge_anew(turn, segment, sight)


def _blinded_by(state: State, segment: str) -> tuple[Obstacle, ...]:
    prober = state.site.network.segments[segment].prober
    if state.prober_silent:
        return (Obstacle(Reason.PROBER_SILENT, segment),)
    if prober is not None and not state.port_up(prober.attachment):
        return (Obstacle(Reason.PROBER_PORT_DOWN, segment, str(prober.attachment)),)
    return ()


def _go_blind(turn: Turn, segment: str, why: tuple[Obstacle, ...]) -> None:
    sight = turn.state.sights.get(segment)
    if sight is not None and sight.phase is SightPhase.BLIND and sight.why == why:
        return
    since = turn.now if sight is None or sight.phase is SightPhase.STARTING else sight.since
    known = _known(turn.state, segment)
    _put(turn, segment, Sight(SightPhase.BLIND, since, why, before=known))
    turn.record(EntryKind.PROBER_BLIND, segment=segment, **by_reason(why))


def _judge_anew(turn: Turn, segment: str, sight: Sight) -> None:
    state = turn.state
    probed = state.site.probed[segment]
    known = sight.before if sight.phase is SightPhase.BLIND else _known(state, segment)
    health = {role: dict(own) for role, own in state.health.items()}
    for each in probed:
        if state.found(*each.key) is not None:
            forgotten = Health(Verdict.UNKNOWN, ANEW, turn.now)
            health[each.role][each.service, each.card] = forgotten
    number = state.rounds.get(segment, 0) + 1
    turn.update(health=health, rounds=with_item(state.rounds, segment, number))
    until = turn.now + SLACK + _within(probed)
    _put(turn, segment, Sight(SightPhase.ANEW, sight.since, until=until, before=known))
    turn.do(JudgeAnew(segment, number))


def _all_judged(turn: Turn, probed: tuple[Probed, ...], sight: Sight) -> bool:
    """Or time for it is up."""
    state = turn.state
    judged = all(
        cannot_ask(state, each)
        or ((found := state.found(*each.key)) and found.verdict is not Verdict.UNKNOWN)
        for each in probed
    )
    return judged or turn.reached(sight.until)


def _see(turn: Turn, segment: str, sight: Sight) -> None:
    probed = turn.state.site.probed[segment]
    turn.update(sights=without(turn.state.sights, segment))
    if sight.phase is SightPhase.ANEW:
        turn.record(EntryKind.PROBER_SEES, segment=segment, seconds=turn.now - sight.since)
    elif missing := of_segment(turn.state, segment, probed, turn.now):
        turn.record(EntryKind.PROBER_UNJUDGED, segment=segment, **by_reason(missing))
    _look_for_answers(turn, segment, probed)


def _look_for_answers(turn: Turn, segment: str, probed: tuple[Probed, ...]) -> None:
    if nobody_answers(turn.state, probed):
        _put(turn, segment, Sight(SightPhase.MUTE, turn.now))
        turn.record(EntryKind.PROBER_MUTE, segment=segment)


def _known(state: State, segment: str) -> dict[Key, Verdict]:
    keys = (each.key for each in state.site.probed[segment])
    return {key: found for key in keys if (found := before(state, segment, key)) is not None}


def _put(turn: Turn, segment: str, sight: Sight) -> None:
    turn.update(sights=with_item(turn.state.sights, segment, sight))


def _within(probed: tuple[Probed, ...]) -> float:
    return max((each.within for each in probed), default=0.0)
