"""The controller's side of the prober, with probers that follow a script, and the real one."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import eventlet
import pytest
from eventlet.queue import LightQueue

from hactrl.clock import boot_time
from hactrl.engine.effects import JudgeAnew
from hactrl.engine.events import ProbeChanged, ProberSight, ProbesChanged
from hactrl.health import client as client_module
from hactrl.health.client import COMMAND, KILL_LOOKS, LOOK, ProberClient
from hactrl.health.targets import (
    BEAT,
    Anew,
    Beat,
    Eager,
    Targets,
    decode_order,
    encode,
    targets,
)
from hactrl.site import load
from hactrl.site.model import Site
from hactrl.vocabulary import Verdict

FRONTIER = Path(__file__).parents[3] / "examples" / "frontier.yaml"
PATIENCE = 20.0
CHANGE = ProbeChanged("web", "http", "B", Verdict.HEALTHY)
HEALTHY = ProbesChanged((CHANGE,))

TELL = f"import sys; sys.stdout.buffer.write({encode(CHANGE)!r}); sys.stdout.flush()\n"
BEAT_ON = TELL + (
    "import time\nwhile True:\n"
    f" sys.stdout.buffer.write({encode(Beat())!r}); sys.stdout.flush(); time.sleep({BEAT / 2})\n"
)
LISTEN = "sys.stdin.read()\n"
RECORD = "import sys\nfor line in sys.stdin: open(sys.argv[1], 'a').write(line)\n"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(FRONTIER)


@pytest.fixture
def events() -> LightQueue:
    return LightQueue()


@pytest.fixture
def started(site: Site, events: LightQueue) -> Iterator[Callable[..., ProberClient]]:
    """Starts a client whose prober is a Python script (the real one, if None)."""
    clients: list[ProberClient] = []

    def start(script: str | None, *arguments: str) -> ProberClient:
        command = COMMAND if script is None else (sys.executable, "-c", script, *arguments)
        clients.append(ProberClient(site, events.put, command))
        clients[-1].start()
        return clients[-1]

    with eventlet.Timeout(2 * PATIENCE):
        yield start
        for client in clients:
            client.stop()


def test_what_the_prober_reports_is_posted(
    started: Callable[..., ProberClient], events: LightQueue
) -> None:
    started(TELL + LISTEN)
    assert events.get(timeout=PATIENCE) == HEALTHY


def test_the_prober_is_told_the_site_s_targets_and_then_who_waits(
    started: Callable[..., ProberClient], site: Site, events: LightQueue, tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    client = started(TELL + RECORD, str(orders))
    events.get(timeout=PATIENCE)
    now = boot_time()
    client.probe_eagerly("web", "smtp_pop", 60.0)
    client.stop()
    first, second = (decode_order(line) for line in orders.read_bytes().splitlines())
    assert first == Targets(targets(site))
    assert second == Eager("web", "smtp_pop", pytest.approx(now + 60.0, abs=5.0))


def test_a_prober_that_reads_late_is_told_the_latest_of_each_thing_only(
    started: Callable[..., ProberClient], site: Site, events: LightQueue, tmp_path: Path
) -> None:
    """Nothing is written before the greenlet that writes has its turn."""
    orders = tmp_path / "orders"
    client = started(TELL + RECORD, str(orders))
    events.get(timeout=PATIENCE)
    for seconds in range(1000):
        client.probe_eagerly("web", "smtp_pop", float(seconds))
    client.stop()
    told = [decode_order(line) for line in orders.read_bytes().splitlines()]
    latest = Eager("web", "smtp_pop", pytest.approx(boot_time() + 999.0, abs=PATIENCE))
    assert told == [Targets(targets(site)), latest]


def test_a_site_that_replaces_another_is_told_to_the_running_prober(
    started: Callable[..., ProberClient], site: Site, events: LightQueue, tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    client = started(TELL + RECORD, str(orders))
    events.get(timeout=PATIENCE)
    only_web = replace(site, roles={"web": site.roles["web"]})
    client.replace(only_web)
    client.stop()
    told = [decode_order(line) for line in orders.read_bytes().splitlines()]
    assert told == [Targets(targets(site)), Targets(targets(only_web))]


def test_a_prober_that_ends_is_started_again_and_nobody_judges_meanwhile(
    started: Callable[..., ProberClient], events: LightQueue, caplog: pytest.LogCaptureFixture
) -> None:
    started(TELL + "sys.exit(7)\n")
    told = [events.get(timeout=PATIENCE) for _ in range(3)]
    assert told == [HEALTHY, ProberSight(silent=True), HEALTHY]
    assert "the prober ended, exit code 7" in caplog.text


@pytest.mark.reported("A10")
def test_a_prober_that_is_stopped_is_noticed_killed_and_started_again(
    started: Callable[..., ProberClient], events: LightQueue
) -> None:
    client = started(BEAT_ON)
    assert events.get(timeout=PATIENCE) == HEALTHY
    pid = client.pid
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    assert events.get(timeout=PATIENCE) == ProberSight(silent=True)
    assert time.monotonic() - stopped >= BEAT  # not at once, or a busy machine had none
    assert events.get(timeout=PATIENCE) == HEALTHY
    assert events.get(timeout=PATIENCE) == ProberSight(silent=False)
    assert client.pid != pid


@pytest.mark.reported("A10")
def test_a_controller_that_was_stopped_itself_does_not_take_that_for_its_prober_s_silence(
    started: Callable[..., ProberClient], events: LightQueue
) -> None:
    client = started(BEAT_ON)
    assert events.get(timeout=PATIENCE) == HEALTHY
    pid = client.pid
    for _ in range(3):
        eventlet.sleep(LOOK)
        time.sleep(KILL_LOOKS * LOOK)  # the whole hub, as a signal would
    eventlet.sleep(2 * LOOK)
    assert events.empty()
    assert client.pid == pid


@pytest.mark.reported("A5")
def test_what_the_prober_does_not_judge_is_posted_when_it_changes(
    started: Callable[..., ProberClient], events: LightQueue
) -> None:
    late = ("web", "http", "B")
    beats = [Beat(), Beat((late,)), Beat((late,)), Beat()]
    lines = b"".join(encode(beat) for beat in beats)
    started(f"import sys; sys.stdout.buffer.write({lines!r}); sys.stdout.flush()\n" + LISTEN)
    assert [events.get(timeout=PATIENCE) for _ in range(2)] == [
        ProberSight(silent=False, late=frozenset({late})),
        ProberSight(silent=False),
    ]


@pytest.mark.reported("A9")
def test_what_is_to_be_judged_anew_is_told_to_the_next_prober_too(
    started: Callable[..., ProberClient], site: Site, events: LightQueue, tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    script = TELL + "sys.stdin.readline(); open(sys.argv[1], 'a').write(sys.stdin.readline())\n"
    client = started(script, str(orders))
    assert events.get(timeout=PATIENCE) == HEALTHY
    client.judge_anew(JudgeAnew("inner", 3))
    assert [events.get(timeout=PATIENCE) for _ in range(2)] == [ProberSight(silent=True), HEALTHY]
    first = decode_order(orders.read_bytes().splitlines()[0])
    cards = {card.name for card in site.network.interfaces.values() if card.segment == "inner"}
    assert isinstance(first, Anew)
    assert (set(first.interfaces), first.round) == (cards, 3)


def test_who_waited_is_told_to_the_next_prober_too(
    started: Callable[..., ProberClient], events: LightQueue, tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    script = TELL + "sys.stdin.readline(); open(sys.argv[1], 'a').write(sys.stdin.readline())\n"
    client = started(script, str(orders))
    assert events.get(timeout=PATIENCE) == HEALTHY
    client.probe_eagerly("web", "smtp_pop", 60.0)
    assert [events.get(timeout=PATIENCE) for _ in range(2)] == [ProberSight(silent=True), HEALTHY]
    client.stop()
    first, second, *_ = orders.read_bytes().splitlines()
    assert first == second


def test_stopping_ends_the_prober_and_posts_nothing(
    started: Callable[..., ProberClient], events: LightQueue, caplog: pytest.LogCaptureFixture
) -> None:
    client = started(TELL + LISTEN)
    events.get(timeout=PATIENCE)
    client.stop()
    assert events.empty()
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_a_prober_that_does_not_end_is_killed(
    started: Callable[..., ProberClient],
    events: LightQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(client_module, "STOP_TIMEOUT", 0.05)
    client = started(TELL + "import signal\nwhile True: signal.pause()\n")
    events.get(timeout=PATIENCE)
    client.stop()
    assert "does not end; killing it" in caplog.text


def test_what_was_told_at_once_is_posted_at_once_and_in_order(
    started: Callable[..., ProberClient], events: LightQueue
) -> None:
    changes = tuple(replace(CHANGE, interface=card) for card in "ABC")
    late = Beat((("web", "http", "C"),))
    told = b"".join(map(encode, (*changes[:2], late, changes[2])))
    started(f"import sys; sys.stdout.buffer.write({told!r}); sys.stdout.flush()\n" + LISTEN)
    posted = [events.get(timeout=PATIENCE) for _ in range(3)]
    sight = ProberSight(silent=False, late=frozenset(late.late))
    assert posted == [ProbesChanged(changes[:2]), sight, ProbesChanged(changes[2:])]


def test_the_real_prober_reports_on_every_target(
    started: Callable[..., ProberClient], site: Site, events: LightQueue
) -> None:
    started(None)
    reports: list[ProbeChanged] = []
    while len(reports) < len(targets(site)):
        event = events.get(timeout=PATIENCE)
        if isinstance(event, ProbesChanged):
            reports += event.changes
    # This host has none of the site's prober addresses, so it can know nothing.
    assert {(e.verdict, e.reason) for e in reports} == {(Verdict.UNKNOWN, "no_address")}
    assert len({(e.role, e.service, e.interface) for e in reports}) == len(targets(site))
