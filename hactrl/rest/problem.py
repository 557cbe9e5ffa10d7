"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from webob import Response

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An error for the client.

    `kind` is the last part of the document's `type`, and does not change from version to version;
    `more` are extension members (RFC 9457, section 3.2), `headers` go into the response.
    """

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.more = more

    def response(self, instance: str) -> Response:
        """The document as a response; `instance` is the path that was asked for."""
        document = {
            "type": f"urn:hactrl:problem:{self.kind}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "instance": instance,
            **self.more,
        }
        response = Response(
            body=json.dumps(document).encode() + b"\n",
            status=int(self.status),
            content_type=CONTENT_TYPE,
            charset=None,
        )
        response.headers.update(self.headers)
        return response
