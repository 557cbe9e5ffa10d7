"""All that the engine knows, as one frozen value. Times are of the clock given as `now`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hactrl.engine.effects import Obstacle
from hactrl.engine.events import Held, Proof, Verdict
from hactrl.site.model import Site
from topology.model import Attachment


@dataclass(frozen=True)
class Placement:
    """Which server plays a role now; `server` is None only before the first placement."""

    server: str | None
    epoch: int
    since: float


class Step(Enum):
    """The steps of a change of placement, in order. A role that owns nothing goes from STORE
    to SERVE."""

    STORE = "store"
    FENCE = "fence"
    ASSUME = "assume"
    SERVE = "serve"
    STEER = "steer"


@dataclass(frozen=True)
class Takeover:
    """A change of placement under way.

    `step_times` holds when each finished step ended; `waiting_for` what the engine waits for
    now, for status and journal.
    """

    role: str
    origin: str | None
    target: str
    epoch: int
    cause: str
    planned: bool
    step: Step
    started: float
    deadline: float
    operation: int
    proof: Proof | None = None
    step_times: tuple[tuple[Step, float], ...] = ()
    waiting_for: tuple[Obstacle, ...] = ()
    request: str | None = None


@dataclass(frozen=True)
class Agent:
    connected: bool
    boot: str
    roles: Mapping[str, Held]


@dataclass(frozen=True)
class Lease:
    """Until `expires` its holder may still be using the role's resources."""

    server: str
    epoch: int
    expires: float


@dataclass(frozen=True)
class SwitchState:
    """`ports_up` keeps its last value while the switch is away. `installed` is the version of
    the state whose rules it confirmed last."""

    connected: bool = False
    ports_up: frozenset[int] = frozenset()
    installed: int = 0


@dataclass(frozen=True)
class Health:
    verdict: Verdict
    reason: str
    since: float


@dataclass(frozen=True)
class State:
    """`version` grows with every change that could change the wanted rules."""

    site: Site
    version: int = 1
    operation: int = 0
    placements: Mapping[str, Placement] = field(default_factory=dict)
    takeovers: Mapping[str, Takeover] = field(default_factory=dict)
    switches: Mapping[str, SwitchState] = field(default_factory=dict)
    health: Mapping[tuple[str, str, str], Health] = field(
        default_factory=dict
    )  # role, service, card
    agents: Mapping[str, Agent] = field(default_factory=dict)
    leases: Mapping[str, Lease] = field(default_factory=dict)  # by role
    fenced: Mapping[str, float] = field(default_factory=dict)  # server: since
    disabled: frozenset[str] = frozenset()

    def port_up(self, attachment: Attachment) -> bool:
        """Last known; a switch never seen counts as all up, so that its absence delays nothing."""
        switch = self.switches.get(attachment.switch)
        return switch is None or attachment.port in switch.ports_up
