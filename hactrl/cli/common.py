"""What all commands of `hactl` share: exit codes, options, output, and the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from socket import SOCK_STREAM, gaierror, getaddrinfo
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from hactrl.client import Client, RefusedError, UnknownOutcomeError, UnreachableError
from hactrl.site import SiteError, load

Found = TypeVar("Found")

DEFAULT_URL = "http://127.0.0.1:8080"


class Exit(IntEnum):
    """What the exit code says."""

    DONE = 0
    WRONG_SITE = 1
    USAGE = 2
    REFUSED = 3
    UNKNOWN = 4
    UNREACHABLE = 5
    NOT_IN_ORDER = 6


out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Url = Annotated[str, typer.Option("--url", envvar="HACTRL_URL", help="The controller's REST.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the controller's JSON.")]

SiteFile = Annotated[
    Path | None, typer.Option("--site", help="Use a site file in its normal state, no controller.")
]


@contextmanager
def connected(url: str, token: str = "") -> Iterator[Client]:
    """A client whose failures end the program with the exit code that tells them apart."""
    try:
        with Client(url, token) as opened:
            yield opened
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":  # how Python passes bytes that are no text
            raise
        err.print(f"[red]wrong usage:[/] an argument is not UTF-8: {escape(ascii(error.object))}")
        raise typer.Exit(Exit.USAGE) from error
    except RefusedError as error:
        err.print(f"[red]refused:[/] {escape(str(error))}")
        raise typer.Exit(Exit.REFUSED) from error
    except UnreachableError as error:
        err.print(f"[red]unreachable:[/] {escape(str(error))}")
        raise typer.Exit(Exit.UNREACHABLE) from error
    except UnknownOutcomeError as error:
        err.print(f"[red]unknown:[/] {escape(str(error))}")
        raise typer.Exit(Exit.UNKNOWN) from error


def by_names(ask: Callable[[dict[str, Any]], Found], question: dict[str, Any]) -> Found:
    """Ask the controller, which knows hosts by their addresses; their names are known to this
    machine. What it does not know is asked again with each address that the name has here.

    Raises:
        RefusedError: the first refusal, if no address helps.
    """
    try:
        return ask(question)
    except RefusedError as error:
        unknown = error.name if error.kind == "unknown-name" else ""
        for member in [each for each, value in question.items() if unknown and value == unknown]:
            for address in _addresses(unknown):
                with suppress(RefusedError):
                    return by_names(ask, question | {member: address})
        raise


def _addresses(name: str) -> list[str]:
    """Those of a host, by its name; none if it is nobody's name, or a MAC or an address itself."""
    if ":" in name or name.replace(".", "").isdecimal():
        return []
    try:
        found = getaddrinfo(name, None, type=SOCK_STREAM)
    except (gaierror, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


def loaded(file: Path) -> Any:
    """The site of a file; what is wrong with it ends the program."""
    try:
        return load(file)
    except SiteError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(Exit.WRONG_SITE) from error


def print_json(document: Any) -> None:
    """For programs: the controller's JSON as it is."""
    typer.echo(json.dumps(document, indent=2))


def confirmed(question: str) -> bool:
    """Whether somebody is there and says yes."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # nobody there to ask
        return False
