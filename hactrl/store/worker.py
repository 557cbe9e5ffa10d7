"""A real thread that does one thing after another, for who asks from any other thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hactrl import hub

# Real ones: where the hub has replaced the standard library's, its own would switch greenlets in
# a thread that has none.
_threading = hub.original("threading")
_queue = hub.original("queue")

Result = TypeVar("Result")


class Worker:
    """`run` may be called by any thread, real or the hub's; whoever calls waits, thread and all,
    so a greenlet should ask by `hub.execute_in_thread`."""

    def __init__(self, name: str) -> None:
        # Whoever asks waits for the answer: never more jobs than threads that ask.
        self._jobs = _queue.SimpleQueue()
        self._working = self._ended = False
        _threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, after all that was asked before. Raises what it raises, and
        RuntimeError after `end`, because nobody would answer."""
        if self._ended:
            raise RuntimeError("this thread has been ended")
        answer = _queue.SimpleQueue()
        self._jobs.put((call, answer))
        result, error = answer.get()
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    @property
    def busy(self) -> bool:
        """Something is being done, or waits."""
        return self._working or not self._jobs.empty()

    def end(self) -> None:
        """After what was asked before. Nothing may be asked afterwards."""
        self._ended = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, answer = job
            self._working = True
            outcome = _tried(call)
            self._working = False
            answer.put(outcome)
            del call, answer, outcome, job  # who waits for the next job should keep nothing alive


def _tried(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - raised where it was asked for
        return None, error
