"""Entering a Linux network namespace from Python 3.11, which has no `os.setns`."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def in_network_namespace(namespace: Path, act: Callable[[], Result]) -> Result:
    """Call `act` with a network namespace entered, in a thread of its own: only that thread
    enters. What `act` opens, a socket above all, belongs to the namespace for ever.

    Raises:
        OSError: the namespace cannot be entered; or whatever `act` raises.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def enter_and_act() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            finally:
                os.close(descriptor)
            results.append(act())
        except BaseException as error:  # noqa: BLE001  handed to the caller
            errors.append(error)

    thread = threading.Thread(target=enter_and_act)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
