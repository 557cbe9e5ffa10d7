"""All that the engine knows, as one frozen value. Times are of the clock given as `now`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import Any

from hactrl.engine.effects import Obstacle
from hactrl.engine.events import AnswerWays, Held, Requested
from hactrl.site.model import Site
from hactrl.vocabulary import Outcome, Proof, Verdict
from topology.discovery import Cabling, Heard
from topology.hosts import HostTable
from topology.model import Attachment, Host, Link


@dataclass(frozen=True)
class Placement:
    """Which server plays a role now; `server` is None only before the first placement."""

    server: str | None
    epoch: int
    since: float


class Step(Enum):
    """The steps of a change of placement, in order. A role that owns nothing goes from STORE
    to SERVE. See `steps.STEPS`."""

    STORE = "store"
    FENCE = "fence"
    ASSUME = "assume"
    SERVE = "serve"
    STEER = "steer"


@dataclass(frozen=True)
class Takeover:
    """A change of placement under way.

    `step_times` holds when each finished step ended; `waiting_for` what the engine waits for
    now, for status and journal. `entered` is when the step began, `deadline` when it ends.
    `planned` forbids to cut power. `tried` are the targets that have failed. `version` is that
    of the rules that STEER waits for. `left` is the standing of the origin when this began. `boot`
    is the one of the target that takes part.
    `forced`: the operator wants it although users may be cut off; see `caution`.
    `overtaken`: how often somebody has named a higher epoch meanwhile.
    `interrupted`: the controller itself did not run for a while meanwhile; see `absence`.
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
    operation: int = 0
    entered: float = 0.0
    tried: frozenset[str] = frozenset()
    version: int = 0
    proof: Proof | None = None
    step_times: tuple[tuple[Step, float], ...] = ()
    waiting_for: tuple[Obstacle, ...] = ()
    request: str | None = None
    left: int = 0
    boot: str = ""
    interrupted: bool = False
    overtaken: int = 0
    forced: bool = False


@dataclass(frozen=True)
class AgentState:
    """`since`: when the connection was made or lost. What it said stays while it is away. `had`:
    the roles that it has been given, or said to have, over this connection."""

    connected: bool
    boot: str
    roles: Mapping[str, Held]
    since: float = 0.0
    had: frozenset[str] = frozenset()


class Whose(Enum):
    """Of which machine an entry of the ledger is. BOOT: of the one with that boot. UNKNOWN: one
    was given the resources, and which is not known. SEVERAL: more than one says that it was given
    them. NOBODY: of none, as far as the stored ledger tells; it stands there because a controller
    that has just started cannot know."""

    BOOT = "boot"
    UNKNOWN = "unknown"
    SEVERAL = "several"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Holder:
    """A server that may be using a role's resources, until there is a proof that it does not.

    `epoch` is what its agent must have heard of when it says that it has let go: above any with
    which it was asked to assume since the start. `expires` is when its lease ends at the latest,
    margin included; None where no lease binds it. `boot` is the one that was given them, where
    `whose` says that one is known. `inherited` is how an earlier boot of the server was proven
    gone, as long as that limits what may be said to the next owner.
    """

    epoch: int
    expires: float | None
    proof: Proof | None = None
    boot: str = ""
    inherited: Proof | None = None
    whose: Whose = Whose.BOOT


class AskKind(Enum):
    STORE = "store"
    POWER = "power"
    RELEASE = "release"
    ASSUME = "assume"
    REMEMBER = "remember"
    PING = "ping"


@dataclass(frozen=True)
class Ask:
    """An operation that was started. It is forgotten when done; when it failed it stays with
    its `outcome` until `deadline`, so that it is not repeated before, and so does a PING.

    `role` is empty for POWER, and `server` too for REMEMBER. `boot` is the one that the server had
    when POWER was asked.
    """

    kind: AskKind
    server: str
    role: str
    epoch: int
    deadline: float
    boot: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Fenced:
    """Proven off since `since`, by `proof`. An agent with another boot than `boot` ends it."""

    since: float
    boot: str
    proof: Proof = Proof.POWER


@dataclass(frozen=True)
class HoldDown:
    """No automatic change of a role's placement before `until`. `pause` doubles with each
    change, and is forgotten when nothing has happened for `Timers.failback_hold`."""

    until: float
    pause: float


@dataclass(frozen=True)
class Failure:
    """A server has failed at a role, `count` times: it was left because it served ill, or a move
    to it did not succeed. It counts as `standing` until `until`, when it may be tried once more,
    or until there is a better sign; see `engine.failures`. `pause` led to `until`; `boot` is the
    one that the server had. `at` is when it failed last."""

    count: int
    standing: int
    at: float
    until: float
    pause: float
    boot: str = ""


@dataclass(frozen=True)
class Rest:
    """A role has changed its server by itself `moves` times, without an hour's quiet between.
    Before `until` it moves only where it has no bad memory of, or away from a server that is
    gone."""

    moves: int
    until: float


