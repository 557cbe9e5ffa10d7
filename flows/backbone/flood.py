"""Table `forward` on a backbone: a broadcast crosses a link only if both its ends have it on the
flood tree. What nobody here is called is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.backbone.segment import Backbone, Situation
from flows.common.fields import MULTICAST, Fields
from flows.pipeline import FORWARD
from flows.rules import Bucket, Group, GroupType, Output, Rule, ToGroup

_MULTICAST_OFF_TREE = 150
_MULTICAST = 140
_DROP = 0


@dataclass(frozen=True)
class Reads:
    """Of one switch: its trunk ports, up or down, those of them on the flood tree, and the ports at
    which hosts may be."""

    backbone: Backbone
    trunk_ports: tuple[int, ...]
    tree_ports: tuple[int, ...]
    host_ports: tuple[int, ...]

    @classmethod
    def of(cls, situation: Situation, switch: str) -> Reads:
        return cls(
            situation.backbone,
            situation.ground.trunk_ports[switch],
            situation.routes.tree.get(switch, ()),
            situation.ground.host_ports[switch],
        )


def rules(reads: Reads) -> Iterator[Rule]:
    name, group = reads.backbone.name, reads.backbone.flood_group
    for port in reads.trunk_ports:
        if port not in reads.tree_ports:
            match: Fields = {"in_port": port, "eth_dst": MULTICAST}
            yield FORWARD.rule(_MULTICAST_OFF_TREE, f"keep {name}'s floods on the tree", match)
    yield FORWARD.rule(_MULTICAST, f"flood {name}", {"eth_dst": MULTICAST}, ToGroup(group))
    yield FORWARD.rule(_DROP, "drop what nobody here is called", {})


def groups(reads: Reads) -> Iterator[Group]:
    ports = (*reads.tree_ports, *reads.host_ports)
    buckets = tuple(Bucket((Output(port),)) for port in ports)
    backbone = reads.backbone
    yield Group(backbone.flood_group, GroupType.ALL, buckets, f"flood {backbone.name}")
