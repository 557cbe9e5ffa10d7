"""What the engine wants done. The shell carries it out; its result comes back as an event.

Rules are no effect: the shell compiles them from the state whenever `State.version` grew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import get_args

from hactrl.vocabulary import EntryKind, Proof
from topology.model import Address, Attachment, Host


class Verb(Enum):
    ASSUME = "assume"
    RELEASE = "release"
    STATUS = "status"


@dataclass(frozen=True)
class AskAgent:
    """`proof` goes with ASSUME: POWER and RELEASED allow the agent to clear a mount guard
    that the last owner left, LEASE does not. `urgent`: users wait for the answer to a STATUS, so
    silence is told after a fraction of a second; else the ask's deadline tells it."""

    operation: int
    server: str
    verb: Verb
    role: str
    epoch: int
    proof: Proof | None = None
    urgent: bool = False


@dataclass(frozen=True)
class FencePower:
    operation: int
    server: str


@dataclass(frozen=True)
class StorePlacement:
    """Write durably, before anything else of this placement happens (law 6)."""

    operation: int
    role: str
    server: str
    epoch: int


@dataclass(frozen=True)
class Remember:
    """Write the engine's memory durably, in place of the one before; `Remembered` follows."""

    operation: int
    text: str


@dataclass(frozen=True)
class GrantLease:
    """Answer a guard's renewal. `granted` false: it must give up at once."""

    request: str
    granted: bool
    duration: float


@dataclass(frozen=True)
class ProbeEagerly:
    """Probe the role's services on this server as fast as sensible, until `until` (clock of
    `now`): somebody waits for the answer."""

    role: str
    server: str
    until: float


@dataclass(frozen=True)
class JudgeAnew:
    """Forget what probes have found on a segment, and judge everything there again. What is told
    from then on carries this round (see `ProbeChanged`)."""

    segment: str
    round: int


@dataclass(frozen=True)
class AskHost:
    """Ask a host at its port whether it is still there: for `address`, or for all of its own.
    Its answer comes back as `HostSighted`."""

    host: Host
    address: Address | None = None


@dataclass(frozen=True)
class KeepHosts:
    """Remember these hosts over a restart, and no others."""

    hosts: tuple[Host, ...]


@dataclass(frozen=True)
class SendAgain:
    """Give this frame to the switch's tables once more, as if it had just entered at the port,
    when the switch has confirmed the rules of the present version."""

    port: Attachment
    packet: bytes


@dataclass(frozen=True)
class AnnounceHost:
    """Tell all of a backbone, file servers too, by which name a host has its addresses now: it has
    another one where it has moved, or the addresses were another host's."""

    host: Host


class Reason(Enum):
    """Why something was refused, is waited for, or cannot be. Shown by API, command line and
    journal alike, each with its own words."""

    UNKNOWN_ROLE = "unknown_role"
    UNKNOWN_SERVER = "unknown_server"
    NOT_A_CANDIDATE = "not_a_candidate"
    ALREADY_THERE = "already_there"
    BUSY = "busy"
    SERVER_DISABLED = "server_disabled"
    SERVER_FENCED = "server_fenced"
    AGENT_NOT_CONNECTED = "agent_not_connected"
    NO_LIVE_INTERFACE = "no_live_interface"
    CUT_OFF = "cut_off"
    REACHES_FEWER = "reaches_fewer"
    SWITCH_CUT_OFF = "switch_cut_off"
    SERVICE_UNHEALTHY = "service_unhealthy"
    SERVICE_UNKNOWN = "service_unknown"
    ROLE_FAILED = "role_failed"
    NOT_HELD = "not_held"
    NOT_PLACED = "not_placed"
    NOT_STEERED = "not_steered"
    CANNOT_RELEASE = "cannot_release"
    AGENT_SILENT = "agent_silent"
    SWITCH_AWAY = "switch_away"
    NO_PROOF = "no_proof"
    STILL_SPEAKS = "still_speaks"
    LEASE_RUNS = "lease_runs"
    NO_CANDIDATE = "no_candidate"
    HELD_DOWN = "held_down"
    AWAITS_PREFERRED = "awaits_preferred"
    NOT_BETTER = "not_better"
    FAILED_BEFORE = "failed_before"
    RESTS = "rests"
    STORE_FAILED = "store_failed"
    NOT_WRITTEN = "not_written"
    PROBER_SILENT = "prober_silent"
    PROBER_PORT_DOWN = "prober_port_down"
    PROBER_HEARS_NOBODY = "prober_hears_nobody"
    PROBER_NO_ADDRESS = "prober_no_address"
    PROBER_NO_CARD = "prober_no_card"
    PROBER_FAULT = "prober_fault"
    NOT_JUDGED = "not_judged"
    JUDGED_ANEW = "judged_anew"
    LOOKING_ROUND = "looking_round"
    STANDBY_ANSWERS = "standby_answers"
    ANSWERS = "answers"
    NOT_WATCHED = "not_watched"
    LEASE_ENDS = "lease_ends"
    UNFINISHED = "unfinished"
    TRY_AGAIN = "try_again"
    UNPROVABLE = "unprovable"


@dataclass(frozen=True)
class Obstacle:
    """A reason, and the name of what it is about (server, segment, interface or service).
    `detail`: what more there is to say of it, a name, a number, or what somebody answered."""

    reason: Reason
    subject: str
    detail: str = ""


def by_reason(obstacles: Iterable[Obstacle]) -> dict[str, str]:
    """For the journal: each reason's code with all its subjects, and their details."""
    subjects: dict[str, dict[str, None]] = {}
    for obstacle in obstacles:
        detail = f" ({obstacle.detail})" if obstacle.detail else ""
        subjects.setdefault(obstacle.reason.value, {})[obstacle.subject + detail] = None
    return {code: ", ".join(of_it) for code, of_it in subjects.items()}


@dataclass(frozen=True)
class AnswerRequest:
    """To an operator's request: accepted (with the epoch that the placement will have), or the
    obstacles. `steps` is what would be done, in order."""

    request: str
    accepted: bool
    obstacles: tuple[Obstacle, ...] = ()
    steps: tuple[str, ...] = ()
    epoch: int = 0


@dataclass(frozen=True)
class Record:
    """One journal entry. The values of `details` are names and numbers, not prose."""

    kind: EntryKind
    role: str
    details: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True)
class Wake:
    """Send a `Tick` at this moment (clock of `now`); a later `Wake` replaces it."""

    at: float


Effect = (
    AskAgent
    | FencePower
    | StorePlacement
    | Remember
    | GrantLease
    | ProbeEagerly
    | JudgeAnew
    | AskHost
    | SendAgain
    | AnnounceHost
    | KeepHosts
    | AnswerRequest
    | Record
    | Wake
)

#: The types of all effects.
EFFECTS: tuple[type[Effect], ...] = get_args(Effect)
