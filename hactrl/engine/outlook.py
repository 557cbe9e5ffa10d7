"""What the switches' rules depend on, and nothing else of the state: the one value that crosses
from the engine to the compiler.

The engine raises `State.version` exactly when the outlook changes, and everything above it waits
for that.
"""

from __future__ import annotations

from hactrl.engine.backbone import nearest
from hactrl.engine.once import once
from hactrl.engine.roles.candidates import card_works
from hactrl.engine.roles.standing import Standing, standing_of_candidate
from hactrl.engine.state import Outlook, State, Step
from hactrl.site.model import Role
from topology.model import Interface

#: While these steps last nobody can be the owner for certain, so nobody gets or sends anything.
CLOSED = frozenset({Step.FENCE, Step.ASSUME, Step.SERVE})


@once
def ports_up(state: State) -> dict[str, frozenset[int]]:
    """The ports that are up on each switch that has told."""
    return {name: switch.ports_up for name, switch in state.switches.items()}


@once
def outlook(state: State) -> Outlook:
    """All of the state that the rules depend on."""
    roles = state.site.roles.values()
    return Outlook(
        orders=tuple(
            (role.name, segment, order(state, role.name, segment))
            for role in roles
            for segment in role.segments
        ),
        speakers=tuple((role.name, speakers(state, role.name)) for role in roles),
        fenced=frozenset(state.fenced),
        ports_up=ports_up(state),
        nearest=tuple((name, _nearest(state, name)) for name in state.site.network.file_servers),
        hosts=state.host_table.in_order,
        misled=state.cabling.misled,
        discovered=state.cabling.discovered,
    )


@once
def order(state: State, name: str, segment: str) -> tuple[str, ...]:
    """The cards that get a role's packets: the live server's, those that work first; then, if
    the role needs no fence, those of servers that could take it, the best first, so that a switch
    can move it alone."""
    role = state.site.roles[name]
    live = state.placements[name].server
    if closed(state, name) or live is None:
        return ()
    cards: list[Interface] = []
    if may_receive(state, live):
        own = state.site.cards(role, live, segment)
        cards += sorted(own, key=lambda card: not card_works(state, role, card))
    if not role.needs_fence:
        for peer in _peers_in_order(state, role, live):
            theirs = state.site.cards(role, peer, segment)
            working = [card for card in theirs if card_works(state, role, card)]
            cards += working or theirs
    return tuple(card.name for card in cards)


def _peers_in_order(state: State, role: Role, live: str) -> list[str]:
    """Somebody is better than nobody: all that are there, by how well they would serve."""
    stand = {
        peer: standing_of_candidate(state, role.name, peer)
        for peer in role.servers
        if peer != live and may_receive(state, peer)
    }
    there = [peer for peer, standing in stand.items() if standing > Standing.GONE]
    return sorted(there, key=lambda peer: -stand[peer])


@once
def speakers(state: State, name: str) -> frozenset[str]:
    """The servers that may send with the role's addresses: the live one; where nothing needs a
    fence all that the operator wants, because a switch may have moved the role already."""
    role = state.site.roles[name]
    live = state.placements[name].server
    if closed(state, name):
        return frozenset()
    chosen = {live} if live is not None else set()
    if not role.needs_fence:
        chosen |= set(role.servers) - state.disabled
    return frozenset(server for server in chosen if may_receive(state, server))


@once
def _nearest(state: State, file_server: str) -> tuple[str, ...]:
    """The interfaces that clients are brought to."""
    server = state.site.network.file_servers[file_server]
    return tuple(card.name for card in nearest.live(state, server))


@once
def closed(state: State, role: str) -> bool:
    """The role's addresses are shut while its resources change hands."""
    takeover = state.takeovers.get(role)
    owns = state.site.roles[role].needs_fence
    return owns and takeover is not None and takeover.step in CLOSED


def may_receive(state: State, server: str) -> bool:
    """Nothing is ever sent to a server that is proven off."""
    return server not in state.fenced
