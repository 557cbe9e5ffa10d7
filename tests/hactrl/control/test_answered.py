"""Every effect is answered, whatever happens to who carries it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventlet
import pytest
from eventlet.queue import LightQueue
from running import own_site

from flows.planner import Planner
from hactrl.control.answered import failure
from hactrl.control.present import Present
from hactrl.control.runtime import Outlets, Runtime
from hactrl.engine.decide import initial
from hactrl.engine.effects import (
    EFFECTS,
    AnswerRequest,
    AskAgent,
    FencePower,
    GrantLease,
    Record,
    Remember,
    StorePlacement,
    Verb,
    Wake,
)
from hactrl.engine.events import EpochStored, Event, Noticed, PowerFenced
from hactrl.outlets import power
from hactrl.outlets.power import PowerFencer
from hactrl.shell.assembly import Assembly
from hactrl.site import load
from hactrl.site.model import PowerFence
from hactrl.switches.board import Switchboard
from hactrl.vocabulary import Outcome

#: What the runtime carries out itself, or has no way to tell of.
OWN = (AnswerRequest, Record, Wake)
CARRIED_OUT = [kind for kind in EFFECTS if kind not in OWN]
ASKED = [
    kind
    for kind in CARRIED_OUT
    if "operation" in {field.name for field in dataclasses.fields(kind)}
]
PLACEMENT = StorePlacement(7, "web", "mailrelay", 4)


def some(kind: type[Any]) -> Any:
    """An effect of this kind; what is in it does not matter, but its operation is 7."""
    values: dict[str, Any] = {"operation": 7, "server": "mailrelay", "role": "web"}
    fields = {field.name: values.get(field.name) for field in dataclasses.fields(kind)}
    return kind(**fields)


def runtime_with(outlets: Outlets, site: Path, events: LightQueue) -> Runtime:
    present = Present(initial(load(site), {}, 0.0))
    wants = dict.fromkeys(load(site).network.switches)
    return Runtime(present, events, outlets, Planner(), want=wants.__setitem__, clock=lambda: 0.0)


class Failing:
    """A runtime whose outlets all fail in a way that nobody has expected."""

    def __init__(self, site: Path) -> None:
        def fail(*_: object) -> None:
            raise KeyError("unexpected")

        self.events: LightQueue = LightQueue()
        self.runtime = runtime_with(dict.fromkeys([*CARRIED_OUT, Record], fail), site, self.events)

    def carry_out(self, effect: Any) -> Event:
        self.runtime._carry_out(effect)
        event: Event = self.events.get(timeout=0)
        assert self.events.empty()
        return event


@pytest.fixture
def failing(tmp_path: Path) -> Failing:
    return Failing(own_site(tmp_path))


@pytest.mark.parametrize("kinds", [CARRIED_OUT, [*CARRIED_OUT, Record, Wake]])
def test_a_controller_does_not_start_that_cannot_carry_out_every_effect_in_one_way(
    tmp_path: Path, kinds: list[type[Any]]
) -> None:
    outlets: Outlets = dict.fromkeys(kinds, print)
    with pytest.raises(ValueError, match="Record" if Record not in kinds else "Wake"):
        runtime_with(outlets, own_site(tmp_path), LightQueue())


def test_effects_with_an_operation_are_those_that_somebody_waits_for() -> None:
    assert {AskAgent, FencePower, StorePlacement, Remember} <= set(ASKED)


@pytest.mark.reported("C5")
@pytest.mark.parametrize("kind", ASKED)
def test_what_somebody_waits_for_is_answered_as_failed(
    failing: Failing, kind: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    event: Any = failing.carry_out(some(kind))
    assert (event.operation, event.outcome) == (7, Outcome.FAILED)
    assert "Traceback" in caplog.text
    assert "KeyError" in caplog.text


@pytest.mark.reported("C5")
@pytest.mark.parametrize("kind", [kind for kind in CARRIED_OUT if kind not in ASKED])
def test_what_nobody_waits_for_is_told_to_the_journal(failing: Failing, kind: type[Any]) -> None:
    event = failing.carry_out(some(kind))
    assert isinstance(event, Noticed)
    assert (event.kind, event.details) == ("effect.failed", (("effect", kind.__name__),))


def test_the_answer_is_for_who_was_asked() -> None:
    event: Any = failure(AskAgent(7, "mailrelay", Verb.RELEASE, "web", 4))
    assert (event.server, event.role) == ("mailrelay", "web")
    assert failure(GrantLease("request", granted=True, duration=1.0)).kind == "effect.failed"  # type: ignore[union-attr]


@pytest.mark.reported("C5")
@pytest.mark.parametrize("command", [("\0",), ("x" * 10_000_000,)], ids=["a zero byte", "too long"])
def test_a_power_fence_that_cannot_be_started_at_all_has_failed(command: tuple[str, ...]) -> None:
    events: LightQueue = LightQueue()
    PowerFencer({"one": PowerFence(command, 5.0)}, events.put).fence(FencePower(7, "one"))
    assert events.get(timeout=60) == PowerFenced(7, "one", Outcome.FAILED)


@pytest.mark.reported("C5")
def test_a_power_fence_that_fails_while_it_runs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fence: PowerFence) -> Outcome:
        raise MemoryError

    monkeypatch.setattr(power, "_outcome", fail)
    events: LightQueue = LightQueue()
    PowerFencer({"one": PowerFence(("true",), 5.0)}, events.put).fence(FencePower(7, "one"))
    assert events.get(timeout=60) == PowerFenced(7, "one", Outcome.FAILED)


class TestPlacement:
    @pytest.fixture
    def assembly(self, tmp_path: Path) -> Iterator[Assembly]:
        site = load(own_site(tmp_path))
        assembly = Assembly(site, lambda: 0.0, Switchboard(site.network.switches))
        yield assembly
        eventlet.tpool.killall()

    def stored(self, assembly: Assembly) -> Event:
        assembly.runtime._carry_out(PLACEMENT)
        event: Event = assembly.runtime._events.get(timeout=10)
        return event

    def test_that_is_on_disk_is_done(self, assembly: Assembly) -> None:
        assert self.stored(assembly) == EpochStored(7, Outcome.DONE)

    @pytest.mark.reported("C5")
    @pytest.mark.parametrize("error", [KeyError("x"), OverflowError("too large"), OSError("disk")])
    def test_whose_store_fails_unexpectedly_has_failed(
        self, assembly: Assembly, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(assembly._keeper, "place", fail)
        assert self.stored(assembly) == EpochStored(7, Outcome.FAILED)

    @pytest.mark.reported("C5")
    def test_of_an_epoch_that_no_store_can_hold_has_failed(self, assembly: Assembly) -> None:
        huge = dataclasses.replace(PLACEMENT, epoch=2**63)
        assembly.runtime._carry_out(huge)
        assert assembly.runtime._events.get(timeout=10) == EpochStored(7, Outcome.FAILED)
