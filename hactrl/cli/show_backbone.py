"""What `hactl` prints of backbones: the controller's JSON as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from hactrl.cli.show import BAD, GOOD, SOSO, new_table, yes

Json = Mapping[str, Any]

_SEEN = {"both ways": GOOD, "waiting": SOSO}

_MEANS = {
    "left over": "by what is left of equal ways",
    "downstream": "by another port that leads nearer",
    "alternate": "by an alternate",
    "interface": "by sending on to another interface",
}


def paths(document: Json, hops: bool) -> RenderableType:
    """The ways beside the roundabout ones; with `hops`, also the ports of the first switch."""
    table = new_table(
        *("File server", "From", "Hosts", "Cost", "Nearest", "Way", "Equal ways"),
        *("With one interface", "Farthest"),
    )
    for path in document["paths"]:
        way = path["way"]
        table.add_row(
            escape(path["server"]),
            escape(_origin(path)),
            str(path["hosts"]),
            "-" if way is None else str(way["cost"]),
            f"[{BAD}]none[/]" if way is None else escape(" ".join(way["interfaces"])),
            "-" if way is None else escape(_way(way)),
            "-" if way is None else str(way["equal_ways"]),
            escape(_leg(path["single_homed"])),
            escape(_leg(path["farthest"])),
        )
    parts: list[RenderableType] = [table if document["paths"] else "no file servers"]
    return Group(*parts, *(_hops(document) if hops else ()))


def _origin(path: Json) -> str:
    host = path["host"]
    return str(path["switch"]) if host is None else f"{path['switch']} ({host})"


def _way(way: Json) -> str:
    """Each link as port–port, and where it ends."""
    links = [f"{crossing['out']}–{crossing['into']}" for crossing in way["crossings"]]
    return " ".join([*links, f"→ {way['interface']}"])


def _leg(leg: Json | None) -> str:
    if leg is None or leg["cost"] is None:
        return "-" if leg is None else f"none to {leg['interface']}"
    return f"{leg['cost']} to {leg['interface']}"


def _hops(document: Json) -> Iterator[str]:
    """What the first switch has behind the way, and what its clients are spared."""
    for path in document["paths"]:
        if path["way"] is not None:
            yield escape(f"  {path['server']}: {_ports(path)}{_spared(path)}")


def _ports(path: Json) -> str:
    hops = path["way"]["hops"]
    kinds = (
        ("equal", "sends by"),
        ("downstream", "if dead by"),
        ("alternates", "else by the alternate"),
    )
    found = [f"{words} {_listed(hops[kind])}" for kind, words in kinds if hops[kind]]
    return f"{path['switch']} {', '.join(found) or 'has an interface itself'}"


def _listed(ports: list[int]) -> str:
    return f"port{'' if len(ports) == 1 else 's'} {', '.join(map(str, ports))}"


def _spared(path: Json) -> str:
    """Beside a file server that has its first interface alone."""
    interface, cost = path["single_homed"]["interface"], path["single_homed"]["cost"]
    if cost is None:
        return f"; there is no way to {interface}"
    more = cost - (path["way"]["cost"] - path["way"]["offset"])
    what = f"costs {cost}, {more} more" if more > 0 else "costs as much"
    return f"; the roundabout way, to {interface}, {what}"


def changes(document: Json) -> RenderableType:
    """What a failure would change, the worst first."""
    failure, found = document["failure"], document["changes"]
    down = f"{failure['name']} would take down {', '.join(failure['down'])}"
    if not found:
        return escape(f"{down}: no way would change")
    order = {"nobody": 0, "controller": 1, "switches": 2}
    table = new_table("\nFile server", "\nFrom", "\nHosts", "\nBefore", "\nAfter", "\nRepaired")
    for change in sorted(found, key=lambda each: order[each["repairer"]]):
        after = change["after"]
        table.add_row(
            escape(change["server"]),
            escape(change["switch"]),
            str(change["hosts"]),
            escape(_summary(change["before"])),
            f"[{BAD}]unreachable[/]" if after is None else escape(_summary(after)),
            _repaired(change),
        )
    lost = sum(change["after"] is None for change in found)
    what = f"{len(found)} way{'' if len(found) == 1 else 's'} would change"
    what += f", {lost} of them be lost" if lost else ""
    return Group(escape(f"{down}: {what}"), table)


def _summary(way: Json) -> str:
    ways = way["equal_ways"]
    return f"{way['cost']} to {' '.join(way['interfaces'])}" + (
        f", {ways} ways" if ways > 1 else ""
    )


def _repaired(change: Json) -> str:
    if change["repairer"] == "nobody":
        return f"[{BAD}]by nobody[/]"
    if change["repairer"] == "controller":
        return f"[{SOSO}]by the controller[/]"
    means = [_MEANS.get(one, one) for one in change["means"]]
    return f"[{GOOD}]at once[/] {escape(', '.join(means))}".rstrip()


def hosts(document: Json) -> RenderableType:
    """One line each, and below them what was refused at which ports."""
    refused = [
        f"  [{SOSO}]{escape(one['port'])}: {one['reason']}, refused {one['count']} times[/]"
        for one in document["refused"]
    ]
    if not document["hosts"]:
        none = "no host is known yet: a host is known once it has sent a packet"
        return Group(none, *refused)
    table = new_table("Host", "At", "Port up", "Number", "Addresses")
    for host in document["hosts"]:
        table.add_row(
            host["mac"],
            escape(host["attachment"]),
            yes(host["port_up"]),
            str(host["number"]),
            " ".join(host["addresses"]),
        )
    return Group(table, *refused)


def links(document: Json) -> RenderableType:
    """One line each, and below them what is wrong."""
    if not document["links"]:
        return "no backbone has links"
    table = new_table("Link", "Cost", "Origin", "Seen", "Up", "Used")
    troubles = []
    for link in document["links"]:
        table.add_row(
            escape(link["name"]),
            str(link["cost"]),
            link["origin"],
            f"[{_SEEN.get(link['seen'], BAD)}]{link['seen']}[/]",
            yes(link["up"]),
            yes(link["used"]),
        )
        troubles += [f"  [{BAD}]{escape(one['words'])}[/]" for one in link["troubles"]]
    return Group(table, *troubles)
