"""Which request goes where, and who may make it.

It denies by default: a route says which permission it needs, there is no default for that, and
what no route matches is refused.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from webob import Request, Response

from flows.sparing import Sparing
from hactrl.explain.names import UnknownNameError
from hactrl.rest.hosts import is_own, own_names
from hactrl.rest.limits import check_length
from hactrl.rest.problem import ProblemError

LOG = logging.getLogger(__name__)

#: Seconds between two tracebacks of the same kind of error: whoever meets one may ask again.
DEFECT_PAUSE = 10.0

#: The names that every controller has.
LOCAL = own_names((), "", "")

Handler = Callable[..., Response]


class Permission(Enum):
    """READ: whoever reaches the port. CHANGE: the operator, by bearer token."""

    READ = "read"
    CHANGE = "change"


@dataclass(frozen=True)
class Route:
    """`pattern` has parameters in braces, each a whole part of the path. The handler gets the
    request, the checked body if there is one, and the parameters by name."""

    method: str
    pattern: str
    permission: Permission
    handler: Handler
    body: type[BaseModel] | None = None

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters, if the path is of this route."""
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.pattern)
        found = re.fullmatch(expression, path)
        return found.groupdict() if found else None


class Router:
    """A WSGI application that hands each request to the one route that it is for.

    `token` is the operator's, `hosts` are the names under which it may be asked for (see
    `hactrl.rest.hosts`). `refused` is told the address of who has no right to what he asks for, and
    what token he gave: "none" or "wrong". Raises ValueError if the token is empty.
    """

    def __init__(
        self,
        token: str,
        hosts: frozenset[str] = LOCAL,
        refused: Callable[[str, str], None] = lambda _address, _token: None,
    ) -> None:
        if not token:
            raise ValueError("the operator's token is empty: nobody could be told from nobody")
        self._token = token.encode()
        self._hosts = hosts
        self._refused = refused
        self.routes: list[Route] = []
        self._defects = Sparing(DEFECT_PAUSE)

    def add(
        self,
        method: str,
        pattern: str,
        permission: Permission,
        handler: Handler,
        body: type[BaseModel] | None = None,
    ) -> None:
        """Register a route.

        Raises:
            ValueError: it has no permission, or a route of this method and pattern is there.
        """
        if not isinstance(permission, Permission):
            raise ValueError(f"{method} {pattern} has no permission")
        if any((r.method, r.pattern) == (method, pattern) for r in self.routes):
            raise ValueError(f"{method} {pattern} is there already")
        self.routes.append(Route(method, pattern, permission, handler, body))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        # WSGI hands the path over as Latin-1, whatever it is in (PEP 3333, "Unicode Issues").
        path = quote(environ.get("PATH_INFO", "").encode("latin-1"))
        try:
            response = self._answer(request)
        except ProblemError as problem:
            response = problem.response(path)
        except UnknownNameError as error:
            unknown = ProblemError(
                HTTPStatus.NOT_FOUND, "unknown-name", str(error), name=error.name
            )
            response = unknown.response(path)
        except Exception as error:
            if self._defects.tell(type(error).__name__) is not None:
                LOG.exception("defect in %s %s", request.method, path)
            internal = ProblemError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "defect", "the controller's log says more"
            )
            response = internal.response(path)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        self._check_host(request)
        route, parameters = self._find(request)
        if route.permission is not Permission.READ:
            self._authorize(request)
        if route.body is None:
            return route.handler(request, **parameters)
        return route.handler(request, _body(request, route.body), **parameters)

    def _check_host(self, request: Request) -> None:
        """A browser always tells the host that it was asked for; others need not."""
        host = request.environ.get("HTTP_HOST")
        if host is None or is_own(host, self._hosts, request.environ["SERVER_NAME"]):
            return
        raise ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "unknown-host",
            f"{host[:100]!r} is no name of this controller; if it should be one, add it to"
            " controller.rest.hosts in the site file",
            headers={"Connection": "close"},
        )

    def _find(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        try:
            path, _ = request.path_info, request.GET
        except UnicodeDecodeError:
            raise _bad_request("path or query is not UTF-8") from None
        method = "GET" if request.method == "HEAD" else request.method
        found = [(r, p) for r in self.routes if (p := r.match(path)) is not None]
        for route, parameters in found:
            if route.method == method:
                return route, parameters
        if not found:
            raise ProblemError(HTTPStatus.NOT_FOUND, "not-found", f"there is nothing at {path}")
        allowed = sorted(
            {r.method for r, _ in found} | {"HEAD" for r, _ in found if r.method == "GET"}
        )
        raise ProblemError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method-not-allowed",
            f"{path} takes {', '.join(allowed)}",
            headers={"Allow": ", ".join(allowed)},
        )

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self._token):
            return
        self._refused(request.remote_addr or "", "wrong" if given else "none")
        asked = "no bearer token was given" if not given else "the bearer token is wrong"
        challenge = 'Bearer realm="hactrl"' + (', error="invalid_token"' if given else "")
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "unauthorized",
            f"{asked}; the operator's token is in the file that the site file names",
            headers={"WWW-Authenticate": challenge},
        )


def _bad_request(detail: str, **more: Any) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", detail, **more)


def _body(request: Request, shape: type[BaseModel]) -> BaseModel:
    """The body, whole and of the right shape."""
    told = request.environ.get("CONTENT_LENGTH")
    length = check_length([told] if told else [], request.headers.get("Transfer-Encoding"))
    if request.content_type != "application/json":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"{request.content_type or 'a body of no type'}: send application/json",
            headers={"Accept-Post": "application/json"},
        )
    try:
        data = json.loads(request.body_file.read(length))
    except (ValueError, RecursionError) as error:
        raise _bad_request(f"the body is no JSON: {error}") from error
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        errors = [
            {"place": ".".join(map(str, fault["loc"])), "message": fault["msg"]}
            for fault in error.errors(include_url=False)
        ]
        places = ", ".join(sorted({fault["place"] or "the body" for fault in errors}))
        raise _bad_request(f"wrong: {places}", errors=errors) from error
