"""What `hactl` prints: the controller's JSON as tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from hactrl.client import Accepted, HistoryEntry

Json = Mapping[str, Any]

_UNITS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))

_GOOD, _BAD, _SOSO = "green", "red", "yellow"

_VERDICTS = {"healthy": _GOOD, "ready": _GOOD, "unhealthy": _BAD, "unknown": _SOSO}


def status(document: Json) -> RenderableType:
    """All of `hactl status`."""
    settled = "settled" if document["settled"] else "[yellow]not settled[/]"
    heading = (
        f"[bold]{escape(document['site'])}[/], hactrl {escape(document['version'])},"
        f" up {duration(document['uptime'])}, rules version {document['rules_version']}, {settled}"
    )
    parts: list[RenderableType] = [heading, _roles(document), *_going_on(document)]
    parts += [_servers(document), _interfaces(document), _switches(document)]
    return Group(*parts)


def duration(seconds: float) -> str:
    """For people: 0.4 s, 12 s, 3 min 5 s, 2 h 0 min, 4 d 3 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for unit, size, lower, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {lower}"
    return f"{whole} s"


def history(entries: Iterable[HistoryEntry]) -> Table:
    """The oldest above, as one reads."""
    table = _table("When", "Role", "What", "")
    for entry in reversed(list(entries)):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
        table.add_row(
            f"{when}.{int(entry.at % 1 * 1000):03}",
            escape(entry.role),
            entry.kind,
            escape(entry.words),
        )
    return table


def accepted(answer: Accepted) -> str:
    """What has begun, or would."""
    verb = "would be done" if answer.dry_run else "begun"
    what = answer.kind + (f" of {answer.role}" if answer.role else "")
    to = f" to {answer.target}" if answer.target and answer.role else f" {answer.target or ''}"
    epoch = f", epoch {answer.epoch}" if answer.epoch else ""
    steps = f" ({' → '.join(answer.steps)})" if answer.role else ""
    return escape(f"{what}{to.rstrip()}: {verb}{epoch}{steps}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _yes(fact: bool, good: bool = True) -> str:
    return f"[{_GOOD if fact is good else _BAD}]{'yes' if fact else 'no'}[/]"


def _roles(document: Json) -> Table:
    table = _table("\nRole", "\nServer", "\nEpoch", "\nSince", "\nServices", "\nAddresses")
    for name, role in document["roles"].items():
        server = role["server"] or "nobody"
        colour = _GOOD if server == role["preferred"] else _SOSO
        services = " ".join(
            f"[{_VERDICTS[s['verdict']]}]{escape(service)}[/]"
            for service, s in role["services"].items()
        )
        addresses = " ".join(a for on in role["addresses"].values() for a in on["addresses"])
        table.add_row(
            escape(name),
            f"[{colour}]{escape(server)}[/]",
            str(role["epoch"]),
            duration(role["since"]),
            services,
            addresses,
        )
    return table


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
        if segments := role["segments_not_steered"]:
            lines.append(f"[yellow]{escape(name)}: not yet steered on {', '.join(segments)}[/]")
    return lines


def _servers(document: Json) -> Table:
    table = _table("\nServer", "\nEnabled", "\nHealthy", "\nActive in", "\nAgent", "\nFenced", "\n")
    for name, server in document["servers"].items():
        reasons = {
            obstacle["words"]: None
            for candidate in server["roles"].values()
            for obstacle in candidate["obstacles"]
        }
        table.add_row(
            escape(name),
            _yes(server["enabled"]),
            _yes(server["healthy"]),
            escape(" ".join(server["active"])) or "-",
            _yes(server["agent_connected"]),
            _yes(server["fenced"], good=False),
            escape("; ".join(reasons)),
        )
    return table


def _interfaces(document: Json) -> Table:
    table = _table("\nInterface", "\nServer", "\nSegment", "\nAt", "\nFor", "\nPort up", "\nHealth")
    for name, card in document["interfaces"].items():
        health = " ".join(
            f"[{_VERDICTS[found['verdict']]}]{escape(role)}/{escape(service)}[/]"
            for role, services in card["health"].items()
            for service, found in services.items()
        )
        table.add_row(
            escape(name),
            escape(card["server"]),
            escape(card["segment"]),
            card["attachment"],
            escape(card["redundant_for"] or "-"),
            _yes(card["port_up"]),
            health,
        )
    return table


def _switches(document: Json) -> Table:
    table = _table("\nSwitch", "\nSegment", "\nDatapath", "\nConnected", "\nRules", "\nCurrent")
    for name, switch in document["switches"].items():
        table.add_row(
            escape(name),
            escape(switch["segment"]),
            switch["datapath_id"],
            _yes(switch["connected"]),
            str(switch["rules_installed"]),
            _yes(switch["rules_current"]),
        )
    return table
