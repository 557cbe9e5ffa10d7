"""Finding the known hosts, in tables `arp` and `steer`, from every switch that anybody is plugged
into who looks for them.

Who asks for a host is answered with its locator. Its own MAC, which DHCP servers and routers read
where nobody writes a locator over it (RFC 2131, `chaddr`; RFC 4861, 4.1 and 4.2), stands for its
locator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from flows.backbone.segment import Backbone, Situation
from flows.common.fields import mac
from flows.common.resolution import answer
from flows.pipeline import FORWARD, STEER
from flows.rules import Rule, SetField
from topology.model import Host

_KNOWN_ANSWER = 270
_OWN_MAC = 50

#: The hosts of a segment are found by so many parts, each of some switches. One that comes or goes
#: changes one part, on all switches the same one.
PARTS = 16


@dataclass(frozen=True)
class Reads:
    """The hosts of some switches, and none where nobody looks for them."""

    backbone: Backbone
    hosts: tuple[Host, ...]

    @classmethod
    def of(cls, part: int, situation: Situation, switch: str) -> Reads:
        backbone = situation.backbone
        looked_for = situation.hosts_at(switch) or backbone.cards_at(switch)
        return cls(backbone, situation.hosts_of(part, PARTS) if looked_for else ())


def rules(reads: Reads) -> Iterator[Rule]:
    for host in reads.hosts:
        yield from _found(host, reads.backbone.locators.host(host))


@lru_cache(maxsize=1 << 14)
def _found(host: Host, locator: int) -> tuple[Rule, ...]:
    """From anywhere in its segment."""
    answers = (
        rule
        for own in host.addresses
        for rule in answer({}, own, locator, f"answer for {own} of {host.mac}", _KNOWN_ANSWER)
    )
    intent, own_mac = f"find {host.mac} by its own MAC", {"eth_dst": mac(host.mac)}
    found = STEER.rule(_OWN_MAC, intent, own_mac, SetField("eth_dst", locator), goto=FORWARD)
    return (*answers, found)
