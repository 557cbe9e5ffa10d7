"""The controller's side of the prober, with probers that follow a script, and the real one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import eventlet
import pytest
from eventlet.queue import LightQueue

from hactrl.engine.events import ProbeChanged, Verdict
from hactrl.health import client as client_module
from hactrl.health.client import COMMAND, PROBER_LOST, ProberClient
from hactrl.health.targets import Eager, Targets, decode_order, encode, targets
from hactrl.site import load
from hactrl.site.model import Site

FRONTIER = Path(__file__).parents[2] / "examples" / "frontier.yaml"
PATIENCE = 20.0
HEALTHY = ProbeChanged("web", "http", "B", Verdict.HEALTHY)

TELL = f"import sys; sys.stdout.buffer.write({encode(HEALTHY)!r}); sys.stdout.flush()\n"
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
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    client.probe_eagerly("web", "smtp_pop", 60.0)
    client.stop()
    first, second = (decode_order(line) for line in orders.read_bytes().splitlines())
    assert first == Targets(targets(site))
    assert second == Eager("web", "smtp_pop", pytest.approx(now + 60.0, abs=5.0))


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


def test_a_prober_that_ends_is_started_again_and_what_it_saw_stays_good(
    started: Callable[..., ProberClient], events: LightQueue, caplog: pytest.LogCaptureFixture
) -> None:
    started(TELL + "sys.exit(7)\n")
    assert [events.get(timeout=PATIENCE) for _ in range(3)] == [HEALTHY] * 3
    assert "the prober ended, exit code 7" in caplog.text


def test_what_the_next_prober_says_nothing_about_in_time_becomes_unknown(
    started: Callable[..., ProberClient],
    site: Site,
    events: LightQueue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "START_UP", 1.0)
    monkeypatch.setattr(client_module, "judged_within", lambda _: 0.0)
    ended = tmp_path / "ended"
    once = f"import pathlib\nif not (p := pathlib.Path({str(ended)!r})).exists():\n p.touch(); "
    started(TELL + once + "sys.exit(7)\n" + LISTEN)
    assert events.get(timeout=PATIENCE) == HEALTHY
    assert events.get(timeout=PATIENCE) == HEALTHY
    unseen = {(t.role, t.service, t.interface) for t in targets(site)} - {("web", "http", "B")}
    lost = [events.get(timeout=PATIENCE) for _ in unseen]
    assert {(e.verdict, e.reason) for e in lost} == {(Verdict.UNKNOWN, PROBER_LOST)}
    assert {(e.role, e.service, e.interface) for e in lost} == unseen
    eventlet.sleep(0)
    assert events.empty()


def test_who_waited_is_told_to_the_next_prober_too(
    started: Callable[..., ProberClient], events: LightQueue, tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    script = TELL + "sys.stdin.readline(); open(sys.argv[1], 'a').write(sys.stdin.readline())\n"
    client = started(script, str(orders))
    assert events.get(timeout=PATIENCE) == HEALTHY
    client.probe_eagerly("web", "smtp_pop", 60.0)
    assert [events.get(timeout=PATIENCE) for _ in range(2)] == [HEALTHY] * 2
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


def test_the_real_prober_reports_on_every_target(
    started: Callable[..., ProberClient], site: Site, events: LightQueue
) -> None:
    started(None)
    reports = [events.get(timeout=PATIENCE) for _ in targets(site)]
    # This host has none of the site's prober addresses, so it can know nothing.
    assert {(e.verdict, e.reason) for e in reports} == {(Verdict.UNKNOWN, "local_fault")}
    assert len({(e.role, e.service, e.interface) for e in reports}) == len(targets(site))
