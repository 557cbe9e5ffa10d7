"""The protocol accepts its own messages and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hactrl.agent.messages import LONGEST_LINE, ProtocolError
from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    TO_CONTROLLER,
    AgentHello,
    Answer,
    Assume,
    Heartbeat,
    LeaseGranted,
    Report,
)
from hactrl.engine.events import Held, Holding, Outcome, Proof

HELD = st.builds(Held, st.text(max_size=20), st.sampled_from(Holding), st.integers(0, 2**40))
TO_THE_CONTROLLER = st.one_of(
    st.builds(
        AgentHello,
        st.integers(),
        st.text(max_size=20),
        st.text(max_size=20),
        st.text(max_size=40),
        st.lists(HELD, max_size=5).map(tuple),
    ),
    st.builds(
        Answer,
        st.integers(),
        st.text(max_size=20),
        st.sampled_from(Outcome),
        st.integers(),
        st.text(max_size=100),
    ),
    st.builds(Report, HELD),
    st.builds(Heartbeat),
)
ASSUME = {
    "kind": "Assume",
    "operation": 1,
    "role": "web",
    "epoch": 2,
    "proof": "power",
    "leased": True,
}


@given(TO_THE_CONTROLLER)
def test_what_is_written_is_read_back_as_it_was(message: object) -> None:
    assert TO_CONTROLLER.decode(TO_CONTROLLER.encode(message)) == message


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_protocol_error_and_no_other(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        FROM_CONTROLLER.decode(line)


def test_a_complete_assume_is_read() -> None:
    expected = Assume(1, "web", 2, Proof.POWER, True)
    assert FROM_CONTROLLER.decode(json.dumps(ASSUME).encode()) == expected


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "Execute"}, "unknown kind of message 'Execute'"),
        ({"kind": ["Assume"]}, "unknown kind"),
        ({"command": "reboot"}, "unknown field 'command'"),
        ({"epoch": "2"}, "Assume.epoch: expected int, got str"),
        ({"epoch": True}, "Assume.epoch: expected int, got bool"),
        ({"leased": 1}, "Assume.leased: expected bool, got int"),
        ({"proof": "luck"}, "Assume.proof: 'luck' is not known"),
        ({"role": None}, "Assume.role: expected str, got NoneType"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint.replace("[", r"\[")):
        FROM_CONTROLLER.decode(json.dumps(ASSUME | change).encode())


def test_a_missing_field_is_refused_by_name() -> None:
    body = {key: value for key, value in ASSUME.items() if key != "proof"}
    with pytest.raises(ProtocolError, match="field 'proof' is missing"):
        FROM_CONTROLLER.decode(json.dumps(body).encode())


def test_a_key_that_appears_twice_is_refused() -> None:
    with pytest.raises(ProtocolError, match="twice"):
        FROM_CONTROLLER.decode(b'{"kind":"LeaseDenied","request":1,"request":2}')


def test_a_duration_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ProtocolError):
        FROM_CONTROLLER.decode(b'{"kind":"LeaseGranted","request":1,"duration":Infinity}')


def test_a_whole_number_is_a_duration() -> None:
    line = b'{"kind":"LeaseGranted","request":1,"duration":4}'
    assert FROM_CONTROLLER.decode(line) == LeaseGranted(1, 4.0)


def test_a_line_that_is_too_long_is_refused() -> None:
    line = b'{"kind":"Heartbeat"}' + b" " * LONGEST_LINE
    with pytest.raises(ProtocolError, match="longer than"):
        FROM_CONTROLLER.decode(line)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        FROM_CONTROLLER.decode(b"[" * (LONGEST_LINE - 1))


def test_a_message_for_the_other_side_is_refused() -> None:
    with pytest.raises(ProtocolError, match="unknown kind of message 'Assume'"):
        TO_CONTROLLER.decode(json.dumps(ASSUME).encode())
    with pytest.raises(ValueError, match="no message of this protocol"):
        TO_CONTROLLER.encode(Assume(1, "web", 2, Proof.POWER, True))
