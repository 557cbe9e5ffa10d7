"""The system calls that Python 3.11 does not offer, and nothing more.

Each raises OSError as the functions of `os` do. Constants are from Linux's uapi headers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2

_libc = ctypes.CDLL(None, use_errno=True)


class _SigEvent(ctypes.Structure):
    """struct sigevent, padded to the 64 bytes that the kernel expects."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def enter_namespace(descriptor: int, kind: int) -> None:
    """setns(2)."""
    _check(_libc.setns(descriptor, kind), "setns")


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that forked it ends, see prctl(2)."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def name_process(name: str) -> None:
    """What ps(1) shows as COMMAND without arguments; the kernel keeps 15 bytes, see prctl(2)."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl")


def keep_mounts_here() -> None:
    """Mounts made from now on in this mount namespace are seen nowhere else."""
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount --make-rslave /")


def mount_proc() -> None:
    """A /proc that shows this PID namespace."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(_libc.mount(b"proc", b"/proc", b"proc", flags, None), "mount /proc")


class ClockSettings:
    """A descriptor that is readable once the wall clock was set, by whomever: timerfd_create(2),
    TFD_TIMER_CANCEL_ON_SET."""

    def __init__(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are the same
        self._descriptor: int = _libc.timerfd_create(time.CLOCK_REALTIME, flags)
        if self._descriptor < 0:
            _check(-1, "timerfd_create")
        self._arm()

    def fileno(self) -> int:
        """For selectors."""
        return self._descriptor

    def rearm(self) -> None:
        """Take note of what was set, and wait for the next time."""
        with contextlib.suppress(OSError):  # ECANCELED is how it tells
            os.read(self._descriptor, 8)
        self._arm()

    def _arm(self) -> None:
        never = _TimerSpec(value=_TimeSpec(2**33, 0))  # in the year 2242
        flags = _TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        result = _libc.timerfd_settime(self._descriptor, flags, ctypes.byref(never), None)
        _check(result, "timerfd_settime")


class KillTimer:
    """Kills this process with SIGKILL at a moment of `boot_time`, also when it is stopped.

    The kernel does it (timer_create(2)): nothing that this process does or fails to do matters,
    except moving the moment on.
    """

    def __init__(self) -> None:
        event = _SigEvent(signal=signal.SIGKILL, notify=_SIGEV_SIGNAL)
        self._timer = ctypes.c_void_p()
        _check(
            _libc.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)),
            "timer_create",
        )

    def set(self, moment: float) -> None:
        """Kill at this moment and not before; a moment that has passed kills now."""
        nanoseconds = max(1, int(moment * 1e9))
        value = _TimeSpec(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
        spec = _TimerSpec(value=value)
        _check(
            _libc.timer_settime(self._timer, _TIMER_ABSTIME, ctypes.byref(spec), None),
            "timer_settime",
        )
