"""Answers of a file server: by policy routing they take the short way; without it all leave by
one interface, and hactrl names the server.

What is fetched is most of the traffic, and which interface it leaves by is the server's own
choice (docs/file-server.md). The switches count it.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from mininet_lab import plan
from mininet_lab.campus import Campus, clients
from mininet_lab.clock import now
from mininet_lab.isolate import CHECKOUT
from mininet_lab.network import shell
from mininet_lab.report import Story
from mininet_lab.samba import fetch_words
from mininet_lab.scenarios import Options
from topology.model import FileServer

SERVER, SERVICE = "files", "10.20.0.10"

#: Where the server has an interface that is not its first one.
AT = "r5"
CLIENT = next(guest.name for guest in clients() if guest.attachment.switch == AT)

SIZE = 4_000_000

#: Seconds; hactrl counts every 10.
_PATIENCE = 40.0


def play(directory: Path, _options: Options, story: Story) -> None:
    """With the server's rules, without them, and as the guide sets them up."""
    with Campus(directory) as campus:
        with story.working("waiting until every interface answers its probes"):
            campus.await_healthy()
        (campus.samba[SERVER].share / "file").write_bytes(bytes(SIZE))
        node, rules = (
            campus.network.nodes[SERVER],
            plan.rules_by_mark(len(server(campus).interfaces)),
        )
        # The first packet of a host that nobody knows takes a while.
        campus.network.nodes[CLIENT].run("ping", "-c", "1", "-w", "10", SERVICE)
        story.chapter("The server answers by the interface that it was asked at")
        expect(campus, "short", story)
        story.chapter("Its rules are taken away: all answers leave by its first interface")
        shell([line.replace(" rule add ", " rule delete ") for line in rules], node)
        found = expect(campus, "roundabout", story)
        named = [(way["switch"], way["interfaces"]) for way in found["roundabout"]]
        first = server(campus).interfaces[0].name
        story.expect(
            named == [(AT, [first])],
            f"the status says that answers to {AT} leave by {first}",
            f"it says {found}",
        )
        story.chapter("It is set up anew, by the script of the guide")
        shell([guide(server(campus))], node)
        expect(campus, "short", story)
        told = journal(campus)
        for words in told:
            story.tell(f"journal: {words}")
        story.expect(
            len(told) == 2 and SERVER in told[0] and f"leave by {first}" in told[0],
            "the journal names the server once, and once says that it is well again",
            "; ".join(told),
        )


def guide(server: FileServer) -> str:
    """The script of docs/file-server.md, for this server's interfaces."""
    text = (CHECKOUT / "docs" / "file-server.md").read_text(encoding="utf-8")
    script = text.split("```sh\n", 1)[1].split("```", 1)[0]
    names = " ".join(plan.device(card.name) for card in server.interfaces)
    return re.sub('^INTERFACES=".*"$', f'INTERFACES="{names}"', script, flags=re.MULTILINE)


def server(campus: Campus) -> FileServer:
    """The one whose answers are looked at."""
    return campus.site.network.file_servers[SERVER]


def expect(campus: Campus, state: str, story: Story) -> dict[str, Any]:
    """Fetch the file again and again until the status says so; what it says in the end."""
    begun, deadline = now(), now() + _PATIENCE
    found: dict[str, Any] = {}
    with story.working(f"{CLIENT} at {AT} fetches {SIZE // 1_000_000} MB again and again"):
        while found.get("state") != state and now() < deadline:
            target = campus.directory / "fetched"
            campus.network.nodes[CLIENT].run(*fetch_words(SERVICE, "file", target))
            found = campus.client.status()["file_servers"][SERVER]["answers"]
            time.sleep(0.5)
    story.expect(
        found["state"] == state,
        f"after {now() - begun:.0f} s the status says: {state}, {found['roundabout_share']}",
        f"it says {found}",
    )
    return found


def journal(campus: Campus) -> list[str]:
    """What it says of answers, the oldest first."""
    entries = campus.client.history(limit=1000)
    return [entry.words for entry in reversed(entries) if entry.kind.startswith("answers.")]
