"""The words that engine, agents, prober, journal, metrics and the lab share.

They are what the API shows and the store keeps, so that a changed value is a change of both. What
goes over a wire to an agent or the prober has names of its own there (`agent.protocol`,
`health.targets`).
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Proof(Enum):
    """Why a resource may be given to a new owner (law 4)."""

    NEVER_OWNED = "never_owned"
    RELEASED = "released"
    POWER = "power"
    PERSON = "person"
    LEASE = "lease"


class Outcome(Enum):
    DONE = "done"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class Verdict(Enum):
    """What a probe saw. READY: the service answers that it has no resource yet, as a standby
    should. UNKNOWN: not enough probes yet."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    READY = "ready"
    UNHEALTHY = "unhealthy"


#: From worst to best.
RANK = {Verdict.UNHEALTHY: 0, Verdict.UNKNOWN: 1, Verdict.READY: 2, Verdict.HEALTHY: 3}


class ProbeKind(StrEnum):
    """How a service is asked; as in the site file."""

    TCP = "tcp"
    SMTP = "smtp"
    SUBMISSION = "submission"
    POP3 = "pop3"
    IMAP = "imap"
    HTTP = "http"
    ICMP = "icmp"
    ARP = "arp"


class Holding(Enum):
    """What a server's agent says of a role. FAILED: a daemon of it ended by itself."""

    NOTHING = "nothing"
    ASSUMING = "assuming"
    HELD = "held"
    RELEASING = "releasing"
    FAILED = "failed"


class EntryKind(StrEnum):
    """What a journal entry is about. `explain.words` has its words, docs/operating.md tells what
    it means."""

    AGENT_ABSURD = "agent.absurd"
    AGENT_CONNECTED = "agent.connected"
    AGENT_EXPLAINED = "agent.explained"
    AGENT_LOST = "agent.lost"
    AGENT_REFUSED = "agent.refused"
    AGENT_REPORTED = "agent.reported"
    ANSWERS_ROUNDABOUT = "answers.roundabout"
    ANSWERS_SHORT = "answers.short"
    ASSUME_FAILED = "assume.failed"
    CONTROLLER_ABSENT = "controller.absent"
    DISK_FULL = "disk.full"
    DISK_MENDED = "disk.mended"
    EFFECT_FAILED = "effect.failed"
    EVENT_FAILED = "event.failed"
    HOST_FORGOTTEN = "host.forgotten"
    HOST_LEARNT = "host.learnt"
    HOST_MOVED = "host.moved"
    HOST_REFUSED = "host.refused"
    JOURNAL_REFUSED = "journal.refused"
    LINK_MISCABLED = "link.miscabled"
    LINK_ONE_WAY = "link.one_way"
    LINK_UNDECLARED = "link.undeclared"
    LINK_UNSEEN = "link.unseen"
    MOUNT_USERS_KILLED = "mount.users_killed"
    OPENFLOW_DISCONNECTED = "openflow.disconnected"
    OPERATOR_REFUSED = "operator.refused"
    OWNERSHIP_PROVEN = "ownership.proven"
    PAUSE_SEEN = "pause.seen"
    PING_FAILED = "ping.failed"
    PLACEMENT_ADOPTED = "placement.adopted"
    PORT_DOWN = "port.down"
    PORT_UP = "port.up"
    POWER_FAILED = "power.failed"
    PROBE_CHANGED = "probe.changed"
    PROBER_BLIND = "prober.blind"
    PROBER_MUTE = "prober.mute"
    PROBER_SEES = "prober.sees"
    PROBER_UNJUDGED = "prober.unjudged"
    RELEASE_FAILED = "release.failed"
    REMEMBER_FAILED = "remember.failed"
    REQUEST_ACCEPTED = "request.accepted"
    REQUEST_REFUSED = "request.refused"
    ROLE_CHECK_FAILED = "role.check_failed"
    ROLE_FAILED = "role.failed"
    ROLE_WAITING = "role.waiting"
    RULES_RESTORED = "rules.restored"
    SERVER_FENCED = "server.fenced"
    SERVER_UNFENCED = "server.unfenced"
    STATE_UNWRITABLE = "state.unwritable"
    STORE_FAILED = "store.failed"
    STORE_RESTORED = "store.restored"
    STORE_UNWRITABLE = "store.unwritable"
    SWITCH_CONNECTED = "switch.connected"
    SWITCH_LOST = "switch.lost"
    SWITCH_REFUSED = "switch.refused"
    SWITCH_UNKNOWN = "switch.unknown"
    SWITCH_UNRULED = "switch.unruled"
    TAKEOVER_ESCALATED = "takeover.escalated"
    TAKEOVER_FAILED = "takeover.failed"
    TAKEOVER_FINISHED = "takeover.finished"
    TAKEOVER_STARTED = "takeover.started"
    TAKEOVER_STEP = "takeover.step"
