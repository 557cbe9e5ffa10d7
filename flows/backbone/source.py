"""Table `source` on a backbone: everybody speaks under the name of where he is; what comes from a
file server comes from its virtual MAC."""

from __future__ import annotations

from collections.abc import Iterator

from flows.backbone.segment import Plugged
from flows.common.fields import Fields, mac
from flows.pipeline import SOURCE, STEER
from flows.rules import Rule, SetField

_NAMED = 100
_ELSE = 0


def rules(plugged: Plugged) -> Iterator[Rule]:
    for host in plugged.hosts:
        sender: Fields = {"in_port": host.attachment.port, "eth_src": mac(host.mac)}
        own = SetField("eth_src", plugged.backbone.locators.host(host))
        yield SOURCE.rule(_NAMED, "show only locators", sender, own, goto=STEER)
    for card in plugged.cards:
        sender = {"in_port": card.attachment.port, "eth_src": mac(card.mac)}
        server = plugged.backbone.server(card)
        intent = f"show only the virtual MAC of {server.name}"
        virtual = SetField("eth_src", mac(server.mac))
        yield SOURCE.rule(_NAMED, intent, sender, virtual, goto=STEER)
    yield SOURCE.rule(_ELSE, "others keep their source", {}, goto=STEER)
