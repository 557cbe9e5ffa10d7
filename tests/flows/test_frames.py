"""Frames as octets: who they are from, and questions to hosts."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from ryu.lib.packet import arp, icmpv6, ipv6, packet

from flows.frames import FrameError, announcement, question, sender

ASKER, HOST = "0a:ff:ff:ff:ff:fe", "00:16:3e:00:00:01"


def test_an_arp_probe_shows_its_mac_and_claims_no_address() -> None:
    assert sender(question(ASKER, HOST, IPv4Address("10.0.1.1"))) == (ASKER, None)


def test_an_arp_reply_shows_the_address_of_its_sender() -> None:
    asked = question(ASKER, HOST, IPv4Address("10.0.1.1"))
    mac = bytes.fromhex(HOST.replace(":", ""))
    reply = asked[6:12] + mac + asked[12:21] + b"\x02" + mac + IPv4Address("10.0.1.1").packed
    assert sender(reply + asked[22:32]) == (HOST, IPv4Address("10.0.1.1"))


def test_an_arp_packet_that_names_another_mac_inside_is_refused() -> None:
    asked = question(ASKER, HOST, IPv4Address("10.0.1.1"))
    with pytest.raises(FrameError, match="another sender"):
        sender(asked[:6] + bytes(6) + asked[12:])


def test_a_solicitation_comes_from_the_askers_link_local_address() -> None:
    asked = question(ASKER, HOST, IPv6Address("fd00::1"))
    assert sender(asked) == (ASKER, IPv6Address("fe80::8ff:ffff:feff:fffe"))


def test_what_is_cut_short_is_refused() -> None:
    asked = question(ASKER, HOST, IPv6Address("fd00::1"))
    for length in (5, 20, 50):
        with pytest.raises(FrameError):
            sender(asked[:length])


def test_a_priority_tag_hides_no_address_and_a_vlan_tag_does() -> None:
    """Cards that tag priorities would never be known by their addresses, and be cut off."""
    for address in (IPv4Address("10.0.1.1"), IPv6Address("fd00::1")):
        frame = announcement(HOST, address)
        tagged = [frame[:12] + bytes([0x81, 0, 0xA0, vlan]) + frame[12:] for vlan in (0, 5)]
        assert [sender(one) for one in tagged] == [(HOST, address), (HOST, None)]


def test_an_announcement_shows_the_address_and_is_sound_inside() -> None:
    for address in (IPv4Address("10.0.1.1"), IPv6Address("fd00::1")):
        assert sender(announcement(HOST, address)) == (HOST, address)


def test_what_ryu_reads_of_an_announcement_is_what_was_meant() -> None:
    four = packet.Packet(announcement(HOST, IPv4Address("10.0.1.1"))).get_protocol(arp.arp)
    assert (four.opcode, four.src_mac, four.src_ip, four.dst_ip) == (1, HOST, *["10.0.1.1"] * 2)
    six = packet.Packet(announcement(HOST, IPv6Address("fd00::1")))
    told = six.get_protocol(icmpv6.icmpv6)
    assert (told.type_, told.data.res, told.data.dst) == (136, 0b001, "fd00::1")
    assert told.data.option.hw_src == HOST
    frame = six.data
    again = icmpv6.icmpv6(136, 0, 0, told.data)
    checksum = again.serialize(b"", six.get_protocol(ipv6.ipv6))[2:4]
    assert frame[56:58] == checksum
