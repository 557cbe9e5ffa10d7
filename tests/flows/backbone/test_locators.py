"""Where a host is can be read from its locator, and no two things have the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.backbone.locators import DETOUR, Locators
from flows.walk.packet import mac
from topology.locators import ASKER_MAC
from topology.model import Attachment, FileServer, Host, Interface, Network, Segment, Switch

NAMES = st.sets(st.text("abcs0123456789", min_size=1, max_size=4), min_size=1, max_size=60)


def network(switches: set[str]) -> Network:
    """A backbone with a file server that has two interfaces at each switch."""
    found = {name: Switch(name, n, "campus") for n, name in enumerate(sorted(switches), 1)}
    cards = tuple(
        Interface(f"{name}-{port}", "files", "campus", Attachment(name, port), "02:00:00:00:00:01")
        for name in found
        for port in (1, 2)
    )
    server = FileServer("files", "campus", "02:00:00:00:00:02", (), cards)
    segment = Segment("campus", (), backbone=True)
    return Network({"campus": segment}, found, (), file_servers={"files": server})


@given(NAMES)
def test_every_switch_host_and_interface_has_a_locator_of_its_own(switches: set[str]) -> None:
    site = network(switches)
    locators = Locators.of(site)
    hosts = [
        Host("02:00:00:00:00:03", Attachment(s, 3), n)
        for s in site.switches
        for n in (0, 2**23 - 1)
    ]
    found = [locators.host(h) for h in hosts]
    found += [locators.interface(i) for i in site.file_interfaces.values()]
    assert len(set(found)) == len(found)
    assert mac(ASKER_MAC) not in {*found, *(f | DETOUR for f in found)}


@given(NAMES)
def test_a_locator_matches_the_prefix_of_its_switch_alone(switches: set[str]) -> None:
    site = network(switches)
    locators = Locators.of(site)
    for card in site.file_interfaces.values():
        matching = [
            name
            for name in site.switches
            for value, mask in [locators.prefix(name)]
            if locators.interface(card) & mask == value
        ]
        assert matching == [card.attachment.switch]


@given(NAMES)
def test_locators_are_local_unicast_addresses_with_and_without_detour(switches: set[str]) -> None:
    site = network(switches)
    for card in site.file_interfaces.values():
        locator = Locators.of(site).interface(card)
        for address in (locator, locator | DETOUR):
            assert address >> 40 & 0b11 == 0b10
        assert not locator & DETOUR


def test_another_switch_leaves_the_locators_as_they_are() -> None:
    before, after = Locators.of(network({"s1", "s2"})), Locators.of(network({"s1", "s2", "s3"}))
    assert {s: after.switches[s] for s in ("s1", "s2")} == before.switches
