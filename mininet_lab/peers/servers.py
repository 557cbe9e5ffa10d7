"""A server of the lab with Corosync and Pacemaker on it, in place of hactrl's agent.

It is one host: no network namespace for a role, and an address of its own on its first card of
each segment. The second cards are down, because nothing here could use them (Linux would bond
them; not every kernel here can).
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from shutil import chown

from mininet_lab import plan
from mininet_lab.mail.files import File, install
from mininet_lab.mail.rendering import Rendering, render
from mininet_lab.peers import agents
from mininet_lab.peers.cib import DISK, HOME, cib
from mininet_lab.peers.corosync import corosync_conf
from mininet_lab.peers.tuning import DEFAULTS, Tuning
from mininet_lab.power import PROGRAM, SOCKET
from mininet_lab.servers import LAB, MANAGEMENT_DEVICE, LabServer, ServerError, boot_script
from topology.model import Interface

ROLES = ("smtp_pop", "mailrelay")

_OCF_AGENTS = Path("/usr/lib/ocf/resource.d")
_DIRECTORIES = (
    *("corosync", "etc/corosync", "etc/postfix", "sbin", "ocf/lab"),
    *(f"pacemaker/{name}" for name in ("cib", "pengine", "cores", "blackbox")),
)
_OWNER, _GROUP = "hacluster", "haclient"


@dataclass
class PacemakerServer(LabServer):
    """See `LabServer`. The files under its directory outlive a power cut, as on a disk."""

    tuning: Tuning = DEFAULTS

    def power_on(self) -> None:
        """See `LabServer`. A host that has been off has no address on any card."""
        with self._lock:
            if not self.is_on:
                for card in self.server.interfaces:
                    device = plan.device(card.name)
                    self.chassis.set_link(device, up=False)
                    self.chassis.run("ip", "address", "flush", "dev", device)
                self._write_files()
            super().power_on()

    @property
    def _cards(self) -> list[Interface]:
        """The first one of each segment."""
        firsts: dict[str, Interface] = {}
        for card in self.server.interfaces:
            if card.redundant_for is None:
                firsts.setdefault(card.segment, card)
        return list(firsts.values())

    def _devices(self) -> list[str]:
        return [plan.device(card.name) for card in self._cards] + [MANAGEMENT_DEVICE]

    def _boot_lines(self) -> list[str]:
        lines = boot_script(self.directory, SOCKET)
        lines += [
            f"mkdir -p {HOME} /run/crm /run/resource-agents",
            f"chown {_OWNER}:{_GROUP} /run/crm",
            f"mount --bind {self.directory} {HOME}",
            "mount -t tmpfs tmpfs /dev/shm",
        ]
        lines += [f"mount --bind {own} {usual}" for own, usual in self._bound().items()]
        lines += [
            f"mount -t overlay overlay -o lowerdir={own}:{usual} {usual}"
            for own, usual in self._laid_over().items()
        ]
        return lines + self._address_lines()

    def _bound(self) -> dict[Path, Path]:
        """Its own, by the usual places of these."""
        own = self.directory
        return {
            own / "pacemaker": Path("/var/lib/pacemaker"),
            own / "corosync": Path("/var/lib/corosync"),
            own / "etc/corosync": Path("/etc/corosync"),
            own / "etc/hosts": Path("/etc/hosts"),
        }

    def _laid_over(self) -> dict[Path, Path]:
        """Ours among Debian's: agents, and Postfix's list of its instances."""
        own = self.directory
        return {
            own / "sbin": Path("/usr/sbin"),
            own / "ocf": _OCF_AGENTS,
            own / "etc/postfix": Path("/etc/postfix"),
        }

    def _address_lines(self) -> list[str]:
        lines = []
        for card in self._cards:
            device = plan.device(card.name)
            lines.append(f"sysctl -qw net.ipv6.conf.{device}.disable_ipv6=0")
            segment = self.site.network.segments[card.segment]
            for network in segment.networks:
                address = own_address(self._number, str(network))
                quick = " nodad" if network.version == 6 else ""
                lines.append(f"ip address add {address} dev {device}{quick}")
            if segment.name == plan.OUTER:
                lines += [f"ip route replace default via {r.ip} dev {device}" for r in plan.ROUTERS]
        return lines

    @property
    def _number(self) -> int:
        return list(self.site.network.servers).index(self.name)

    def _write_files(self) -> None:
        """What a person would have put on the server's disk. The cluster's own state is only
        begun, and then its own."""
        own = self.directory
        servers = tuple(self.site.network.servers)
        for directory in _DIRECTORIES:
            (own / directory).mkdir(parents=True, exist_ok=True)
        homes = ", ".join(f"{HOME}/{role}/postfix" for role in ROLES)
        files = {
            own / "etc/corosync/corosync.conf": File(self._corosync_conf()),
            own / "etc/hosts": File(self._hosts()),
            own / "etc/postfix/main.cf": File(
                f"compatibility_level = 3.6\nalternate_config_directories = {homes}\n"
            ),
            own / "sbin" / agents.FENCE_AGENT: File(
                agents.fence_agent(LAB / "bin" / PROGRAM, servers), 0o755
            ),
            own / "ocf/lab/service": File(agents.service_agent(), 0o755),
        }
        state = own / "pacemaker/cib/cib.xml"
        if not state.exists():
            files[state] = File(cib(self.site, self.mail, self.tuning, servers), 0o600)
        install({}, files)
        for directory, _, names in os.walk(own / "pacemaker"):
            for name in (".", *names):
                chown(Path(directory, name), _OWNER, _GROUP)

    def _corosync_conf(self) -> str:
        """Two links, over different cables: corosync.conf(5), 'more than one link' for a ring
        that outlives one."""
        return corosync_conf(self.tuning, self._links(), str(HOME / "corosync.log"))

    def _links(self) -> dict[str, tuple[str, str]]:
        """The servers' addresses for Corosync."""
        (inner,) = (c.segment for c in self._cards if c.segment != plan.OUTER)
        network = str(self.site.network.segments[inner].networks[0])
        return {
            server: (
                plan.management_address(self.site, server).partition("/")[0],
                own_address(number, network).partition("/")[0],
            )
            for number, server in enumerate(self.site.network.servers)
        }

    def _hosts(self) -> str:
        """Dovecot looks its host's name up, and would wait for a name server."""
        names = {"127.0.0.1": "localhost", "::1": "localhost"}
        names |= {addresses[0]: server for server, addresses in self._links().items()}
        return "".join(f"{address} {name}\n" for address, name in names.items())

    def _start(self) -> None:
        power = self._require_power()
        assert power.disk is not None
        self.run("ln", "-s", str(power.disk.path), str(DISK))
        for role in ROLES:
            self._install(render(self.site, self.mail, role, self.name, HOME, spool=DISK))
        with (self.directory / "pacemaker.out").open("ab") as log:
            power.agent = subprocess.Popen(
                self.command(
                    *("env", f"PCMK_logfile={HOME}/pacemaker.log", "PCMK_logfacility=none"),
                    # Corosync knows itself in its list by the host's name, and returns when it is
                    # ready.
                    *("unshare", "--uts", "sh", "-ec"),
                    f"echo {self.name} >/proc/sys/kernel/hostname; corosync; exec pacemakerd -f",
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _install(self, rendered: Rendering) -> None:
        """Below our directory, which the server has bound to `HOME`. Numbers of processes lie
        under /run elsewhere, and are gone after a power cut."""
        own = self.directory
        for pid_file in own.glob("*/*/**/*.pid"):
            if "spool" not in pid_file.parts:  # another server's, at another moment
                pid_file.unlink()
        install(
            {own / path.relative_to(HOME): d for path, d in rendered.directories.items()},
            {own / path.relative_to(HOME): f for path, f in rendered.files.items()},
        )

    def run(self, *words: str) -> str:
        """Run a command on the server; its output.

        Raises:
            ServerError: it failed.
        """
        command = self.command(*words)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def own_address(number: int, network: str) -> str:
    """A server's own, with its prefix length; no role's, guest's or prober's."""
    whole = ip_network(network)
    return f"{whole[0x31 + number]}/{whole.prefixlen}"
