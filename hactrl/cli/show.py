"""What `hactl` prints: the controller's JSON as tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from hactrl.client import Accepted, HistoryEntry
from hactrl.explain import words
from topology.model import NEAREST

Json = Mapping[str, Any]

_UNITS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))

GOOD, BAD, SOSO = "green", "red", "yellow"

#: The worst first.
_VERDICTS = {"unhealthy": BAD, "unknown": SOSO, "ready": GOOD, "healthy": GOOD}

#: Which way a file server's answers take.
_MANNERS = {"unknown": "not yet counted", "short": "short way", "roundabout": "roundabout way"}

_BAD_VERDICTS = {"unhealthy", "unknown"}


def status(document: Json) -> RenderableType:
    """All of `hactl status`."""
    settled = "settled" if document["settled"] else "[yellow]not settled[/]"
    protected = "protected" if document["protected"] else "[yellow]not protected[/]"
    heading = (
        f"[bold]{escape(document['site'])}[/], hactrl {escape(document['version'])},"
        f" up {duration(document['uptime'])}, rules version {document['rules_version']},"
        f" {settled}, {protected}"
    )
    parts: list[RenderableType] = [
        heading,
        *_not_in_order(document),
        _roles(document),
        *_going_on(document),
    ]
    parts += [_servers(document), *_hindrances(document)]
    parts += [_interfaces(document), *_file_servers(document), _switches(document)]
    return Group(*parts)


def _not_in_order(document: Json) -> Iterator[str]:
    """Why the site is not settled, and which roles could not lose a server, each in one line."""
    if document["unsettled"]:
        yield f"  [{SOSO}]not settled: {escape(_together(document['unsettled']))}[/]"
    for role, reasons in document["unprotected"].items():
        yield f"  [{SOSO}]{escape(role)} not protected: {escape(_together(reasons))}[/]"


def _together(obstacles: Iterable[Json]) -> str:
    return words.together((o["reason"], o["subject"], o.get("detail", "")) for o in obstacles)


def duration(seconds: float) -> str:
    """For people: 0.4 s, 12 s, 3 min 5 s, 2 h 0 min, 4 d 3 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for unit, size, lower, part in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {lower}"
    return f"{whole} s"


def history(entries: Iterable[HistoryEntry]) -> RenderableType:
    """The oldest above, as one reads; a line with the day where one begins."""
    parts: list[RenderableType] = []
    today = ""
    for entry in reversed(list(entries)):
        day = _day(entry.at)
        if day != today:
            today, table = day, new_table("Time", "Role", "What happened")
            parts += [f"[bold]{day}[/]", table]
        table.add_row(_clock(entry.at), escape(entry.role or "-"), escape(_happened(entry)))
    return Group(*parts) if parts else "nothing yet"


def _happened(entry: HistoryEntry) -> str:
    if entry.count == 1:
        return entry.words
    day = "" if _day(entry.last) == _day(entry.at) else f"{_day(entry.last)} "
    return f"{entry.words} ({entry.count} times, last {day}{_clock(entry.last)})"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _clock(at: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03}"


def accepted(answer: Accepted) -> str:
    """What has begun, or would."""
    verb = "would be done" if answer.dry_run else "begun"
    what = answer.kind + (f" of {answer.role}" if answer.role else "")
    to = f" to {answer.target}" if answer.target and answer.role else f" {answer.target or ''}"
    epoch = f", epoch {answer.epoch}" if answer.epoch else ""
    steps = f" ({' → '.join(answer.steps)})" if answer.role else ""
    return escape(f"{what}{to.rstrip()}: {verb}{epoch}{steps}")


