"""What agents and guards say to a controller, and what it may say to them.

    agent                      controller         guard
      │ AgentHello ──────────────►│◄────────── GuardHello │
      │◄─────── Welcome, or Refused and the connection ends ──► │
      │ Report ──────────────────►│◄────────── LeaseRenew │
      │◄───── Assume, Release,    │ LeaseGranted, ───────►│
      │       Status, Drill       │ LeaseDenied           │
      │ Answer ──────────────────►│                       │
      │◄──────────── Heartbeat, both ways ─────────────────► │

JSON lines over TCP, see `hactrl.agent.messages`. Whoever has heard nothing for `timeout` seconds
gives the connection up. The verbs are a closed list: the controller can send no command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hactrl.agent.messages import Codec
from hactrl.engine.events import Held, Outcome, Proof

VERSION = 1


class Refusal(Enum):
    """Why a controller ends a connection."""

    VERSION = "version"
    TOKEN = "token"
    PROTOCOL = "protocol"
    SUPERSEDED = "superseded"


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
    """The first line of a guard; it may ask for this role's lease and nothing else."""

    version: int
    server: str
    token: str
    role: str


@dataclass(frozen=True)
class Welcome:
    """With the intervals of this connection, in seconds."""

    heartbeat: float
    timeout: float


@dataclass(frozen=True)
class Refused:
    refusal: Refusal
    explanation: str


@dataclass(frozen=True)
class Heartbeat:
    pass


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
    """A change that nobody asked for, or the answer to `Status`."""

    held: Held


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

TO_CONTROLLER = Codec([AgentHello, GuardHello, Heartbeat, Answer, Report, LeaseRenew])
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
    ]
)
