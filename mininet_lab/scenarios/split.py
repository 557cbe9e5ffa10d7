"""Cut a switch off from the rest of its segment, under new connections: who can be served, is.

All of its links are pulled at once. A server that has a card there has another one elsewhere; where
that one is out, too, its role moves to the server that users can reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mininet_lab.clock import now
from mininet_lab.connections import Summary, summarize
from mininet_lab.knocking import knocking
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.scenarios.link import RATE, SERVED_WITHIN, Users
from mininet_lab.stage import Json, Stage, standing
from topology.model import Attachment

RUNS = 3

#: Seconds in which hactrl must have said which switch is cut off.
SAID_WITHIN = 1.0

#: Seconds until users are served by another server: the spool moves, too.
MOVED_WITHIN = 2.0


@dataclass(frozen=True)
class Cut:
    """A switch that is cut off, and who notices. `out`: a card that is out already, so that the
    role has to move, to `to`."""

    switch: str
    users: Users
    out: str = ""
    to: str = ""

    def __str__(self) -> str:
        return f"{self.switch} cut off" + (f", {self.out} out" if self.out else "")

    @property
    def within(self) -> float:
        return MOVED_WITHIN if self.to else SERVED_WITHIN


_NEAR, _FAR = Users("client1", "smtp_pop", "smtp"), Users("client3", "smtp_pop", "smtp")

#: The mail is brought to card C at i2, and could be to B' at i1; the WAN's to A at o1. There is
#: client1 at i1, client3 at i3, and the WAN at o1. In the last two the role's server has one card
#: left, which is cut off from the prober at i1, or with the prober from most users.
CUTS = (
    Cut("i2", _NEAR),
    Cut("i2", _FAR),
    Cut("i1", _NEAR),
    Cut("i1", _FAR),
    Cut("o2", Users("wan", "mailrelay", "smtp")),
    Cut("i2", _FAR, out="B'", to="mailrelay"),
    Cut("i1", _FAR, out="C", to="mailrelay"),
)


def play(directory: Path, options: Options, story: Story) -> None:
    """Each cut some times; all is mended before the next."""
    results = Results("split", options.seed)
    rows = []
    with standing(directory, story) as stage:
        for number, cut in enumerate(CUTS):
            story.chapter(f"{cut}: {cut.users}")
            met = [strike(stage, cut, f"{number}-{run}") for run in range(options.runs or RUNS)]
            gaps = [summary.longest_gap for summary in met]
            gap = results.add(f"{cut}, {cut.users}: longest gap", "hactrl", "s", gaps)
            lost = [summary.failed for summary in met]
            failed = results.add(f"{cut}, {cut.users}: failed", "hactrl", "connections", lost)
            milliseconds = [f"{seconds * 1e3:.0f} ms" for seconds in (gap.median or 0, max(gaps))]
            rows.append((f"{cut}", f"{cut.users}", *milliseconds, f"{failed.median:.0f}"))
            story.expect(
                max(gaps) < cut.within,
                f"{cut.users}: served within {cut.within:.0f} s with {cut}",
                f"{gaps}",
            )
    columns = ("", "users", "without an answer, median", "most", "failed connections, median")
    story.table(f"At {RATE:.0f} new connections a second", columns, rows)
    story.tell(f"figures are in {results.write()}")


def strike(stage: Stage, cut: Cut, name: str) -> Summary:
    """What users met while the switch was cut off, and when it was joined again."""
    network, users = stage.lab.site.network, cut.users
    trunks = [end for x in network.links for end in (x.a, x.b) if end.switch == cut.switch]
    spare = [network.interfaces[cut.out].attachment] if cut.out else []
    place, targets = users.place(stage), users.targets(stage)
    with pulled(stage, spare), knocking(stage.lab, place, targets, RATE, name) as knocks:
        knocks.await_answers(int(RATE / 2))
        struck = now()
        with pulled(stage, trunks):
            stage.await_status(f"waiting until {cut} is said", partial(unsaid, cut), SAID_WITHIN)
            if cut.to:
                stage.await_served(users.role, cut.to)
            knocks.await_answers(int(RATE))
        knocks.await_answers(int(RATE))
    stage.put_in_order()
    return summarize(a for a in knocks.attempts() if a.ended >= struck - 0.1)


def unsaid(cut: Cut, status: Json) -> list[str]:
    """What is missing until the switch is said to be cut off, and no other."""
    named = [o["subject"] for o in status["unsettled"] if o["reason"] == "switch_cut_off"]
    return [] if named == [cut.switch] else [f"{named or 'nobody'} is said to be cut off"]


@contextmanager
def pulled(stage: Stage, ends: list[Attachment]) -> Iterator[None]:
    """Cables out meanwhile, by one end of each."""
    try:
        for end in ends:
            stage.lab.link_down(end)
        yield
    finally:
        for end in ends:
            stage.lab.link_up(end)