def new_table(*columns: str) -> Table:
    """Without lines; a column's name may begin with a new line, for space above."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def yes(fact: bool, good: bool = True) -> str:
    """Or no; green if that is good."""
    return f"[{GOOD if fact is good else BAD}]{'yes' if fact else 'no'}[/]"


def _health(verdicts: Mapping[str, str]) -> str:
    """The worst verdict; if it is a bad one and not that of all, each with its services."""
    services: dict[str, list[str]] = {verdict: [] for verdict in _VERDICTS}
    for service, verdict in verdicts.items():
        services[verdict].append(service)
    found = {verdict: names for verdict, names in services.items() if names}
    if not found.keys() & _BAD_VERDICTS:
        found = dict([*found.items()][:1])
    return ", ".join(
        f"[{_VERDICTS[verdict]}]{verdict}[/]"
        + (f" ({escape(' '.join(names))})" if len(found) > 1 else "")
        for verdict, names in found.items()
    )


def _roles(document: Json) -> Table:
    table = new_table("\nRole", "\nServer", "\nEpoch", "\nSince", "\nHealth", "\nAddresses")
    for name, role in document["roles"].items():
        server = role["server"] or "nobody"
        colour = GOOD if server == role["preferred"] else SOSO
        verdicts = {service: found["verdict"] for service, found in role["services"].items()}
        addresses = " ".join(a for on in role["addresses"].values() for a in on["addresses"])
        table.add_row(
            escape(name),
            f"[{colour}]{escape(server)}[/]",
            str(role["epoch"]),
            duration(role["since"]),
            _health(verdicts),
            addresses,
        )
    return table


def _failed(server: str, failed: Json) -> str:
    how = failed["standing"].replace("_", " ")
    return (
        f"{escape(server)} has failed at it {failed['times']} times, last"
        f" {duration(failed['ago'])} ago ({how}); counts for another"
        f" {duration(failed['counts_for'])}"
    )


def _going_on(document: Json) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for name, role in document["roles"].items():
        if takeover := role["takeover"]:
            lines.append(
                f"[yellow]{escape(name)}: takeover by {escape(takeover['target'])}, epoch"
                f" {takeover['epoch']}: {escape(takeover['step_words'])},"
                f" for {duration(takeover['running'])}[/]"
            )
            lines += [f"  waits: {escape(w['words'])}" for w in takeover["waiting_for"]]
        lines += [f"[red]{escape(name)}: {escape(w['words'])}[/]" for w in role["waiting"]]
        lines += [
            f"[yellow]{escape(name)}: {_failed(server, failed)}[/]"
            for server, failed in role["failed"].items()
        ]
        if segments := role["segments_not_steered"]:
            lines.append(f"[yellow]{escape(name)}: not yet steered on {', '.join(segments)}[/]")
    return lines


def _servers(document: Json) -> Table:
    table = new_table("\nServer", "\nEnabled", "\nHealthy", "\nActive in", "\nAgent", "\nFenced")
    for name, server in document["servers"].items():
        table.add_row(
            escape(name),
            yes(server["enabled"]),
            yes(server["healthy"]),
            escape(" ".join(server["active"])) or "-",
            yes(server["agent_connected"]),
            yes(server["fenced"], good=False),
        )
    return table


def _hindrances(document: Json) -> Iterator[str]:
    """What keeps a server from its roles, or from taking others."""
    for name, server in document["servers"].items():
        reasons = [o for candidate in server["roles"].values() for o in candidate["obstacles"]]
        if reasons:
            yield f"  [{SOSO}]{escape(name)}: {escape(_together(reasons))}[/]"


def _interfaces(document: Json) -> Table:
    table = new_table(
        "\nInterface", "\nServer", "\nSegment", "\nAt", "\nFor", "\nPort up", "\nHealth"
    )
    for name, card in document["interfaces"].items():
        health = ", ".join(
            f"{escape(role)} {_health({s: found['verdict'] for s, found in services.items()})}"
            for role, services in card["health"].items()
        )
        table.add_row(
            escape(name),
            escape(card["server"]),
            escape(card["segment"]),
            card["attachment"],
            escape(card["redundant_for"] or "-"),
            yes(card["port_up"]),
            health,
        )
    return table


def _file_servers(document: Json) -> Iterator[RenderableType]:
    """Nothing on a site that has none."""
    if not document["file_servers"]:
        return
    table = new_table("\nFile server", "\nInterface", "\nAt", "\nState", "\nUsed", "\nAnswers")
    detours = []
    for name, server in document["file_servers"].items():
        manner, share = server["answers"]["state"], server["answers"]["roundabout_share"]
        colour = {"short": GOOD, "roundabout": BAD}.get(manner, SOSO)
        answers = f"[{colour}]{_MANNERS[manner]}[/]" + (
            f" ({share:.0%})" if manner == "roundabout" else ""
        )
        for number, card in enumerate(server["interfaces"].values()):
            table.add_row(
                "" if number else escape(_named(name, server)),
                escape(card["name"] + (f" (offset {card['offset']})" if card["offset"] else "")),
                card["attachment"],
                f"[{GOOD if card['state'] == 'live' else BAD}]{card['state']}[/]",
                yes(card["used"]),
                "" if number else answers,
            )
        for way in server["answers"]["roundabout"]:
            what = f"{way['share']:.0%} of the answers to {way['switch']}"
            by = ", ".join(way["interfaces"])
            detours.append(f"  [{BAD}]{escape(f'{name}: {what} leave by {by}')}[/]")
    yield table
    yield from detours


def _named(name: str, server: Json) -> str:
    return name if server["policy"] == NEAREST else f"{name} ({server['policy']})"


def _switches(document: Json) -> Table:
    table = new_table(
        "\nSwitch", "\nSegment", "\nDatapath", "\nConnected", "\nRules version", "\nCurrent"
    )
    for name, switch in document["switches"].items():
        table.add_row(
            escape(name),
            escape(switch["segment"]),
            switch["datapath_id"],
            yes(switch["connected"]),
            str(switch["rules_installed"]),
            yes(switch["rules_current"]),
        )
    return table
