"""Shares the REST interface out among those who ask it, told apart by their addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from hactrl.hub import Semaphore
from hactrl.rest.problem import ProblemError

WORKING = 4
"""Requests of one address that are worked on at a time."""

UNREAD = 32 * 1024 * 1024
"""Bytes of answers that wait for one address to take them; a single answer may be larger."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Budget:
    """A WSGI application in front of another: one address has `WORKING` requests worked on at a
    time, and `UNREAD` bytes of answers waiting for it."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._turns: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._unread: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        peer = environ["REMOTE_ADDR"]
        started: list[Any] = []
        turn = self._turns.setdefault(peer, Semaphore(WORKING))
        with turn:
            parts = list(self._application(environ, lambda *of: started.append(of)))
        size = sum(map(len, parts))
        if self._unread[peer] and self._unread[peer] + size > UNREAD:
            response = ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "busy",
                "earlier answers wait to be read; read them, and ask again",
                headers={"Retry-After": "1"},
            ).response(quote(environ.get("PATH_INFO", "").encode("latin-1")))
            answer: Iterable[bytes] = response(environ, start_response)
            return answer
        start_response(*started[-1])
        return _Counted(parts, self._unread, peer)


class _Counted:
    """An answer, counted as unread until the server has sent it or given it up."""

    def __init__(self, parts: list[bytes], unread: Counter[str], peer: str) -> None:
        self._parts, self._unread, self._peer = parts, unread, peer
        self._size = sum(map(len, parts))
        unread[peer] += self._size

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        self._unread[self._peer] -= self._size
        self._size = 0
        if not self._unread[self._peer]:
            del self._unread[self._peer]
