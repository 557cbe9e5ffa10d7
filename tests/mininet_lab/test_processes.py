"""Signals to processes, and what they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from mininet_lab.processes import command_line, send


def test_who_has_ended_is_left_out_and_the_next_one_is_told() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with subprocess.Popen(["sleep", "infinity"]) as lives:
        send([ended.pid, lives.pid], signal.SIGKILL)
        assert lives.wait() == -signal.SIGKILL


def test_a_command_line_is_told_word_by_word() -> None:
    words = (sys.executable, "-c", "print(flush=True); input()", "a b", "")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as it:
        assert it.stdout is not None
        it.stdout.readline()  # it has started
        assert command_line(it.pid) == words
        it.kill()


def test_who_has_ended_runs_nothing() -> None:
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert command_line(ended.pid) == ()
    ended.wait()
    assert command_line(ended.pid) == ()
