"""Routes follow the live graph, however they were computed before."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from campus_network import campus, intents, site_of
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.backbone import groups
from flows.compile import compile
from flows.planner import Planner
from flows.rules import OWN_IDS, RuleSet
from hactrl.control import wanted
from hactrl.control.planning import backbone_plan
from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.decide import decide, initial
from hactrl.engine.events import (
    Event,
    HostSighted,
    LinkHeard,
    PortChanged,
    ProbeChanged,
    SwitchConnected,
    Tick,
)
from hactrl.vocabulary import Verdict
from topology import backbones
from topology.graph import LiveGraph
from topology.hosts import PATIENCE, REMEMBERED, Sighting
from topology.model import Attachment, Network

NAMES = tuple("abcdef")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    name = st.sampled_from(NAMES)
    edges = draw(st.lists(st.tuples(name, name), min_size=1, max_size=10))
    homes = draw(st.lists(name, min_size=1, max_size=3, unique=True))
    network = campus([("a", "b"), *((a, b) for a, b in edges if a != b)], homes)
    segment = replace(network.segments["campus"], discover=draw(st.booleans()))
    return replace(network, segments={"campus": segment})


@settings(deadline=None)
@given(networks(), st.data())
def test_routes_of_any_sequence_of_failures_are_those_from_nothing(
    network: Network, data: st.DataObject
) -> None:
    planner = Planner()
    links, cards = sorted(network.links, key=str), sorted(network.file_interfaces.values(), key=str)
    for _ in range(4):
        down = data.draw(st.sets(st.sampled_from(links), max_size=3))
        live = data.draw(st.sets(st.sampled_from(cards)))
        graph = LiveGraph.of(network, {link.a for link in down})
        by_order = sorted(live, key=lambda card: card.name)
        found = planner.follow(graph, intents(network, by_order))
        assert found == backbones.routes(graph, {"files": by_order})


@settings(deadline=None, max_examples=30)
@given(networks(), st.data())
def test_whatever_is_remembered_switches_are_told_what_a_fresh_compiler_makes(
    network: Network, data: st.DataObject
) -> None:
    told_what_a_fresh_compiler_makes(network, data)


@settings(deadline=None, max_examples=30)
@given(networks(), st.data())
def test_so_they_are_where_digests_of_groups_fall_together(
    network: Network, data: st.DataObject
) -> None:
    def one_of_two(content: str) -> Iterator[int]:
        return itertools.count(OWN_IDS[len(content) % 2])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "content_ids", one_of_two)
        told_what_a_fresh_compiler_makes(network, data)


def told_what_a_fresh_compiler_makes(network: Network, data: st.DataObject) -> None:
    """Ports go down and come up, hosts come, move and are forgotten, links lead elsewhere,
    interfaces and what they serve fail: after each plan, a switch holds what the last of its steps
    that names it gives."""
    planner, told, standing = Planner(), dict[str, RuleSet](), None
    state, now = initial(site_of(network), {}, 0.0), 0.0
    for _ in range(5):
        now += data.draw(st.sampled_from((1.0, 2 * PATIENCE, 2 * REMEMBERED)))
        for event in itertools.chain.from_iterable(
            data.draw(st.lists(events(network), max_size=2))
        ):
            state, _ = decide(state, event, now)
        for step in backbone_plan(planner, state, standing):
            for switch in network.switches if step.changed is None else step.changed:
                told[switch] = step.rules_of(switch)
            standing = step.routes
        wishes = wanted.intents(state.site, state.outlook)
        usable = network_now(network, state.cabling)
        graph = LiveGraph.of(usable, ports_up=state.outlook.ports_up)
        live = {nearest.server.name: nearest.live for nearest in wishes.nearest}
        assert told == compile(usable, graph, wishes, backbones.routes(graph, live))


def events(network: Network) -> st.SearchStrategy[tuple[Event, ...]]:
    """Of a few ports and hosts; what belongs together comes together."""
    trunks, cards = sorted(network.trunk_ports), network.file_interfaces.values()
    plugs = (Attachment("a", 1), Attachment("b", 1))
    spare = (Attachment("a", 5), Attachment("b", 5))
    port = st.sampled_from((*trunks, *(card.attachment for card in cards), *plugs))
    trunk = st.sampled_from((*trunks, *spare))
    hosts = st.builds(
        Sighting,
        st.sampled_from(("00:16:3e:00:00:01", "00:16:3e:00:00:02")),
        st.sampled_from(plugs),
        st.sampled_from((ip_address("10.0.1.1"), ip_address("10.0.1.2"))),
    )
    up = st.frozensets(st.integers(1, 3), max_size=3)
    card = st.sampled_from(sorted(card.name for card in cards))
    verdict = st.sampled_from((Verdict.HEALTHY, Verdict.UNHEALTHY))
    found = tuple(LinkHeard(*ends) for ends in (spare, spare[::-1]))
    alone = (
        st.builds(PortChanged, port, st.booleans()),
        st.builds(HostSighted, hosts),
        st.builds(SwitchConnected, st.sampled_from("ab"), up),
        st.builds(LinkHeard, trunk, st.none() | trunk),
        st.builds(ProbeChanged, st.just("files"), st.just("smb"), card, verdict),
        st.just(Tick()),
    )
    return st.one_of(*map(st.tuples, alone), st.just(found))


def test_the_nearest_interfaces_are_those_of_least_cost_that_are_live() -> None:
    network = campus([("a", "b"), ("b", "c"), ("c", "d")], ["a", "a", "c"])
    at_a, other_at_a, at_c = network.file_servers["files"].interfaces
    graph, planner = LiveGraph.of(network), Planner()
    assert planner.nearest("files", "a") == frozenset()
    planner.follow(graph, intents(network, (at_a, other_at_a, at_c)))
    assert planner.nearest("files", "a") == {at_a.name, other_at_a.name}
    assert planner.nearest("files", "b") == {at_a.name, other_at_a.name, at_c.name}
    assert planner.nearest("files", "d") == {at_c.name}
    planner.follow(graph, intents(network, (at_a,)))
    assert planner.nearest("files", "d") == {at_a.name}
    planner.follow(LiveGraph.of(network, {network.links[2].a}), intents(network, (at_a,)))
    assert planner.nearest("files", "d") == frozenset()


def test_changes_of_ways_and_of_live_interfaces_are_counted_and_nothing_else() -> None:
    network = campus([("a", "b"), ("b", "c")], ["a", "a", "c"])
    cards = network.file_servers["files"].interfaces
    everything, graph, planner = intents(network, cards), LiveGraph.of(network), Planner()
    planner.follow(graph, everything)
    before = planner.changes
    planner.follow(LiveGraph.of(network), replace(everything, hosts=()))
    assert planner.changes == before
    planner.follow(graph, intents(network, cards[1:]))
    without_card = planner.changes
    assert without_card > before
    planner.follow(LiveGraph.of(network, {network.links[0].a}), intents(network, cards[1:]))
    assert planner.changes > without_card


def test_a_change_of_ways_is_counted_before_it_is_seen_and_again_when_it_is_done() -> None:
    network = campus([("a", "b"), ("b", "c"), ("a", "d"), ("d", "c")], ["a", "c"])
    cards = network.file_servers["files"].interfaces
    seen: list[tuple[int, frozenset[str]]] = []

    def look() -> None:
        seen.append((planner.changes, planner.nearest("files", "b")))

    planner = Planner(look)
    planner.follow(LiveGraph.of(network), intents(network, cards))
    look()
    before, ways = seen[-1]
    seen.clear()
    planner.follow(LiveGraph.of(network, {network.links[0].a}), intents(network, cards))
    assert planner.nearest("files", "b") != ways
    assert {changes for changes, there in seen if there != ways} == {before + 1}
    assert planner.changes == before + 2


def test_a_plan_pauses_so_often_that_no_stretch_grows_with_all_that_it_does() -> None:
    """A stretch is measured in calls of functions, a machine's speed aside."""
    side = range(8)
    across = [(f"{row}{at}", f"{row}{at + 1}") for row in side for at in side[:-1]]
    down = [(f"{row}{at}", f"{row + 1}{at}") for row in side[:-1] for at in side]
    network = campus(across + down, ["00", "77"])
    stretches = Stretches()
    planner = Planner(stretches.end)
    state = initial(site_of(network), {}, 0.0)
    for switch in network.switches:
        trunks = {end.port for end in network.trunk_ports if end.switch == switch}
        state, _ = decide(state, SwitchConnected(switch, frozenset(trunks)), 0.0)
    standing = backbone_plan(planner, state, None)[-1].routes
    state, _ = decide(state, PortChanged(network.links[30].a, up=False), 1.0)
    with stretches:
        steps = backbone_plan(planner, state, standing)
    assert len(steps) > 1
    assert max(stretches.calls) < sum(stretches.calls) / 20


class Stretches:
    """Counts the calls of functions between two pauses, in Python and in C."""

    def __init__(self) -> None:
        self.calls = [0]

    def end(self) -> None:
        self.calls.append(0)

    def __enter__(self) -> None:
        self.calls = [0]
        sys.setprofile(self._count)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _frame: object, event: str, _argument: object) -> None:
        self.calls[-1] += event in {"call", "c_call"}
