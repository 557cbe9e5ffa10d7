"""What a failure would change, before it happens: `topology.paths.ways` before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from topology.model import Attachment, Link, Network
from topology.paths import repairs
from topology.paths.repairs import Means
from topology.paths.ways import Way, Ways

#: How failures are written.
FORMS = (
    "link:SWITCH-SWITCH, link:SWITCH:PORT-SWITCH:PORT, port:SWITCH:PORT, switch:NAME or"
    " interface:NAME"
)


class UnknownFailureError(ValueError):
    """Nothing in the network is called so, or more than one thing. `choices` are the names that
    something has."""

    def __init__(self, message: str, name: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.choices = choices


@dataclass(frozen=True)
class AssumedFailure:
    """`down` are the ports that go down with it; of a switch, those that the network names."""

    name: str
    down: frozenset[Attachment]


class Repairer(Enum):
    """Who brings packets on their way again. SWITCHES: by themselves, at once."""

    SWITCHES = "switches"
    CONTROLLER = "controller"
    NOBODY = "nobody"


@dataclass(frozen=True)
class WayChange:
    """Of the way from a switch to a file server; `after` is None where there is none left.
    `means`: by what switches help themselves, also where not all packets are helped by it."""

    server: str
    switch: str
    before: Way
    after: Way | None
    repairer: Repairer
    means: tuple[Means, ...]


def failure(network: Network, text: str) -> AssumedFailure:
    """The failure that is written so; see FORMS.

    Raises:
        UnknownFailureError: there is no such link, port, switch or interface.
    """
    kind, _, name = text.partition(":")
    if kind == "link":
        return AssumedFailure(text, _link(network, name))
    if kind == "switch":
        _among(f"no switch is named {name}", name, tuple(network.switches))
        return AssumedFailure(text, _switch(network, name))
    if kind == "port":
        return AssumedFailure(text, _port(network, name))
    if kind == "interface":
        cards = network.interfaces | network.file_interfaces
        _among(f"no interface is named {name}", name, tuple(cards))
        return AssumedFailure(text, frozenset({cards[name].attachment}))
    raise UnknownFailureError(f"{text!r} is no failure: {FORMS} is expected", text)


def changes(before: Ways, after: Ways, failed: AssumedFailure) -> Iterator[WayChange]:
    """Every way that the failure changes: what it costs, where it ends, or how many equally short
    ones there are. `after` are the ways once the controller has done what it can."""
    for server in before.graph.network.file_servers.values():
        for switch in before.graph.network.switches_of(server.segment):
            was = before.way(server.name, switch.name)
            then = after.way(server.name, switch.name)
            if was is None or (then is not None and _same(was, then)):
                continue
            found = repairs.found(before, server.name, switch.name, failed.down)
            if then is None:
                repairer = Repairer.NOBODY
            else:
                repairer = Repairer.SWITCHES if found.arrives else Repairer.CONTROLLER
            means = tuple(one for one in Means if one in found.means)
            yield WayChange(server.name, switch.name, was, then, repairer, means)


def _same(one: Way, other: Way) -> bool:
    """A failure takes ways and adds none: as many of the same cost are the same ones."""
    return (one.cost, one.interfaces, one.equal_ways) == (
        other.cost,
        other.interfaces,
        other.equal_ways,
    )


def _link(network: Network, name: str) -> frozenset[Attachment]:
    """The ends of the link of this name, or of all links between two switches."""
    found: dict[str, set[Link]] = {}
    for link in network.links:
        for one, other in ((link.a, link.b), (link.b, link.a)):
            for called in (f"{one}-{other}", f"{one.switch}-{other.switch}"):
                found.setdefault(called, set()).add(link)
    _among(f"no link is named {name}", name, tuple(found))
    if len({frozenset((link.a.switch, link.b.switch)) for link in found[name]}) > 1:
        several = ", ".join(sorted(map(str, found[name])))
        message = f"{name} may be any of {several}: name the link with its ports"
        raise UnknownFailureError(message, name)
    return frozenset(end for link in found[name] for end in (link.a, link.b))


def _switch(network: Network, name: str) -> frozenset[Attachment]:
    """All ports of a switch that the network names, and the other ends of its links."""
    probers = (s.prober.attachment for s in network.segments.values() if s.prober is not None)
    interfaces = (network.interfaces | network.file_interfaces).values()
    cards = (card.attachment for card in interfaces)
    own = {end for end in (*cards, *probers) if end.switch == name}
    links = (link for link in network.links if name in (link.a.switch, link.b.switch))
    return frozenset((*own, *(end for link in links for end in (link.a, link.b))))


def _port(network: Network, name: str) -> frozenset[Attachment]:
    """A port, and the other end of its link, if it has one."""
    switch, _, number = name.rpartition(":")
    _among(f"{name} is no port: no switch is named {switch}", switch, tuple(network.switches))
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UnknownFailureError(f"{name} is no port: SWITCH:PORT is expected", name)
    port = Attachment(switch, int(number))
    links = (link for link in network.links if port in (link.a, link.b))
    return frozenset((port, *(end for link in links for end in (link.a, link.b))))


def _among(message: str, name: str, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise UnknownFailureError(message, name, choices)
