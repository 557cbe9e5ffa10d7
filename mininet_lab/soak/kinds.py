"""Every kind of fault: on what it strikes, how long it lasts, and how it goes with others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from hactrl.site.model import Site

#: Whom a fault of a server strikes: who plays ROLE when it strikes, or the other one.
SERVING, STANDBY = "serving", "standby"

#: The role that owns the spool.
ROLE = "smtp_pop"


class Kind(StrEnum):
    """The value is what tables show."""

    POWER_CUT = "power cut"
    SERVER_FROZEN = "server frozen"
    DAEMON_KILLED = "daemon killed"
    DAEMON_FROZEN = "daemon frozen"
    AGENT_KILLED = "agent killed"
    AGENT_FROZEN = "agent frozen"
    GUARD_KILLED = "guard killed"
    GUARD_FROZEN = "guard frozen"
    CARD_SWITCH_SIDE = "card down, switch side"
    CARD_SERVER_SIDE = "card down, server side"
    CARDS_SWITCH_SIDE = "all cards down, switch side"
    CARDS_SERVER_SIDE = "all cards down, server side"
    SWITCH_DEAD = "switch without power"
    SWITCH_ALONE = "switch without controller"
    TRUNK_DOWN = "trunk down"
    SWITCH_CUT_OFF = "all trunks of a switch down"
    MANAGEMENT_CUT = "management cable out"
    CONTROLLER_KILLED = "controller killed"
    CONTROLLER_FROZEN = "controller frozen"
    PROBER_KILLED = "prober killed"
    PROBER_FROZEN = "prober frozen"
    SPOOL_FULL = "spool full"
    SPOOL_FAILING = "spool fails"
    SPOOL_READ_ONLY = "spool turns read-only"
    FENCE_FAILS = "power fence fails"
    FENCE_SLOW = "power fence answers late"
    FENCE_HANGS = "power fence hangs"
    ASKED_FAILOVER = "operator: failover"
    ASKED_FAILBACK = "operator: failback"
    ASKED_DISABLE = "operator: disable"
    ASKED_RETRY = "operator: retry"
    ASKED_CONFIRM_OFF = "operator: confirm-off"


@dataclass(frozen=True)
class Trait:
    """`targets` of a site. `lasts`: least and most seconds until it is mended. `accompanied`: it
    does nothing by itself, and comes only beside another (`after` it, or before it)."""

    targets: Callable[[Site], tuple[str, ...]]
    lasts: tuple[float, float]
    accompanied: bool = False
    after: bool = False


def _sides(_site: Site) -> tuple[str, ...]:
    """The one that serves twice as often: that is where a fault is felt."""
    return (SERVING, SERVING, STANDBY)


def _nothing(_site: Site) -> tuple[str, ...]:
    return ("",)


def _daemons(_site: Site) -> tuple[str, ...]:
    return tuple(sorted(DAEMONS))


def _guards(site: Site) -> tuple[str, ...]:
    return tuple(f"{ROLE} on {side}" for side in _sides(site)) + tuple(
        f"{role.name} on {SERVING}" for role in site.roles.values() if not role.owns
    )


def _cards(site: Site) -> tuple[str, ...]:
    return tuple(site.network.interfaces)


def _switches(site: Site) -> tuple[str, ...]:
    return tuple(site.network.switches)


def _links(site: Site) -> tuple[str, ...]:
    return tuple(f"{link.a}-{link.b}" for link in site.network.links)


def _delays(_site: Site) -> tuple[str, ...]:
    return tuple(DELAYS)


def _roles(site: Site) -> tuple[str, ...]:
    return tuple(site.roles)


#: The daemons of the lab's roles, and by what words of their command line each is known: the role
#: stands in them.
DAEMONS = {
    "smtp_pop/postfix": ("postfix/sbin/master", "/smtp_pop/postfix"),
    "smtp_pop/dovecot": ("sbin/dovecot", "/smtp_pop/dovecot.conf"),
    "smtp_pop/delivery": ("delivery.py", "/smtp_pop/"),
    "mailrelay/postfix": ("postfix/sbin/master", "/mailrelay/postfix"),
    "web/web": ("web.py", "10.0.0.80"),
}

#: Seconds by which a slow fence answers late; the site's timeout is 5 s.
DELAYS = {"in time": 3.0, "too late": 8.0}

#: Some last longer than the lease of 15 s, and most do not.
_SHORT, _LONG = (3.0, 9.0), (5.0, 22.0)

TRAITS: dict[Kind, Trait] = {
    Kind.POWER_CUT: Trait(_sides, _SHORT),
    Kind.SERVER_FROZEN: Trait(_sides, _LONG),
    Kind.DAEMON_KILLED: Trait(_daemons, (0.0, 0.0)),
    Kind.DAEMON_FROZEN: Trait(_daemons, _LONG),
    Kind.AGENT_KILLED: Trait(_sides, _LONG),
    Kind.AGENT_FROZEN: Trait(_sides, _LONG),
    Kind.GUARD_KILLED: Trait(_guards, (0.0, 0.0)),
    Kind.GUARD_FROZEN: Trait(_guards, _LONG),
    Kind.CARD_SWITCH_SIDE: Trait(_cards, _SHORT),
    Kind.CARD_SERVER_SIDE: Trait(_cards, _SHORT),
    Kind.CARDS_SWITCH_SIDE: Trait(_sides, _SHORT),
    Kind.CARDS_SERVER_SIDE: Trait(_sides, _SHORT),
    Kind.SWITCH_DEAD: Trait(_switches, _SHORT),
    Kind.SWITCH_ALONE: Trait(_switches, _LONG),
    Kind.TRUNK_DOWN: Trait(_links, _SHORT),
    Kind.SWITCH_CUT_OFF: Trait(_switches, _SHORT),
    Kind.MANAGEMENT_CUT: Trait(_sides, _LONG),
    Kind.CONTROLLER_KILLED: Trait(_nothing, _LONG),
    Kind.CONTROLLER_FROZEN: Trait(_nothing, _LONG),
    Kind.PROBER_KILLED: Trait(_nothing, (0.0, 0.0)),
    Kind.PROBER_FROZEN: Trait(_nothing, _SHORT),
    Kind.SPOOL_FULL: Trait(_nothing, _SHORT),
    Kind.SPOOL_FAILING: Trait(_nothing, (20.0, 30.0)),
    Kind.SPOOL_READ_ONLY: Trait(_nothing, (10.0, 20.0)),
    Kind.FENCE_FAILS: Trait(_nothing, _LONG, accompanied=True),
    Kind.FENCE_SLOW: Trait(_delays, _LONG, accompanied=True),
    Kind.FENCE_HANGS: Trait(_nothing, _LONG, accompanied=True),
    Kind.ASKED_FAILOVER: Trait(_roles, (0.0, 0.0), accompanied=True, after=True),
    Kind.ASKED_FAILBACK: Trait(_roles, (0.0, 0.0), accompanied=True, after=True),
    Kind.ASKED_DISABLE: Trait(_sides, _SHORT, accompanied=True, after=True),
    Kind.ASKED_RETRY: Trait(_roles, (0.0, 0.0), accompanied=True, after=True),
    Kind.ASKED_CONFIRM_OFF: Trait(_sides, (0.0, 0.0), accompanied=True, after=True),
}

FENCES = (Kind.FENCE_FAILS, Kind.FENCE_SLOW, Kind.FENCE_HANGS)

#: What brings hactrl to ask for the power to be cut: beside these a fence's fault is felt.
FENCED = (Kind.POWER_CUT, Kind.SERVER_FROZEN, Kind.CARDS_SWITCH_SIDE, Kind.CARDS_SERVER_SIDE)
