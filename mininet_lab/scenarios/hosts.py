"""Hosts on a campus: they get their addresses, move to other switches, pretend to be each other,
and ask for who is not there; all with real network stacks.

One after the other on one campus. What a host does is done by the programs that do it anywhere: a
DHCP client and server (udhcpc, dnsmasq), the kernel's duplicate address detection, `arping`, Samba.
"""

from __future__ import annotations

from pathlib import Path

from mininet_lab.campus import Campus
from mininet_lab.fetching import write_file
from mininet_lab.hosts import arriving, cast, flooding, moving, spoofing
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options

RUNS = 4
SMALL, LARGE = 1_000_000, 40_000_000


def play(directory: Path, options: Options, story: Story) -> None:
    """All of it."""
    results = Results("hosts", options.seed)
    with Campus(directory, more_guests=cast.MORE) as campus:
        with story.working("waiting until every interface answers its probes"):
            campus.await_healthy()
            # That a new host is let in tells that the controller has looked round.
            cast.reach(campus, cast.PEER, *cast.SERVICE)
        share = campus.samba[cast.SERVER].share
        small = write_file(share / "file", SMALL, options.seed)
        large = write_file(share / "large", LARGE, options.seed)
        story.chapter("An address by DHCP")
        arriving.by_dhcp(campus, directory, small, story)
        story.chapter("Duplicate address detection")
        arriving.detecting_duplicates(campus, story)
        story.chapter("A host moves to another switch")
        moving.there_and_back(campus, large, options.runs or RUNS, results, story)
        story.chapter("A host pretends to be another one")
        spoofing.pretending(campus, large, results, story)
        story.chapter("A broadcast on a backbone with loops")
        flooding.once_each(campus, story)
    story.tell(f"figures are in {results.write()}")
