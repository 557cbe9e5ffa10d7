"""Pull every cable, one after the other, under new connections: the switches repair it themselves.

Cables between switches, the cards that users are sent to, and the redundant ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mininet_lab.connections import Summary, summarize
from mininet_lab.knocking import Place, knocking, targets
from mininet_lab.mail.description import bracketed
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.stage import Stage, standing
from topology.model import Attachment

RATE = 100.0
RUNS = 5

#: Seconds; a connection that is not answered within 0.9 s counts as failed.
SERVED_WITHIN = 1.0


@dataclass(frozen=True)
class Users:
    """Who notices: connections from a guest to a role's service; or, where `origin` is a role,
    from that role to the WAN's mail server."""

    origin: str
    role: str = ""
    service: str = ""

    def __str__(self) -> str:
        return f"{self.origin} to {self.role or 'the WAN'}"

    def place(self, stage: Stage) -> Place:
        if self.role:
            return stage.lab.network.nodes[self.origin].command
        server = stage.lab.servers[stage.lab.site.roles[self.origin].servers[0]]
        return partial(server.role_command, self.origin)

    def targets(self, stage: Stage) -> list[str]:
        if self.role:
            return targets(stage.lab, self.role, self.service)
        return [f"{bracketed(address)}:25" for address in stage.lab.mail.wan.addresses]


_FROM_WAN = Users("wan", "mailrelay", "smtp")
_TO_WAN = Users("smtp_pop")
_TO_WEB = Users("client3", "web", "http")
_TO_MAIL = Users("client1", "smtp_pop", "smtp")

#: The links between switches, by one end, and who is on their way over them.
TRUNKS = (
    (Attachment("o1", 11), _TO_WAN),
    (Attachment("o1", 12), _TO_WAN),
    (Attachment("i1", 11), _TO_MAIL),
    (Attachment("i2", 12), Users("client3", "smtp_pop", "smtp")),
    (Attachment("i3", 12), _TO_WEB),
)

#: The cards, and who is sent to them or would be.
CARDS = {
    **{"A": _FROM_WAN, "B": _TO_WEB, "C": _TO_MAIL, "D": _TO_WAN},
    **{"A'": _FROM_WAN, "B'": _TO_WEB, "C'": _TO_MAIL, "D'": _TO_WAN},
}


def play(directory: Path, options: Options, story: Story) -> None:
    """Each cable some times; it is plugged in again before the next."""
    results = Results("link", options.seed)
    rows = []
    with standing(directory, story) as stage:
        for name, cable, users in cables(stage):
            story.chapter(f"Pulling {name}")
            pulled = [
                pull(stage, cable, users, f"{cable.switch}-{cable.port}-{number}")
                for number in range(options.runs or RUNS)
            ]
            gaps = [summary.longest_gap for summary in pulled]
            gap = results.add(f"{name}: longest gap", "hactrl", "s", gaps)
            lost = [summary.failed for summary in pulled]
            failed = results.add(f"{name}: failed", "hactrl", "connections", lost)
            milliseconds = [f"{seconds * 1e3:.0f} ms" for seconds in (gap.median or 0, max(gaps))]
            rows.append((name, str(users), *milliseconds, f"{failed.median:.0f}", f"{max(lost)}"))
            story.expect(
                max(gaps) < SERVED_WITHIN,
                f"{users}: served within {SERVED_WITHIN:.0f} s when {name} was pulled",
                f"{gaps}",
            )
    columns = (
        *("pulled", "users", "without an answer, median", "most"),
        *("failed connections, median", "most"),
    )
    story.table(f"At {RATE:.0f} new connections a second", columns, rows)
    story.tell(f"figures are in {results.write()}")


def cables(stage: Stage) -> list[tuple[str, Attachment, Users]]:
    """Every cable by its name for people."""
    network = stage.lab.site.network
    found = []
    for end, users in TRUNKS:
        link = next(link for link in network.links if end in (link.a, link.b))
        found.append((f"the cable {link.a}-{link.b}", end, users))
    for card, users in CARDS.items():
        interface = network.interfaces[card]
        found.append((f"card {card} of {interface.server}", interface.attachment, users))
    return found


def pull(stage: Stage, cable: Attachment, users: Users, name: str) -> Summary:
    """What users met while a cable was out, and when it was in again."""
    with knocking(stage.lab, users.place(stage), users.targets(stage), RATE, name) as knocks:
        knocks.await_answers(int(RATE / 2))
        struck = stage.lab.link_down(cable)
        knocks.await_answers(int(RATE))
        stage.lab.link_up(cable)
        knocks.await_answers(int(RATE))
    stage.put_in_order()
    return summarize(a for a in knocks.attempts() if a.ended >= struck - 0.1)
