"""Table `policy` on a backbone: everybody may reach everybody. What each interface of a file server
sends to the hosts of each switch is counted, because the way of an answer is the server's choice
(`flows.openflow.Counting` reads it)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.backbone.segment import Backbone, Situation
from flows.common.fields import Fields, mac
from flows.numbers import CookieKind
from flows.pipeline import POLICY, SOURCE
from flows.rules import Rule

_COUNTED = 100
_ELSE = 0


@dataclass(frozen=True)
class Reads:
    """Of one switch: `toward` are those at which hosts are known, where anything is counted."""

    backbone: Backbone
    switch: str
    toward: tuple[str, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        backbone = situation.backbone
        counted = backbone.cards_at(switch)
        return cls(backbone, switch, tuple(sorted(situation.hosts)) if counted else ())


def rules(reads: Reads) -> Iterator[Rule]:
    for card in reads.backbone.cards_at(reads.switch):
        sender: Fields = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
        for switch in reads.toward:
            yield POLICY.rule(
                _COUNTED,
                f"count what {card.name} sends to {switch}",
                sender | {"eth_dst": reads.backbone.locators.prefix(switch)},
                goto=SOURCE,
                kind=CookieKind.ANSWERS,
            )
    yield POLICY.rule(_ELSE, "a backbone has no policy", {}, goto=SOURCE)