@dataclass(frozen=True)
class Pending:
    """A request that counts when the memory is on disk; `operation` writes it, 0: none yet."""

    request: Requested
    operation: int = 0


@dataclass(frozen=True)
class SwitchState:
    """`ports_up` keeps its last value while the switch is away; `doubted` of these it says are down
    (see `doubts`). `trunks_changed` is when it told last of a link to another switch."""

    connected: bool = False
    ports_up: frozenset[int] = frozenset()
    doubted: frozenset[int] = frozenset()
    doubt_ends: float = 0.0
    trunks_changed: float = 0.0


@dataclass(frozen=True)
class Health:
    verdict: Verdict
    reason: str
    since: float
    said: str = ""

    @property
    def word(self) -> str:
        """The reason without the address family that it may end with."""
        return self.reason.removesuffix("_ipv4").removesuffix("_ipv6")


class SightPhase(Enum):
    """Why a segment's probes do not count as usual; see `engine.sight`."""

    STARTING = "starting"
    BLIND = "blind"
    MUTE = "mute"
    ANEW = "anew"


@dataclass(frozen=True)
class Sight:
    """A segment whose probes do not count as usual, since `since`. `why` its prober is blind;
    `until` STARTING or ANEW last at most; `before` what was judged before judging anew."""

    phase: SightPhase
    since: float
    why: tuple[Obstacle, ...] = ()
    until: float = 0.0
    before: Mapping[tuple[str, str, str], Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class AnswerCounts:
    """Of a file server: the bytes that were counted since the start, by way, and what each
    switch's hosts got in the last interval that says something; see `engine.answers`."""

    short: int = 0
    roundabout: int = 0
    latest: Mapping[str, AnswerWays] = field(default_factory=dict)


@dataclass(frozen=True)
class Outlook:
    """All of the state that the wanted rules depend on; see `hactrl.control.wanted`."""

    orders: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # role, segment, cards
    speakers: tuple[tuple[str, frozenset[str]], ...] = ()  # role, servers
    fenced: frozenset[str] = frozenset()
    ports_up: Mapping[str, frozenset[int]] = field(default_factory=dict)
    nearest: tuple[tuple[str, tuple[str, ...]], ...] = ()  # file server, interfaces
    hosts: tuple[Host, ...] = ()
    misled: frozenset[str] = frozenset()
    discovered: tuple[Link, ...] = ()


class Kept(Enum):
    """What becomes of a field of `State` when the controller ends. STORED: it is in the store,
    see `engine.memory`; DERIVED: it follows from others; LEARNT: the world tells it anew, and
    until then the engine does without."""

    STORED = "stored"
    DERIVED = "derived"
    LEARNT = "learnt"


STORED = {"kept": Kept.STORED}
DERIVED = {"kept": Kept.DERIVED}
LEARNT = {"kept": Kept.LEARNT}


@dataclass(frozen=True)
class State:
    """`version` grows with every change that could change the wanted rules.

    Keys: `installed` by switch, the version whose rules it confirmed last; `health` by role or file
    server, then service and card; `guards` the servers and roles whose guard is connected;
    `holders` by role, then server; `epochs` the highest known of each role, `epoch_floor` one that
    none of any role was above when the store was restored from a copy; `given` the highest that we
    have given, as far as the store knows; `asks` by operation; `failures` by role and server;
    `served` the roles that have been served since the start; `ready_since` when the preferred
    server of a role with automatic failback became able to take it; `waiting` why a role that
    nobody serves well stays where it is; `wake` the last moment that was asked for; `outlook` that
    of `version`. `sights` by segment, of those that have one; `rounds` how often each was judged
    anew; `prober_silent` and `late` as the prober told last. `pending` are operators' requests that
    are being written; `kept` is what the store was given last of what it should keep, at `kept_at`.
    `host_table` of all backbones; `refused_sightings` by reason and port: how many, and when the
    journal was told last; `heard` which port hears which, `cabling` what follows; `answers` by file
    server. `worked_out` are answers that may stand for what this state becomes, see `engine.once`:
    no part of what it is.
    """

    site: Site = field(metadata=STORED)  # in its file
    version: int = field(default=1, metadata=LEARNT)
    operation: int = field(default=0, metadata=LEARNT)
    started: float = field(default=0.0, metadata=LEARNT)
    running_since: float = field(default=0.0, metadata=LEARNT)  # without an `absence`
    placements: Mapping[str, Placement] = field(default_factory=dict, metadata=STORED)
    # What made them necessary is seen again.
    takeovers: Mapping[str, Takeover] = field(default_factory=dict, metadata=LEARNT)
    # From placements, and what agents say.
    epochs: Mapping[str, int] = field(default_factory=dict, metadata=DERIVED)
    epoch_floor: int = field(default=0, metadata=STORED)
    # From the stored placements; what it is above them for is written (`memory.stays`).
    given: Mapping[str, int] = field(default_factory=dict, metadata=DERIVED)
    # All are suspects at first.
    holders: Mapping[str, Mapping[str, Holder]] = field(default_factory=dict, metadata=LEARNT)
    asks: Mapping[int, Ask] = field(default_factory=dict, metadata=LEARNT)
    switches: Mapping[str, SwitchState] = field(default_factory=dict, metadata=LEARNT)
    installed: Mapping[str, int] = field(default_factory=dict, metadata=LEARNT)
    health: Mapping[str, Mapping[tuple[str, str], Health]] = field(
        default_factory=dict, metadata=LEARNT
    )
    agents: Mapping[str, AgentState] = field(default_factory=dict, metadata=LEARNT)
    sights: Mapping[str, Sight] = field(default_factory=dict, metadata=LEARNT)
    rounds: Mapping[str, int] = field(default_factory=dict, metadata=LEARNT)
    prober_silent: bool = field(default=False, metadata=LEARNT)
    late: frozenset[tuple[str, str, str]] = field(default_factory=frozenset, metadata=LEARNT)
    guards: frozenset[tuple[str, str]] = field(default_factory=frozenset, metadata=LEARNT)
    fenced: Mapping[str, Fenced] = field(default_factory=dict, metadata=STORED)
    disabled: frozenset[str] = field(default_factory=frozenset, metadata=STORED)
    hold_downs: Mapping[str, HoldDown] = field(default_factory=dict, metadata=STORED)
    failures: Mapping[tuple[str, str], Failure] = field(default_factory=dict, metadata=STORED)
    rests: Mapping[str, Rest] = field(default_factory=dict, metadata=STORED)
    served: frozenset[str] = field(default_factory=frozenset, metadata=LEARNT)
    ready_since: Mapping[str, float] = field(default_factory=dict, metadata=LEARNT)
    waiting: Mapping[str, tuple[Obstacle, ...]] = field(default_factory=dict, metadata=DERIVED)
    host_table: HostTable = field(default_factory=HostTable, metadata=STORED)
    refused_sightings: Mapping[tuple[str, Attachment], tuple[int, float]] = field(
        default_factory=dict, metadata=LEARNT
    )
    heard: Heard = field(default_factory=dict, metadata=LEARNT)
    cabling: Cabling = field(default_factory=Cabling, metadata=DERIVED)
    answers: Mapping[str, AnswerCounts] = field(default_factory=dict, metadata=LEARNT)
    # Whoever asked gets no answer, and asks again.
    pending: tuple[Pending, ...] = field(default_factory=tuple, metadata=LEARNT)
    kept: tuple[Any, ...] = field(default_factory=tuple, metadata=DERIVED)
    kept_at: float = field(default=0.0, metadata=DERIVED)
    wake: float | None = field(default=None, metadata=DERIVED)
    outlook: Outlook = field(default_factory=Outlook, metadata=DERIVED)
    worked_out: dict[Any, Any] = field(
        default_factory=dict, repr=False, compare=False, metadata=DERIVED
    )

    @cached_property
    def known(self) -> dict[Any, Any]:
        """Answers that stand for this state; see `engine.once`."""
        return {}

    def changed(self, **changes: Any) -> State:
        """As `dataclasses.replace`, which takes ten times as long: one event changes a state many
        times."""
        if not changes.keys() <= STATE_FIELDS:
            raise TypeError(f"a state has no {sorted(changes.keys() - STATE_FIELDS)}")
        new = object.__new__(State)
        new.__dict__.update(self.__dict__)
        new.__dict__.update(changes, known={})
        return new

    def installed_on(self, switch: str) -> int:
        """The version whose rules it has confirmed last; 0 if it has confirmed none."""
        return self.installed.get(switch, 0)

    def found(self, role: str, service: str, card: str) -> Health | None:
        """What probes have found last of a role's, or a file server's, service through a card."""
        own = self.health.get(role)
        return own.get((service, card)) if own is not None else None

    def all_found(self) -> Iterator[tuple[tuple[str, str, str], Health]]:
        """By role or file server, service and card."""
        for role, own in self.health.items():
            for (service, card), health in own.items():
                yield (role, service, card), health

    def with_found(self, role: str, service: str, card: str, health: Health) -> State:
        """The state in which this is what probes have found last."""
        own = {**self.health.get(role, {}), (service, card): health}
        return self.changed(health={**self.health, role: own})

    def port_up(self, attachment: Attachment) -> bool:
        """Last known; a switch never seen counts as all up, so that its absence delays nothing."""
        switch = self.switches.get(attachment.switch)
        return switch is None or attachment.port in switch.ports_up


#: Of `State`, by name.
STATE_FIELDS = frozenset(field.name for field in fields(State))
