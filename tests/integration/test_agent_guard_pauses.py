"""A machine whose wall clock jumps, as one that was paused: its roles stand still at once.

The clock is that of the agent's and guards' Python only: it is shifted by what a file says.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_site import TICKER, FakeController, FakeServer, now

from hactrl.agent import linux
from hactrl.engine.events import AgentConnected, Noticed
from hactrl.site.model import Role
from hactrl.vocabulary import Holding, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.reported("B5")]

LEASE = 5.0
MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",), lease=LEASE)

ROLES = f"""
[roles.mail]
standby = ["sleep", "infinity"]
assume = ["true"]

[roles.mail.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/ticks"]}}
"""

SHIFTED = """
import time

real = time.clock_gettime


def clock_gettime(clock):
    shift = 0.0
    if clock == time.CLOCK_REALTIME:
        with open("DIR/shift") as file:
            shift = float(file.read())
    return real(clock) + shift


time.clock_gettime = clock_gettime
"""


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL)
    yield controller
    controller.server.stop()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController) -> Iterator[FakeServer]:
    """It holds the role."""
    (tmp_path / "ticker").write_text(TICKER, encoding="utf-8")
    shifted = SHIFTED.replace("DIR", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(shifted, encoding="utf-8")
    (tmp_path / "shift").write_text("0", encoding="ascii")
    server = FakeServer(tmp_path, controller.server.port, ROLES)
    server.start_agent()
    try:
        controller.next(AgentConnected)
        assert controller.assume("mail", 3).outcome is Outcome.DONE
        server.await_tick("ticks", after=0)
        yield server
    finally:
        server.end()


def jump(server: FakeServer, seconds: float) -> None:
    new = server.directory / "new-shift"
    new.write_text(str(seconds), encoding="ascii")
    new.replace(server.directory / "shift")


def test_nothing_runs_on_before_the_lease_is_granted_anew(
    controller: FakeController, server: FakeServer
) -> None:
    controller.granting = None
    granted, _ = controller.grants[-1]
    jump(server, 12.0)
    controller.next(Noticed, kind="pause.seen", role="mail")
    server.await_end_of_ticks()
    assert server.last_tick() < granted + LEASE / 2, "long before the lease ends"
    assert server.inside_with("/ticks"), "it only stands still"
    controller.granting = True
    server.await_tick("ticks", after=now())


def test_a_denial_after_a_pause_ends_what_stood_still(
    controller: FakeController, server: FakeServer
) -> None:
    controller.granting = None
    jump(server, 12.0)
    controller.next(Noticed, kind="pause.seen", role="mail")
    server.await_end_of_ticks()
    stopped = server.last_tick()
    controller.granting = False
    controller.next_holding(Holding.NOTHING)
    assert server.last_tick() == stopped
    assert not server.inside_with("/ticks")


def test_a_clock_that_was_merely_set_moves_nothing(
    controller: FakeController, server: FakeServer
) -> None:
    before = server.inside_with("/ticks")
    jump(server, 3600.0)
    controller.next(Noticed, kind="pause.seen", role="mail")
    server.await_tick("ticks", after=now())
    assert controller.assume("mail", 3).outcome is Outcome.DONE
    assert server.inside_with("/ticks") == before


def test_what_stands_still_is_released_without_its_command(
    controller: FakeController, server: FakeServer
) -> None:
    controller.granting = None
    jump(server, 12.0)
    controller.next(Noticed, kind="pause.seen", role="mail")
    assert controller.release("mail", 4).outcome is Outcome.DONE
    assert not server.inside_with("/ticks")


def test_the_setting_of_the_wall_clock_is_told_by_the_kernel() -> None:
    """It is set to what it says already: nobody else sees more than microseconds."""

    async def scene() -> None:
        settings = linux.ClockSettings()
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(settings, told.set)
        for _ in range(2):
            time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
            await asyncio.wait_for(told.wait(), 5)
            settings.rearm()
            told.clear()
        asyncio.get_running_loop().remove_reader(settings)
        os.close(settings.fileno())

    asyncio.run(scene())
