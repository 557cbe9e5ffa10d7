"""The controller, as a site would run it: `ryu-manager hactrl`, in the lab's outer namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from mininet_lab.servers import ServerError


class LabController:
    """`programs` is searched for commands first: the power fence is there.

    `state` is where store and tokens of the site file lie; it survives the controller.
    """

    def __init__(self, site_file: Path, directory: Path, programs: Path) -> None:
        self._site_file = site_file
        self.log = directory / "controller.log"
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and do not wait."""
        program = Path(sys.executable).with_name("ryu-manager")
        path = f"{self._programs}:{program.parent}:{os.environ['PATH']}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), "hactrl", "--hactrl-site", str(self._site_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": path},
                start_new_session=True,
            )

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to it alone: its prober must notice by itself."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP, to it alone: its prober goes on."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._running().send_signal(signal.SIGCONT)

    def signal_prober(self, number: signal.Signals = signal.SIGSTOP) -> int:
        """Send a signal to its prober alone; the prober's process."""
        for pid in _children(self._running().pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"hactrl.health.prober" in command:
                os.kill(pid, number)
                return pid
        raise ServerError("the controller has no prober")

    @property
    def pid(self) -> int:
        """
        Raises:
            ServerError: it does not run.
        """
        return self._running().pid

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"the controller does not run; its log ends with:\n{self.log_tail()}")
        return self._process

    def _end(self, number: signal.Signals) -> None:
        process = self._running()
        process.send_signal(number)
        process.wait(timeout=10.0)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
