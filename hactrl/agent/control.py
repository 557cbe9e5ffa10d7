"""What an agent and the guards of its roles say to each other, over a Unix socket.

JSON lines as towards the controller. A guard sends its `GuardState` to whoever connects, and
again at every change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hactrl.agent.config import RoleConfig
from hactrl.agent.messages import Codec
from hactrl.agent.protocol import NoticeKind
from hactrl.vocabulary import Proof


class Phase(Enum):
    """BROKEN: failed while it held nothing, so the agent may start afresh without asking."""

    PREPARING = "preparing"
    STANDBY = "standby"
    BROKEN = "broken"
    ASSUMING = "assuming"
    HELD = "held"
    FAILED = "failed"
    RELEASING = "releasing"


@dataclass(frozen=True)
class GuardSpec:
    """What a guard is started with. `boot`: the boot id, which cannot change while it lives. An
    agent that was upgraded on disk while it ran says none."""

    server: str
    controllers: tuple[str, ...]
    token_file: str
    role: RoleConfig
    boot: str = ""


@dataclass(frozen=True)
class Hold:
    """Assume the role, or take a higher epoch over if it is held. `proof` is None for a role
    that owns nothing."""

    epoch: int
    proof: Proof | None
    leased: bool


@dataclass(frozen=True)
class GiveUp:
    """Release the role, kill what is left and exit."""

    epoch: int


@dataclass(frozen=True)
class StartDrill:
    number: int


@dataclass(frozen=True)
class GuardState:
    """`process` and `init` are numbers in the agent's PID namespace."""

    phase: Phase
    epoch: int
    leased: bool
    process: int
    init: int
    explanation: str


@dataclass(frozen=True)
class HoldAnswered:
    """`explanation` is empty if the role is held with this epoch now."""

    epoch: int
    explanation: str


@dataclass(frozen=True)
class Remark:
    """Something for the journal that changes no state."""

    what: NoticeKind
    text: str


@dataclass(frozen=True)
class DrillEnded:
    number: int
    explanation: str


SPEC = Codec([GuardSpec])
TO_GUARD = Codec([Hold, GiveUp, StartDrill])
FROM_GUARD = Codec([GuardState, HoldAnswered, DrillEnded, Remark])
