"""Where each switch of a backbone sends what is for each destination: plain values.

A destination is a file server, whose sources are the switches of all its live interfaces, or one
switch, for the hosts behind it. `topology.paths.trees` computes routes and keeps them up to date,
`topology.paths.rounds` says in which order a change of them is safe, and the compiler turns them
into rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from topology.paths.shortest import Hops


class Destination(NamedTuple):
    """A file server or a switch, by name. A tuple, because dataclasses are hashed and compared by
    Python, and nearly everything here is looked up by destination."""

    kind: str
    name: str

    @classmethod
    def switch(cls, name: str) -> Destination:
        return cls("switch", name)

    @classmethod
    def file_server(cls, name: str) -> Destination:
        return cls("file server", name)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


#: For each destination the switches at which it is reached, each with its offset: a cost that the
#: ways there have beside that of their links.
Sources = Mapping[Destination, Mapping[str, int]]


#: Of a switch that is there, or that cannot get there.
NOWHERE = Hops()


@dataclass(frozen=True)
class Routes:
    """`hops` by destination, then switch; a switch that is a source of the destination, or that
    cannot reach it, is missing. `tree` gives each switch's trunk ports on the flood tree."""

    hops: Mapping[Destination, Mapping[str, Hops]] = field(default_factory=dict)
    tree: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def toward(self, destination: Destination) -> Mapping[str, Hops]:
        """The hops of every switch that has any."""
        return self.hops.get(destination, {})

    def of(self, destination: Destination, switch: str) -> Hops:
        return self.toward(destination).get(switch, NOWHERE)


def differing(before: Mapping[str, Hops], after: Mapping[str, Hops]) -> set[str]:
    """The switches whose hops are not the same. Those that are the same object cost next to
    nothing, and nearly all are (`topology.paths.trees.Trees.routes`)."""
    if before is after:
        return set()
    found = {
        switch
        for switch, hops in after.items()
        if (former := before.get(switch)) is not hops and former != hops
    }
    return found | (before.keys() - after.keys())
