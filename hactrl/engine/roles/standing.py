"""How well a server plays a role, or would: the one measure by which servers are compared.

    GONE < REFUSED < SILENT < TRY_AGAIN < SLOW < WELL

A role moves only to what is strictly better, so nobody is worse than somebody, and nothing moves
between equals. What a server has failed with is remembered (`engine.failures`), and counts until
there is a reason to think better of it.

**Where 'try again' stands** depends on whether the role owns something. A role that owns nothing
serves nobody while it says so, and that is worse than to serve slowly. Of a role that owns
something a standby cannot say more, however well it would do: it stands where SLOW does, above
an owner that is silent, and never above one that is slow, because what makes the owner slow (a
name server that is down) would make the standby slow too.
"""

from __future__ import annotations

from enum import IntEnum

from hactrl.engine.effects import Reason
from hactrl.engine.once import once
from hactrl.engine.roles.candidates import (
    failings,
    live_cards,
    may_own,
    obstacles,
    probed_services,
)
from hactrl.engine.state import Health, State
from hactrl.site.model import Role
from hactrl.vocabulary import Verdict


class Standing(IntEnum):
    """From worst to best. GONE: cannot have the role, or cannot be reached; REFUSED: somebody
    answers and says no, or a daemon has ended; SILENT: nobody answers; TRY_AGAIN: of a role that
    owns nothing, alive and not serving; SLOW: answers late."""

    GONE = 0
    REFUSED = 1
    SILENT = 2
    TRY_AGAIN = 3
    SLOW = 4
    WELL = 5


#: What a probe's reason says (`hactrl.health.verdicts.Cause`, which may be followed by the
#: address family). All others are answers of somebody who does not serve.
_BY_REASON = {
    "timeout": Standing.SILENT,
    "silent": Standing.SILENT,
    "hangs": Standing.SILENT,
    "unreachable": Standing.SILENT,
    "slow": Standing.SLOW,
}

#: Why a role is unwanted where it is, however well it is served there: it moves as planned. The
#: operator's wish says nothing about how well a server serves, and users that are cut off from it
#: nothing about how well it serves the others.
UNWANTED = frozenset({Reason.SERVER_DISABLED, Reason.REACHES_FEWER})

#: What does not keep a server from having a role.
_BEARABLE = frozenset({Reason.SERVICE_UNHEALTHY, Reason.REACHES_FEWER})


@once
def standing_of_owner(state: State, role: str, server: str) -> Standing:
    """How well the server that has the role plays it."""
    reasons = {o.reason for o in failings(state, role, server)} - UNWANTED
    if reasons - {Reason.SERVICE_UNHEALTHY, Reason.ROLE_FAILED}:
        return Standing.GONE
    if Reason.ROLE_FAILED in reasons:
        return Standing.REFUSED
    if not reasons:
        return Standing.WELL
    wanted = state.site.roles[role]
    owns = wanted.needs_fence and may_own(state, wanted, server)
    return _of_services(state, wanted, server, Standing.WELL if owns else Standing.TRY_AGAIN)


@once
def standing_of_candidate(state: State, role: str, server: str) -> Standing:
    """How well a server could be expected to play a role that it has not, as far as can be seen
    now. GONE also where nothing can be seen."""
    if any(o.reason not in _BEARABLE for o in obstacles(state, role, server)):
        return Standing.GONE
    wanted = state.site.roles[role]
    if not wanted.needs_fence:
        return _of_services(state, wanted, server, Standing.TRY_AGAIN)
    return min(Standing.SLOW, _of_services(state, wanted, server, Standing.SLOW))


def best_that_is_there(state: State, role: str, but: frozenset[str]) -> str | None:
    """The candidate that stands best; None if all are gone."""
    servers = [server for server in state.site.roles[role].servers if server not in but]
    stand = {server: standing_of_candidate(state, role, server) for server in servers}
    found = max(servers, key=stand.__getitem__, default=None)
    return found if found is not None and stand[found] > Standing.GONE else None


def _of_services(state: State, role: Role, server: str, try_again: Standing) -> Standing:
    """That of the worst service, each through the card where it does best."""
    return min(
        (
            max(
                _of_answer(state.found(role.name, service.name, card.name), try_again)
                for card in cards
            )
            for service in probed_services(state, role, server)
            if (cards := live_cards(state, role, server, service.segment))
        ),
        default=Standing.WELL,
    )


def _of_answer(health: Health | None, try_again: Standing) -> Standing:
    """What was not judged yet is held against nobody."""
    if health is None or health.verdict in (Verdict.UNKNOWN, Verdict.HEALTHY):
        return Standing.WELL
    if health.verdict is Verdict.READY:
        return try_again
    return _BY_REASON.get(health.word, Standing.REFUSED)
