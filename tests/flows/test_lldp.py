"""LLDP frames: what is written is read, and nobody else can write it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.lldp import FRESHNESS, Announcement, LldpError, Unbelieved, frame, read

SECRET = b"of this start"
SENT = Announcement(0x1F, 7, 1000.0)


def refusal(data: bytes, secret: bytes = SECRET, now: float = 1000.1) -> Unbelieved:
    with pytest.raises(LldpError) as caught:
        read(data, secret, now)
    return caught.value.why


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1), st.integers(0, 10**9))
def test_a_frame_says_which_port_it_left(datapath_id: int, port: int, at: int) -> None:
    sent = Announcement(datapath_id, port, float(at))
    assert read(frame(sent, 4, SECRET), SECRET, at + 0.5) == sent


def test_a_frame_begins_with_the_mandatory_tlvs_of_802_1ab() -> None:
    data = frame(SENT, 4, SECRET)
    assert data[:6].hex(":") == "01:80:c2:00:00:0e"
    assert data[12:14].hex() == "88cc"
    assert data[14:25].hex() == "0209" + "07" + f"{0x1F:016x}"
    assert data[25:32].hex() == "0405" + "07" + "00000007"
    assert data[32:36].hex() == "0602" + "0004"
    assert data[-2:] == b"\0\0"


def test_a_frame_padded_to_the_shortest_length_of_ethernet_is_read() -> None:
    assert read(frame(SENT, 4, SECRET) + bytes(30), SECRET, 1000.1) == SENT


def test_a_frame_made_with_another_secret_is_forged() -> None:
    assert refusal(frame(SENT, 4, b"of the last start")) is Unbelieved.FORGED


@given(st.integers(16, 87), st.integers(1, 255))
def test_no_octet_of_what_counts_can_be_changed(place: int, change: int) -> None:
    data = bytearray(frame(SENT, 4, SECRET))
    data[place % len(data)] ^= change
    with suppress(LldpError):
        assert read(bytes(data), SECRET, 1000.1) == SENT  # the TTL, and what follows the end


def test_another_port_cannot_be_written_into_a_caught_frame() -> None:
    data = bytearray(frame(SENT, 4, SECRET))
    data[31] = 8
    assert refusal(bytes(data)) is Unbelieved.FORGED


def test_a_frame_that_was_caught_earlier_is_stale() -> None:
    assert refusal(frame(SENT, 4, SECRET), now=1000.1 + FRESHNESS) is Unbelieved.STALE


def test_a_frame_of_another_maker_is_foreign() -> None:
    assert refusal(frame(SENT, 4, SECRET)[:36] + bytes(2)) is Unbelieved.FOREIGN


@given(st.binary(max_size=120))
def test_any_octets_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(LldpError):
        read(bytes(12) + b"\x88\xcc" + data, SECRET, 0.0)
