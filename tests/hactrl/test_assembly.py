"""The operator's token, and work that is done aside."""

from __future__ import annotations

from pathlib import Path

import eventlet
import pytest
from eventlet.event import Event
from running import secret

from hactrl.assembly import ASIDE, few_at_a_time, operator_token


def test_without_a_file_a_token_is_made_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "new" / "operator-token"
    token = operator_token(file)
    assert len(token) >= 32
    assert file.read_text().strip() == token
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_next_start_uses_the_same_token(tmp_path: Path) -> None:
    file = tmp_path / "operator-token"
    assert operator_token(file) == operator_token(file)


def test_two_controllers_make_different_tokens(tmp_path: Path) -> None:
    assert operator_token(tmp_path / "one") != operator_token(tmp_path / "two")


def test_a_token_that_somebody_wrote_is_used_without_the_space_around_it(tmp_path: Path) -> None:
    file = secret(tmp_path / "operator-token", "  chosen by hand \n")
    assert operator_token(file) == "chosen by hand"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_file_is_refused_with_its_name_and_the_remedy(
    tmp_path: Path, content: str
) -> None:
    file = secret(tmp_path / "operator-token", content)
    with pytest.raises(ValueError, match=f"{file} is empty; remove it"):
        operator_token(file)


@pytest.mark.reported("C7")
@pytest.mark.parametrize("content", ["tökén", "two\nlines", "a\x00b", "\x7f"])
def test_a_token_that_no_header_can_hold_is_refused(tmp_path: Path, content: str) -> None:
    file = secret(tmp_path / "operator-token", content)
    with pytest.raises(ValueError, match=f"{file}: a token is one line of ASCII"):
        operator_token(file)


@pytest.mark.reported("C7")
def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = secret(tmp_path / "operator-token", "known to all", mode=0o644)
    with pytest.raises(ValueError, match=f"`chmod 600 {file}`"):
        operator_token(file)
    assert file.read_text() == "known to all"


def test_a_file_that_cannot_be_read_is_no_reason_to_make_a_new_token(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        operator_token(tmp_path)


def test_whoever_asks_a_lot_leaves_threads_to_others() -> None:
    """A placement is written in a thread of the same pool."""
    done, working = Event(), list[int]()

    def work(number: int) -> int:
        working.append(number)
        done.wait()
        return number

    aside = few_at_a_time(lambda work: work())
    asked = [eventlet.spawn(aside, lambda number=number: work(number)) for number in range(10)]
    eventlet.sleep(0)
    assert working == list(range(ASIDE))
    done.send()
    assert [greenlet.wait() for greenlet in asked] == list(range(10))
