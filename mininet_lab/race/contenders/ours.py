"""hactrl itself: `ryu-manager hactrl` on the segment's switches. No agents take part, because the
role owns nothing."""

from __future__ import annotations

import time
from pathlib import Path

from hactrl.client import Client, ClientError, HistoryEntry
from hactrl.site.model import Site
from mininet_lab import plan
from mininet_lab.clock import now
from mininet_lab.controller import LabController
from mininet_lab.lab import StageError
from mininet_lab.race.arena import ADDRESS, LIVE, ROLE, STANDBY, Arena, Machine
from mininet_lab.race.contenders.contender import Setting
from mininet_lab.servers import new_token
from mininet_lab.stage import not_served, unready

#: Seconds between two looks, and until it is given up.
_LOOK, _PATIENCE = 0.05, 60.0

FASTEST = (
    "{probe_interval: 8ms, probe_timeout: 50ms, probe_fall: 3, probe_lag: 4ms,"
    " syn_interval: 4ms, syn_fall: 3, syn_lag: 1ms}"
)


def configure(site: Site, machine: Machine) -> list[str]:
    """Every card has the service address, and the role's MAC on that card."""
    lines = [
        "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
        " net.ipv4.conf.all.ignore_routes_with_linkdown=1"
        " net.ipv4.conf.default.ignore_routes_with_linkdown=1"
    ]
    prober = site.network.segments["users"].prober
    (network,) = site.network.segments["users"].networks
    assert prober is not None, "the race's site has one"
    for rank, card in enumerate(machine.cards, 1):
        name = plan.device(card.name)
        lines += [
            f"sysctl -qw net.ipv4.conf.{name}.rp_filter=0"
            f" net.ipv4.conf.{name}.ignore_routes_with_linkdown=1",
            f"ip link set {name} address {card.role_mac(ROLE)} up",
            f"ip address replace {ADDRESS}/{network.prefixlen} dev {name} noprefixroute",
            f"ip route replace {network} dev {name} src {ADDRESS} metric {100 * rank}",
            *(
                f"ip route replace {source} dev {name} src {ADDRESS}"
                for source in prober.sources[card.name]
            ),
        ]
    return lines


class Ours:
    """See `Contender`."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        controller = arena.site.controller
        for file in (Path(controller.agent_tokens), Path(controller.operator_token)):
            file.touch(mode=0o600)
            file.write_text("" if file.name == "agent-tokens" else f"{new_token()}\n")
        self._controller = LabController(arena.site_file, arena.directory, arena.directory)
        token = Path(controller.operator_token).read_text().strip()
        self._client = Client(f"http://{controller.rest.host}:{controller.rest.port}", token)

    def start(self) -> None:
        """See `Contender`."""
        self._arena.network.connect_to_controller()
        self._controller.start()

    def settle(self) -> None:
        """See `Contender`. Who is refused while a server is still coming up asks again."""
        deadline, missing = now() + _PATIENCE, ["nobody was asked"]
        while now() < deadline:
            missing = self._missing()
            if not missing:
                return
            time.sleep(_LOOK)
        raise StageError(f"hactrl: {'; '.join(missing)}; log:\n{self._controller.log_tail()}")

    def _missing(self) -> list[str]:
        try:
            status = self._client.status()
            missing = unready(status)
            if not missing and status["roles"][ROLE]["server"] != LIVE:
                self._client.failback(ROLE, reason="all is well again")
            return missing or not_served(status, ROLE, LIVE)
        except ClientError as error:
            return [str(error)]

    def move(self) -> float:
        """See `Contender`."""
        struck = now()
        self._client.failover(ROLE, "the race", STANDBY)
        return struck

    def stop(self) -> None:
        """See `Contender`."""
        if self._controller.is_running:
            self._controller.stop()

    def history(self) -> list[HistoryEntry]:
        """The journal's newest entries, the newest first."""
        return self._client.history(limit=1000)


class RulesAlone(Ours):
    """hactrl's rules without hactrl: as soon as all has settled, it is killed, and its prober ends.
    What that costs users is what the rules cost, and not who watches on the same processors."""

    def settle(self) -> None:
        """See `Contender`. Once it is killed, only the switches are left to settle anything."""
        if self._controller.is_running:
            super().settle()
            self._controller.kill()


SETTINGS = (
    Setting("hactrl-default", "hactrl, default", (), configure, Ours),
    Setting("hactrl-fast", "hactrl, fastest", (), configure, Ours, FASTEST),
)

RULES_ALONE = Setting("hactrl-rules", "hactrl's rules alone", (), configure, RulesAlone)
