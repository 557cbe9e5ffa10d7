"""Processes found by their command lines, stopped, let go on and killed; and whether they are."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mininet_lab.processes import command_line, send
from mininet_lab.servers import LabServer
from mininet_lab.soak.struck import NotStruckError

#: Times that all processes are gone through until none is new.
_ROUNDS = 20

#: Seconds until a signal must have had its effect.
_PATIENCE = 2.0


def find(server: LabServer, words: Iterable[str]) -> list[int]:
    """The first processes of a server (of each family the oldest) whose command lines contain all
    of the words."""
    wanted = tuple(words)
    found = [pid for pid in server.processes() if all(w in spoken(pid) for w in wanted)]
    return [pid for pid in found if _parent(pid) not in found]


def guard(server: LabServer, role: str) -> list[int]:
    """The guard of a role: it says whose it is (hactrl/agent/guard.py)."""
    found = [
        pid
        for pid in server.processes()
        if spoken(pid).partition("hactrl.agent.guard ")[2].split(" ")[:1] == [role]
    ]
    # What it forks has its command line until it is another program.
    return [pid for pid in found if _parent(pid) not in found]


def family(pids: Iterable[int]) -> list[int]:
    """They and all their descendants."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        children = _read(f"/proc/{pid}/task/{pid}/children").split()
        waiting += map(int, children)
    return found


def stop_all(find_all: Callable[[], list[int]]) -> list[int]:
    """Stop all processes that are found, those too that begin meanwhile.

    Raises:
        NotStruckError: one goes on.
    """
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        new = [pid for pid in find_all() if pid not in stopped]
        if not new:
            return stopped_indeed(stopped)
        send(new, signal.SIGSTOP)
        stopped.update(new)
    raise NotStruckError("processes begin faster than they are stopped")


def stopped_indeed(pids: Iterable[int]) -> list[int]:
    """Those that live, all of them stopped by now.

    Raises:
        NotStruckError: one goes on, or there is none.
    """
    alive = [pid for pid in pids if _state(pid) not in ("", "Z", "X")]
    if not alive:
        raise NotStruckError("nobody is left who could be stopped")
    deadline = time.monotonic() + _PATIENCE
    while going := [pid for pid in alive if _state(pid) not in ("T", "t", "", "Z", "X")]:
        if time.monotonic() > deadline:
            told = ", ".join(f"{pid} {spoken(pid)} ({_state(pid)})" for pid in going)
            raise NotStruckError(f"they go on: {told}")
        time.sleep(0.005)
    return alive


def ended_indeed(pids: Iterable[int]) -> None:
    """Return when all have ended.

    Raises:
        NotStruckError: one lives.
    """
    deadline = time.monotonic() + _PATIENCE
    while living := [pid for pid in pids if _state(pid) not in ("", "Z", "X")]:
        if time.monotonic() > deadline:
            raise NotStruckError(f"they live: {living}")
        time.sleep(0.005)


def spoken(pid: int) -> str:
    """Its command line, with a space behind each word; empty of one that has ended."""
    return "".join(f"{word} " for word in command_line(pid))


def _state(pid: int) -> str:
    """The letter of proc(5), empty of one that has ended and was collected."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].strip()[:1]


def _parent(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(path: str) -> str:
    """Of a process that may end at any moment: empty then."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
