"""Links as they are seen beside links as they are declared."""

from __future__ import annotations

from ipaddress import ip_network
from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from topology.discovery import (
    Cabling,
    Ears,
    Hearing,
    LinkFinding,
    LinkSight,
    Trouble,
    deafen,
    grow_old,
    hear,
    judge,
    lifetime,
    listen,
    round_time,
)
from topology.model import Attachment, Link, Network, Segment, Switch

A1, A2, B1, B3, C1, C2 = (Attachment(t[0], int(t[1])) for t in ("a1", "a2", "b1", "b3", "c1", "c2"))
ALL = {"a", "b", "c"}


def network(*links: Link, discover: bool = False) -> Network:
    segment = Segment("campus", (ip_network("10.0.0.0/8"),), backbone=True, discover=discover)
    switches = {n: Switch(n, i, "campus") for i, n in enumerate("abc", start=1)}
    return Network({"campus": segment}, switches, links)


def both(*pairs: tuple[Attachment, Attachment]) -> dict[Attachment, Attachment | None]:
    return {listener: speaker for a, b in pairs for listener, speaker in ((a, b), (b, a))}


def sights(judgement: Cabling) -> dict[str, tuple[LinkSight, bool]]:
    return {str(v.link): (v.sight, v.used) for v in judgement.links}


def test_a_declared_link_that_is_seen_is_used_and_not_reported() -> None:
    found = judge(network(Link(A1, B3)), both((A1, B3)))
    assert sights(found) == {"a:1-b:3": (LinkSight.BOTH_WAYS, True)}
    assert found.reports == ()


def test_a_declared_link_is_used_before_it_has_had_time_to_be_seen() -> None:
    found = judge(network(Link(A1, B3)), {})
    assert sights(found) == {"a:1-b:3": (LinkSight.WAITING, True)}
    assert found.reports == ()


def test_a_host_that_sends_back_what_it_hears_is_no_link() -> None:
    found = judge(network(Link(A1, B3), discover=True), both((A2, A2)))
    assert found.discovered == ()
    assert found.reports == (LinkFinding(Trouble.UNDECLARED, "a:2-a:2"),)


def test_a_cable_from_a_switch_to_itself_is_reported_and_not_used() -> None:
    found = judge(network(Link(A1, B3), discover=True), both((A2, Attachment("a", 5))))
    assert found.discovered == ()
    assert found.reports == (LinkFinding(Trouble.UNDECLARED, "a:2-a:5"),)


def test_a_declared_link_that_nobody_sees_is_used_and_reported() -> None:
    found = judge(network(Link(A1, B3)), {A1: None, B3: None})
    assert sights(found) == {"a:1-b:3": (LinkSight.UNSEEN, True)}
    assert found.reports == (LinkFinding(Trouble.UNSEEN, "a:1-b:3"),)


def test_a_declared_link_seen_at_one_end_only_is_reported() -> None:
    found = judge(network(Link(A1, B3)), {A1: B3, B3: None})
    assert found.reports == (LinkFinding(Trouble.ONE_WAY, "a:1-b:3"),)


def test_a_declared_link_that_leads_elsewhere_is_not_used_and_both_ports_are_named() -> None:
    found = judge(network(Link(A1, B3)), {B3: C1, C1: B3})
    assert sights(found)["a:1-b:3"] == (LinkSight.ELSEWHERE, False)
    assert found.misled == {"a:1-b:3"}
    assert LinkFinding(Trouble.MISCABLED, "a:1-b:3", B3, A1, C1) in found.reports


def test_a_link_whose_other_end_is_heard_elsewhere_is_not_used_either() -> None:
    assert judge(network(Link(A1, B3)), {C1: A1}).misled == {"a:1-b:3"}


def test_a_link_that_nobody_declared_is_reported_and_not_used() -> None:
    found = judge(network(Link(A1, B3)), both((A1, B3), (A2, C2)))
    assert found.discovered == ()
    assert found.reports == (LinkFinding(Trouble.UNDECLARED, "a:2-c:2"),)


