"""Whom a frame is for, and what it asks, as the scenario of hosts reads it; and who plays in it."""

from __future__ import annotations

from ipaddress import ip_address

from flows.frames import announcement, question
from hactrl.site import load
from mininet_lab.campus import SITE_FILE, clients
from mininet_lab.hosts import cast
from mininet_lab.hosts.flooding import asks_for
from mininet_lab.hosts.spoofing import is_for

MAC = "02:00:00:00:21:01"
ONE, OTHER = ip_address("10.20.1.1"), ip_address("10.20.1.2")
SIX = ip_address("2001:db8:20::1:1")


def test_a_question_is_known_by_the_address_that_it_asks_for() -> None:
    asked = question(MAC, "ff:ff:ff:ff:ff:ff", ONE)
    assert asks_for(ONE, asked)
    assert not asks_for(OTHER, asked)
    assert not asks_for(ONE, announcement(MAC, SIX))


def test_an_ip_packet_is_known_by_its_destination_and_arp_is_none() -> None:
    four = bytes(12) + b"\x08\x00\x45" + bytes(15) + ONE.packed
    six = bytes(12) + b"\x86\xdd\x60" + bytes(23) + SIX.packed
    assert is_for(four, [OTHER, ONE])
    assert is_for(six, [SIX])
    assert not is_for(four, [OTHER, SIX])
    assert not is_for(announcement(MAC, ONE), [ONE])


def test_hosts_take_no_place_that_somebody_has() -> None:
    network = load(SITE_FILE).network
    taken = {card.attachment for card in network.file_interfaces.values()} | network.trunk_ports
    taken |= {s.prober.attachment for s in network.segments.values() if s.prober}
    guests = (*clients(), *cast.MORE)
    ports = [port for guest in guests for port in guest.cables.values()]
    addresses = [a for guest in guests for a in cast.addresses(guest)]
    assert not taken & set(ports)
    assert len({*ports}) == len(ports)
    assert len({*addresses, *cast.SERVICE}) == len(addresses) + 2
    assert not [a for a in addresses if a.version == 4 and a in cast.POOL]
