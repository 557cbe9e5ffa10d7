"""Packets of the probes below TCP: what is sent, and what counts as its answer.

That real hosts understand them is shown in tests/integration.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hactrl.health.raw import (
    advertisement,
    arp_reply,
    arp_request,
    checksum,
    device_with,
    echo_reply,
    echo_request,
    solicitation,
)

MAC = bytes.fromhex("0200000001fe")
TOKEN = b"sixteen octets.."
SOURCE_4, TARGET_4 = IPv4Address("192.0.2.241"), IPv4Address("192.0.2.25")
SOURCE_6, TARGET_6 = IPv6Address("2001:db8:0:1::f1"), IPv6Address("2001:db8:0:1::25")


def test_checksum_of_the_example_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_sums_up_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0


def test_an_ipv4_echo_request_has_a_right_checksum() -> None:
    request = echo_request(4, TOKEN)
    assert request[:2] == b"\x08\x00"
    assert checksum(request) == 0


IPV4_HEADER = bytes([0x46]) + bytes(23)  # with one word of options


@pytest.mark.parametrize(
    ("version", "packet", "accepted"),
    [
        (4, IPV4_HEADER + b"\x00\x00" + bytes(6) + TOKEN, True),
        (4, IPV4_HEADER + b"\x00\x00" + bytes(6) + TOKEN[::-1], False),
        (4, IPV4_HEADER + b"\x08\x00" + bytes(6) + TOKEN, False),
        (6, b"\x81\x00" + bytes(6) + TOKEN, True),
        (6, b"\x80\x00" + bytes(6) + TOKEN, False),
    ],
)
def test_echo_reply(version: int, packet: bytes, accepted: bool) -> None:
    assert echo_reply(version, TOKEN)(packet) is accepted


def test_arp_request() -> None:
    assert arp_request(MAC, SOURCE_4, TARGET_4) == bytes.fromhex(
        "ffffffffffff 0200000001fe 0806"
        "0001 0800 06 04 0001"
        "0200000001fe c00002f1"
        "000000000000 c0000219"
    )


def arp_packet(operation: int, sender: IPv4Address) -> bytes:
    fields = bytes.fromhex("0001080006 04") + operation.to_bytes(2, "big")
    return MAC + bytes(6) + b"\x08\x06" + fields + bytes(6) + sender.packed + MAC + bytes(4)


def test_an_arp_reply_of_the_target_is_the_answer_and_nothing_else() -> None:
    accept = arp_reply(TARGET_4)
    assert accept(arp_packet(2, TARGET_4))
    assert not accept(arp_packet(1, TARGET_4))
    assert not accept(arp_packet(2, SOURCE_4))


def test_neighbour_solicitation() -> None:
    frame = solicitation(MAC, SOURCE_6, TARGET_6)
    assert frame[:14] == bytes.fromhex("3333ff000025 0200000001fe 86dd")
    assert frame[14:22] == bytes.fromhex("60000000 0020 3a ff")
    assert IPv6Address(frame[22:38]) == SOURCE_6
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1:ff00:25")
    assert IPv6Address(frame[62:78]) == TARGET_6
    assert frame[78:] == b"\x01\x01" + MAC
    pseudo = frame[22:54] + (32).to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert checksum(pseudo + frame[54:]) == 0


def advertised(hop_limit: int, kind: int, target: IPv6Address) -> bytes:
    ipv6 = bytes.fromhex("60000000 0020 3a") + bytes([hop_limit]) + bytes(32)
    return bytes(12) + b"\x86\xdd" + ipv6 + bytes([kind, 0]) + bytes(6) + target.packed


def test_an_advertisement_of_the_target_by_a_neighbour_is_the_answer_and_nothing_else() -> None:
    accept = advertisement(TARGET_6)
    assert accept(advertised(255, 136, TARGET_6))
    assert not accept(advertised(254, 136, TARGET_6))
    assert not accept(advertised(255, 135, TARGET_6))
    assert not accept(advertised(255, 136, SOURCE_6))


def test_the_prober_s_device_is_the_one_with_its_mac() -> None:
    assert device_with("00:00:00:00:00:00") == "lo"
    assert device_with("02:de:ad:be:ef:00") is None
