"""What a request may not be, told before any of its body is read."""

from __future__ import annotations

from http import HTTPStatus

from hactrl.rest.problem import ProblemError

#: Bytes of a request's body; ours need a few hundred.
LARGEST_BODY = 64 * 1024


def check_length(lengths: list[str], transfer_encoding: str | None) -> int:
    """The length of the body, by all headers Content-Length and Transfer-Encoding.

    Raises:
        ProblemError: it is not told in advance, is told in two ways, or is too much.
    """
    if transfer_encoding is not None:
        raise _refused(
            HTTPStatus.LENGTH_REQUIRED, "length-required", "send the body with its Content-Length"
        )
    if not lengths:
        return 0
    if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise _refused(
            HTTPStatus.BAD_REQUEST, "bad-request", "Content-Length is not one number of bytes"
        )
    # So many digits are too many, and a number of thousands of them takes long to make.
    if len(lengths[0]) > 20 or int(lengths[0]) > LARGEST_BODY:
        raise _refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"{lengths[0][:20]} bytes, and {LARGEST_BODY} are the most",
        )
    return int(lengths[0])


def _refused(status: HTTPStatus, kind: str, detail: str) -> ProblemError:
    return ProblemError(status, kind, detail, headers={"Connection": "close"})
