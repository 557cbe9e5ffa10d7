"""When an entry of the journal stands for several, and what that keeps in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hactrl import journal as journal_module
from hactrl.engine.effects import Record
from hactrl.journal import KEPT_ENTRIES, LONGEST, NEWEST, PAUSE, Entry
from hactrl.store.store import SqliteStore

pytestmark = pytest.mark.reported("A6")

START = 1_000_000.0


class Journal:
    """A store's journal, on a clock that tests hold; `at` is that clock, from 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0.0
        self.open()

    def open(self) -> None:
        self.store = SqliteStore(self.path, clock=lambda: START + self.at)

    def tell(self, kind: str, role: str = "", **details: str | int) -> None:
        self.store.append(Record(kind, role, tuple(details.items())))

    def read(self) -> list[tuple[str, int, float, float]]:
        """Kind, count, first and last of each entry, the oldest first."""
        self.store.flush()
        found = reversed(self.store.history(limit=1000))
        return [(e.kind, e.count, e.at - START, e.last - START) for e in found]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "hactrl.sqlite")
    yield journal
    journal.store.close()


def test_what_happens_again_is_counted_by_the_first_entry(journal: Journal) -> None:
    for journal.at in (0.0, 3.0, 7.0):
        journal.tell("stranger", by="one")
    assert journal.read() == [("stranger", 3, 0.0, 7.0)]


def test_an_entry_goes_on_counting_after_it_has_been_written(journal: Journal) -> None:
    for journal.at in (0.0, 3.0, 7.0):
        journal.tell("stranger", by="one")
        journal.read()
    assert journal.read() == [("stranger", 3, 0.0, 7.0)]


def test_what_has_happened_once_says_so(journal: Journal) -> None:
    journal.tell("stranger", by="one")
    assert journal.read() == [("stranger", 1, 0.0, 0.0)]
    assert Entry(1, 5.0, "stranger", "") == Entry(1, 5.0, "stranger", "", {}, 1, 5.0)


@pytest.mark.parametrize(
    ("kind", "role", "by"), [("guest", "web", "one"), ("stranger", "mail", "one"),
                             ("stranger", "web", "two")]
)  # fmt: skip
def test_what_differs_in_kind_or_role_or_detail_is_another_entry(
    journal: Journal, kind: str, role: str, by: str
) -> None:
    journal.tell("stranger", "web", by="one")
    journal.tell(kind, role, by=by)
    assert [count for _, count, _, _ in journal.read()] == [1, 1]


def test_two_strangers_who_take_turns_fill_two_entries(journal: Journal) -> None:
    journal.tell("switch.lost", switch="o1")
    for number in range(10_000):
        journal.at = number / 100
        journal.tell("stranger", by=("one", "two")[number % 2])
    assert [(kind, count) for kind, count, _, _ in journal.read()] == [
        ("switch.lost", 1),
        ("stranger", 5000),
        ("stranger", 5000),
    ]


def test_as_many_strangers_as_are_remembered_push_nothing_out(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_ENTRIES", NEWEST + 1)
    journal.tell("switch.lost", switch="o1")
    for number in range(NEWEST * 5):
        journal.tell("stranger", by=number % NEWEST)
        if number % 100 == 0:
            journal.store.flush()
    entries = journal.read()
    assert entries[0][:2] == ("switch.lost", 1)
    assert [count for _, count, _, _ in entries[1:]] == [5] * NEWEST


def test_a_count_never_goes_to_an_entry_that_has_left_the_journal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_ENTRIES", NEWEST)
    for number in range(NEWEST * 2):
        journal.tell("stranger", by=number)
        journal.tell("switch.lost", switch="o1")
        journal.store.flush()
    kept = journal.store.history(limit=1000)
    assert len(kept) == NEWEST
    assert sum(e.count for e in kept if e.kind == "switch.lost") >= NEWEST


def test_what_comes_back_after_a_pause_is_news(journal: Journal) -> None:
    journal.tell("agent.lost", server="one")
    journal.at = PAUSE
    journal.tell("agent.lost", server="one")
    journal.at = 2 * PAUSE + 1
    journal.tell("agent.lost", server="one")
    assert journal.read() == [
        ("agent.lost", 2, 0.0, PAUSE),
        ("agent.lost", 1, 2 * PAUSE + 1, 2 * PAUSE + 1),
    ]


def test_what_lasts_is_told_again_each_hour(journal: Journal) -> None:
    for minute in range(0, 150, 5):
        journal.at = minute * 60.0
        journal.tell("stranger", by="one")
    assert [(count, first) for _, count, first, _ in journal.read()] == [
        (13, 0.0),
        (13, LONGEST + 300),
        (4, 2 * (LONGEST + 300)),
    ]


@pytest.mark.parametrize("landmark", ["takeover.started", "request.accepted"])
def test_nothing_is_counted_across_a_takeover_or_a_request(journal: Journal, landmark: str) -> None:
    journal.tell("port.down", port="o1:3")
    journal.tell(landmark, "mail", epoch=7)
    journal.tell("port.down", port="o1:3")
    assert [kind for kind, _, _, _ in journal.read()] == ["port.down", landmark, "port.down"]


def test_a_clock_that_was_set_back_counts_on_within_the_pause_and_no_further(
    journal: Journal,
) -> None:
    for journal.at in (5000.0, 5010.0, 4990.0, 0.0):
        journal.tell("stranger", by="one")
    assert journal.read() == [("stranger", 3, 5000.0, 5010.0), ("stranger", 1, 0.0, 0.0)]


def test_a_new_run_begins_with_entries_of_its_own_and_higher_numbers(journal: Journal) -> None:
    journal.tell("switch.lost", switch="o1")
    journal.store.close()
    journal.open()
    journal.tell("switch.lost", switch="o1")
    journal.store.flush()
    assert [(e.number, e.count) for e in journal.store.history()] == [(2, 1), (1, 1)]


def test_history_shows_what_has_not_been_written_yet(journal: Journal) -> None:
    for number in range(4):
        journal.tell("event", ("web", "mail")[number % 2], number=number)
    journal.store.flush()
    journal.tell("event", "web", number=0)
    journal.tell("event", "web", number=9)
    assert [(e.number, e.count) for e in journal.store.history("web")] == [(5, 1), (3, 1), (1, 2)]
    assert [e.number for e in journal.store.history(before=5, limit=2)] == [4, 3]


def test_what_cannot_be_kept_while_nothing_can_be_written_is_counted(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEPT_ENTRIES == 100_000
    monkeypatch.setattr(journal_module, "KEPT_ENTRIES", 3)
    for number in range(5):
        journal.tell("event", number=number)
    journal.store.flush()
    newest = journal.store.history(limit=1)[0]
    assert (newest.kind, json.dumps(dict(newest.details))) == ("journal.refused", '{"entries": 2}')
