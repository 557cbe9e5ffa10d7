"""Frames as octets: who they are from, and questions to hosts."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ryu.lib.packet import arp, icmpv6, ipv6, packet

from flows.frames import (
    FrameError,
    announcement,
    arp_request,
    checksum,
    question,
    sender,
    solicitation,
)

ASKER, HOST = "0a:ff:ff:ff:ff:fe", "00:16:3e:00:00:01"
PROBER = "02:00:00:00:01:fe"
SOURCE_4, TARGET_4 = IPv4Address("192.0.2.241"), IPv4Address("192.0.2.25")
SOURCE_6, TARGET_6 = IPv6Address("2001:db8:0:1::f1"), IPv6Address("2001:db8:0:1::25")


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


def test_a_question_to_all_who_has_an_ipv4_address() -> None:
    assert arp_request(PROBER, SOURCE_4, TARGET_4) == bytes.fromhex(
        "ffffffffffff 0200000001fe 0806"
        "0001 0800 06 04 0001"
        "0200000001fe c00002f1"
        "000000000000 c0000219"
    )


def test_a_question_to_all_who_may_have_an_ipv6_address() -> None:
    frame = solicitation(PROBER, SOURCE_6, TARGET_6)
    assert frame[:14] == bytes.fromhex("3333ff000025 0200000001fe 86dd")
    assert frame[14:22] == bytes.fromhex("60000000 0020 3a ff")
    assert IPv6Address(frame[22:38]) == SOURCE_6
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1:ff00:25")
    assert IPv6Address(frame[62:78]) == TARGET_6
    assert frame[78:] == bytes.fromhex("0101 0200000001fe")
    pseudo = frame[22:54] + (32).to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert checksum(pseudo + frame[54:]) == 0


def test_checksum_of_the_example_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_sums_up_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0
