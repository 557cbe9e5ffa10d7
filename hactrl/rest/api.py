"""The REST interface: which paths there are, and what they answer.

It knows neither Ryu nor the hub: whatever it needs is handed to it as a callable.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from secrets import token_hex
from typing import Annotated, Any, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from webob import Request, Response

from flows.rules import RuleSet
from hactrl.engine.effects import AnswerRequest, Reason
from hactrl.engine.events import Noticed, Requested, RequestKind
from hactrl.engine.readiness import unready
from hactrl.engine.state import State
from hactrl.explain import words
from hactrl.explain.metrics import Counters, Happenings, StateCollector
from hactrl.explain.questions import PacketError, TraceQuestion
from hactrl.explain.tracing import tell
from hactrl.journal import Entry, of_strangers
from hactrl.rest import backbone, paths
from hactrl.rest.problem import ProblemError
from hactrl.rest.router import LOCAL, Permission, Router
from hactrl.rest.status import health, obstacle_json, status
from hactrl.rest.tables import pipeline_json, rule_sets_json
from hactrl.store.file import StoreError
from hactrl.vocabulary import EntryKind

LOG = logging.getLogger(__name__)

#: Journal entries in one answer at most.
LARGEST_PAGE = 1000

_UNKNOWN = frozenset({Reason.UNKNOWN_ROLE, Reason.UNKNOWN_SERVER})

Port = Annotated[int | None, Field(ge=0, le=65535)]
Why = Annotated[str, Field(min_length=1, max_length=500)]


class History(Protocol):
    """See `hactrl.store.store.Store.history`."""

    def __call__(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]: ...


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ChangeBody(Body):
    """`reason` is for the journal: why the operator does it."""

    reason: Why
    dry_run: bool = False


class FailoverBody(ChangeBody):
    """`target`: a server; the best one if it is left out. `force`: see `Requested`."""

    target: str | None = None
    force: bool = False


class TraceBody(Body):
    """See `hactrl.explain.questions.TraceQuestion`."""

    at: str
    destination: str
    source: str = ""
    protocol: str = "tcp"
    port: Port = None
    source_port: Port = None
    source_mac: str = ""
    destination_mac: str = ""
    what_if: str = ""


class Api:
    """The WSGI application.

    Args:
        snapshot: gives the present state and the present time of its clock.
        submit: puts a request to the engine and waits for the answer; may raise TimeoutError.
        history: reads the journal.
        tables: gives what every switch should hold now.
        token: the operator's bearer token.
        hosts: the names under which it may be asked for, see `hactrl.rest.hosts`.
        counters: gives what has been sent to each switch.
        looking_round: whether the controller, just started, changes no switch yet.
        sightings_lost: how many the engine had no time for.
        aside: runs a function that takes more than a few milliseconds (all tables of a large site
            as JSON) without holding up others; calls it where it stands if none is given.
        notice: gets what is for the journal, and never waits.
        registry: whose metrics `/metrics` shows; a new one if none is given.

    `happenings.observe` wants to see every record of the engine.

    Raises:
        ValueError: the token is empty.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], tuple[State, float]],
        submit: Callable[[Requested], AnswerRequest],
        history: History,
        tables: Callable[[], Mapping[str, RuleSet]],
        token: str,
        hosts: frozenset[str] = LOCAL,
        counters: Callable[[], Mapping[str, Counters]] = dict,
        looking_round: Callable[[], bool] = bool,
        sightings_lost: Callable[[], int] = int,
        aside: Callable[[Callable[[], Response]], Response] = lambda work: work(),
        notice: Callable[[Noticed], None] = lambda _event: None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._submit = submit
        self._history = history
        self._tables = tables
        self._looking_round = looking_round
        self._aside = aside
        self._registry = registry or CollectorRegistry()
        self._registry.register(StateCollector(snapshot, counters, looking_round, sightings_lost))
        self.happenings = Happenings(self._registry)
        self._version = version("hactrl")
        self._notice = notice
        self._strangers = of_strangers()
        self.router = Router(token, hosts, self._refused)
        self._add_routes()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.router(environ, start_response)

    def _add_routes(self) -> None:
        add, read, change = self.router.add, Permission.READ, Permission.CHANGE
        add("GET", "/healthz", read, self._healthz)
        add("GET", "/readyz", read, self._readyz)
        add("GET", "/metrics", read, self._metrics)
        add("GET", "/v1/health", read, self._health)
        add("GET", "/v1/status", read, self._status)
        add("GET", "/v1/paths", read, self._paths)
        add("GET", "/v1/hosts", read, self._hosts)
        add("GET", "/v1/links", read, self._links)
        add("GET", "/v1/history", read, self._history_page)
        add("GET", "/v1/tables", read, self._tables_page)
        add("POST", "/v1/trace", read, self._trace, TraceBody)
        add("POST", "/v1/roles/{role}/failover", change, self._failover, FailoverBody)
        add("POST", "/v1/roles/{role}/failback", change, self._failback, ChangeBody)
        add("POST", "/v1/roles/{role}/retry", change, self._retry, ChangeBody)
        add("POST", "/v1/servers/{server}/enable", change, self._enable, ChangeBody)
        add("POST", "/v1/servers/{server}/disable", change, self._disable, ChangeBody)
        add("POST", "/v1/servers/{server}/confirm-off", change, self._confirm_off, ChangeBody)

    def _refused(self, address: str, token: str) -> None:
        said = "an operator's request of %s is refused (token: %s)"
        if self._strangers.log((address, token), LOG.warning, said, address, token):
            details = ("address", address), ("token", token)
            self._notice(Noticed(EntryKind.OPERATOR_REFUSED, details=details))

    # What is.

    def _healthz(self, _request: Request) -> Response:
        """The controller runs: that it answers says it."""
        return _json({"status": "ok"})

    def _readyz(self, _request: Request) -> Response:
        """Every switch has its rules, and every role its server, at least once since the start."""
        missing = unready(self._snapshot()[0])
        if missing:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "not-ready",
                words.obstacles(missing),
                obstacles=[obstacle_json(value) for value in missing],
            )
        return _json({"status": "ready"})

    def _metrics(self, _request: Request) -> Response:
        return Response(
            body=generate_latest(self._registry), headerlist=[("Content-Type", CONTENT_TYPE_LATEST)]
        )

    def _health(self, request: Request) -> Response:
        """For monitors: 200 if both questions are answered with yes, else 503; `of` asks one."""
        _known(request, {"of"})
        of = request.GET.get("of")
        if of not in (None, "settled", "protected"):
            detail = f"of is {of!r}: 'settled' or 'protected' is expected"
            raise ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", detail)
        state, now = self._snapshot()
        found = health(state, now, self._looking_round())
        good = all(found[each] for each in ((of,) if of else ("settled", "protected")))
        return _json(found, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)

    def _status(self, _request: Request) -> Response:
        return _json(status(*self._snapshot(), self._version, self._looking_round()))

    def _paths(self, request: Request) -> Response:
        _known(request, {"server", "from", "what_if"})
        state, _ = self._snapshot()
        asked = request.GET
        question = paths.PathsQuery(asked.get("server"), asked.get("from"), asked.get("what_if"))
        return self._aside(lambda: _json(paths.paths(state, question)))

    def _hosts(self, request: Request) -> Response:
        _known(request, set())
        return _json(backbone.hosts(self._snapshot()[0]))

    def _links(self, request: Request) -> Response:
        _known(request, set())
        return _json(backbone.links(self._snapshot()[0]))

    def _history_page(self, request: Request) -> Response:
        _known(request, {"role", "before", "limit"})
        before = _number(request, "before", 1, 1 << 62)
        limit = _number(request, "limit", 1, LARGEST_PAGE) or 100
        try:
            entries = self._history(request.GET.get("role"), before, limit)
        except StoreError as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "store-unusable", str(error)
            ) from error
        return _json({"entries": [_entry(entry) for entry in entries]})

    def _tables_page(self, request: Request) -> Response:
        _known(request, {"switch"})
        wanted = self._tables()
        switch = request.GET.get("switch")
        if switch is not None:
            if switch not in wanted:
                raise ProblemError(
                    HTTPStatus.NOT_FOUND, "unknown-switch", f"no switch is named {switch}"
                )
            wanted = {switch: wanted[switch]}
        return self._aside(
            lambda: _json({"tables": pipeline_json(), "switches": rule_sets_json(wanted)})
        )

    def _trace(self, _request: Request, body: TraceBody) -> Response:
        state, _ = self._snapshot()
        rule_sets = self._tables()
        return self._aside(lambda: _told(state, rule_sets, TraceQuestion(**body.model_dump())))

    # What the operator wants.

    def _failover(self, _request: Request, body: FailoverBody, role: str) -> Response:
        return self._ask(RequestKind.FAILOVER, role, body.target, body, body.force)

    def _failback(self, _request: Request, body: ChangeBody, role: str) -> Response:
        return self._ask(RequestKind.FAILBACK, role, None, body)

    def _retry(self, _request: Request, body: ChangeBody, role: str) -> Response:
        return self._ask(RequestKind.RETRY, role, None, body)

    def _enable(self, _request: Request, body: ChangeBody, server: str) -> Response:
        return self._ask(RequestKind.ENABLE, "", server, body)

    def _disable(self, _request: Request, body: ChangeBody, server: str) -> Response:
        return self._ask(RequestKind.DISABLE, "", server, body)

    def _confirm_off(self, _request: Request, body: ChangeBody, server: str) -> Response:
        return self._ask(RequestKind.CONFIRM_OFF, "", server, body)

    def _ask(
        self,
        kind: RequestKind,
        role: str,
        target: str | None,
        body: ChangeBody,
        force: bool = False,
    ) -> Response:
        """202: begun; 200: would be (dry run); 409: refused, nothing changed; 404: unknown name;
        504: it is not known whether it has begun."""
        why, dry_run = body.reason, body.dry_run
        request = Requested(new_request(), kind, role, target, why, dry_run, force)
        try:
            answer = self._submit(request)
        except TimeoutError as error:
            raise ProblemError(
                HTTPStatus.GATEWAY_TIMEOUT,
                "unknown-outcome",
                "the engine has not answered in time: whether it has begun, the status tells",
                request=request.request,
            ) from error
        if not answer.accepted:
            unknown = any(value.reason in _UNKNOWN for value in answer.obstacles)
            raise ProblemError(
                HTTPStatus.NOT_FOUND if unknown else HTTPStatus.CONFLICT,
                "unknown-name" if unknown else "refused",
                words.obstacles(answer.obstacles),
                request=request.request,
                obstacles=[obstacle_json(value) for value in answer.obstacles],
            )
        return _json(
            {
                "request": request.request,
                "kind": kind.value,
                "role": role,
                "target": target,
                "dry_run": body.dry_run,
                "epoch": answer.epoch,
                "steps": list(answer.steps),
            },
            HTTPStatus.OK if body.dry_run else HTTPStatus.ACCEPTED,
        )


