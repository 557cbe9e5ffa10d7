"""A client of the REST interface: typed results, and one exception for each way to fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

Json = Mapping[str, Any]

#: Seconds to connect, and to wait for an answer.
CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 15.0


class ClientError(Exception):
    """It did not work; the subclass says in what sense."""


class RefusedError(ClientError):
    """The controller refused, and nothing has changed. `obstacles` is the engine's why, `name`
    what nothing is called."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        obstacles: Sequence[Json] = (),
        name: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.obstacles = tuple(obstacles)
        self.name = name


class UnknownOutcomeError(ClientError):
    """The request went out, and no answer came that says whether it was carried out."""


class UnreachableError(ClientError):
    """The request did not reach a controller: nothing has changed."""


@dataclass(frozen=True)
class Accepted:
    """The controller has begun (or, on a dry run, would begin) what was asked."""

    request: str
    kind: str
    role: str
    target: str | None
    dry_run: bool
    epoch: int
    steps: tuple[str, ...]


@dataclass(frozen=True)
class HistoryEntry:
    """One journal entry; it stands for `count` of the same, the first `at`, the last at `last`.
    Both are seconds since 1970; `words` is for people."""

    number: int
    at: float
    kind: str
    role: str
    details: Json
    words: str
    count: int = 1
    last: float = 0.0


@dataclass(frozen=True)
class Walked:
    """What would happen to a packet, in words, and the edge ports it would come out of, by one of
    so many ways."""

    lines: tuple[str, ...]
    delivered: tuple[str, ...]
    ways: int


class Client:
    """Talks to one controller.

    Every method raises `UnreachableError`, `RefusedError` or `UnknownOutcomeError` if it fails.
    `transport` replaces the network, in tests.
    """

    def __init__(
        self, url: str, token: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Proxies of the environment are not for a controller on this machine or network.
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT),
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def status(self) -> dict[str, Any]:
        """Everything, as `hactrl.rest.status.status` describes it."""
        return dict(self._ask("GET", "/v1/status"))

    def ready(self) -> bool:
        """Every switch has had its rules and every role its server since the start."""
        try:
            self._ask("GET", "/readyz")
        except RefusedError as error:
            if error.kind == "not-ready":
                return False
            raise
        return True

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[HistoryEntry]:
        """The journal, the newest entry first."""
        query = {"role": role, "before": before, "limit": limit}
        given = {name: value for name, value in query.items() if value is not None}
        found = self._ask("GET", "/v1/history", query=given)["entries"]
        return [HistoryEntry(**entry) for entry in found]

    def paths(
        self, server: str | None = None, origin: str | None = None, what_if: str | None = None
    ) -> dict[str, Any]:
        """The ways from `origin` to a file server; all if left out. Names are as in
        `hactrl.explain.names`. `what_if`: what such a failure would change, as
        `topology.paths.what_if` writes it."""
        query = {"server": server, "from": origin, "what_if": what_if}
        given = {name: value for name, value in query.items() if value is not None}
        return dict(self._ask("GET", "/v1/paths", query=given))

    def hosts(self) -> dict[str, Any]:
        """The hosts that backbones know."""
        return dict(self._ask("GET", "/v1/hosts"))

    def links(self) -> dict[str, Any]:
        """The links of backbones, as declared and as seen."""
        return dict(self._ask("GET", "/v1/links"))

    def tables(self, switch: str | None = None) -> dict[str, Any]:
        """The wanted rules of all switches or one."""
        return dict(self._ask("GET", "/v1/tables", query={"switch": switch} if switch else {}))

    def trace(self, question: Json) -> Walked:
        """Walk a packet through the wanted rules; `question` as
        `hactrl.explain.questions.TraceQuestion`."""
        found = self._ask("POST", "/v1/trace", body=question)
        return Walked(tuple(found["lines"]), tuple(found["delivered"]), found["ways"])

    def metrics(self) -> str:
        """In Prometheus' text format."""
        return self._send("GET", "/metrics", {}, None).text

    def failover(
        self,
        role: str,
        reason: str,
        target: str | None = None,
        dry_run: bool = False,
        force: bool = False,
    ) -> Accepted:
        """Move a role to `target`, or to the best other server. `force`: although users may be cut
        off for a while; it is named only where it is wanted, as older controllers know no such
        member."""
        body: dict[str, Any] = {"reason": reason, "dry_run": dry_run, "target": target}
        if force:
            body["force"] = True
        return self._change(f"/v1/roles/{quote(role, safe='')}/failover", body)

    def failback(self, role: str, reason: str, dry_run: bool = False) -> Accepted:
        """Return a role to its preferred server."""
        body = {"reason": reason, "dry_run": dry_run}
        return self._change(f"/v1/roles/{quote(role, safe='')}/failback", body)

    def retry(self, role: str, reason: str, dry_run: bool = False) -> Accepted:
        """Forget which servers failed at a role, and how often it has moved."""
        body = {"reason": reason, "dry_run": dry_run}
        return self._change(f"/v1/roles/{quote(role, safe='')}/retry", body)

    def enable(self, server: str, reason: str, dry_run: bool = False) -> Accepted:
        """Let a server have roles again."""
        body = {"reason": reason, "dry_run": dry_run}
        return self._change(f"/v1/servers/{quote(server, safe='')}/enable", body)

    def disable(self, server: str, reason: str, dry_run: bool = False) -> Accepted:
        """Let a server have no roles; those that it has move away if somebody can take them."""
        body = {"reason": reason, "dry_run": dry_run}
        return self._change(f"/v1/servers/{quote(server, safe='')}/disable", body)

    def confirm_off(self, server: str, reason: str, dry_run: bool = False) -> Accepted:
        """Say that a server's power is off for certain, so that others may have what it owned."""
        body = {"reason": reason, "dry_run": dry_run}
        return self._change(f"/v1/servers/{quote(server, safe='')}/confirm-off", body)

    def _change(self, path: str, body: Json) -> Accepted:
        found = self._ask("POST", path, body=body)
        return Accepted(**{**found, "steps": tuple(found["steps"])})

    def _ask(
        self, method: str, path: str, query: Json | None = None, body: Json | None = None
    ) -> Json:
        response = self._send(method, path, query or {}, body)
        try:
            found: Json = response.json()
        except ValueError as error:
            raise UnknownOutcomeError(
                f"{response.url} does not answer like hactrl: is it another program's port?"
            ) from error
        return found

    def _send(self, method: str, path: str, query: Json, body: Json | None) -> httpx.Response:
        try:
            response = self._http.request(method, path, params=dict(query), json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise UnreachableError(f"no controller at {self._http.base_url}: {error}") from error
        except httpx.HTTPError as error:
            raise UnknownOutcomeError(
                f"the answer of {self._http.base_url} did not come: {error or type(error).__name__}"
            ) from error
        if response.is_success:
            return response
        raise _failure(response)


def _failure(response: httpx.Response) -> ClientError:
    try:
        problem = response.json()
        kind = str(problem["type"]).rpartition(":")[2]
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return UnknownOutcomeError(f"{response.url} answered {response.status_code}, not as hactrl")
    if response.status_code >= 500 and kind != "not-ready":
        return UnknownOutcomeError(detail)
    obstacles, name = problem.get("obstacles", ()), problem.get("name", "")
    return RefusedError(response.status_code, kind, detail, obstacles, name)
