"""Nobody: two learning bridges, and one server that has the address. What the others are measured
against where nothing fails."""

from __future__ import annotations

from hactrl.site.model import Site
from mininet_lab import plan
from mininet_lab.clock import now
from mininet_lab.race.arena import ADDRESS, LIVE, Arena, Machine
from mininet_lab.race.contenders.contender import Setting


def configure(site: Site, machine: Machine) -> list[str]:
    """The live server's first card has the service address."""
    if machine.name != LIVE:
        return []
    (network,) = site.network.segments["users"].networks
    device = plan.device(machine.cards[0].name)
    return [f"ip address replace {ADDRESS}/{network.prefixlen} dev {device}"]


class Bare:
    """See `Contender`."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def start(self) -> None:
        """See `Contender`."""
        self._arena.network.bridge_by_hand()

    def settle(self) -> None:
        """See `Contender`. There is nothing that could come to rest."""

    def move(self) -> float:
        """See `Contender`. Nobody does."""
        return now()

    def stop(self) -> None:
        """See `Contender`. The bridges end with the arena."""


SETTING = Setting("bare", "a bare bridge", (), configure, Bare)
