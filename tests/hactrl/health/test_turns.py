"""Whose turn a dialogue is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from hactrl.health.targets import ProbeRoute, Target
from hactrl.health.turns import Daemon, Turns, turns

IPV4 = ProbeRoute(ip_address("192.0.2.100"), ip_address("192.0.2.1"))
IPV6 = ProbeRoute(ip_address("2001:db8::100"), ip_address("2001:db8::1"))
BASE = Target("relay", "smtp", "one", "one-0", "smtp", (IPV4, IPV6), 25, 0.25, 1.0, 2, 3)

targets = st.lists(
    st.builds(
        replace,
        st.just(BASE),
        server=st.sampled_from(["one", "two"]),
        interface=st.sampled_from(["0", "1", "2", "3"]),
        service=st.sampled_from(["smtp", "pop3"]),
        routes=st.sampled_from([(), (IPV4,), (IPV6,), (IPV4, IPV6)]),
    ),
    max_size=10,
    unique_by=lambda target: (target.server, target.interface, target.service),
)


def asked(those: list[Target], breath: int) -> list[tuple[Target, ProbeRoute]]:
    """Whose turn it is in this breath."""
    found = turns(those)
    return [
        (target, route)
        for target in those
        for number, route in enumerate(target.routes)
        if found[target].has(number, breath)
    ]


@given(targets, st.integers(0, 1000))
def test_in_each_breath_each_daemon_is_asked_one_way(those: list[Target], breath: int) -> None:
    daemons = [Daemon.behind(target) for target, _ in asked(those, breath)]
    reachable = {Daemon.behind(target) for target in those if target.routes}
    assert len(daemons) == len(reachable)
    assert set(daemons) == reachable


@given(targets, st.integers(0, 1000))
def test_every_way_has_its_turn_before_any_has_two(those: list[Target], since: int) -> None:
    for daemon in {Daemon.behind(target) for target in those}:
        own = [target for target in those if Daemon.behind(target) == daemon]
        ways = sum(len(target.routes) for target in own)
        seen = [way for breath in range(since, since + ways) for way in asked(own, breath)]
        assert len(seen) == len(set(seen)) == ways


def test_what_is_no_dialogue_goes_every_way_in_every_breath() -> None:
    ping = replace(BASE, kind="icmp")
    assert turns([ping, replace(ping, interface="one-1")]) == {
        ping: Turns(0, 1),
        replace(ping, interface="one-1"): Turns(0, 1),
    }
    assert len(asked([ping], 7)) == 2


def test_a_daemon_is_the_service_of_a_server_behind_any_card() -> None:
    other = replace(BASE, server="two")
    assert Daemon.behind(BASE) == Daemon.behind(replace(BASE, interface="one-1"))
    assert Daemon.behind(BASE) != Daemon.behind(other)
