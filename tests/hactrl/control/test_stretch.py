"""Who works long lets others run."""

from __future__ import annotations

import eventlet
import pytest

from hactrl.control.stretch import Stretch


@pytest.fixture
def ran() -> list[str]:
    """What another greenlet does as soon as it may."""
    done: list[str] = []
    eventlet.spawn_n(done.append, "ran")
    return done


def test_after_a_long_stretch_others_run(ran: list[str]) -> None:
    moments = iter((0.0, 1.0, 1.0))
    Stretch(1.0, lambda: next(moments)).pause()
    assert ran == ["ran"]


def test_in_a_short_one_they_wait(ran: list[str]) -> None:
    moments = iter((0.0, 0.9))
    Stretch(1.0, lambda: next(moments)).pause()
    assert ran == []


def test_a_new_stretch_begins_when_others_have_run(ran: list[str]) -> None:
    moments = iter((0.0, 5.0, 8.0, 8.9))
    stretch = Stretch(1.0, lambda: next(moments))
    stretch.pause()
    ran.clear()
    eventlet.spawn_n(ran.append, "ran again")
    stretch.pause()
    assert ran == []
