"""How the controller is scheduled."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from hactrl.shell.priority import NICENESS, go_first


@pytest.fixture
def niceness(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """What the process would have now; it has its own in truth, as has pytest."""
    found = [0]
    monkeypatch.setattr(os, "getpriority", lambda *_: found[0])
    monkeypatch.setattr(os, "setpriority", lambda _kind, _who, value: found.append(value))
    return lambda: found[-1]


def test_it_goes_before_ordinary_processes(niceness: Callable[[], int]) -> None:
    assert go_first() == f"niceness {NICENESS}"
    assert niceness() == NICENESS


def test_what_somebody_has_chosen_stays(
    niceness: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpriority", lambda *_: 5)
    assert go_first() == "niceness 5, as chosen"
    assert niceness() == 0


def test_who_may_not_says_so_and_goes_on(
    niceness: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    assert go_first().startswith("ordinary niceness: [Errno 1] Operation not permitted")
    assert niceness() == 0
