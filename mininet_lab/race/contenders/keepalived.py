"""keepalived (VRRP) on both servers: the address moves with the master.

The default is what its documents begin with: an advert a second, and a script that asks the daemon
every second. The best stable one that was found: adverts every 20 ms (at 10 ms it moves without a
failure here), real-time priority, and a checker of our own that asks every 10 ms
(`mininet_lab.race.checker`), because keepalived's scripts start a process each time.
"""

from __future__ import annotations

import sys
from functools import partial

from hactrl.site.model import Site
from mininet_lab import plan
from mininet_lab.clock import now
from mininet_lab.race.arena import ADDRESS, LIVE, OWN_ADDRESSES, Arena, Machine
from mininet_lab.race.contenders.contender import Setting
from mininet_lab.race.greeter import PORT

#: The live server's is higher, and still is when the standby's daemon is ill.
_PRIORITIES = {LIVE: 150}
_PRIORITY = 100

_GLOBAL = """\
global_defs {
    enable_script_security
    script_user root
    %(fast)s
}
"""

_DEFAULT_CHECK = """\
vrrp_script greets {
    script "/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/%(port)d; read -t 1 line <&3'"
    interval 1
}
"""

_BEST_CHECK = """\
track_file greets {
    file "%(directory)s/greets-%(name)s"
    weight 0
    init_file 0
}
"""

_INSTANCE = """\
track_file planned {
    file "%(directory)s/planned-%(name)s"
    weight 1
    init_file 0
}
vrrp_instance greeter {
    state BACKUP
    interface %(device)s
    virtual_router_id 25
    priority %(priority)d
    advert_int %(advert)s
    virtual_ipaddress {
        %(address)s/24 dev %(device)s
    }
    %(track)s
    track_file {
        planned
    }
}
"""

#: What takes the live server's priority below the standby's.
_LEAVE = -100


def configure(_site: Site, machine: Machine) -> list[str]:
    """The first card has the server's own address. The second is of no use to VRRP: it would have
    to be bonded with the first one, which Linux does below, and not every kernel here."""
    name = plan.device(machine.cards[0].name)
    return [f"ip address replace {OWN_ADDRESSES[machine.cards[0].name]}/24 dev {name}"]


def configuration(arena: Arena, machine: Machine, *, best: bool) -> str:
    """A server's keepalived.conf(5)."""
    fast = "vrrp_version 3\n    vrrp_rt_priority 50\n    vrrp_no_swap" if best else ""
    text = _GLOBAL + (_BEST_CHECK if best else _DEFAULT_CHECK) + _INSTANCE
    return text % {
        "fast": fast,
        "port": PORT,
        "directory": arena.directory,
        "name": machine.name,
        "device": plan.device(machine.cards[0].name),
        "priority": _PRIORITIES.get(machine.name, _PRIORITY),
        "advert": "0.02" if best else "1",
        "address": ADDRESS,
        "track": "track_file {\n        greets\n    }" if best else
                 "track_script {\n        greets\n    }",
    }  # fmt: skip


class Keepalived:
    """See `Contender`."""

    def __init__(self, arena: Arena, *, best: bool) -> None:
        self._arena = arena
        self._best = best

    def start(self) -> None:
        """See `Contender`."""
        self._arena.network.bridge_by_hand()
        for machine in self._arena.machines.values():
            directory = self._arena.directory
            file = directory / f"keepalived-{machine.name}.conf"
            file.write_text(configuration(self._arena, machine, best=self._best))
            pids = {"-p": "all", "-r": "vrrp", "-c": "checkers"}
            places = [
                word
                for option, kind in pids.items()
                for word in (option, str(directory / f"{kind}-{machine.name}.pid"))
            ]
            options = ("--dont-fork", "--log-console", "--vrrp", "-f", str(file))
            machine.start("keepalived", "keepalived", *options, *places)
            if self._best:
                told = str(directory / f"greets-{machine.name}")
                machine.start("checker", sys.executable, "-m", "mininet_lab.race.checker", told)

    def settle(self) -> None:
        """See `Contender`. It goes back by itself, because the live server's priority is higher."""
        self._plan(0)

    def move(self) -> float:
        """See `Contender`. By its priority, so that the standby is there before it leaves."""
        struck = now()
        self._plan(_LEAVE)
        return struck

    def stop(self) -> None:
        """See `Contender`. It ends with the servers."""

    def _plan(self, weight: int) -> None:
        (self._arena.directory / f"planned-{LIVE}").write_text(f"{weight}\n")


PROGRAMS = ("keepalived",)

SETTINGS = tuple(
    Setting(f"keepalived-{name}", f"keepalived, {name}", PROGRAMS, configure, make)
    for name, make in (
        ("default", partial(Keepalived, best=False)),
        ("best", partial(Keepalived, best=True)),
    )
)