def test_a_link_that_nobody_declared_is_used_where_the_segment_discovers() -> None:
    found = judge(network(discover=True), both((A2, C2)))
    assert found.discovered == (Link(A2, C2),)


def test_a_discovered_link_costs_as_much_as_the_dearest_declared_one() -> None:
    for cost in (1, 7):
        declared = network(Link(A1, B3, cost), Link(B1, C1), discover=True)
        (link,) = judge(declared, both((A2, C2))).discovered
        assert link.cost == cost


def test_a_link_that_is_seen_one_way_is_never_discovered() -> None:
    assert judge(network(discover=True), {A2: C2}).discovered == ()


def test_what_is_heard_at_a_port_of_hosts_counts_for_nothing() -> None:
    found = judge(network(discover=True), both((A2, C2)), closed={C2})
    assert found == Cabling()


def test_only_changes_are_told() -> None:
    ears, first = hear(Ears(), B3, A1, 0.0)
    ears, second = hear(ears, B3, A1, 1.0)
    _, third = hear(ears, B3, C1, 2.0)
    assert (first, second, third) == (Hearing(B3, A1), None, Hearing(B3, C1))


def test_a_link_ages_out_after_three_missed_rounds_and_not_before() -> None:
    ears, _ = hear(Ears(), B3, A1, 0.0)
    assert grow_old(ears, 3 * round_time(2), 2, ALL)[1] == ()
    assert grow_old(ears, lifetime(2) + 0.01, 2, ALL)[1] == (Hearing(B3, None),)


def test_a_port_that_never_hears_anything_is_told_once() -> None:
    ears = listen(Ears(), [B3], 0.0)
    ears, changes = grow_old(ears, lifetime(1) + 0.01, 1, ALL)
    assert changes == (Hearing(B3, None),)
    assert grow_old(ears, 100.0, 1, ALL)[1] == ()


def test_a_switch_out_of_reach_lets_no_link_age() -> None:
    ears, _ = hear(Ears(), B3, A1, 0.0)
    ears, changes = grow_old(ears, 1000.0, 2, {"b"})
    assert changes == ()
    assert grow_old(ears, 1001.0, 2, ALL)[1] == ()


def test_a_port_that_went_down_is_forgotten_at_both_ends_and_heard_anew() -> None:
    ears, _ = hear(Ears(), B3, A1, 0.0)
    ears, _ = hear(ears, A1, B3, 0.0)
    ears = deafen(ears, lambda port: port == A1)
    assert ears == Ears()
    assert hear(ears, B3, A1, 1.0)[1] == Hearing(B3, A1)


@given(st.integers(1, 5000))
def test_links_that_live_never_age_out_however_many_ports_there_are(ports: int) -> None:
    """Each port is probed once in a round; a probe may come half a round late."""
    ears, now = Ears(), 0.0
    for late in (0.0, 0.5, 0.0, 0.5):
        ears, _ = hear(ears, B3, A1, now + late * round_time(ports))
        now += round_time(ports)
        ears, changes = grow_old(ears, now, ports, ALL)
        assert changes == ()


@given(st.integers(1, 100_000))
def test_probes_stay_within_the_budget(ports: int) -> None:
    assert ports / round_time(ports) <= 200.0 * (1 + 1e-9)


def test_the_work_of_judging_grows_with_the_links_and_not_with_their_square() -> None:
    """It is done for each link that is heard and each host that is learnt, by the one greenlet
    that also moves roles."""
    names = [f"s{n}" for n in range(2000)]
    links = [
        Link(Attachment(a, 1), Attachment(b, 2))
        for a, b in zip(names, names[1:] + names[:1], strict=True)
    ]
    segment = Segment("campus", (ip_network("10.0.0.0/8"),), backbone=True)
    switches = {name: Switch(name, n, "campus") for n, name in enumerate(names, start=1)}
    ring = Network({"campus": segment}, switches, tuple(links))
    began = process_time()
    found = judge(ring, both(*((link.a, link.b) for link in links)))
    assert process_time() - began < 2  # seconds; with the square it would be 10
    assert {view.sight for view in found.links} == {LinkSight.BOTH_WAYS}
