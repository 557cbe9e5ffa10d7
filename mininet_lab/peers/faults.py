"""What strikes the server that plays `smtp_pop`, and what an administrator does about it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.lab import Lab, StageError
from mininet_lab.processes import send

ROLE = "smtp_pop"

#: Where the programs of a daemon lie, and what stands in the command line or environment of those
#: that belong to the role.
_DOVECOT = ("/usr/sbin/dovecot", "/usr/lib/dovecot/")
_POSTFIX = ("/usr/lib/postfix/sbin/",)


@dataclass(frozen=True)
class Fault:
    """`strike` returns when it struck (`mininet_lab.clock`), `mend` undoes what is left of it.
    `patience`: seconds after which nobody is expected to serve again; for a daemon that hangs more
    than the 60 s between two checks of Debian's agents and the 20 s that one may take."""

    words: str
    strike: Callable[[Lab], float]
    mend: Callable[[Lab], None]
    patience: float


def _cut_power(lab: Lab) -> float:
    return lab.power_cut(lab.site.roles[ROLE].servers[0])


def _stop(*programs: str) -> Callable[[Lab], float]:
    """SIGSTOP to every process of a daemon, those too that begin meanwhile: their kernel goes on to
    take connections."""

    def strike(lab: Lab) -> float:
        stopped: set[int] = set()
        while new := _processes(lab, programs) - stopped:
            send(new, signal.SIGSTOP)
            stopped |= new
        if not stopped:
            raise StageError(f"nothing to stop: no process of {programs[0]} is of {ROLE}")
        return now()

    return strike


def _go_on(*programs: str) -> Callable[[Lab], None]:
    def mend(lab: Lab) -> None:
        send(_processes(lab, programs), signal.SIGCONT)

    return mend


def _nothing(_lab: Lab) -> None:
    """Who repairs switches the server on."""


FAULTS = {
    "power": Fault("power cut", _cut_power, _nothing, 120.0),
    "dovecot": Fault("Dovecot hangs", _stop(*_DOVECOT), _go_on(*_DOVECOT), 90.0),
    "postfix": Fault("Postfix hangs", _stop(*_POSTFIX), _go_on(*_POSTFIX), 90.0),
}


def _processes(lab: Lab, programs: tuple[str, ...]) -> set[int]:
    """Of the role, on its first server, running these programs: in whatever namespace, because an
    agent gives each role its own, and in whatever root, because Dovecot's logins have their own."""
    server = lab.servers[lab.site.roles[ROLE].servers[0]]
    if not server.is_on:
        return set()
    return {
        pid
        for pid in server.processes()
        if _link(f"/proc/{pid}/exe").startswith(programs) and _is_of_role(pid)
    }


def _is_of_role(pid: int) -> bool:
    """Dovecot there is of one role only; each Postfix is told its configuration's directory."""
    if _link(f"/proc/{pid}/exe").startswith(_DOVECOT):
        return True
    return f"/{ROLE}/postfix\0".encode() in _read(f"/proc/{pid}/environ", f"/proc/{pid}/cmdline")


def _read(*paths: str) -> bytes:
    """Empty of a process that has ended."""
    try:
        return b"\0".join(Path(path).read_bytes() for path in paths) + b"\0"
    except OSError:
        return b""


def _link(path: str) -> str:
    """Empty of a process that has ended."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
