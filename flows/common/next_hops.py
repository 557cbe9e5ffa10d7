"""Buckets for next hops: some that share packets, and what is behind them when those are dead; and
how a packet gets another destination there."""

from __future__ import annotations

from collections.abc import Iterable

from flows.common.fields import mac
from flows.rules import CLEARED_IN_PORT, Action, Bucket, Output, SetField, ToGroup
from topology.paths.shortest import Hops

Buckets = tuple[Bucket, ...]

NO_HOPS = Hops()


def readdressed(destination: str) -> tuple[Action, ...]:
    """To this MAC from now on. It may be reached by the port of entry (both roles on one server, or
    back over the link that the packet came from): a cleared `in_port` permits that."""
    return (SetField("eth_dst", mac(destination)), CLEARED_IN_PORT)


def outputs(ports: Iterable[int], *actions: Action) -> Buckets:
    """Out of each port, alive while it is; after `actions`."""
    return tuple(Bucket((*actions, Output(port)), port) for port in ports)


def weighed(buckets: Buckets) -> Buckets:
    """The same for a select group, which shares packets among them."""
    return tuple(Bucket(each.actions, each.watch_port, weight=1) for each in buckets)


def through(group: int, buckets: Buckets) -> Buckets:
    """Those of a fast-failover group that leave it to a select group of these buckets, as long as
    any of them is alive: one for each port that may be the last one."""
    return tuple(Bucket((ToGroup(group),), bucket.watch_port) for bucket in buckets)
