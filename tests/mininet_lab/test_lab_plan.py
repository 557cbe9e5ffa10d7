"""How addresses and device names are laid out, without a network."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from hactrl.site import load
from hactrl.site.model import Site
from mininet_lab import plan
from topology.model import Attachment

FRONTIER = Path(__file__).parents[2] / "examples" / "frontier.yaml"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(FRONTIER)


def script(site: Site, role: str, server: str) -> list[str]:
    return plan.role_script(site, site.roles[role], server)


def test_every_device_name_fits_linux_and_needs_no_quotes(site: Site) -> None:
    names = [plan.device(card) for card in site.network.interfaces]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 15 and "'" not in name for name in names)


def test_guests_take_no_port_of_a_server_or_the_prober(site: Site) -> None:
    taken = {card.attachment for card in site.network.interfaces.values()}
    taken |= {s.prober.attachment for s in site.network.segments.values() if s.prober}
    taken |= site.network.trunk_ports
    guests = [guest.attachment for guest in plan.GUESTS]
    assert not taken & set(guests)
    assert len(set(guests)) == len(guests)


def test_a_guest_with_two_cables_has_one_plugged_in_and_one_mac() -> None:
    here, there = Attachment("r3", 8), Attachment("r5", 8)
    guest = plan.Guest("roamer", here, "02:00:00:00:22:04", (), other=there)
    assert guest.cables == {"roamer-1": here, "roamer-2": there}
    lines = plan.guest_script(guest)
    assert lines.index("ip link set roamer-2 down") < lines.index("ip link set roamer up")
    assert any("link add roamer address 02:00:00:00:22:04 type bridge" in line for line in lines)


def test_guests_lie_outside_service_and_prober_addresses(site: Site) -> None:
    ours = {a for role in site.roles.values() for on in role.addresses for a in on.addresses}
    for segment in site.network.segments.values():
        if segment.prober:
            ours |= {a for pair in segment.prober.sources.values() for a in pair}
    assert not ours & {a.ip for guest in plan.GUESTS for a in guest.addresses}


def test_both_cards_of_a_segment_carry_the_role_with_its_own_mac(site: Site) -> None:
    lines = "\n".join(script(site, "smtp_pop", "smtp_pop"))
    for card in ("C", "B'"):
        mac = site.network.interfaces[card].role_mac("smtp_pop")
        name = plan.device(card)
        assert f"link add link {name} name {name} netns smtp_pop address {mac}" in lines
        assert f"address add 10.0.0.25/24 dev {name} noprefixroute" in lines
        assert f"address add 2001:db8:0:2::25/64 dev {name} noprefixroute nodad" in lines


def test_the_preferred_card_has_the_lower_metric(site: Site) -> None:
    lines = script(site, "smtp_pop", "mailrelay")
    routes = [line for line in lines if "route add 10.0.0.0/24" in line and "table" not in line]
    assert [line.split(" dev ")[1].split()[0] for line in routes] == ["C-prime", "B"]
    metrics = [int(line.rsplit(" ", 1)[1]) for line in routes]
    assert metrics == sorted(metrics)
    assert len(set(metrics)) == 2


def test_a_role_answers_by_the_card_that_it_was_asked_at_while_its_link_is_up(site: Site) -> None:
    lines = script(site, "smtp_pop", "mailrelay")
    (rules,) = [line for line in lines if " nft " in line]
    asked = {"C-prime": 1, "B": 2, "D-prime": 3, "A": 4}
    for card, mark in asked.items():
        assert f'iifname "{card}" ct mark set {mark}' in rules
        assert f"ip netns exec smtp_pop ip -6 rule add fwmark {mark} lookup {100 + mark}" in lines
    ways = [line for line in lines if line.endswith("table 102") and "10.0.0.0/24" in line]
    assert [way.split(" dev ")[1] for way in ways] == [
        "B src 10.0.0.25 metric 100 table 102",
        "C-prime src 10.0.0.25 metric 200 table 102",
    ]


def test_an_answer_to_a_probe_leaves_by_the_card_that_the_source_stands_for(site: Site) -> None:
    prober = site.network.segments["inner"].prober
    assert prober is not None
    lines = script(site, "web", "mailrelay")
    for card in ("B", "C'"):
        for source in prober.sources[card]:
            route = f"route add {source}/{source.max_prefixlen} dev {plan.device(card)} "
            assert sum(route in line for line in lines) == 1
    other = prober.sources["C"][0]
    assert not any(f"route add {other}/" in line for line in lines)


def test_only_the_outer_segment_has_a_way_to_the_world(site: Site) -> None:
    way = "route add default"
    assert not [line for line in script(site, "web", "mailrelay") if way in line]
    defaults = [line for line in script(site, "mailrelay", "mailrelay") if way in line]
    assert {line.split(" dev ")[1].split()[0] for line in defaults} == {"A", "D-prime"}


def test_a_chassis_card_is_silent(site: Site) -> None:
    cards = site.network.servers["mailrelay"].interfaces
    lines = "\n".join(plan.chassis_script(cards))
    assert "ip address" not in lines
    for card in cards:
        assert f"net.ipv6.conf.{plan.device(card.name)}.disable_ipv6=1" in lines


def test_management_addresses_differ_and_are_not_the_controllers(site: Site) -> None:
    addresses = [
        ip_address(plan.management_address(site, name).split("/")[0])
        for name in site.network.servers
    ]
    assert len({*addresses, ip_address(site.controller.agents.host)}) == 3
    assert all(address in plan.MANAGEMENT for address in addresses)
