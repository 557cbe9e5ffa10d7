"""The lab with a cluster in hactrl's place: all on, every role at home, mail flowing if anybody
sends it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mininet_lab.lab import Lab
from mininet_lab.network import run
from mininet_lab.peers.cib import resources
from mininet_lab.peers.cluster import Cluster
from mininet_lab.peers.servers import ROLES, PacemakerServer
from mininet_lab.peers.tuning import Tuning
from mininet_lab.report import Story

#: Programs, by the Debian packages that have them.
PROGRAMS = {
    "corosync": "corosync",
    "pacemakerd": "pacemaker",
    "crm_mon": "pacemaker-cli-utils",
    "/usr/lib/ocf/resource.d/heartbeat/IPaddr2": "resource-agents",
}

#: Until a cluster that starts has found itself: `dc-deadtime` is 20 s if not told otherwise.
_PATIENCE = 90.0


@dataclass
class PacemakerStage:
    """A standing cluster, and its operator's hands."""

    lab: Lab
    story: Story
    cluster: Cluster
    wan_mail: Path
    tuning: Tuning

    def placement(self) -> dict[str, str]:
        """Where every resource of every role should be without a failure."""
        found = {}
        for role in map(self.lab.site.roles.__getitem__, ROLES):
            for resource in resources(role, self.tuning, self.lab.mail):
                found[resource.name] = role.servers[0]
        return found

    def leaders(self) -> dict[str, str]:
        """The home of each role, by the group or resource that takes all of it along."""
        found = {}
        for role in map(self.lab.site.roles.__getitem__, ROLES):
            first = resources(role, self.tuning, self.lab.mail)[0].name
            found[first if self.tuning.own_agents else role.name] = role.servers[0]
        return found

    def put_in_order(self) -> None:
        """Switch on whoever is off, wait until everything runs, and have every role at home."""
        for server in self.lab.servers:
            self.lab.power_on(server)
        with self.story.working("waiting until every resource runs where it should"):
            self.cluster.await_online(tuple(self.lab.servers), _PATIENCE)
            self.cluster.forget_failures()
            moved = [leader for leader in self.leaders() if self._is_astray(leader)]
            for leader in moved:
                self.cluster.move(leader, self.leaders()[leader])
            self.cluster.await_places(self.placement(), _PATIENCE)
            for leader in moved:
                self.cluster.let_be(leader)

    def is_in_order(self) -> bool:
        """Nothing has moved or failed since it was put in order."""
        seen = self.cluster.picture()
        return seen is not None and not seen.missing(self.placement()) and not seen.failures

    def _is_astray(self, leader: str) -> bool:
        """Does anything of this role run, and not at home?"""
        home = self.leaders()[leader]
        seen = self.cluster.picture()
        names = [n for n, wanted in self.placement().items() if wanted == home]
        return seen is not None and any(seen.places.get(n) not in (home, None) for n in names)


@contextmanager
def standing(directory: Path, story: Story, tuning: Tuning) -> Iterator[PacemakerStage]:
    """Build it, start it, wait until it is ready; take it down afterwards."""
    lab = Lab(directory, make_server=partial(PacemakerServer, tuning=tuning))
    with story.working("building the network: 5 plain switches, 2 servers, WAN and clients"):
        lab.__enter__()
    try:
        # ext4's guard against a second mount would delay the mount after a crash by 22 s; that
        # nobody else mounts it is what fencing is for, and what the agent Filesystem relies on.
        run("tune2fs", "-f", "-O", "^mmp", str(lab.image))
        lab.network.bridge_by_hand()
        with story.working("switching both servers on"), ThreadPoolExecutor() as both:
            list(both.map(lambda server: server.power_on(), lab.servers.values()))
        wan_mail = lab.start_wan_mail()
        servers = {n: s for n, s in lab.servers.items() if isinstance(s, PacemakerServer)}
        stage = PacemakerStage(lab, story, Cluster(servers), wan_mail, tuning)
        stage.put_in_order()
        yield stage
    finally:
        with story.working("taking everything down"):
            lab.__exit__(None, None, None)
