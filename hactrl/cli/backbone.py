"""The commands of `hactl` that look at backbones: they change nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from hactrl.cli import show_backbone as show
from hactrl.cli.common import DEFAULT_URL, AsJson, Url, by_names, connected, out, print_json

FileServer = Annotated[
    str | None,
    typer.Argument(
        help="A file server, or its address; all of them if left out.", show_default=False
    ),
]
Origin = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="A switch, switch:port, interface, or a host by MAC, address or name; every switch"
        " if left out.",
        metavar="PLACE",
    ),
]
WhatIf = Annotated[
    str | None,
    typer.Option(
        "--what-if",
        help="What such a failure would change: link:r1-r3, link:r1:13-r3:11, port:r1:13,"
        " switch:r3 or interface:files-3. It does nothing.",
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
    question = {"server": server, "origin": origin, "what_if": what_if}
    with connected(url) as client:
        document = by_names(lambda asked: client.paths(**asked), question)
    if as_json:
        print_json(document)
    elif what_if is not None:
        out.print(show.changes(document))
    else:
        out.print(show.paths(document, hops=origin is not None))


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
