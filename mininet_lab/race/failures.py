"""What is done to the live server, and how it is put right again. Each returns the moment when it
struck (`mininet_lab.clock`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mininet_lab.race.arena import Arena
    from mininet_lab.race.contenders.contender import Contender


@dataclass(frozen=True)
class Failure:
    """`goal`: seconds, of hactrl with its fastest timers."""

    name: str
    words: str
    goal: float
    strike: Callable[[Arena, Contender], float]


def _link_at_switch(arena: Arena, _contender: Contender) -> float:
    return arena.pull_at_switch(arena.live.cards[:1])


def _link_at_server(arena: Arena, _contender: Contender) -> float:
    return arena.pull_at_server(arena.live.cards[:1])


def _all_at_switch(arena: Arena, _contender: Contender) -> float:
    return arena.pull_at_switch(arena.live.cards)


def _all_at_server(arena: Arena, _contender: Contender) -> float:
    return arena.pull_at_server(arena.live.cards)


def _dead(arena: Arena, _contender: Contender) -> float:
    return arena.live.die()


def _killed(arena: Arena, _contender: Contender) -> float:
    return arena.live.kill_greeter()


def _hangs(arena: Arena, _contender: Contender) -> float:
    return arena.live.stop_greeter()


def _planned(_arena: Arena, contender: Contender) -> float:
    return contender.move()


FAILURES = {
    failure.name: failure
    for failure in (
        Failure("link-switch", "link, switch side", 0.012, _link_at_switch),
        Failure("link-server", "link, server side", 0.012, _link_at_server),
        Failure("cards-switch", "all cards of a server, switch side", 0.012, _all_at_switch),
        Failure("cards-server", "all cards of a server, server side", 0.012, _all_at_server),
        Failure("dead", "server dead, links up", 0.030, _dead),
        Failure("killed", "daemon killed", 0.015, _killed),
        Failure("hangs", "daemon hangs", 0.040, _hangs),
        Failure("planned", "planned", 0.010, _planned),
    )
}
