"""A run of the lab lives in namespaces of its own, so that it leaves nothing behind.

    python -m mininet_lab run NAME        outer: holds the lock, waits, tidies up
     └ unshare --net --mount --pid ...    dies with the outer process, and all below with it
        └ process 1 inside                fresh /run and /sys, collects orphans
           └ the run                      switches, servers, controller, mail

However a run ends, also by SIGKILL of any of these, the kernel ends all processes inside, and
with the last of them every network namespace, bridge, mount and loop device (loop_device). A link
of this chain that dies before the next one has asked to die with it ends nobody; so process 1 also
ends when a pipe tells it that the outer process has.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.loop_device import attached

CHECKOUT: Path = Path(__file__).resolve().parent.parent

#: What runs inside, by `process_one`: `python -m RUNNER PIPE DIRECTORY NAME OPTIONS`. By its name
#: only, because it knows every scenario, and they know where this checkout is.
RUNNER = "mininet_lab.runner"

#: Seconds until a disk that is still attached has been attached by somebody else.
_PATIENCE = 5.0

#: Fresh inside: what programs keep under /run (and /var/run, the same place), and a /sys that
#: shows the network devices of the new network namespace.
_INSIDE_MOUNTS = (("tmpfs", "/run"), ("sysfs", "/sys"))


class LabBusyError(Exception):
    """Another run of the lab has not ended yet, or something uses what one has left."""


@dataclass(frozen=True)
class Workplace:
    """Where the lab keeps its files: `root` for the lock, `run` for the one run there is."""

    root: Path

    @classmethod
    def default(cls) -> Workplace:
        """`HACTRL_LAB_DIRECTORY`, else `.lab` in the checkout."""
        return cls(Path(os.environ.get("HACTRL_LAB_DIRECTORY", CHECKOUT / ".lab")).absolute())

    @property
    def run(self) -> Path:
        return self.root / "run"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock, on a descriptor that the processes inside inherit: it is free again
        when the last of them has gone.

        Raises:
            LabBusyError: a run has not ended yet.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode().strip()
            os.close(lock)
            raise LabBusyError(
                f"another run of the lab (process {holder}) has not ended yet: one at a time"
            ) from None
        try:
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            yield lock
        finally:
            os.close(lock)

    def remove_leftovers(self, *, keep_logs: bool = False) -> None:
        """Remove the directory of the last run, whose processes are gone; with `keep_logs` only
        what is large, the disks.

        Raises:
            LabBusyError: somebody has attached one of its disks.
        """
        if keep_logs:
            for disk in self.run.rglob("*.img"):
                disk.unlink()
            return
        self._await_disks()
        if self.run.exists():
            shutil.rmtree(self.run)

    def _await_disks(self) -> None:
        """Mounts are taken down a moment after the last process that could see them."""
        deadline = time.monotonic() + _PATIENCE
        while devices := attached(self.run):
            if time.monotonic() > deadline:
                names = " ".join(map(str, devices))
                raise LabBusyError(
                    f"a disk of the last run is still in use: unmount {names}, and detach it with"
                    f" losetup --detach {names}"
                )
            time.sleep(0.01)


def run_isolated(workplace: Workplace, main: list[str]) -> int:
    """Run a scenario inside, by the arguments of `RUNNER`; its exit status.

    Raises:
        LabBusyError: a run has not ended yet, or a disk of one is in use.
    """
    with workplace.locked() as lock:
        workplace.remove_leftovers()
        workplace.run.mkdir(parents=True)
        namespaces = ("--net", "--mount", "--pid", "--ipc", "--uts")
        alive, only_ours = os.pipe()
        with subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", *namespaces, "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-m", RUNNER, str(alive)),
                *(str(workplace.run), *main),
            ],
            pass_fds=(lock, alive),
        ) as inside:
            os.close(alive)
            status = _wait(inside)
        os.close(only_ours)
        workplace.remove_leftovers(keep_logs=True)
        return status


def _wait(inside: subprocess.Popen[bytes]) -> int:
    """A terminal's Ctrl-C reaches the run by itself, and it tidies up; SIGTERM and SIGHUP, which
    reach only us, end it at once."""

    def end(_signal: int, _frame: object) -> None:
        inside.kill()

    restore = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    restore[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = inside.wait()
    finally:
        for number, handler in restore.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def process_one(run: Callable[[], int], starter: int | None = None) -> int:
    """Be process 1 of the namespaces: prepare them, start the run, collect whoever ends. `starter`
    is a pipe, at whose end all ends."""
    for kind, place in _INSIDE_MOUNTS:
        subprocess.run(["mount", "-t", kind, kind, place], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    child = os.fork()
    if child == 0:
        return run()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if starter is not None:
        threading.Thread(target=_end_with, args=(starter,), daemon=True).start()
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_with(starter: int) -> None:
    os.read(starter, 1)  # nobody ever writes
    os._exit(128 + signal.SIGKILL)
