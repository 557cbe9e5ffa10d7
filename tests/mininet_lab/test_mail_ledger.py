"""The ledger and the account: what was promised against what arrived."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mininet_lab.mail import ledger
from mininet_lab.mail.ledger import Kind, Ledger, MailRecord
from mininet_lab.mail.load import arrived, compose, identify


def entry(
    kind: Kind, subject: str, began: float = 0.0, time: float = 1.0, way: str = "a"
) -> MailRecord:
    return MailRecord(
        kind, way, subject, "smtp", "192.0.2.25", began, time, "refused" * (kind is ERROR)
    )


ACKNOWLEDGED, ERROR = Kind.ACKNOWLEDGED, Kind.ERROR


def test_what_was_acknowledged_and_did_not_arrive_is_lost() -> None:
    entries = [entry(ACKNOWLEDGED, "1"), entry(ACKNOWLEDGED, "2")]
    result = ledger.account(entries, {"a": Counter({"1": 1})})["a"]
    assert (result.acknowledged, result.arrived, result.lost) == (2, 1, ("2",))


def test_a_way_on_which_nothing_arrived_lost_everything() -> None:
    assert ledger.account([entry(ACKNOWLEDGED, "1")], {})["a"].lost == ("1",)


def test_further_copies_are_duplicates_not_loss() -> None:
    result = ledger.account([entry(ACKNOWLEDGED, "1")], {"a": Counter({"1": 3})})["a"]
    assert (result.duplicates, result.lost) == (2, ())


def test_a_mail_that_nobody_promised_is_no_loss_and_no_duplicate() -> None:
    result = ledger.account([entry(ERROR, "1")], {"a": Counter({"1": 1})})["a"]
    assert (result.unacknowledged, result.duplicates, result.lost) == (1, 0, ())


def test_first_served_counts_only_what_began_after_the_fault() -> None:
    entries = [entry(ACKNOWLEDGED, "1", 9.9, 10.1), entry(ACKNOWLEDGED, "2", 10.5, 12.0)]
    assert ledger.first_served(entries, "a", since=10.0) == 2.0


def test_never_served_has_no_first() -> None:
    assert ledger.first_served([entry(ERROR, "1", 11, 12)], "a", since=10.0) is None


def test_the_longest_gap_counts_both_ends_of_the_span() -> None:
    entries = [entry(ACKNOWLEDGED, "1", 0, 4), entry(ACKNOWLEDGED, "2", 0, 5)]
    assert ledger.longest_gap(entries, "a", 0, 10) == 5
    assert ledger.longest_gap(entries, "a", 0, 6) == 4


def test_errors_are_counted_by_way_and_kind() -> None:
    entries = [entry(ERROR, "1"), entry(ERROR, "1"), entry(Kind.GAVE_UP, "1", way="c")]
    assert ledger.errors_by_kind(entries) == {"a": {"refused": 2}, "c": {"gave_up": 1}}


def test_an_entry_survives_its_writer_and_comes_back_the_same(tmp_path: Path) -> None:
    writer = Ledger(tmp_path / "ledger")
    writer.write(entry(ACKNOWLEDGED, "1"))  # not closed
    assert ledger.read([tmp_path / "ledger"]) == [entry(ACKNOWLEDGED, "1")]


def test_two_ledgers_are_read_in_order_of_time(tmp_path: Path) -> None:
    for name, time in (("x", 2.0), ("y", 1.0)):
        with Ledger(tmp_path / name) as writer:
            writer.write(entry(ACKNOWLEDGED, name, 0, time))
    entries = ledger.read([tmp_path / "x", tmp_path / "y"])
    assert [e.subject for e in entries] == ["y", "x"]


def test_a_mail_knows_its_way_and_id() -> None:
    letter = compose("a", "a-0-7", "s@x", "r@x", size=2048)
    assert identify(b"Received: by x\n" + letter.text) == ("a", "a-0-7")
    assert arrived([letter.text, letter.text]) == {"a": Counter({"a-0-7": 2})}


@pytest.mark.parametrize("keep", [0, 10, 400, -1])
def test_a_damaged_mail_has_not_arrived(keep: int) -> None:
    letter = compose("a", "a-0-7", "s@x", "r@x", size=2048)
    assert arrived([letter.text[:keep]]) == {}
