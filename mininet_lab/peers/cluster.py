"""What the cluster says of itself, and what an operator tells it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from mininet_lab.clock import now
from mininet_lab.lab import StageError
from mininet_lab.peers.servers import PacemakerServer
from mininet_lab.servers import ServerError

#: Seconds between two looks: no event tells.
_LOOK = 0.3


@dataclass(frozen=True)
class Picture:
    """`online`: nodes that take part. `places`: where each resource runs, by its name; None for
    nowhere, or at several nodes, or failed. `failures`: operations that failed, and count."""

    online: frozenset[str]
    places: Mapping[str, str | None]
    failures: int

    def missing(self, wanted: Mapping[str, str]) -> list[str]:
        """What is not yet as it should be: every server online, every resource where `wanted`
        says; resources that it does not name anywhere, but running."""
        servers = sorted(set(wanted.values()))
        found = [f"{server} is not online" for server in servers if server not in self.online]
        if not self.places:
            found.append("nobody knows of any resource")
        for name, place in self.places.items():
            if place is None:
                found.append(f"{name} does not run")
            elif wanted.get(name, place) != place:
                found.append(f"{name} runs at {place}")
        return found


def picture(report: str) -> Picture:
    """Read what `crm_mon --output-as=xml` prints."""
    root = ElementTree.fromstring(report)
    online = {
        node.get("name", "")
        for node in root.iterfind("nodes/node")
        if node.get("online") == "true"
        and node.get("unclean") == node.get("pending") == node.get("standby") == "false"
    }
    places: dict[str, str | None] = {}
    for resource in root.iterfind(".//resources//resource"):
        nodes = [node.get("name", "") for node in resource.iterfind("node")]
        well = resource.get("role") == "Started" and resource.get("failed") == "false"
        well = well and resource.get("pending") is None
        places[resource.get("id", "")] = nodes[0] if well and len(nodes) == 1 else None
    return Picture(frozenset(online), places, len(root.findall("failures/failure")))


@dataclass(frozen=True)
class Cluster:
    """Asked at whichever server has power."""

    servers: Mapping[str, PacemakerServer]

    def picture(self) -> Picture | None:
        """None while no server answers."""
        for server in self.servers.values():
            if server.is_on:
                try:
                    return picture(server.run("crm_mon", "--one-shot", "--output-as=xml"))
                except ServerError:
                    continue
        return None

    def await_online(self, servers: Iterable[str], timeout: float) -> None:
        """Until these servers take part.

        Raises:
            StageError: `timeout` seconds were not enough.
        """
        wanted = sorted(servers)

        def missing(seen: Picture) -> list[str]:
            return [f"{server} is not online" for server in wanted if server not in seen.online]

        self._await(missing, timeout)

    def await_places(self, wanted: Mapping[str, str], timeout: float) -> None:
        """Until every resource that `wanted` names runs there, and all others somewhere.

        Raises:
            StageError: `timeout` seconds were not enough.
        """
        self._await(lambda seen: seen.missing(wanted), timeout)

    def _await(self, holds: Callable[[Picture], list[str]], timeout: float) -> None:
        deadline = now() + timeout
        missing = ["no server answers"]
        while now() < deadline:
            if (seen := self.picture()) is not None and not (missing := holds(seen)):
                return
            time.sleep(_LOOK)
        raise StageError(f"not after {timeout:.0f} s: {'; '.join(missing)}")

    def forget_failures(self) -> None:
        """As an operator does who has seen and repaired them."""
        self._tell("crm_resource", "--cleanup")

    def move(self, resource: str, server: str) -> None:
        """Let a resource, and what must be with it, go to a server."""
        self._tell("crm_resource", "--resource", resource, "--move", "--node", server)

    def let_be(self, resource: str) -> None:
        """Where it is after a `move` it may stay, and need not."""
        self._tell("crm_resource", "--resource", resource, "--clear")

    def _tell(self, *words: str) -> None:
        next(server for server in self.servers.values() if server.is_on).run(*words)
