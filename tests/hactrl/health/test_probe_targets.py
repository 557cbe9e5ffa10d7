"""What a site wants probed, and the lines that tell it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hactrl.engine.events import ProbeChanged
from hactrl.health.targets import (
    Eager,
    Note,
    ProbeRoute,
    Target,
    Targets,
    decode_order,
    decode_report,
    encode,
    targets,
)
from hactrl.site import load
from hactrl.site.model import Site
from hactrl.vocabulary import Verdict

FRONTIER = Path(__file__).parents[3] / "examples" / "frontier.yaml"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(FRONTIER)


def test_a_service_is_probed_on_every_card_of_every_candidate(site: Site) -> None:
    probed = [(t.server, t.interface) for t in targets(site) if t.role == "mailrelay"]
    assert sorted(probed) == [
        ("mailrelay", "A"),
        ("mailrelay", "D'"),
        ("smtp_pop", "A'"),
        ("smtp_pop", "D"),
    ]


def test_source_says_the_card_and_destination_the_role(site: Site) -> None:
    for target in targets(site):
        role = site.roles[target.role]
        (service,) = (s for s in role.services if s.name == target.service)
        prober = site.network.segments[service.segment].prober
        assert prober is not None
        (own,) = (a for a in role.addresses if a.segment == service.segment)
        assert tuple(r.source for r in target.routes) == prober.sources[target.interface]
        assert tuple(r.destination for r in target.routes) == own.addresses


def test_both_address_families_are_probed(site: Site) -> None:
    for target in targets(site):
        assert sorted(route.source.version for route in target.routes) == [4, 6]
        assert all(route.source.version == route.destination.version for route in target.routes)


def test_every_service_of_the_site_is_probed(site: Site) -> None:
    services = {(role.name, s.name) for role in site.roles.values() for s in role.services}
    assert {(t.role, t.service) for t in targets(site)} == services


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
names = st.text(max_size=8)
seconds = st.floats(0.001, 1000)
targets_strategy = st.builds(
    Target,
    *[names] * 5,
    st.lists(st.builds(ProbeRoute, addresses, addresses), max_size=3).map(tuple),
    st.integers(0, 65535),
    seconds,
    seconds,
    st.integers(1, 9),
    st.integers(1, 9),
    names,
)


@given(
    st.one_of(
        st.lists(targets_strategy, max_size=3).map(tuple).map(Targets),
        st.builds(Eager, names, names, seconds),
    )
)
def test_orders_survive_the_way_to_the_prober(order: Targets | Eager) -> None:
    line = encode(order)
    assert line.count(b"\n") == 1
    assert decode_order(line) == order


@given(
    st.one_of(
        st.builds(ProbeChanged, names, names, names, st.sampled_from(Verdict), names),
        st.builds(Note, names, seconds, names),
    )
)
def test_reports_survive_the_way_back(report: ProbeChanged | Note) -> None:
    line = encode(report)
    assert line.count(b"\n") == 1
    assert decode_report(line) == report


@pytest.mark.parametrize("line", [b"", b"[]", b'{"Shutdown": {}}', b'{"Eager": {}}'])
def test_what_is_no_order_raises(line: bytes) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        decode_order(line)


def test_an_address_is_an_address_again() -> None:
    route = ProbeRoute(ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    target = Target("r", "s", "v", "A", "smtp", (route,), 25, 0.25, 1.0, 2, 3)
    order = decode_order(encode(Targets((target,))))
    assert isinstance(order, Targets)
    assert order.targets[0].routes == (route,)
