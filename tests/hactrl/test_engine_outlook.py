"""The outlook is all that crosses from the engine to the rules: it differs exactly when the version
grows, and what it reads of the state is declared.

Drawn sequences of events on a site with both products: the simulated world's mail servers, and a
backbone whose ports, hosts, links and file servers change at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, cast
from unittest.mock import patch

import simulation
from campus_network import campus, site_of
from simulation import Broken, World, make_site
from test_engine_properties import FIRST, REPAIRED, schedule_of

from hactrl.engine.decide import decide
from hactrl.engine.effects import Effect
from hactrl.engine.events import (
    Event,
    HostSighted,
    LinkHeard,
    PortChanged,
    ProbeChanged,
    ProberSight,
    Verdict,
)
from hactrl.engine.outlook import PARTS, outlook
from hactrl.engine.state import State
from hactrl.site.model import Site
from topology.hosts import Sighting
from topology.model import Attachment, Switch

CAMPUS = campus([("a", "b"), ("b", "c"), ("a", "c")], ["a", "c"], prober="b")
SPARE = (Attachment("a", 7), Attachment("c", 7))
SEEDS = 12


def site_with_both(seed: int) -> Site:
    """The mail servers' segments, and a backbone of three switches with a file server."""
    schedule = schedule_of(seed)
    mail = make_site(schedule.servers, schedule.lease, schedule.power, schedule.failback)
    files = site_of(CAMPUS)
    segment = replace(CAMPUS.segments["campus"], discover=True)
    switches = {name: Switch(name, 10 + n, "campus") for n, name in enumerate(CAMPUS.switches)}
    network = replace(
        mail.network,
        segments={**mail.network.segments, "campus": segment},
        switches={**mail.network.switches, **switches},
        links=CAMPUS.links,
        file_servers=CAMPUS.file_servers,
    )
    return replace(mail, network=network, file_services=files.file_services)


class BothProducts(World):
    """The simulated world, and a backbone on which something happens every half second."""

    def ports_up(self, switch: str) -> frozenset[int]:
        return super().ports_up(switch) if switch not in CAMPUS.switches else frozenset(range(30))

    def begin_backbone(self) -> None:
        self.tell(self.drawn())
        self.after(0.5, self.begin_backbone)

    def drawn(self) -> Event:
        random = self.random
        trunks = sorted(CAMPUS.trunk_ports)
        cards = sorted(CAMPUS.file_interfaces.values(), key=lambda card: card.name)
        host, card = random.randint(1, 3), random.choice(cards)
        sighting = Sighting(f"00:16:3e:00:00:0{host}", Attachment(random.choice("abc"), 1), None)
        name = random.choice(sorted(self.hosts))
        own = ("mail", "smtp", f"{name}-inner0"), ("relay", "smtp", f"{name}-outer0")
        late = frozenset({random.choice(own)})
        return random.choice(
            (
                PortChanged(random.choice((*trunks, card.attachment)), random.random() < 0.6),
                HostSighted(sighting),
                LinkHeard(*random.choice((SPARE, SPARE[::-1]))),
                LinkHeard(random.choice(trunks), random.choice((None, *trunks))),
                ProbeChanged("files", "smb", card.name, random.choice(list(Verdict)), "refused"),
                ProberSight(False, late if random.random() < 0.5 else frozenset()),
            )
        )


class Reads:
    """A state that notes what is read of it."""

    def __init__(self, state: State) -> None:
        self.known: dict[object, object] = {}
        self.read: set[str] = set()
        self._state = state

    def __getattr__(self, name: str) -> Any:
        if name in STATE_FIELDS:
            self.read.add(name)
            return getattr(self._state, name)
        return getattr(State, name).__get__(self)  # a method, which reads what it reads


STATE_FIELDS = {field.name for field in fields(State)}


def read_by_outlook(state: State) -> set[str]:
    reads = Reads(state)
    outlook(cast("State", reads))
    return reads.read


@contextmanager
def watched(found: set[str]) -> Iterator[None]:
    """Every decision's version is held to its outlook, and what that reads is added to `found`."""

    def deciding(state: State, event: Event, now: float) -> tuple[State, tuple[Effect, ...]]:
        after, effects = decide(state, event, now)
        if after.outlook != outlook(after):
            raise Broken(f"{event} has changed the outlook, and the version is {after.version}")
        if (after.version == state.version) != (after.outlook == state.outlook):
            raise Broken(f"after {event} version {state.version} became {after.version}")
        if after.version != state.version:
            found.update(read_by_outlook(after))
        return after, effects

    with patch.object(simulation.engine, "decide", deciding):
        yield


def run(seed: int) -> set[str]:
    """What the outlook has read of the state in one drawn sequence."""
    schedule, found = schedule_of(seed), set[str]()
    with watched(found):
        world = BothProducts(site_with_both(seed), seed, schedule.slowest)
        world.begin_backbone()
        world.run_until(FIRST)
        for fault in schedule.faults:
            world.inject(fault)
        world.run_until(REPAIRED)
    return found


def test_the_version_grows_exactly_when_the_outlook_changes() -> None:
    found = set[str]().union(*(run(seed) for seed in range(SEEDS)))
    assert found - {"site"} == set(PARTS), "what the outlook reads is not what is declared"
