"""Table `forward` on a backbone, its last hop: from a locator to the hosts, interfaces and prober
that are plugged in here, each by the MAC that it has in truth."""

from __future__ import annotations

from collections.abc import Iterator

from flows.backbone.locators import ANY_WAY
from flows.backbone.segment import Plugged
from flows.common.fields import Fields, mac
from flows.pipeline import FORWARD
from flows.rules import CLEARED_IN_PORT, Output, Rule, SetField

_LOCAL = 130


def rules(plugged: Plugged) -> Iterator[Rule]:
    backbone, prober = plugged.backbone, plugged.backbone.prober
    for host in plugged.hosts:
        match: Fields = {"eth_dst": (backbone.locators.host(host), ANY_WAY)}
        real = SetField("eth_dst", mac(host.mac))
        out = Output(host.attachment.port)
        intent = f"bring {host.mac} its packets"
        # By any port: two hosts may be behind the same one.
        yield FORWARD.rule(_LOCAL, intent, match, real, CLEARED_IN_PORT, out)
    for card in plugged.cards:
        match = {"eth_dst": (backbone.locators.interface(card), ANY_WAY)}
        real = SetField("eth_dst", mac(card.mac))
        out = Output(card.attachment.port)
        yield FORWARD.rule(_LOCAL, f"bring {card.name} its packets", match, real, out)
    if prober and plugged.is_here(prober.attachment):
        match = {"eth_dst": (mac(prober.mac), ANY_WAY)}
        real = SetField("eth_dst", mac(prober.mac))  # without the mark of a detour
        out = Output(prober.attachment.port)
        yield FORWARD.rule(_LOCAL, "bring answers to the prober", match, real, out)
