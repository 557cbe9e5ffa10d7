"""Whatever lengths a switch writes, reading it ends: with a message, or with what is wrong."""

from __future__ import annotations

import signal
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import openflow_frames
import pytest
from openflow_frames import Octets, frames, plain, wrong_lengths

from flows.openflow import frame_check
from flows.openflow.framework import ProtocolDesc
from flows.openflow.ryu_mended import ofproto, parser, read_message
from flows.openflow.walks import MalformedError

DATAPATH = ProtocolDesc(version=ofproto.OFP_VERSION)

LONGEST = 5.0
"""Seconds of this process, after which reading one frame counts as endless."""


class EndlessError(BaseException):
    """Not to be caught by whoever catches what a parser raises."""


@contextmanager
def ending(frame: bytes) -> Iterator[None]:
    def give_up(*_: Any) -> None:
        raise EndlessError(frame.hex(" "))

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def read(frame: bytes) -> Any:
    with ending(frame):
        return read_message(DATAPATH, frame)


def is_refused(frame: bytes) -> bool:
    try:
        return read(frame) is None
    except MalformedError:
        return True


def test_a_right_frame_of_every_kind_is_read() -> None:
    assert [name for name, frame in frames().items() if is_refused(frame.data)] == []


@pytest.mark.reported("C1")
def test_a_frame_with_any_wrong_length_is_read_or_refused_and_ends() -> None:
    for right in frames().values():
        for _, _, frame in wrong_lengths(right):
            is_refused(frame)


#: What is passed on unread, so that lengths inside of it mean nothing.
UNREAD = ("NXAction", "bundle")


@pytest.mark.reported("C1")
def test_a_length_that_is_shorter_than_its_own_header_is_refused() -> None:
    taken = [
        (name, at, value)
        for name, right in frames().items()
        if not any(unread in name for unread in UNREAD)
        for at, value, frame in wrong_lengths(right)
        if value < 4 and (at, 2) in right.lengths and not is_refused(frame)
    ]
    assert taken == []


@pytest.mark.reported("C1")
def test_every_parser_of_ryus_is_among_the_cases() -> None:
    kinds = {octets.data[1] for octets in frames().values()}
    parts = {
        octets.data[9] | octets.data[8] << 8 for octets in frames().values() if is_part(octets)
    }
    assert kinds == set(parser._MSG_PARSERS) == set(frame_check.Kind)
    assert parts == set(parser.OFPMultipartReply._STATS_MSG_TYPES) == set(frame_check.Part)
    cases = sum(1 for octets in frames().values() for _ in wrong_lengths(octets))
    assert cases > 20_000


def is_part(octets: Octets) -> bool:
    return octets.data[1] == ofproto.OFPT_MULTIPART_REPLY


@pytest.mark.reported("C1")
@pytest.mark.parametrize(
    "frame",
    [
        openflow_frames.multipart(
            ofproto.OFPMP_TABLE_FEATURES,
            Octets(b"".join((b"\xff\x00", b"\x01", bytes(61), bytes((0, 77, 0, 8)) * 16_000))),
        ).data[:64_000],
        openflow_frames.multipart(ofproto.OFPMP_EXPERIMENTER, plain("64000x")).data,
        openflow_frames.message(ofproto.OFPT_HELLO, plain("HH63996x", 1, 64_000)).data,
        openflow_frames.message(
            ofproto.OFPT_HELLO, Octets(b"\x00\x01\xfa\x00" + b"\xff" * 63_996)
        ).data,
    ],
    ids=["properties", "experimenter's", "greeting", "versions"],
)
def test_a_frame_never_takes_more_than_some_times_its_size(frame: bytes) -> None:
    """Ryu keeps for each unknown element all that follows it, and 31 numbers for four octets."""
    tracemalloc.start()
    with suppress(MalformedError):
        read(frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_largest_frame_of_flows_is_looked_through_in_little_time() -> None:
    flow = frames()["1: flow with NXActionLearn/copy applied"].data[16:]
    body = Octets(flow * (65_000 // len(flow)))
    frame = openflow_frames.multipart(ofproto.OFPMP_FLOW, body).data
    started = time.thread_time()
    frame_check.check(frame)
    assert time.thread_time() - started < 0.2


def test_a_greeting_with_padded_elements_is_read_to_its_end() -> None:
    (element,) = read(frames()["hello with more"].data).elements
    assert element.versions == [4]


@pytest.mark.parametrize("field", ["twice", "too many"])
def test_a_match_with_too_many_fields_is_refused(field: str) -> None:
    numbers = [0, 0] if field == "twice" else range(frame_check.MOST_FIELDS + 1)
    fields = [openflow_frames.field(0x7000 << 7 | n % 128 | n // 128 << 7, 1) for n in numbers]
    flow = openflow_frames.flow(openflow_frames.matched(*fields))
    with pytest.raises(MalformedError, match="twice"):
        read(openflow_frames.multipart(ofproto.OFPMP_FLOW, flow).data)


@pytest.mark.parametrize("kind", [5, 14 + 1, 29, 200])
def test_a_message_that_no_switch_sends_is_refused(kind: int) -> None:
    with pytest.raises(MalformedError, match="which no switch sends"):
        read(openflow_frames.message(kind).data)


def test_a_frame_that_is_longer_or_shorter_than_it_says_is_refused() -> None:
    echo = frames()["echo"].data
    for frame in (echo[:-1], echo + b"\0", echo[:5], b""):
        with pytest.raises(MalformedError):
            read(frame)
