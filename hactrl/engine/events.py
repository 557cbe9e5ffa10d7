"""What the engine is told. Every event is a small frozen value; none holds prose.

`operation` is the number that an effect carried; the result of an effect comes back with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hactrl.vocabulary import EntryKind, Holding, Outcome, Verdict
from topology.hosts import Sighting
from topology.model import Attachment


@dataclass(frozen=True)
class SwitchConnected:
    """With the ports that are up, as read back on connect. `replaces`: when it came, another
    connection was there as this switch, which had not been seen to end and did not answer."""

    switch: str
    ports_up: frozenset[int]
    replaces: bool = False


@dataclass(frozen=True)
class SwitchLost:
    switch: str


@dataclass(frozen=True)
class PortChanged:
    attachment: Attachment
    up: bool


@dataclass(frozen=True)
class RulesInstalled:
    """The switches confirmed (barrier) all rules of this version of the state; see
    `State.version`."""

    switches: frozenset[str]
    version: int


@dataclass(frozen=True)
class ProbeChanged:
    """The verdict on a role's service through one card; the server is the card's.
    `reason` is a word of a closed list (refused, timeout, reset, bad_greeting, ...). `round` is
    that of the last `JudgeAnew` that the prober had heard of for the card's segment; `said` the
    line that was answered, where it is not what a live service says."""

    role: str
    service: str
    interface: str
    verdict: Verdict
    reason: str = ""
    round: int = 0
    said: str = ""


@dataclass(frozen=True)
class ProbesChanged:
    """What was found at the same moment, and is weighed at once: a server dies through all of its
    cards, and a daemon for all of them."""

    changes: tuple[ProbeChanged, ...]


@dataclass(frozen=True)
class ProberSight:
    """Whether the prober goes on judging, told when that changes. `silent`: nothing is heard of
    its process. `late`: what it has not judged for too long (role, service, interface)."""

    silent: bool
    late: frozenset[tuple[str, str, str]] = frozenset()


@dataclass(frozen=True)
class Held:
    role: str
    holding: Holding
    epoch: int


@dataclass(frozen=True)
class AgentConnected:
    """From here on all words of the server are those of this connection, until it is lost or the
    next takes its place: the shell lets none of an earlier one through. Another `boot` than before
    is the server started anew, or a copy of it: nobody can tell which."""

    server: str
    boot: str
    roles: tuple[Held, ...]


@dataclass(frozen=True)
class AgentLost:
    server: str


@dataclass(frozen=True)
class AgentReported:
    """A change that the agent reports by itself, a daemon's end above all."""

    server: str
    held: Held


@dataclass(frozen=True)
class AgentAnswered:
    """The result of `AskAgent`. A refusal because of a lower epoch carries the epoch that the
    agent knows, so that the controller can go above it."""

    operation: int
    server: str
    role: str
    outcome: Outcome
    known_epoch: int = 0


@dataclass(frozen=True)
class GuardConnected:
    """The guard of a role has a connection of its own to ask for the lease by."""

    server: str
    role: str


@dataclass(frozen=True)
class GuardLost:
    server: str
    role: str


@dataclass(frozen=True)
class PowerFenced:
    operation: int
    server: str
    outcome: Outcome


@dataclass(frozen=True)
class LeaseAsked:
    """A guard asks to renew. It gets an answer only by the effect `GrantLease`. `boot` is that of
    the guard; a guard of the version before says none."""

    request: str
    server: str
    role: str
    epoch: int
    boot: str = ""


@dataclass(frozen=True)
class EpochStored:
    """The placement that `StorePlacement` carried is on disk."""

    operation: int
    outcome: Outcome


@dataclass(frozen=True)
class Remembered:
    """The memory that `Remember` carried is on disk."""

    operation: int
    outcome: Outcome


@dataclass(frozen=True)
class HostSighted:
    """A packet entered a backbone that no rule knew the sender of. `packet`: the frame, empty
    where it needs not go on."""

    sighting: Sighting
    packet: bytes = b""


@dataclass(frozen=True)
class LinkHeard:
    """A port now hears another one; None: nobody, although it has had time to."""

    listener: Attachment
    speaker: Attachment | None


@dataclass(frozen=True)
class AnswerWays:
    """The bytes that a file server has sent to the hosts of a switch: by interfaces that are
    nearest to it, and by others (`interfaces`, the one that sent most first)."""

    switch: str
    short: int
    roundabout: int = 0
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnswersCounted:
    """What a file server has sent since it was last counted, to each switch that got anything."""

    server: str
    ways: tuple[AnswerWays, ...]


@dataclass(frozen=True)
class Noticed:
    """Something for the journal that no decision depends on: a stranger at the door, a rule that
    was put back. `kind` and `details` are those of a `Record`."""

    kind: EntryKind
    role: str = ""
    details: tuple[tuple[str, str | int | float], ...] = ()


class RequestKind(Enum):
    FAILOVER = "failover"
    FAILBACK = "failback"
    ENABLE = "enable"
    DISABLE = "disable"
    RETRY = "retry"
    CONFIRM_OFF = "confirm-off"


@dataclass(frozen=True)
class Requested:
    """An operator's request. `target`: a server, None for the best. ENABLE, DISABLE and
    CONFIRM_OFF are of the server `target`, in every role, and leave `role` empty. RETRY forgets
    what has failed before with a role. `force`: a FAILOVER begins also where it is seen that users
    may be cut off until what the old server holds is proven free."""

    request: str
    kind: RequestKind
    role: str
    target: str | None
    reason: str
    dry_run: bool = False
    force: bool = False


@dataclass(frozen=True)
class Tick:
    """Time has passed: at the moment that the last `Wake` asked for, or later."""


Event = (
    SwitchConnected
    | SwitchLost
    | PortChanged
    | RulesInstalled
    | ProbeChanged
    | ProbesChanged
    | ProberSight
    | AgentConnected
    | AgentLost
    | AgentReported
    | AgentAnswered
    | GuardConnected
    | GuardLost
    | PowerFenced
    | LeaseAsked
    | EpochStored
    | Remembered
    | HostSighted
    | LinkHeard
    | AnswersCounted
    | Noticed
    | Requested
    | Tick
)
