"""The commands of `hactl`.

Exit codes: 0 done, 1 the site file is wrong, 2 wrong usage, 3 refused (nothing has changed),
4 unknown (it may have been done: look at the status), 5 unreachable (nothing has changed),
6 the site is not settled, or could not lose a server (status).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape

from hactrl.cli import backbone, show, store
from hactrl.cli.common import (
    DEFAULT_URL,
    AsJson,
    Exit,
    SiteFile,
    Url,
    Yes,
    confirmed,
    connected,
    err,
    loaded,
    out,
    print_json,
)
from hactrl.cli.trace import trace
from hactrl.client import Accepted, Client, UnreachableError
from hactrl.site import dumps
from hactrl.site.warnings import warnings
from hactrl.tokens import header_token, read_secret

#: Seconds between two looks of `status --watch`.
WATCH_INTERVAL = 1.0


app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="HACTRL_TOKEN_FILE",
        help="File with the operator's token; without it, HACTRL_TOKEN is the token.",
    ),
]
Why = Annotated[str, typer.Option("--reason", help="Why; for the journal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, do nothing.")]


def main() -> None:
    """The console script."""
    app()


@app.command()
def status(
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    settled: Annotated[
        bool, typer.Option("--settled", help="Exit 6 only for what is not settled.")
    ] = False,
) -> None:
    """Show roles, servers, interfaces and switches, and what is being done now. Exits 6 when the
    site is not settled, or a role could not lose a server."""
    if watch and as_json:
        raise typer.BadParameter("--watch and --json exclude each other")
    with connected(url) as client:
        if watch:
            _watch(client)
            return
        document = client.status()
    if as_json:
        print_json(document)
    else:
        out.print(show.status(document))
    if not (document["settled"] and (settled or document["protected"])):
        raise typer.Exit(Exit.NOT_IN_ORDER)


def _watch(client: Client) -> None:
    with Live(console=out, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            try:
                live.update(show.status(client.status()), refresh=True)
            except UnreachableError as error:
                live.update(f"[red]{escape(str(error))}[/]", refresh=True)
            try:
                time.sleep(WATCH_INTERVAL)
            except KeyboardInterrupt:
                return


@app.command()
def failover(
    role: str,
    *,
    reason: Why,
    to: Annotated[
        str | None, typer.Option("--to", help="A server; the best other one if left out.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where users may be cut off for a while.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Move a role to another server."""
    _change(
        url,
        token_file,
        f"Move {role} to {to or 'the best other server'}?",
        yes or dry_run,
        lambda client: client.failover(role, reason, to, dry_run, force),
    )


