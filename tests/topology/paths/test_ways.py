"""Ways are as networkx finds them; what a failure would change is what it changes."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import pytest
from campus_network import campus
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from topology.graph import LiveGraph
from topology.model import Attachment, Interface, Link, Network
from topology.paths.repairs import Means
from topology.paths.shortest import Hops
from topology.paths.ways import Crossing, Leg, Roundabout, Way, Ways
from topology.paths.what_if import (
    AssumedFailure,
    Repairer,
    UnknownFailureError,
    WayChange,
    changes,
    failure,
)

NAMES = tuple("abcdef")


def live(network: Network) -> dict[str, tuple[Interface, ...]]:
    return {name: server.interfaces for name, server in network.file_servers.items()}


def ways(network: Network) -> Ways:
    return Ways(LiveGraph.of(network), live(network))


def after(network: Network, failed: AssumedFailure) -> Ways:
    cards = network.file_interfaces.values()
    left = tuple(card for card in cards if card.attachment not in failed.down)
    return Ways(LiveGraph.of(network, failed.down), {"files": left})


def what_if(network: Network, text: str) -> dict[str, WayChange]:
    """By switch."""
    failed = failure(network, text)
    found = changes(ways(network), after(network, failed), failed)
    return {change.switch: change for change in found}


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A campus, connected or not, with parallel links and costs."""
    name = st.sampled_from(NAMES)
    edges = draw(st.lists(st.tuples(name, name), min_size=1, max_size=12))
    homes = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    homes += draw(st.sampled_from([[], homes[:1]]))
    edges = [(a, b) for a, b in edges if a != b]
    assume(edges)
    network = campus(edges, homes)
    links = [replace(link, cost=draw(st.integers(1, 3))) for link in network.links]
    return replace(network, links=tuple(links))


def costs(network: Network, switch: str) -> dict[str, int]:
    graph = nx.MultiGraph()
    graph.add_nodes_from(network.switches)
    for link in network.links:
        graph.add_edge(link.a.switch, link.b.switch, weight=link.cost)
    found: dict[str, int] = nx.single_source_dijkstra_path_length(graph, switch)
    return found


# Ways.


@given(networks())
@settings(deadline=None)
def test_a_way_costs_what_networkx_says_and_leads_where_it_says(network: Network) -> None:
    found = ways(network)
    cards = network.file_servers["files"].interfaces
    by_end = {end: link for link in network.links for end in (link.a, link.b)}
    for switch in network.switches:
        apart = costs(network, switch)
        reached = [apart[c.attachment.switch] for c in cards if c.attachment.switch in apart]
        way = found.way("files", switch)
        assert (way is None) == (not reached)
        if way is None:
            continue
        assert way.cost == min(reached)
        nearest = [c for c in cards if apart.get(c.attachment.switch) == way.cost]
        assert way.interfaces == tuple(card.name for card in nearest)
        here, paid = switch, 0
        for crossing in way.crossings:
            link = by_end[crossing.out]
            assert (crossing.out.switch, {link.a, link.b}) == (here, {crossing.out, crossing.into})
            here, paid = crossing.into.switch, paid + link.cost
        assert paid == way.cost
        assert here == network.file_interfaces[way.interface].attachment.switch


@given(networks())
@settings(deadline=None)
def test_equal_ways_are_as_many_as_networkx_finds(network: Network) -> None:
    """Networkx enumerates them on a graph of simple links, with a node for each link and each
    interface."""
    graph = nx.Graph()
    for link in network.links:
        graph.add_edge(link.a.switch, link, weight=link.cost)
        graph.add_edge(link, link.b.switch, weight=link.cost)
    for name, card in network.file_interfaces.items():
        graph.add_edge(card.attachment.switch, f"card {name}", weight=1)
        graph.add_edge(f"card {name}", "files", weight=1)
    found = ways(network)
    for switch in network.switches:
        way = found.way("files", switch)
        if way is not None:
            every = nx.all_shortest_paths(graph, switch, "files", weight="weight")
            assert way.equal_ways == len({tuple(map(str, path)) for path in every})


@given(networks())
@settings(deadline=None)
def test_the_roundabout_way_leads_to_single_interfaces(network: Network) -> None:
    server = network.file_servers["files"]
    found = ways(network)
    for switch in network.switches:
        apart = costs(network, switch)
        each = [apart.get(card.attachment.switch) for card in server.interfaces]
        roundabout = found.roundabout(server, switch)
        assert roundabout.single_homed == Leg(server.interfaces[0].name, each[0])
        reached = [cost for cost in each if cost is not None]
        farthest = roundabout.farthest.cost if roundabout.farthest else None
        assert farthest == max(reached, default=None)


SQUARE = campus([("a", "b"), ("b", "d"), ("a", "c"), ("c", "d")], ["d"])
LINE = campus([("a", "b"), ("b", "c"), ("c", "d")], ["a", "d"])


