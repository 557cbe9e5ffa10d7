"""The commands of `hactl` that look at backbones: they change nothing."""

from __future__ import annotations

from socket import SOCK_STREAM, gaierror, getaddrinfo
from typing import Annotated, Any

import typer

from hactrl.cli import show_backbone as show
from hactrl.cli.common import DEFAULT_URL, AsJson, Url, connected, out, print_json
from hactrl.client import Client, RefusedError

FileServer = Annotated[
    str | None, typer.Argument(help="A file server; all of them if left out.", show_default=False)
]
Origin = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="A switch, or a host by its MAC, address or name; every switch if left out.",
        metavar="HOST",
    ),
]
WhatIf = Annotated[
    str | None,
    typer.Option(
        "--what-if",
        help="What such a failure would change: link:r1-r3, link:r1:13-r3:11, switch:r3 or"
        " interface:files-3. It does nothing.",
        metavar="FAILURE",
    ),
]


def paths(
    server: FileServer = None,
    *,
    origin: Origin = None,
    what_if: WhatIf = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the ways to file servers, or what a failure would change."""
    with connected(url) as client:
        document = _paths(client, server, origin, what_if)
    if as_json:
        print_json(document)
    elif what_if is not None:
        out.print(show.changes(document))
    else:
        out.print(show.paths(document, hops=origin is not None))


def _paths(
    client: Client, server: str | None, origin: str | None, what_if: str | None
) -> dict[str, Any]:
    """The controller knows hosts by their addresses; their names are known to this machine."""
    try:
        return client.paths(server, origin, what_if)
    except RefusedError as error:
        for address in _addresses(origin or "") if error.kind == "unknown-name" else ():
            try:
                return client.paths(server, address, what_if)
            except RefusedError:
                continue
        raise


def _addresses(name: str) -> list[str]:
    """Those of a host, by its name; none if it is nobody's name, or a MAC or an address itself."""
    if not name or ":" in name or name.replace(".", "").isdecimal():
        return []
    try:
        found = getaddrinfo(name, None, type=SOCK_STREAM)
    except (gaierror, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


def hosts(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the hosts that backbones know, and where they are."""
    with connected(url) as client:
        document = client.hosts()
    if as_json:
        print_json(document)
    else:
        out.print(show.hosts(document))


def links(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the links of backbones: as declared, as seen, and what is wrong with them."""
    with connected(url) as client:
        document = client.links()
    if as_json:
        print_json(document)
    else:
        out.print(show.links(document))
