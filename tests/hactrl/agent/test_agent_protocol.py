"""The protocol accepts its own messages and nothing else."""

from __future__ import annotations

import dataclasses
import json
import typing
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hactrl.agent import protocol
from hactrl.agent.messages import LONGEST_LINE, ProtocolError
from hactrl.agent.protocol import (
    FROM_CONTROLLER,
    LIMITS,
    TO_CONTROLLER,
    AgentHello,
    Answer,
    Assume,
    Heartbeat,
    LeaseGranted,
    Report,
)
from hactrl.engine.events import Held
from hactrl.vocabulary import Holding, Outcome, Proof

NAME = st.text(max_size=20).filter(str.isprintable)
WHOLE = st.integers(0, 2**53 - 1)
HELD = st.builds(Held, NAME, st.sampled_from(Holding), WHOLE)
TO_THE_CONTROLLER = st.one_of(
    st.builds(
        AgentHello,
        st.just(2),
        NAME,
        NAME,
        NAME,
        st.lists(HELD, max_size=5).map(tuple),
    ),
    st.builds(
        Answer,
        WHOLE,
        NAME,
        st.sampled_from(Outcome),
        WHOLE,
        NAME,
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


MESSAGES = [
    kind
    for kind in vars(protocol).values()
    if dataclasses.is_dataclass(kind) and kind.__module__ == protocol.__name__
]


def bounded(kind: type[Any]) -> list[tuple[str, str, Any]]:
    """Class, field and type of all numbers, texts and lists, those of values inside too."""
    found = []
    for name, hint in typing.get_type_hints(kind).items():
        if typing.get_origin(hint) is tuple:
            found.append((kind.__name__, name, tuple))
            found += bounded(typing.get_args(hint)[0])
        elif dataclasses.is_dataclass(hint):
            found += bounded(hint)
        elif hint is not bool and not issubclass(hint, Enum):
            found.append((kind.__name__, name, hint))
    return found


@pytest.mark.reported("C5")
@pytest.mark.parametrize("kind", MESSAGES)
def test_every_number_text_and_list_of_every_message_has_its_limit(kind: type[Any]) -> None:
    for where, name, _ in bounded(kind):
        assert name in LIMITS, f"{where}.{name}"


SCALARS: dict[type, Any] = {int: 1, float: 1.0, str: "x", bool: True, tuple: []}


def body(kind: type[Any]) -> dict[str, Any]:
    """The smallest body of a message."""
    made: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            made[name] = body(hint)
        elif isinstance(hint, type) and issubclass(hint, Enum):
            made[name] = next(iter(hint)).value
        else:
            made[name] = SCALARS[typing.get_origin(hint) or hint]
    return made


TOO_MUCH: dict[type, list[Any]] = {
    int: [2**63 - 1, -1, 10**400, 10**4300 - 1, int("9" * 4000), 1e300],
    float: [10**400, -1, 1e300],
    str: ["x" * 15_000, "\ud800", "\0", "a\nb"],
    tuple: [[1] * 8_000, ["x"] * 4_000],
}


@pytest.mark.reported("C5")
@pytest.mark.parametrize("kind", MESSAGES)
def test_what_is_beyond_its_limit_is_a_protocol_error_wherever_it_stands(kind: type[Any]) -> None:
    codec = next(c for c in (TO_CONTROLLER, FROM_CONTROLLER) if kind in c._classes.values())
    good = body(kind) | {"kind": kind.__name__}
    codec.decode(json.dumps(good).encode())
    for where, name, expected in bounded(kind):
        if LIMITS[name].prose:
            continue
        for value in TOO_MUCH[expected]:
            inner = {"held": good.get("held", {}) | {name: value}}
            if where == "Held" and "roles" in good:
                inner = {"roles": [{"role": "x", "holding": "held", "epoch": 1} | {name: value}]}
            change = {name: value} if where == kind.__name__ else inner
            line = json.dumps(good | change).encode()
            with pytest.raises(ProtocolError):
                codec.decode(line)


@pytest.mark.reported("C5")
def test_a_number_with_more_digits_than_python_converts_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        FROM_CONTROLLER.decode(b'{"kind":"LeaseDenied","request":' + b"9" * 5000 + b"}")


@pytest.mark.reported("C5")
def test_prose_is_cut_and_cleaned_rather_than_refused() -> None:
    line = json.dumps(body(Answer) | {"kind": "Answer", "explanation": "a\nb\x1b" + "x" * 9000})
    explanation = TO_CONTROLLER.decode(line.encode()).explanation
    assert explanation.startswith("a b x")
    assert len(explanation) == 2000


def test_a_changed_value_of_the_vocabulary_changes_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(1, "mail", Outcome.TIMED_OUT, 4, "late")
    line = TO_CONTROLLER.encode(answer)
    monkeypatch.setattr(Outcome.TIMED_OUT, "_value_", "too_late")
    assert TO_CONTROLLER.encode(answer) == line
    assert TO_CONTROLLER.decode(line) == answer


def test_every_word_of_the_vocabulary_has_one_of_the_wire() -> None:
    assert protocol.WORDS.keys() == {*Holding, *Outcome, *Proof}
    for kind in (Holding, Outcome, Proof):
        assert len({protocol.WORDS[word] for word in kind}) == len(kind)