@app.command()
def failback(
    role: str,
    *,
    reason: Why,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Return a role to its preferred server."""
    _change(
        url,
        token_file,
        f"Return {role} to its preferred server?",
        yes or dry_run,
        lambda client: client.failback(role, reason, dry_run),
    )


@app.command()
def retry(
    role: str,
    *,
    reason: Why,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Forget which servers failed at a role: what was wrong with them has been mended."""
    _change(
        url,
        token_file,
        f"Forget which servers failed at {role}, and let it move again?",
        yes or dry_run,
        lambda client: client.retry(role, reason, dry_run),
    )


@app.command()
def enable(
    server: str,
    *,
    reason: Why,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Let a server have roles again."""
    _change(
        url,
        token_file,
        f"Enable {server}?",
        yes or dry_run,
        lambda client: client.enable(server, reason, dry_run),
    )


@app.command()
def disable(
    server: str,
    *,
    reason: Why,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Let a server have no roles; those that it has move away if they can."""
    _change(
        url,
        token_file,
        f"Disable {server}? Its roles move away.",
        yes or dry_run,
        lambda client: client.disable(server, reason, dry_run),
    )


@app.command("confirm-off")
def confirm_off(
    server: str,
    *,
    reason: Why,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Say that a server is without power for certain: others then get what it owned."""
    _change(
        url,
        token_file,
        f"Is {server} without power for certain, and will it stay so? "
        "If it is not, two servers may write to one spool.",
        yes or dry_run,
        lambda client: client.confirm_off(server, reason, dry_run),
    )


app.command()(backbone.paths)
app.command()(backbone.hosts)
app.command()(backbone.links)
app.command()(trace)
app.add_typer(store.app, name="store")


@app.command()
def history(
    url: Url = DEFAULT_URL,
    role: Annotated[str | None, typer.Option("--role", help="Of one role only.")] = None,
    before: Annotated[
        int | None, typer.Option("--before", min=1, help="Entries older than this number.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the journal, the newest entry last."""
    with connected(url) as client:
        entries = client.history(role, before, limit)
    if as_json:
        print_json([vars(entry) for entry in entries])
    else:
        out.print(show.history(entries))


@app.command()
def check(
    file: Path,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Print the site file with all defaults filled in.")
    ] = False,
) -> None:
    """Check a site file; every error at once. Warnings are no errors: the exit status is 0."""
    site = loaded(file)
    for warning in warnings(site):
        typer.echo(f"{file}: warning: {warning}", err=True)
    if defaults:
        typer.echo(dumps(site), nl=False)
        return
    out.print(escape(f"{file}: good: site {site.name}: {_counts(site)}"))


def _counts(site: Any) -> str:
    """How much of everything there is; the servers of roles and file servers only if any are."""
    network = site.network
    parts = [f"{len(network.segments)} segments", f"{len(network.switches)} switches"]
    if network.servers or site.roles or not network.file_servers:
        parts += [f"{len(network.servers)} servers", f"{len(network.interfaces)} interfaces"]
        parts.append(f"{len(site.roles)} roles")
    if network.file_servers:
        cards = len(network.file_interfaces)
        parts.append(f"{len(network.file_servers)} file servers with {cards} interfaces")
    return ", ".join(parts)


@app.command()
def tables(
    site: SiteFile = None,
    switch: Annotated[str | None, typer.Option("--switch", help="Of one switch only.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the rules that every switch should hold, and the tables that they are in."""
    document = _tables(site, switch, url)
    if as_json:
        print_json(document)
        return
    from hactrl.rest.tables import rule_lines

    for table in document["tables"]:
        ways = ", ".join(table["next"]) or "none"
        typer.echo(f"{table['table']} {table['name']}: {table['purpose']}")
        typer.echo(f"    may match {', '.join(table['matches'])}")
        typer.echo(f"    may do {', '.join(table['actions'])}; next {ways}")
    for name, held in document["switches"].items():
        typer.echo(f"\nswitch {name}: {len(held['rules'])} rules, {len(held['groups'])} groups")
        for line in rule_lines(held):
            typer.echo(line)


def _tables(file: Path | None, switch: str | None, url: str) -> dict[str, Any]:
    if file is None:
        with connected(url) as client:
            return client.tables(switch)
    from hactrl.explain.offline import rule_sets
    from hactrl.rest.tables import pipeline_json, rule_sets_json

    site = loaded(file)
    if switch is not None and switch not in site.network.switches:
        raise typer.BadParameter(f"no switch is named {switch}")
    wanted = rule_sets(site)
    shown = wanted if switch is None else {switch: wanted[switch]}
    return {"tables": pipeline_json(), "switches": rule_sets_json(shown)}


def _change(
    url: str, token_file: Path | None, question: str, sure: bool, ask: Callable[[Client], Accepted]
) -> None:
    token = _token(token_file)
    if not sure and not confirmed(question):
        err.print("nothing done")
        raise typer.Exit(Exit.REFUSED)
    with connected(url, token) as client:
        out.print(show.accepted(ask(client)))


def _token(file: Path | None) -> str:
    try:
        if file is None:
            return header_token(os.environ.get("HACTRL_TOKEN", ""), "HACTRL_TOKEN")
        return header_token(read_secret(file).strip(), str(file))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--token-file") from error
    except ValueError as error:
        hint = "HACTRL_TOKEN" if file is None else "--token-file"
        raise typer.BadParameter(str(error), param_hint=hint) from error
