"""What agents and guards say to a controller, and what it may say to them.

    agent                      controller         guard
      │ AgentHello ──────────────►│◄────────── GuardHello │
      │◄─────── Welcome, or Refused and the connection ends ──► │
      │ Report, Notice ──────────►│◄────────── LeaseRenew │
      │◄───── Assume, Release,    │ LeaseGranted, ───────►│
      │       Status, Drill       │ LeaseDenied           │
      │ Answer ──────────────────►│                       │
      │◄──────────── Heartbeat, both ways ─────────────────► │
      │◄──────── Ping             │             Ping ────►│
      │ Pong ────────────────────►│◄──────────────── Pong │

JSON lines over TCP, see `hactrl.agent.messages`. Whoever has heard nothing for `timeout` seconds
gives the connection up. The verbs are a closed list: the controller can send no command. Who is
welcomed says something at once (an agent its reports, a guard its first request, and both a
heartbeat), and counts as connected from then on: somebody who has left says nothing.

Each side speaks `VERSION` and the one before, and tells it in its first message; the lower of both
is spoken. A controller refuses what is older than `OLDEST`, and agents and guards that are refused
for their version try `OLDEST` next.

    1   the first
    2   GuardHello.boot, Welcome.version, Report.explanation, Ping, Pong, Notice, Refusal.TWIN
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from hactrl.agent.messages import Codec, Limit, since
from hactrl.engine.events import Held
from hactrl.vocabulary import Holding, Outcome, Proof

VERSION = 2
OLDEST = 1

HIGHEST_CLAIM = 2**52
"""The highest epoch that a controller takes from a server that it has never named itself: far
beyond what a site can reach, and so far below `LARGEST` that the controller can always go above
it. Whoever claims more is mistaken or means harm."""


class Refusal(Enum):
    """Why a controller ends a connection. SUPERSEDED: it did not answer, and another came. TWIN:
    there is another one, which answers."""

    VERSION = "version"
    TOKEN = "token"
    PROTOCOL = "protocol"
    SUPERSEDED = "superseded"
    TWIN = "twin"


class NoticeKind(Enum):
    """What an agent may tell beside its roles' states."""

    DISK_FULL = "disk.full"
    DISK_MENDED = "disk.mended"
    MOUNT_USERS_KILLED = "mount.users_killed"
    ROLE_CHECK_FAILED = "role.check_failed"
    STATE_UNWRITABLE = "state.unwritable"
    PAUSE_SEEN = "pause.seen"


@dataclass(frozen=True)
class AgentHello:
    """The first line of an agent. `roles`: what every role of the server is doing now."""

    version: int
    server: str
    token: str
    boot: str
    roles: tuple[Held, ...]


@dataclass(frozen=True)
class GuardHello:
    """The first line of a guard; it may ask for this role's lease and nothing else. `boot` is
    that of the agent that started it."""

    version: int
    server: str
    token: str
    role: str
    boot: str = since(2, "")


@dataclass(frozen=True)
class Welcome:
    """With the intervals of this connection, in seconds, and the controller's version."""

    heartbeat: float
    timeout: float
    version: int = since(2, 1)


@dataclass(frozen=True)
class Refused:
    refusal: Refusal
    explanation: str


@dataclass(frozen=True)
class Heartbeat:
    pass


@dataclass(frozen=True)
class Ping:
    """Asks for a `Pong` with the same number at once."""

    number: int


@dataclass(frozen=True)
class Pong:
    number: int


@dataclass(frozen=True)
class Assume:
    """`leased`: the controller counts the end of the lease as a proof, so the role may only be
    held under a guard with a timer."""

    operation: int
    role: str
    epoch: int
    proof: Proof
    leased: bool


@dataclass(frozen=True)
class Release:
    operation: int
    role: str
    epoch: int


@dataclass(frozen=True)
class Status:
    """Asks for a `Report` of the role, which comes before the answer."""

    operation: int
    role: str


@dataclass(frozen=True)
class Drill:
    operation: int
    role: str


@dataclass(frozen=True)
class Answer:
    """`explanation` is for people: what failed, with place and remedy."""

    operation: int
    role: str
    outcome: Outcome
    known_epoch: int
    explanation: str


@dataclass(frozen=True)
class Report:
    """A change that nobody asked for, or the answer to `Status`. `explanation` is for people."""

    held: Held
    explanation: str = since(2, "")


@dataclass(frozen=True)
class Notice:
    """Something for the journal. `role` is empty where it concerns the server, `text` is for
    people."""

    what: NoticeKind
    role: str
    text: str


@dataclass(frozen=True)
class LeaseRenew:
    request: int
    epoch: int


@dataclass(frozen=True)
class LeaseGranted:
    """The lease lasts `duration` seconds from when the guard sent the request."""

    request: int
    duration: float


@dataclass(frozen=True)
class LeaseDenied:
    request: int


Verb = Assume | Release | Status | Drill

LIMITS = {
    "boot": Limit(100),
    "duration": Limit(10.0**6),
    "epoch": Limit(),
    "explanation": Limit(2000, prose=True),
    "heartbeat": Limit(10.0**6),
    "known_epoch": Limit(),
    "number": Limit(),
    "operation": Limit(),
    "request": Limit(),
    "role": Limit(100),
    "roles": Limit(200),
    "server": Limit(100),
    "text": Limit(2000, prose=True),
    "timeout": Limit(10.0**6),
    "token": Limit(1000),
    "version": Limit(2**31),
}
"""Of every number, text and list that a peer sends; a test looks that none is forgotten."""

WORDS: Mapping[Enum, str] = {
    Holding.NOTHING: "nothing",
    Holding.ASSUMING: "assuming",
    Holding.HELD: "held",
    Holding.RELEASING: "releasing",
    Holding.FAILED: "failed",
    Outcome.DONE: "done",
    Outcome.REFUSED: "refused",
    Outcome.TIMED_OUT: "timed_out",
    Outcome.FAILED: "failed",
    Proof.NEVER_OWNED: "never_owned",
    Proof.RELEASED: "released",
    Proof.POWER: "power",
    Proof.PERSON: "person",
    Proof.LEASE: "lease",
}
"""What goes over the wire for the engine's words."""

TO_CONTROLLER = Codec(
    [AgentHello, GuardHello, Heartbeat, Answer, Report, LeaseRenew, Pong, Notice],
    VERSION,
    {Pong: 2, Notice: 2},
    LIMITS,
    WORDS,
)
FROM_CONTROLLER = Codec(
    [
        Welcome,
        Refused,
        Heartbeat,
        Assume,
        Release,
        Status,
        Drill,
        LeaseGranted,
        LeaseDenied,
        Ping,
    ],
    VERSION,
    {Ping: 2},
    LIMITS,
    WORDS,
)
