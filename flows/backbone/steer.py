"""Table `steer` on a backbone: whatever MAC the sender gave it, a packet for a file server goes to
the nearest interface."""

from __future__ import annotations

from collections.abc import Iterator

from flows.backbone.segment import Backbone
from flows.common.fields import address, mac
from flows.pipeline import FORWARD, STEER
from flows.rules import Rule, SetField

_SERVED = 100
_ELSE = 0


def rules(backbone: Backbone) -> Iterator[Rule]:
    for server in backbone.file_servers:
        for own in server.addresses:
            to_server = SetField("eth_dst", mac(server.mac))
            intent = f"{server.name} by its nearest interface"
            yield STEER.rule(_SERVED, intent, address("dst", own), to_server, goto=FORWARD)
    yield STEER.rule(_ELSE, "others are not steered", {}, goto=FORWARD)
