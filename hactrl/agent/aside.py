"""Calls that a disk may hold up for ever, made beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from typing import Any


def aside(function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
    """Call in a thread of its own, and give the result or what it raised.

    Nobody waits for such a thread at the end of the process, unlike for those of
    `asyncio.to_thread`: a call that hangs in the kernel would keep the process from ending, and
    some of them would leave no thread for others. Whoever no longer waits for the result cancels
    nothing.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    def finish(value: Any, error: BaseException | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def call() -> None:
        value, failure = None, None
        try:
            value = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(finish, value, failure)

    try:
        threading.Thread(target=call, daemon=True).start()
    except RuntimeError as error:  # a limit on threads
        result.set_exception(OSError(errno.EAGAIN, str(error)))
    return result
