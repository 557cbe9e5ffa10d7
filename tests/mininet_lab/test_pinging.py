"""What a log of ping says about when answers were missing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mininet_lab import pinging
from mininet_lab.pinging import Pings


def log(path: Path, *moments: float) -> Pings:
    lines = (
        f"[{at:.6f}] 64 bytes from 10.20.0.10: icmp_seq=1 ttl=64 time=0.1 ms\n" for at in moments
    )
    path.write_text("PING 10.20.0.10 (10.20.0.10) 56(84) bytes of data.\n" + "".join(lines))
    return Pings(path)


def test_the_blackout_is_the_longest_gap_after_the_moment(tmp_path: Path) -> None:
    pings = log(tmp_path / "ping", 100.0, 100.9, 101.0, 101.001, 101.031, 101.032)
    assert pings.blackout(101.0) == pytest.approx(0.030)


def test_answers_from_before_a_moment_are_not_waited_for_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinging, "_PATIENCE", 0.0)
    now = time.time()
    pings = log(tmp_path / "ping", *(now - 1.0 + n / 100 for n in range(140)))
    pings.await_answers(0.3)
    with pytest.raises(TimeoutError):
        pings.await_answers(0.3, after=now + 60.0)


def test_pings_are_answered_again_with_the_first_answer_after_the_moment(tmp_path: Path) -> None:
    pings = log(tmp_path / "ping", 100.0, 100.9, 101.5, 101.6)
    assert pings.resumed(101.0, patience=float("inf")) == 101.5
    with pytest.raises(TimeoutError):
        pings.resumed(time.time(), patience=0.0)