def test_a_way_in_a_square() -> None:
    assert ways(SQUARE).way("files", "a") == Way(
        cost=2,
        offset=0,
        interfaces=("d-2",),
        interface="d-2",
        crossings=(
            Crossing(Attachment("a", 11), Attachment("b", 19)),
            Crossing(Attachment("b", 12), Attachment("d", 18)),
        ),
        equal_ways=2,
        hops=Hops(equal=(11, 13)),
    )


def test_where_an_interface_is_no_link_is_crossed() -> None:
    way = ways(LINE).way("files", "a")
    assert way == Way(0, 0, ("a-2",), "a-2", (), 1, Hops())


def test_what_a_client_is_spared() -> None:
    server = LINE.file_servers["files"]
    assert ways(LINE).roundabout(server, "d") == Roundabout(Leg("a-2", 3), Leg("a-2", 3))


def test_without_a_live_interface_there_is_no_way() -> None:
    nowhere = Ways(LiveGraph.of(LINE), {"files": ()})
    assert nowhere.way("files", "b") is None
    assert nowhere.roundabout(LINE.file_servers["files"], "b").farthest is None


# Failures.


@given(networks(), st.data())
@settings(deadline=None)
def test_after_a_link_has_failed_ways_are_those_of_a_network_without_it(
    network: Network, data: st.DataObject
) -> None:
    gone: Link = data.draw(st.sampled_from(network.links))
    found = what_if(network, f"link:{gone}")
    rest = replace(network, links=tuple(link for link in network.links if link != gone))
    before, fresh = ways(network), ways(rest)
    for switch in network.switches:
        change = found.get(switch)
        if change is not None:
            assert (change.before, change.after) == (
                before.way("files", switch),
                fresh.way("files", switch),
            )
        else:
            was, then = before.way("files", switch), fresh.way("files", switch)
            assert (was is None) == (then is None)
            if was is not None and then is not None:
                assert (was.cost, was.equal_ways) == (then.cost, then.equal_ways)


def test_one_of_two_equal_ways_is_lost_and_the_switches_repair_it() -> None:
    twice = campus([("a", "d"), ("a", "d")], ["d"])
    found = what_if(twice, f"link:{twice.links[0]}")
    assert list(found) == ["a"]
    assert found["a"].after is not None
    assert (found["a"].before.equal_ways, found["a"].after.equal_ways) == (2, 1)
    assert found["a"].repairer is Repairer.SWITCHES
    assert found["a"].means == (Means.LEFT_OVER,)


def test_without_an_alternate_the_controller_is_needed() -> None:
    found = what_if(SQUARE, "link:b-d")
    assert found["b"].repairer is Repairer.CONTROLLER
    assert found["b"].after is not None
    assert found["b"].after.cost == 3


def test_with_its_only_switch_the_file_server_is_lost_to_all() -> None:
    found = what_if(SQUARE, "switch:d")
    assert {switch: change.after for switch, change in found.items()} == dict.fromkeys("abcd")
    assert {change.repairer for change in found.values()} == {Repairer.NOBODY}


def test_another_interface_takes_over() -> None:
    found = what_if(LINE, "interface:a-2")
    assert set(found) == {"a", "b"}
    assert {change.repairer for change in found.values()} == {Repairer.SWITCHES}
    assert found["a"].after is not None
    assert (found["a"].after.cost, found["a"].after.interface) == (3, "d-2")


def test_all_parallel_links_or_exactly_one() -> None:
    network = campus([("a", "b"), ("a", "b")], ["a"])
    first = network.links[0]
    assert failure(network, f"link:{first.b}-{first.a}").down == {first.a, first.b}
    assert failure(network, "link:b-a").down == network.trunk_ports


def test_a_port_goes_down_with_the_other_end_of_its_link() -> None:
    (first, *_) = SQUARE.links
    assert failure(SQUARE, f"port:{first.b}").down == {first.a, first.b}
    assert failure(SQUARE, "port:a:1").down == {Attachment("a", 1)}
    with pytest.raises(UnknownFailureError, match="SWITCH:PORT is expected"):
        failure(SQUARE, "port:a:x")
    with pytest.raises(UnknownFailureError, match="no switch is named z"):
        failure(SQUARE, "port:z:1")


def test_a_link_whose_switches_could_be_several_is_named_by_its_ports() -> None:
    network = campus([("a-b", "c"), ("a", "b-c")], ["a"])
    one, other = network.links
    with pytest.raises(UnknownFailureError, match=f"{one}, {other}: name the link with its ports"):
        failure(network, "link:a-b-c")
    assert failure(network, f"link:{one}").down == {one.a, one.b}


@pytest.mark.parametrize(
    "text", ["", "a-b", "lnk:a-b", "link:a-d", "link:a:1-b:1", "switch:z", "interface:files", "::"]
)
def test_what_is_not_there_cannot_fail(text: str) -> None:
    with pytest.raises(UnknownFailureError):
        failure(LINE, text)
