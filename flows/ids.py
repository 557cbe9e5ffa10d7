"""The ids of groups and meters that are known by their names."""

from __future__ import annotations

from flows.intents import Intents
from flows.numbers import own_ids
from topology.model import Network


def all_ids(network: Network, intents: Intents) -> dict[str, int]:
    """An id for every group and meter that any switch can have."""
    places = [f"{a.role} on {a.segment}" for a in intents.addresses]
    return own_ids(
        [f"steer {place}" for place in places]
        + [f"announce to {place}" for place in places]
        + [f"divert {c.role} to {c.interface}" for c in intents.candidates]
        + [f"{way} {switch}" for way in ("toward", "spread toward") for switch in network.switches]
        + [
            f"{what} {s}"
            for what in ("flood", "unicast flood", "errors on")
            for s in network.segments
        ]
    )
