"""The outlook is all that crosses from the engine to the rules: it differs exactly when the version
grows. Every answer of `engine.once` is held to the one that is worked out afresh; no field that is
read may be forgotten: each is, once, and then an answer is wrong.

Drawn sequences of events on a site with both products: the simulated world's mail servers, and a
backbone whose ports, hosts, links and file servers change at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import simulation
from campus_network import campus, site_of
from simulation import Broken, World, make_site
from test_engine_properties import FIRST, REPAIRED, schedule_of

from hactrl.engine import once
from hactrl.engine.decide import decide
from hactrl.engine.effects import Effect
from hactrl.engine.events import (
    Event,
    HostSighted,
    LinkHeard,
    PortChanged,
    ProbeChanged,
    ProberSight,
)
from hactrl.engine.outlook import outlook
from hactrl.engine.state import Outlook, State
from hactrl.site.model import Site
from hactrl.vocabulary import Verdict
from topology.hosts import Sighting
from topology.model import Attachment, Switch

CAMPUS = campus([("a", "b"), ("b", "c"), ("a", "c")], ["a", "c"], prober="b")
SPARE = (Attachment("a", 7), Attachment("c", 7))
SEEDS = 3

#: Each field is missed in one of these.
TELLING = (10, 18)

#: The fields of the state that questions read.
READ = frozenset(
    {
        "agents",
        "asks",
        "cabling",
        "disabled",
        "fenced",
        "health",
        "holders",
        "host_table",
        "late",
        "placements",
        "sights",
        "switches",
        "takeovers",
    }
)


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


def afresh(state: State) -> Outlook:
    """The outlook, worked out as if nothing had been before."""
    return outlook(replace(state, worked_out={}))


@contextmanager
def watched(found: set[str]) -> Iterator[None]:
    """Every decision's version is held to its outlook. `found` gets the fields that it reads."""

    def deciding(state: State, event: Event, now: float) -> tuple[State, tuple[Effect, ...]]:
        after, effects = decide(state, event, now)
        if after.outlook != afresh(after):
            raise Broken(f"{event} has changed the outlook, and the version is {after.version}")
        if (after.version == state.version) != (after.outlook == state.outlook):
            raise Broken(f"after {event} version {state.version} became {after.version}")
        for (question, arguments), known in after.known.items():
            found.update(known.fields)
            if known.answer != question(replace(after, worked_out={}), *arguments):
                raise Broken(f"{question.__name__}{arguments} was not asked again after {event}")
        return after, effects

    with patch.object(simulation.engine, "decide", deciding):
        yield


def run(seed: int) -> set[str]:
    """The fields of the state that questions have read in one drawn sequence."""
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
    read = set[str]().union(*(run(seed) for seed in range(SEEDS)))
    assert read - {"site"} == READ


class Forgetful(once.Reading):
    """Does not note what is read of one field."""

    forgotten: ClassVar[str]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name) if name == self.forgotten else super().__getattr__(name)


@pytest.mark.parametrize("name", sorted(READ))
def test_a_field_whose_reading_is_not_noted_leaves_an_answer_that_is_wrong(name: str) -> None:
    forgetful = type("Forgetful", (Forgetful,), {"forgotten": name})
    with patch.object(once, "Reading", forgetful):
        assert any(breaks(seed) for seed in TELLING)


def breaks(seed: int) -> bool:
    try:
        run(seed)
    except Broken:
        return True
    return False
