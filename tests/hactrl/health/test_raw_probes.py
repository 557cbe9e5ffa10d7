"""Packets of the probes below TCP: what is sent, and what counts as its answer.

That real hosts understand them is shown in tests/integration.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from flows.frames import checksum
from hactrl.health.raw import advertisement, arp_reply, device_with, echo_reply, echo_request

MAC = bytes.fromhex("0200000001fe")
TOKEN = b"sixteen octets.."
SOURCE_4, TARGET_4 = IPv4Address("192.0.2.241"), IPv4Address("192.0.2.25")
SOURCE_6, TARGET_6 = IPv6Address("2001:db8:0:1::f1"), IPv6Address("2001:db8:0:1::25")


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


def arp_packet(operation: int, sender: IPv4Address) -> bytes:
    fields = bytes.fromhex("0001080006 04") + operation.to_bytes(2, "big")
    return MAC + bytes(6) + b"\x08\x06" + fields + bytes(6) + sender.packed + MAC + bytes(4)


def test_an_arp_reply_of_the_target_is_the_answer_and_nothing_else() -> None:
    accept = arp_reply(TARGET_4)
    assert accept(arp_packet(2, TARGET_4))
    assert not accept(arp_packet(1, TARGET_4))
    assert not accept(arp_packet(2, SOURCE_4))


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
