"""corosync.conf(5), as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mininet_lab.peers.tuning import Tuning

#: A line, or a section with its name.
Entry = str | tuple[str, Sequence["Entry"]]


def corosync_conf(tuning: Tuning, nodes: Mapping[str, Sequence[str]], log: str) -> str:
    """Of a cluster of these nodes, each with its address on each of the links.

    `two_node` keeps the last of two quorate (votequorum(5)), and would imply `wait_for_all`, with
    which a server that comes back alone waits for the other for ever: with power fencing it need
    not, because it fences the other first.
    """
    links = range(max(map(len, nodes.values())))
    totem: list[Entry] = ["version: 2", "cluster_name: lab", "transport: knet"]
    totem += _pairs(tuning.totem)
    if tuning.link:
        totem += [
            ("interface", [f"linknumber: {number}", *_pairs(tuning.link)]) for number in links
        ]
    listed: list[Entry] = [
        (
            "node",
            [f"nodeid: {number}", f"name: {name}"]
            + [f"ring{link}_addr: {address}" for link, address in enumerate(addresses)],
        )
        for number, (name, addresses) in enumerate(nodes.items(), 1)
    ]
    quorum = ["provider: corosync_votequorum", "two_node: 1", "wait_for_all: 0"]
    logging = ["to_syslog: no", "to_stderr: no", "to_logfile: yes", f"logfile: {log}"]
    logging += ["timestamp: hires"]
    sections = (("totem", totem), ("nodelist", listed), ("quorum", quorum), ("logging", logging))
    return "".join(_section(name, body) for name, body in sections)


def _pairs(settings: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in settings.items()]


def _section(name: str, body: Sequence[Entry], indent: str = "") -> str:
    inside = f"{indent}  "
    text = f"{indent}{name} {{\n"
    for entry in body:
        text += _section(*entry, inside) if isinstance(entry, tuple) else f"{inside}{entry}\n"
    return f"{text}{indent}}}\n"
