"""Next hops, alternates, flood tree and ports of the live graph."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from topology.graph import LiveGraph
from topology.model import Attachment, Link, Network, Segment, Switch
from topology.paths.shortest import Hops


def net(*links: tuple[str, int, str, int, int]) -> Network:
    found = tuple(Link(Attachment(a, p), Attachment(b, q), cost) for a, p, b, q, cost in links)
    names = sorted({end.switch for link in found for end in (link.a, link.b)})
    switches = {name: Switch(name, n, "s") for n, name in enumerate(names, start=1)}
    return Network({"s": Segment("s", ())}, switches, found)


RING = net(("a", 1, "b", 2, 1), ("b", 1, "c", 2, 1), ("c", 1, "a", 2, 1))
PARALLEL = net(("a", 1, "b", 1, 1), ("a", 2, "b", 2, 1), ("a", 3, "b", 3, 5))


def test_in_a_ring_the_other_way_round_is_a_loop_free_alternate() -> None:
    assert LiveGraph.of(RING).hops("a", "b") == Hops(equal=(1,), alternates=(2,))


def test_parallel_links_of_equal_cost_share_and_a_dearer_one_stands_behind() -> None:
    assert LiveGraph.of(PARALLEL).hops("a", "b") == Hops(equal=(1, 2), downstream=(3,))


def test_a_neighbour_whose_path_leads_back_is_no_alternate() -> None:
    line = net(("a", 1, "b", 1, 1), ("a", 2, "c", 1, 1), ("c", 2, "b", 2, 5))
    assert LiveGraph.of(line).hops("a", "b") == Hops(equal=(1,))


def test_a_link_is_down_if_either_end_is() -> None:
    for end in (Attachment("a", 1), Attachment("b", 2)):
        graph = LiveGraph.of(RING, {end})
        assert graph.hops("a", "b").equal == (2,)
        assert graph.distances["a"]["b"] == 2


def test_what_cannot_be_reached_has_no_hops() -> None:
    torn = LiveGraph.of(RING, {Attachment("a", 1), Attachment("a", 2)})
    assert torn.hops("a", "b") == Hops()
    assert not torn.reaches("a", "b")


def test_an_absent_switch_is_gone_with_its_links() -> None:
    graph = LiveGraph.of(RING, absent={"b"})
    assert not graph.reaches("a", "b")
    assert graph.tree_ports("a") == (2,)


def test_the_flood_tree_leaves_out_one_link_of_a_ring_and_heals() -> None:
    whole = LiveGraph.of(RING)
    assert sum(len(whole.tree_ports(switch)) for switch in "abc") == 4
    for link in RING.links:
        healed = LiveGraph.of(RING, {link.a})
        assert sum(len(healed.tree_ports(switch)) for switch in "abc") == 4
        assert link.a.port not in healed.tree_ports(link.a.switch)


def test_host_ports_are_those_that_are_up_and_nobody_elses() -> None:
    graph = LiveGraph.of(RING, ports_up={"a": {1, 2, 5, 7, 0xFFFFFFFE}})
    assert graph.host_ports("a") == (5, 7)
    assert not graph.port_up(Attachment("a", 9))
    assert graph.port_up(Attachment("b", 9)), "has told nothing"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"), st.integers(1, 4)),
        min_size=1,
        max_size=12,
    )
)
def test_nearer_hops_come_nearer_and_alternates_do_not_come_back(
    pairs: list[tuple[str, str, int]],
) -> None:
    links = [(a, n, b, n + 50, cost) for n, (a, b, cost) in enumerate(pairs) if a != b]
    graph = LiveGraph.of(net(*links))
    far = {(a, p): b for a, p, b, _, _ in links} | {(b, q): a for a, _, b, q, _ in links}
    costs = graph.distances
    for source in costs:
        for target in costs[source]:
            hops = graph.hops(source, target)
            for port in hops.nearer:
                assert costs[far[source, port]][target] < costs[source][target]
            for port in hops.alternates:
                neighbour = far[source, port]
                way_back = costs[neighbour][source] + costs[source][target]
                assert costs[neighbour][target] < way_back
