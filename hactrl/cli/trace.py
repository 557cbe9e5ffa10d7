"""The command of `hactl` that tells a packet's way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hactrl.cli.common import (
    DEFAULT_URL,
    AsJson,
    SiteFile,
    Url,
    by_names,
    connected,
    loaded,
    print_json,
)
from hactrl.client import Walked


def trace(
    at: Annotated[
        str,
        typer.Argument(
            help="Who sends: switch:port, an interface, or a host by MAC, address or name."
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            help="Who should get it: a role, a file server, a host, switch:port, or an address."
        ),
    ],
    *,
    source: Annotated[
        str, typer.Option(help="IP address that it comes from; the sender's, if left out.")
    ] = "",
    protocol: Annotated[str, typer.Option(help="tcp, udp or icmp.")] = "tcp",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Destination port; its service's, if left out."),
    ] = None,
    source_port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    source_mac: Annotated[str, typer.Option(help="The sender's, if left out.")] = "",
    destination_mac: Annotated[str, typer.Option(help="What ARP would say, if left out.")] = "",
    what_if: Annotated[
        str,
        typer.Option(
            help="What the switches then do by themselves: link:r1-r3, port:r1:13, switch:r3 or"
            " interface:files-3. It does nothing.",
            metavar="FAILURE",
        ),
    ] = "",
    as_json: AsJson = False,
    site: SiteFile = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Walk a packet through the wanted rules, and say switch by switch what happens to it."""
    question = {
        "at": at,
        "destination": destination,
        "source": source,
        "protocol": protocol,
        "port": port,
        "source_port": source_port,
        "source_mac": source_mac,
        "destination_mac": destination_mac,
        "what_if": what_if,
    }
    walked = _walked(site, url, question)
    if as_json:
        print_json(vars(walked))
        return
    for line in walked.lines:
        typer.echo(line)


def _walked(file: Path | None, url: str, question: dict[str, Any]) -> Walked:
    if file is None:
        with connected(url) as client:
            return by_names(client.trace, question)
    from hactrl.explain.names import UnknownNameError
    from hactrl.explain.offline import told
    from hactrl.explain.questions import PacketError, TraceQuestion

    try:
        story = told(loaded(file), TraceQuestion(**question))
    except (PacketError, UnknownNameError) as error:
        raise typer.BadParameter(str(error)) from error
    return Walked(story.lines, story.delivered, story.ways)
