"""Which users a server reaches while a segment is split, and who reaches more.

A card reaches the users of the part of the segment that its switch is in, a server those of all its
cards. Nobody is told apart where nothing is split.

**A card that reaches no user is not live**, if there are users on its segment at all: its port may
be up, but nobody comes there. A server without another card on that segment is gone for the role,
as one whose ports are down; but it is not dead, and that is no evidence for cutting its power.

**A server from which many users are cut off that another one reaches is unwanted where it is**, as
one that the operator has disabled: its role moves as planned, to a server that lacks nothing. Many
are more than twice as many as the move would cut off. Where there are fewer, it would take from
some what it gives to others; and workstations are switched on and off, which must not send a role
back and forth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from hactrl.engine import split
from hactrl.engine.once import once
from hactrl.engine.state import State
from topology.model import Interface

Reach: TypeAlias = Mapping[str, int]
"""By switch, at how many ports users are that a server reaches."""

#: For each user that a move cuts off it must reach more than so many others.
WORTH = 2


def reaches_users(state: State, card: Interface) -> bool:
    """Are there users in the part of the segment where the card is, or none anywhere?"""
    counted = split.users(state, card.segment)
    return not counted or any(card.attachment.switch in part for part in counted)


@once
def of_server(state: State, role: str, server: str) -> Reach:
    """What a server reaches through those of its cards whose ports are up, on all segments of the
    role."""
    wanted = state.site.roles[role]
    found: dict[str, int] = {}
    for segment in wanted.segments:
        cards = state.site.cards(wanted, server, segment)
        at = {card.attachment.switch for card in cards if state.port_up(card.attachment)}
        for part in split.users(state, segment):
            if part & at:
                found |= {switch: split.users_at(state, switch) for switch in part}
    return {switch: number for switch, number in found.items() if number}


def exceeds(one: Reach, other: Reach) -> bool:
    """Would users be better off with this one? It reaches more in all than whom it exceeds, so that
    no row of such moves comes back to where it began."""
    gained = sum(number for switch, number in one.items() if switch not in other)
    lost = sum(number for switch, number in other.items() if switch not in one)
    return gained > WORTH * lost


def missed(state: State, role: str, server: str, other: str) -> tuple[str, ...]:
    """The switches with users that `other` reaches and `server` does not, if `other` exceeds it;
    else nothing."""
    own, others = of_server(state, role, server), of_server(state, role, other)
    return tuple(sorted(others.keys() - own.keys())) if exceeds(others, own) else ()
