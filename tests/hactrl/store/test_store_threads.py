"""The store among real threads: who is told what, and what is on the disk then.

SQLite's Python module changed in 3.12 so that threads that share a connection get each other's
answers (python/cpython#118172), and a Debian 12 has 3.11 only. So the stress runs with every
interpreter of these that `make test-python` has made an environment for, or that is on PATH and has
eventlet; the tests' names say which ones ran.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hactrl.store.worker import Worker

ROOT = Path(__file__).parents[3]
STRESS = Path(__file__).with_name("store_stress.py")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def interpreter(version: str) -> str:
    """The path of a Python that can run a store."""
    if version == RUNNING:
        return sys.executable
    own = ROOT / f".venv-{version}" / "bin" / "python"
    found = str(own) if own.exists() else shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"python{version} is not on PATH: not shown for that version")
    asked = subprocess.run(
        [found, "-W", "ignore", "-c", "import eventlet, networkx"], capture_output=True, check=False
    )
    if asked.returncode:
        pytest.skip(f"{found} has no eventlet and networkx: not shown for that version")
    return found


@pytest.mark.reported("C8")
@pytest.mark.parametrize("version", sorted({RUNNING, "3.11", "3.12", "3.13"}))
def test_what_is_reported_as_stored_is_and_everybody_is_answered(
    tmp_path: Path, version: str
) -> None:
    """Three roles at once, 300 rounds, through the keeper and eventlet's threads, while the
    journal is written and read."""
    run = subprocess.run(
        [interpreter(version), str(STRESS), str(tmp_path / "hactrl.sqlite"), "300"],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(STRESS.parents[2])},
    )
    assert json.loads(run.stdout) == {"lost": 0, "stale": 0, "errors": 0, "unanswered": 0}


def test_a_worker_does_all_in_one_thread_that_is_nobody_elses() -> None:
    worker = Worker("test")
    threads = {worker.run(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    worker.end()


def test_a_worker_raises_an_error_where_the_work_was_asked_for_and_goes_on() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 // 0)
    assert worker.run(lambda: 7) == 7
    worker.end()


def test_a_worker_does_things_in_the_order_in_which_they_were_asked_for() -> None:
    worker, done = Worker("test"), list[int]()
    begun, goes_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        goes_on.wait()
        done.append(1)

    asking = threading.Thread(target=worker.run, args=(first,))
    asking.start()
    begun.wait()
    assert worker.busy
    goes_on.set()
    worker.run(lambda: done.append(2))
    asking.join()
    assert done == [1, 2]
    worker.end()


def test_a_worker_that_has_ended_refuses_work_instead_of_keeping_who_asks_waiting() -> None:
    worker = Worker("test")
    worker.end()
    with pytest.raises(RuntimeError, match="ended"):
        worker.run(lambda: 7)
