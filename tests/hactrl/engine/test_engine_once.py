"""A question is asked again only when something that it has read is different.

That every answer is the right one is a law that drawn sequences are held to: test_engine_outlook.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import pytest
from simulation import make_site

from hactrl.engine.decide import initial
from hactrl.engine.once import once
from hactrl.engine.state import Fenced, Health, Placement, State
from hactrl.vocabulary import Verdict

FENCE = Fenced(0.0, "")


@pytest.fixture
def state() -> State:
    return initial(make_site(), {}, 0.0)


class Asked:
    """A question, and how often it was worked out."""

    def __init__(self, question: Callable[..., object]) -> None:
        self.times = 0
        self._question = question
        self.ask = once(self._worked_out)

    def _worked_out(self, state: State, *arguments: str) -> object:
        self.times += 1
        return self._question(state, *arguments)


def test_a_question_is_worked_out_once_for_each_of_its_arguments(state: State) -> None:
    asked = Asked(lambda state, server: f"{server} at {state.version}")
    for _ in range(2):
        assert asked.ask(state, "alpha") == "alpha at 1"
        assert asked.ask(state, "beta") == "beta at 1"
    assert asked.times == 2


def test_an_answer_stands_while_what_it_has_read_is_the_same(state: State) -> None:
    asked = Asked(lambda state: state.version)
    asked.ask(state)
    assert asked.ask(state.changed(operation=7)) == 1
    assert asked.times == 1
    assert asked.ask(state.changed(version=2)) == 2


def test_an_older_state_gets_its_own_answer(state: State) -> None:
    asked = Asked(lambda state: state.version)
    newer = state.changed(version=2)
    assert [asked.ask(each) for each in (state, newer, state, newer)] == [1, 2, 1, 2]


def test_only_entries_of_a_mapping_that_were_read_count(state: State) -> None:
    asked = Asked(lambda state, role: state.placements[role].server)
    asked.ask(state, "mail")
    other = {**state.placements, "relay": Placement("beta", 3, 0.0)}
    assert asked.ask(state.changed(placements=other), "mail") is None
    assert asked.times == 1
    own = {**state.placements, "mail": Placement("beta", 3, 0.0)}
    assert asked.ask(state.changed(placements=own), "mail") == "beta"


def test_so_it_is_with_a_mapping_in_a_mapping(state: State) -> None:
    asked = Asked(lambda state, card: state.found("mail", "smtp", card))
    well, ill = Health(Verdict.HEALTHY, "", 0.0), Health(Verdict.UNHEALTHY, "refused", 0.0)
    state = state.with_found("mail", "smtp", "one", well)
    assert asked.ask(state, "one") is well
    state = state.with_found("mail", "smtp", "other", well)
    assert asked.ask(state, "one") is well
    assert asked.times == 1
    assert asked.ask(state.with_found("mail", "smtp", "one", ill), "one") is ill
    assert asked.ask(state.changed(health={}), "one") is None


def test_that_a_mapping_is_in_a_mapping_counts(state: State) -> None:
    asked = Asked(lambda state: "mail" in state.holders)
    assert asked.ask(state) is True
    assert asked.ask(state.changed(holders={"mail": {}})) is True
    assert asked.times == 1
    assert asked.ask(state.changed(holders={})) is False


@pytest.mark.parametrize(
    "question",
    [
        lambda state: state.fenced.get("alpha") is not None,
        lambda state: "alpha" in state.fenced,
        lambda state: any(name == "alpha" for name in state.fenced),
        lambda state: any(name == "alpha" for name, _ in state.fenced.items()),
        lambda state: len(state.fenced) == 1,
        lambda state: bool(state.fenced),
        lambda state: state.fenced == {"alpha": FENCE},
    ],
)
def test_what_was_not_there_when_it_was_read_counts_too(
    state: State, question: Callable[[State], bool]
) -> None:
    asked = Asked(question)
    assert asked.ask(state) is False
    assert asked.ask(state.changed(fenced={"alpha": FENCE})) is True


def test_an_entry_that_is_missing_is_no_answer(state: State) -> None:
    with pytest.raises(KeyError, match="nobody"):
        once(lambda state: state.placements["nobody"])(state)


def test_what_a_method_of_the_state_reads_counts(state: State) -> None:
    asked = Asked(lambda state, switch: state.installed_on(switch))
    assert asked.ask(state, "outer") == 0
    assert asked.ask(state.changed(installed={"outer": 4}), "outer") == 4


def test_the_collector_has_nothing_to_do_after_a_question(state: State) -> None:
    well = once(lambda state: state.port_up(attachment) and "alpha" not in state.fenced)
    attachment = next(iter(state.site.network.interfaces.values())).attachment
    gc.collect()
    gc.disable()
    try:
        assert well(state.changed(version=2))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_answer_that_comes_out_as_before_leaves_alone_who_has_read_it(state: State) -> None:
    inner = Asked(lambda state: state.operation > 3)
    outer = Asked(lambda state: "many" if inner.ask(state) else "few")
    operations = (1, 2, 3, 4)
    answers = [outer.ask(state.changed(operation=number)) for number in operations]
    assert answers == ["few", "few", "few", "many"]
    assert (inner.times, outer.times) == (4, 2)


def test_a_question_that_would_not_be_asked_any_longer_is_not(state: State) -> None:
    epoch = once(lambda state, role: state.placements[role].epoch)
    known = once(lambda state, role: epoch(state, role) if role in state.placements else None)
    assert known(state, "mail") == 0
    assert known(state.changed(placements={}), "mail") is None


def test_what_was_worked_out_is_no_part_of_the_state(state: State) -> None:
    other = initial(make_site(), {}, 0.0)
    once(lambda state: state.version)(state)
    assert state == other
    assert "worked_out" not in repr(state)


def test_a_state_is_changed_as_by_replace(state: State) -> None:
    assert state.changed(version=5) == replace(state, version=5)
    with pytest.raises(TypeError, match="nonsense"):
        state.changed(nonsense=1)
