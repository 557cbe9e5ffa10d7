"""A controller that hangs ends; one that is stopped, starved or busy does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_controller import START, controller, wait_until

from hactrl.shell.watchdog import HUNG_AFTER, LOOK, Service, Stall, starvation

pytestmark = pytest.mark.reported("C1")

TICKS = round(HUNG_AFTER / LOOK)


class TestStall:
    def test_a_hub_that_does_not_move_has_stalled_for_all_of_its_running_time(self) -> None:
        stall = Stall()
        stall.look(7, LOOK, 0.0)
        assert [stall.look(7, LOOK, 0.0) for _ in range(TICKS)][-1] == pytest.approx(HUNG_AFTER)

    def test_each_beat_begins_anew(self) -> None:
        stall = Stall()
        assert all(stall.look(beat, 10.0, 0.0) == 0.0 for beat in range(100))

    def test_a_process_that_was_stopped_for_an_hour_has_not_stalled_for_long(self) -> None:
        stall = Stall()
        stall.look(7, LOOK, 0.0)
        assert stall.look(7, 3600.0, 0.0) <= 2 * LOOK

    def test_the_time_in_which_it_got_no_processor_does_not_count(self) -> None:
        """The kernel tells of a wait when it is over."""
        stall = Stall()
        stall.look(7, LOOK, 0.0)
        for _ in range(5):
            found = [stall.look(7, LOOK, waited) for waited in (0.0, 0.0, 0.0, 4 * LOOK)]
        assert found[-1] == pytest.approx(0.0)


def test_a_thread_that_gets_no_processor_is_seen_to_wait() -> None:
    """Two that want the same processor."""
    spin = (
        f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\nwhile True: pass"
    )
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]
    try:
        first = spinning[0].pid
        wait_until(lambda: starvation(first, first) > 0.2, "it to have waited")
    finally:
        for process in spinning:
            process.kill()
            process.wait()


#: A hub with a watchdog; {0} is what it does after a while.
HUB = """
import logging, re, time
import eventlet
from eventlet import patcher
eventlet.monkey_patch()
from hactrl.shell import watchdog
logging.basicConfig(format="%(levelname)s %(message)s")
dog = watchdog.Watchdog(lambda: questions.append(1), eventlet.getcurrent())
questions = []
eventlet.spawn(dog.run)

def serve():
    while questions:
        questions.pop()
        dog.answer()

def what_it_does():
{0}

eventlet.sleep(0.3)
serve()
print("begins", flush=True)
what_it_does()
"""

BUSY = """
    for _ in range(60):
        end = time.monotonic() + 0.05
        while time.monotonic() < end: pass
        eventlet.sleep(0)
        serve()
"""
SPINNING = """
    while True: pass
"""
BLOCKED = """
    patcher.original("time").sleep(1e6)
"""
LOCKED = """
    watchdog.LOCKED_AFTER = 1.0
    eventlet.sleep(0.5)
    re.match("(a+)+$", "a" * 64 + "b")
"""
UNSERVED = """
    watchdog.UNSERVED_AFTER = 0.5
    eventlet.event.Event().wait()
"""


@pytest.fixture
def hubs() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def run(hubs: list[subprocess.Popen[str]], body: str) -> subprocess.Popen[str]:
    """Started, and about to do it."""
    words = [sys.executable, "-c", HUB.format(body)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    hubs.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.mark.parametrize("body", [SPINNING, BLOCKED], ids=["in Python", "in a system call"])
def test_a_hub_that_hangs_ends_the_process_with_a_line_and_the_stack(
    hubs: list[subprocess.Popen[str]], body: str
) -> None:
    process = run(hubs, body)
    _, said = process.communicate(timeout=100)
    assert process.returncode == os.EX_SOFTWARE
    assert "CRITICAL the hub has not moved for 2.0 s of its running time" in said
    assert "in what_it_does" in said


def test_code_that_keeps_pythons_lock_ends_the_process_with_the_stack(
    hubs: list[subprocess.Popen[str]],
) -> None:
    process = run(hubs, LOCKED)
    _, said = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGPROF
    assert "in what_it_does" in said


@pytest.mark.reported("C3")
def test_events_that_are_not_served_end_the_process_with_the_stack_of_who_should(
    hubs: list[subprocess.Popen[str]],
) -> None:
    process = run(hubs, UNSERVED)
    _, said = process.communicate(timeout=100)
    assert process.returncode == os.EX_SOFTWARE
    assert "CRITICAL OpenFlow events have not been served" in said
    assert "in what_it_does" in said


def test_a_busy_hub_that_pauses_is_left_alone(hubs: list[subprocess.Popen[str]]) -> None:
    process = run(hubs, BUSY)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 0
    assert "CRITICAL" not in said


#: A controller whose greenlet for OpenFlow events hangs when a switch comes.
HANGS = """
import eventlet
from hactrl.switches.connections import Connections
def hang(*_):
{0}
Connections.arrived = hang
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (SPINNING, "the hub has not moved"),
        ("    eventlet.sleep(1e6)", "OpenFlow events have not been served"),
    ],
    ids=["the hub", "the events"],
)
def test_a_controller_that_hangs_ends_by_itself(tmp_path: Path, body: str, said: str) -> None:
    with controller(tmp_path, HANGS.format(body) + START) as running:
        running.connect(0x11)
        assert running.process.wait(timeout=100) == os.EX_SOFTWARE
        assert said in running.log()
        assert "in hang" in running.log()


def test_a_controller_that_was_stopped_for_5_s_goes_on(tmp_path: Path) -> None:
    with controller(tmp_path) as running:
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        running.process.send_signal(signal.SIGCONT)
        wait_until(running.is_ready, "its answer")
        time.sleep(1.0)
        assert running.process.poll() is None


class TestService:
    @pytest.fixture
    def systemd(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(tmp_path / "notify"))
            listening.settimeout(60.0)
            yield listening

    def test_is_told_by_datagrams_to_the_socket_that_systemd_names(
        self, systemd: socket.socket
    ) -> None:
        Service({"NOTIFY_SOCKET": systemd.getsockname()}).tell("READY=1")
        assert systemd.recv(100) == b"READY=1"

    def test_a_socket_may_be_in_the_abstract_namespace(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind("\0hactrl-test-" + str(os.getpid()))
            listening.settimeout(60.0)
            Service({"NOTIFY_SOCKET": f"@hactrl-test-{os.getpid()}"}).tell("READY=1")
            assert listening.recv(100) == b"READY=1"

    def test_without_systemd_nobody_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        Service({}).tell("READY=1")
        assert caplog.text == ""

    def test_a_socket_that_is_gone_is_logged_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = Service({"NOTIFY_SOCKET": str(tmp_path / "gone")})
        for _ in range(3):
            service.tell("WATCHDOG=1")
        assert len(caplog.records) == 1

    def test_a_controller_says_that_it_is_up_and_then_that_it_goes_on(
        self, systemd: socket.socket, tmp_path: Path
    ) -> None:
        with controller(tmp_path, NOTIFY_SOCKET=systemd.getsockname()):
            said = [systemd.recv(100) for _ in range(3)]
        assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
