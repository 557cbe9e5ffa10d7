"""With which settings Pacemaker and Corosync run here, and who recommends them.

DEFAULTS is what both do when they are told only what they must be told: Debian 12's Corosync
3.1.7, Pacemaker 2.1.5 and resource-agents 4.12, operations as the agents' metadata suggests them
(which pcs and crmsh fill in), one ordered group for each role.

BEST is the fastest setting found that does not move without a failure. What no setting changes is
that Pacemaker's controller sleeps for a second before it has a recovery planned, whenever changes
of the CIB are pending then (do_pe_invoke_callback in controld_schedulerd.c), as after most losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: True on any two-node cluster; not a matter of speed.
#:
#: `stonith-enabled` is Pacemaker's default, and Clusters from Scratch ('Configure Fencing') wants
#: it wherever data are shared. `stonith-action`: the lab's power switch only switches off, and the
#: scenario on again. `no-quorum-policy` stays 'stop': Corosync's `two_node` keeps the last
#: of two quorate (votequorum(5)).
CLUSTER_OPTIONS: Mapping[str, str] = MappingProxyType(
    {"stonith-enabled": "true", "stonith-action": "off"}
)


@dataclass(frozen=True)
class Tuning:
    """`totem` are settings of corosync.conf(5), `link` those of each of its links; `options` are
    Pacemaker's cluster options, `stickiness` the default of its resources. `own_agents`: daemons
    are run by our own agent (`agents.service_agent`), checked every `check_interval` by their
    greeting, and started beside each other. Else by Debian's agents, in an ordered group.
    """

    name: str
    totem: Mapping[str, str] = field(default_factory=dict)
    link: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    stickiness: int | None = None
    own_agents: bool = False
    check_interval: str = "500ms"


DEFAULTS = Tuning("default")

BEST = Tuning(
    "best",
    totem={
        # corosync.conf(5), token: 'the time spent detecting a failure of a processor'. Its least
        # value follows from token_retransmit: token / (4 + 0.2) must be more than 30 ms.
        "token": "200",
        # corosync.conf(5), consensus: 'for two node clusters, a consensus larger than the join
        # timeout [50 ms] but less than token is safe'. Else 1.2 times the token.
        "consensus": "100",
    },
    # Kronosnet looks at its links every 200 ms; derived from such a token, ping timeouts would be
    # shorter, and links are declared down without a failure (tried: every eight seconds).
    # corosync.conf(5): both must be given.
    link={"knet_ping_interval": "200", "knet_ping_timeout": "1000"},
    options={
        # pacemaker-controld(7), load-threshold: 'the cluster will slow down its recovery process
        # when the amount of system resources used approaches this limit'. The lab's two cores are
        # busy with clients and switches too, which a cluster's own servers are not.
        "load-threshold": "400%",
        # pacemaker-controld(7), node-action-limit: twice the number of cores if not given. A role
        # has four addresses and a spool, which may begin at once.
        "node-action-limit": "12",
        # pacemaker-controld(7), dc-deadtime: how long who starts waits for others. No part of a
        # takeover; a server that starts alone is in order sooner.
        "dc-deadtime": "5s",
    },
    # Clusters from Scratch, 'Prevent Resources from Moving after Recovery', with its value.
    stickiness=100,
    own_agents=True,
)

TUNINGS = {tuning.name: tuning for tuning in (DEFAULTS, BEST)}