def _told(state: State, rule_sets: Mapping[str, RuleSet], question: TraceQuestion) -> Response:
    try:
        story = tell(state, rule_sets, question)
    except PacketError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "no-such-packet", str(error)) from error
    return _json({"lines": story.lines, "delivered": story.delivered, "ways": story.ways})


def new_request() -> str:
    """A name for a request, unlike that of any other, also of an earlier run."""
    return f"rest-{token_hex(6)}"


def _json(document: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(
        body=json.dumps(document).encode() + b"\n",
        status=int(status),
        content_type="application/json",
        charset=None,
    )


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.at,
        "count": entry.count,
        "last": entry.last,
        "kind": entry.kind,
        "role": entry.role,
        "details": dict(entry.details),
        "words": words.entry(entry.kind, entry.details),
    }


def _known(request: Request, names: set[str]) -> None:
    """Refuse a query with anything that would be silently ignored."""
    asked = list(request.GET)
    unknown = sorted(set(asked) - names)
    if unknown:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            "bad-request",
            f"unknown in the query: {', '.join(unknown)};"
            f" known: {', '.join(sorted(names)) or 'nothing'}",
        )
    twice = sorted({name for name in asked if asked.count(name) > 1})
    if twice:
        what = f"more than once in the query: {', '.join(twice)}"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", what)


def _number(request: Request, name: str, lowest: int, highest: int) -> int | None:
    text = request.GET.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest:
        return int(text)
    raise ProblemError(
        HTTPStatus.BAD_REQUEST,
        "bad-request",
        f"{name} is {text!r}: a number from {lowest} to {highest} is expected",
    )
