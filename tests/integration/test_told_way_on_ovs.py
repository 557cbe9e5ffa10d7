"""What `hactl trace` tells of a backbone is what real switches do with the packet, from switch to
switch: each is asked in its turn what it would send where (`ofproto/trace`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ofproto_trace import ofproto_trace
from private_ovs import Bridge, PrivateOvs

from flows.diff import diff
from flows.openflow import error_text, messages
from flows.openflow.ryu_mended import parser
from flows.rules import RuleSet
from flows.walk.packet import Packet
from hactrl.engine.decide import initial
from hactrl.explain.offline import rule_sets_of
from hactrl.explain.packets import sent
from hactrl.explain.questions import TraceQuestion, made_up
from hactrl.explain.tracing import tell
from hactrl.site import load
from topology.model import Attachment

pytestmark = pytest.mark.integration

SITE = load(Path(__file__).parents[2] / "examples" / "campus.yaml")
NETWORK = SITE.network
HOSTS = made_up(initial(SITE, {}, now=0.0), TraceQuestion("r5:7", "r3:9"))
STATE = initial(SITE, {}, now=0.0, hosts=HOSTS)
HELD = rule_sets_of(STATE)
LINKS = {end: link for link in NETWORK.links for end in (link.a, link.b)}

#: So many that both of two equal ways are taken by some of them.
HASHES = range(1, 13)

PACKETS = [
    ("r5:7", "files"),
    ("r5:7", "archive"),
    ("r3:9", "archive"),
    ("archive-1", "r5:7"),
    ("archive-6", "r3:9"),
    ("r5:7", "r3:9"),
    ("files-4", "r5:7"),
]

#: What fails, and the ports that are then down.
FAILURES = {
    "": (),
    "link:r1:15-r5:11": ("r1:15", "r5:11"),
    "link:r2:15-r5:12": ("r2:15", "r5:12"),
    "interface:files-5": ("r5:2",),
    "interface:archive-3": ("r3:3",),
}


@pytest.fixture(scope="module")
def bridges(ovs: PrivateOvs) -> dict[str, Bridge]:
    """All switches of the campus, with the rules that they should hold."""
    hosts = {host.attachment.port for host in HOSTS}
    found = {}
    for name, switch in NETWORK.switches.items():
        ports = sorted({*NETWORK.named_ports_of[name], *hosts})
        found[name] = ovs.add_bridge(name, switch.datapath_id, ports)
        with found[name].connect() as channel:
            for batch in diff(RuleSet(), HELD[name]):
                sends = [m for change in batch for m in messages(channel.datapath, change)]
                errors = channel.barrier(*sends)
                assert [error_text(e) for e in errors if isinstance(e, parser.OFPErrorMsg)] == []
    return found


def delivered(
    bridges: dict[str, Bridge], packet: Packet, at: Attachment, hashed: int
) -> Iterator[str]:
    """Where real switches bring it."""
    _, outputs = ofproto_trace(bridges[at.switch], packet, at.port, hashed)
    for port, onward in outputs:
        out = Attachment(at.switch, port)
        link = LINKS.get(out)
        if link is None:
            yield str(out)
        else:
            yield from delivered(bridges, onward, link.b if out == link.a else link.a, hashed)


@pytest.mark.parametrize("failure", FAILURES)
def test_the_told_end_is_where_switches_bring_the_packet(
    bridges: dict[str, Bridge], failure: str
) -> None:
    ports = [port.split(":") for port in FAILURES[failure]]
    for switch, port in ports:
        bridges[switch].set_port(int(port), up=False)
    try:
        for at, destination in PACKETS:
            question = TraceQuestion(at, destination, what_if=failure)
            story, asked = tell(STATE, HELD, question), sent(STATE, question)
            real = {
                place
                for hashed in HASHES
                for place in delivered(bridges, asked.packet, asked.at, hashed)
            }
            assert real == set(story.delivered), "\n".join(story.lines)
            assert real, "\n".join(story.lines)
    finally:
        for switch, port in ports:
            bridges[switch].set_port(int(port), up=True)
