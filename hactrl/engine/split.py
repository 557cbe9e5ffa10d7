"""Into which parts a barrier segment is split, and where its users are.

Links between switches fail, and a segment whose links have all failed at one switch is two. A part
is a set of switches that links join which are up at both ends, as far as known: an end whose
switch has never told is taken for up, and one whose switch is away stays as it was told last.

A user is whoever is at a port that is up and at which the site file names nobody. Of a part in
which the controller is connected with no switch nobody knows who is there, or whether it is there
at all: a switch that has lost its power looks like that. Such a part has no users that count. So
nobody is left because the controller is blind, and users that are seen come before those that may
be there.
"""

from __future__ import annotations

from collections.abc import Iterator

from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.once import once
from hactrl.engine.state import State
from topology.graph import host_ports

Part = frozenset[str]

#: Seconds in which all neighbours of a switch that has died have told that their links are down.
#: Until then it looks as if the first of them were cut off from the others.
ALL_HAVE_TOLD = 0.1


@once
def parts(state: State, segment: str) -> tuple[Part, ...]:
    """The switches of a segment by the part that they are in."""
    network = state.site.network
    names = [switch.name for switch in network.switches_of(segment)]
    up = {name: _trunks_up(state, name) for name in names}
    part_of = {name: {name} for name in names}
    for link in network.links_of.get(segment, ()):
        one, other = part_of[link.a.switch], part_of[link.b.switch]
        if one is other or link.a.port not in up[link.a.switch]:
            continue
        if link.b.port in up[link.b.switch]:
            one |= other
            part_of |= dict.fromkeys(other, one)
    found = {id(part): frozenset(part) for part in part_of.values()}
    return tuple(found.values())


@once
def users_at(state: State, switch: str) -> int:
    """The ports of a switch at which users are."""
    known = state.switches.get(switch)
    return 0 if known is None else len(host_ports(state.site.network, switch, known.ports_up))


@once
def users(state: State, segment: str) -> dict[Part, int]:
    """The ports at which users are, by part, of those parts that have any that count."""
    counted = {
        part: sum(users_at(state, switch) for switch in part)
        for part in parts(state, segment)
        if any(_connected(state, switch) for switch in part)
    }
    return {part: number for part, number in counted.items() if number}


@once
def cut_off(state: State, segment: str) -> tuple[Obstacle, ...]:
    """The switches that are cut off from the rest of their segment: from the part with most users,
    of those with as many from the one with most switches."""
    found = parts(state, segment)
    if len(found) == 1:
        return ()
    counted = users(state, segment)
    rest = max(found, key=lambda part: (counted.get(part, 0), len(part)))
    return tuple(
        Obstacle(Reason.SWITCH_CUT_OFF, switch.name, segment)
        for switch in state.site.network.switches_of(segment)
        if switch.name not in rest
    )


@once
def confirmed_at(state: State, segment: str) -> float:
    """When its parts, as they are now, may be acted on (clock of `now`)."""
    names = (switch.name for switch in state.site.network.switches_of(segment))
    told = [known.trunks_changed for name in names if (known := state.switches.get(name))]
    return max(told, default=0.0) + ALL_HAVE_TOLD


def of_roles(state: State) -> Iterator[Obstacle]:
    """Those of all segments that carry roles."""
    for segment in {s: None for role in state.site.roles.values() for s in role.segments}:
        yield from cut_off(state, segment)


@once
def _trunks_up(state: State, switch: str) -> frozenset[int]:
    """Asked apart, because servers' and users' ports change, too."""
    known = state.switches.get(switch)
    trunks = state.site.network.trunk_ports_of[switch]
    return trunks if known is None else trunks & known.ports_up


@once
def _connected(state: State, switch: str) -> bool:
    known = state.switches.get(switch)
    return known is not None and known.connected
