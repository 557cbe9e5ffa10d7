"""A simulated world around the engine, on a clock of its own.

Everything that can go wrong outside the engine goes wrong here: messages are slow or lost,
agents, guards, servers, switches, the store, the power switch and the controller itself fail,
and what comes back comes back at its own time. The servers do what docs/agent.md says: an agent
refuses lower epochs, writes them down first, takes a role with a lease only after a first
renewal was granted, and its guard ends the role when the lease ends, dead or stopped agent or
not.

`World.users` is the truth that the engine cannot see: which servers really have daemons on the
spool. `World` raises `Broken` the moment two have.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import count
from random import Random
from typing import ClassVar, TypeAlias

from hactrl.control.wanted import intents
from hactrl.engine import decide as engine
from hactrl.engine import readiness
from hactrl.engine.effects import (
    AskAgent,
    Effect,
    FencePower,
    GrantLease,
    JudgeAnew,
    Reason,
    Record,
    Remember,
    StorePlacement,
    Verb,
    Wake,
)
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    EpochStored,
    Event,
    Held,
    LeaseAsked,
    PortChanged,
    PowerFenced,
    ProbeChanged,
    ProberSight,
    ProbesChanged,
    Remembered,
    Requested,
    RequestKind,
    RulesInstalled,
    SwitchConnected,
    SwitchLost,
    Tick,
)
from hactrl.engine.roles import leases
from hactrl.engine.state import AskKind, State
from hactrl.site.model import (
    Controller,
    Listen,
    PowerFence,
    ProbeSettings,
    Role,
    RoleAddress,
    Service,
    Site,
    Timers,
)
from hactrl.vocabulary import Holding, Outcome, Verdict
from topology.model import Attachment, Interface, Network, Prober, Segment, Server, Switch

SEGMENTS = ("outer", "inner")
SERVERS = ("alpha", "beta", "gamma")
PROBER_PORT = 9

#: Seconds after which an outage must have been told, whatever was lost.
NOTICED_WITHIN = 4.0

#: Seconds of silence until the prober calls a service unhealthy: timeout + (fall - 1) * interval.
SILENT_FOR = 1.5

#: Two roles that want different servers: one owns the spool, one owns nothing.
MAIL, RELAY = "mail", "relay"

#: Deadlines short enough that what they end happens often in a simulated minute.
QUICK = Timers(
    release_deadline=1.5,
    assume_deadline=3.0,
    serve_deadline=3.0,
    failback_hold=8.0,
    startup_patience=2.0,
)


def make_site(
    servers: int = 2,
    lease: float | None = 4.0,
    power: bool = True,
    failback: str = "manual",
    timers: Timers | None = None,
) -> Site:
    """Two segments of one switch each; every server has two cards on inner, one on outer."""
    names = SERVERS[:servers]
    cards = {
        name: tuple(
            Interface(
                f"{name}-{segment}{k}",
                name,
                segment,
                Attachment(segment, 1 + 2 * position + k),
                f"02:00:00:0{position}:0{SEGMENTS.index(segment)}:0{k}",
            )
            for segment, k in (("outer", 0), ("inner", 0), ("inner", 1))
        )
        for position, name in enumerate(names)
    }
    segments = {
        segment: Segment(
            segment,
            (ip_network(f"10.0.{i}.0/24"),),
            Prober(
                segment,
                Attachment(segment, PROBER_PORT),
                f"02:00:00:ff:00:0{i}",
                {
                    card.name: (ip_address(f"10.0.{i}.{100 + card.attachment.port}"),)
                    for each in cards.values()
                    for card in each
                },
            ),
        )
        for i, segment in enumerate(SEGMENTS)
    }
    network = Network(
        segments,
        {segment: Switch(segment, i + 1, segment) for i, segment in enumerate(SEGMENTS)},
        (),
        {name: Server(name, cards[name]) for name in names},
    )
    mail = Role(
        MAIL,
        names,
        (_address("inner", 25), _address("outer", 26)),
        (_service("smtp", "inner"),),
        owns=("spool",),
        lease=lease,
        failback=failback,
    )
    relay = Role(
        RELAY,
        names[::-1],
        (_address("outer", 24),),
        (_service("smtp", "outer"),),
        failback=failback,
    )
    listen = Listen("127.0.0.1", 0)
    fences = {name: PowerFence(("off", name), 5.0) for name in names} if power else {}
    return Site(
        "simulated",
        network,
        {MAIL: mail, RELAY: relay},
        ("spool",),
        fences,
        timers or QUICK,
        Controller(listen, listen, listen, "", "", ""),
    )


def _address(segment: str, host: int) -> RoleAddress:
    address = ip_address(f"10.0.{SEGMENTS.index(segment)}.{host}")
    return RoleAddress(segment, f"02:00:00:aa:00:{host}", (address,))


def _service(name: str, segment: str) -> Service:
    settings = ProbeSettings("smtp", 0.25, 1.0, 2, 3)
    return Service(name, segment, "tcp", 25, True, (), (), settings)


class Broken(AssertionError):  # noqa: N818 - it reads as what it says
    """Something happened that must never happen."""


@dataclass
class Copy:
    """A role that owns something, on one server. `epoch` is on the server's disk."""

    epoch: int = 0
    holding: Holding = Holding.NOTHING
    using: bool = False
    kill_at: float | None = None  # the guard's timer
    life: int = 0  # grows when the guard dies, so that what it had begun is void
    requests: dict[str, tuple[float, Callable[[], None] | None]] = field(default_factory=dict)


@dataclass
class Twin:
    """A second machine with a server's name and token. It never uses the spool: it says that it
    holds nothing, obeys what it is asked, and its guard renews. `connection` as in `Host`."""

    boot: str
    connection: int = 0


@dataclass
class Host:
    """A server. `connection` is 0 while the agent has none."""

    name: str
    copy: Copy = field(default_factory=Copy)
    on: bool = True
    boot: int = 1
    agent: bool = True
    frozen: bool = False
    connection: int = 0
    broken: set[str] = field(default_factory=set)  # roles whose services fail here
    treacherous: bool = False  # looks able to take the role, and fails when it does
    hangs: bool = False  # looks able to take the role, and does not come to an end with it
    no_lease: bool = False  # the guard's way to the controller is cut
    backlog: list[Callable[[], None]] = field(default_factory=list)  # while frozen
    hung: list[Callable[[], None]] = field(default_factory=list)  # while it hangs
    twin: Twin | None = None

    @property
    def boot_id(self) -> str:
        return f"{self.name}-{self.boot}"


@dataclass(frozen=True)
class Fault:
    """Something that happens at `at` and is over after `lasts` seconds; see `World.FAULTS`."""

    kind: str
    server: int
    at: float
    lasts: float


Action: TypeAlias = "Callable[[World, Host], None]"


def of_world(name: str) -> tuple[Action, Action]:
    """A fault that is one flag of the world, which probes may see."""

    def turn(value: bool) -> Action:
        def act(world: World, _host: Host) -> None:
            setattr(world, name, value)
            world.world_changed()

        return act

    return turn(True), turn(False)


def of_host(name: str) -> tuple[Action, Action]:
    """A fault that is one flag of a host."""
    return (lambda _, host: setattr(host, name, True)), (lambda _, host: setattr(host, name, False))


class World:
    """`controller_up` false: nobody decides. `connections` are those that the controller sees."""

    def __init__(self, site: Site, seed: int, slowest: float = 0.3) -> None:
        self.site = site
        self.random = Random(seed)
        self.slowest = slowest
        self.failing = 0.1  # how often a release or an assume fails by itself
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.numbers = count(1)
        self.hosts = {name: Host(name) for name in site.network.servers}
        self.cut: set[str] = set()
        self.cables_down: set[str] = set()
        self.switches_away: set[str] = set()
        self.lasting: tuple[object, ...] = ()
        self.common_cause = ""  # the reason why whoever has the mail is unhealthy, wherever it is
        self.spool_full = False  # whoever has the mail says 'try again later'
        self.greets_after = 0.0  # seconds, of who is slow
        self.prober_broken = self.prober_hung = False
        self.probers_cut: set[str] = set()  # segments
        self.unheard_until: dict[tuple[str, str], float] = {}  # server, segment; once it is back
        self.rounds: dict[str, tuple[int, float]] = {}  # by segment: number, begun
        self.power_broken = False
        self.store_broken = False
        self.seen: dict[tuple[str, str, str], tuple[Verdict, str]] = {}
        self.silent_since: dict[tuple[str, str, str], float] = {}
        self.probing = False
        self.last_wake = 0
        self.stored: dict[str, tuple[str, int]] = {}
        self.memory = ""
        self.lease_ends: dict[str, float] = {}  # as the last controller has noted them
        self.copied = False  # the store is an old copy, not what the last controller has left
        self.old_guards = self.random.random() < 0.3  # which do not say their boot
        self.controller_frozen = False
        self.unheard: list[tuple[Event, int | None]] = []  # while the controller is frozen
        self.connections: dict[str, int] = {}
        self.last_delivery: dict[tuple[str, str], float] = {}
        self.highest: tuple[int, str] = (0, "")
        self.journal: list[tuple[float, Record]] = []
        self.events: list[tuple[float, Event]] = []
        self.gone = ""  # the server that stays off for good
        self.incarnation = 0
        self.controller_up = False
        self.state: State = engine.initial(site, {}, 0.0)
        self.unserved: dict[str, float] = {}  # since when, by role
        self.exposed: dict[str, float] = {}  # by role: since when it is called protected in vain
        self.start_controller()
        self.watch()

    # The clock.

    def after(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + delay, next(self.order), action))

    def run_until(self, end: float) -> None:
        while self.queue and self.queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self.queue)
            action()
        self.now = end

    def delay(self) -> float:
        """Mostly quick, at times as slow as it gets."""
        quick = self.random.random() < 0.8
        return self.random.uniform(0.001, 0.02 if quick else self.slowest)

    # The controller.

    def start_controller(self) -> None:
        self.incarnation += 1
        self.controller_up = True
        self.controller_frozen = False
        self.unheard = []
        before = self.state
        noted = {} if self.copied else self.lease_ends
        self.state = engine.initial(
            self.site, dict(self.stored), self.now, (), self.memory, lease_ends=noted
        )
        self.lease_ends = leases.ends(self.state)
        if not self.copied:
            self.check_remembered(before)
        self.copied = False
        self.seen = {}
        self.rounds = {}
        self.prober_hung = False
        self.connections = {}
        for switch in self.site.network.switches:
            if switch not in self.switches_away:
                self.after(self.delay(), lambda switch=switch: self.connect_switch(switch))
        for host in self.hosts.values():
            self.lose_connection(host, notice=False)
        self.world_changed()
        self.alarm(self.now)

    def check_remembered(self, before: State) -> None:
        """A restart alone moves no role, if the last controller had told the store everything."""
        writing = {ask.kind for ask in before.asks.values()} & {AskKind.STORE, AskKind.REMEMBER}
        for role, placement in self.state.placements.items():
            was = before.placements[role]
            settled = role not in before.takeovers and not writing
            if settled and (was.server, was.epoch) != (placement.server, placement.epoch):
                raise Broken(f"{role} is moved by a restart: {was} before, {placement} after")

    def stop_controller(self) -> None:
        self.incarnation += 1
        self.controller_up = False

    def tell(self, event: Event, incarnation: int | None = None) -> None:
        """What the shell does: one event in, the state replaced, the effects carried out."""
        if not self.controller_up or incarnation not in (None, self.incarnation):
            return
        if self.controller_frozen:
            self.unheard.append((event, incarnation))
            return
        self.events.append((self.now, event))
        version = self.state.version
        self.state, effects = engine.decide(self.state, event, self.now)
        for effect in effects:
            self.carry_out(effect)
        if self.state.version != version:
            for switch in self.site.network.switches:
                self.install(switch)
            self.world_changed()

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case AskAgent(verb=Verb.STATUS):
                self.ping(effect)
            case AskAgent():
                self.ask_agent(effect)
            case FencePower():
                self.fence_power(effect)
            case StorePlacement():
                self.store(effect)
            case Remember():
                self.remember(effect)
            case GrantLease():
                self.grant(effect)
            case JudgeAnew(segment=segment, round=number):
                self.judge_anew(segment, number)
            case Wake(at=at):
                self.alarm(at)
            case Record():
                self.journal.append((self.now, effect))

    def alarm(self, at: float) -> None:
        self.last_wake = number = next(self.numbers)
        incarnation = self.incarnation

        def ring() -> None:
            if number == self.last_wake:
                self.tell(Tick(), incarnation)

        self.after(max(0.0, at - self.now), ring)

    def later(self, event: Event, delay: float | None = None) -> None:
        """Tell this controller, not its successor, after a while."""
        incarnation = self.incarnation
        wait = self.delay() if delay is None else delay
        self.after(wait, lambda: self.tell(event, incarnation))

    # Switches and probes.

    def connect_switch(self, switch: str) -> None:
        if switch not in self.switches_away:
            self.tell(SwitchConnected(switch, self.ports_up(switch)))
            self.install(switch)

    def install(self, switch: str) -> None:
        if switch not in self.switches_away:
            self.later(RulesInstalled(frozenset({switch}), self.state.version))

    def port_up(self, card: Interface) -> bool:
        return self.hosts[card.server].on and card.name not in self.cables_down

    def ports_up(self, switch: str) -> frozenset[int]:
        cards = self.site.network.interfaces.values()
        up = {c.attachment.port for c in cards if c.attachment.switch == switch and self.port_up(c)}
        return frozenset(up | ({PROBER_PORT} if switch not in self.probers_cut else set()))

    def tell_ports(self, server: str) -> None:
        for card in self.site.network.servers[server].interfaces:
            if card.attachment.switch not in self.switches_away:
                self.later(PortChanged(card.attachment, self.port_up(card)), 0.004)

    def world_changed(self) -> None:
        """Probes will see it in a while."""
        if not self.probing:
            self.probing = True
            self.after(self.random.uniform(0.05, 0.6), self.probe)

    def probe(self) -> None:
        self.probing = False
        if self.prober_hung:
            return
        changes: list[ProbeChanged] = []
        for role in self.site.roles.values():
            for service in role.services:
                for server in role.servers:
                    for card in self.site.cards(role, server, service.segment):
                        verdict, reason = self.verdict(role, card)
                        key = (role.name, service.name, card.name)
                        reason = self.as_long_as_it_takes(key, reason)
                        number, begun = self.rounds.get(service.segment, (0, -SILENT_FOR))
                        if reason == "timeout" and self.now < begun + SILENT_FOR:
                            self.world_changed()
                            continue
                        if self.seen.get(key) != (verdict, reason) and self.controller_up:
                            self.seen[key] = (verdict, reason)
                            changes.append(ProbeChanged(*key, verdict, reason, number))
        if changes:
            self.later(ProbesChanged(tuple(changes)), 0.0)

    def as_long_as_it_takes(self, key: tuple[str, str, str], reason: str) -> str:
        """Who is slow is first silent, until a patient dialogue has ended."""
        if reason != "slow":
            self.silent_since.pop(key, None)
        elif self.now < self.silent_since.setdefault(key, self.now) + self.greets_after:
            self.world_changed()
            return "timeout"
        return reason

    def judge_anew(self, segment: str, number: int) -> None:
        """What the prober does: it forgets what it has found there."""
        self.rounds[segment] = (number, self.now)
        cards = self.site.network.interfaces
        for key in [key for key in self.seen if cards[key[2]].segment == segment]:
            del self.seen[key]
            self.silent_since.pop(key, None)
        self.world_changed()

    def verdict(self, role: Role, card: Interface) -> tuple[Verdict, str]:
        host = self.hosts[card.server]
        fenced = self.controller_up and card.server in self.state.fenced
        unheard = self.now < self.unheard_until.get((host.name, card.segment), 0.0)
        if card.segment in self.probers_cut or unheard:
            return Verdict.UNHEALTHY, "timeout"
        if self.prober_broken or host.frozen or fenced or not self.port_up(card):
            return Verdict.UNHEALTHY, "timeout"
        if role.name in host.broken:
            return Verdict.UNHEALTHY, "refused"
        if role.needs_fence and host.copy.holding is Holding.FAILED:
            return Verdict.UNHEALTHY, "refused"
        if role.needs_fence and host.copy.using and self.common_cause:
            return Verdict.UNHEALTHY, self.common_cause
        ready = role.needs_fence and (self.spool_full or not host.copy.using)
        return (Verdict.READY if ready else Verdict.HEALTHY), ""

    # Connections between agents and controller: in order, until they break.

    def lose_connection(self, host: Host, notice: bool = True) -> None:
        """Both ends forget what was under way; the agent tries again soon."""
        had = host.connection
        host.connection = 0
        if notice and had and self.connections.get(host.name) == had:
            del self.connections[host.name]
            self.tell(AgentLost(host.name))
        self.after(self.random.uniform(0.05, 1.0), lambda: self.connect_agent(host))

    def connect_agent(self, host: Host) -> None:
        usable = host.on and host.agent and not host.frozen and not host.connection
        if not usable or not self.controller_up or self.controller_frozen:
            return
        host.connection = number = next(self.numbers)
        boot = host.boot_id
        said = (Held(MAIL, host.copy.holding, host.copy.epoch),)

        def arrive() -> None:
            if host.connection == number:
                self.connections[host.name] = number
                self.tell(AgentConnected(host.name, boot, said))
                self.evict_twin(host)

        self.deliver(host, "up", arrive)

    def deliver(self, host: Host, way: str, action: Callable[[], None]) -> None:
        """After a delay, but never before what was sent earlier."""
        key = (host.name, way)
        at = max(self.now + self.delay(), self.last_delivery.get(key, 0.0))
        self.last_delivery[key] = at
        heapq.heappush(self.queue, (at, next(self.order), action))

    def say(self, host: Host, event: Event) -> None:
        """From agent to controller. What an old connection has swallowed may come late, but never
        as another machine's word."""
        number = host.connection
        if not number or not host.agent:
            return

        def arrive() -> None:
            now = self.connections.get(host.name, 0)
            twins = host.twin is not None and now == host.twin.connection
            if now == number or (not twins and self.random.random() < 0.3):
                self.tell(event)

        incarnation = self.incarnation
        self.deliver(host, "up", lambda: incarnation == self.incarnation and arrive())

    def report(self, host: Host) -> None:
        copy = host.copy
        self.say(host, AgentReported(host.name, Held(MAIL, copy.holding, copy.epoch)))

    # Twins.

    def twin_appears(self, host: Host, boot: str) -> None:
        host.twin = host.twin or Twin(boot)
        self.connect_twin(host)

    def twin_goes(self, host: Host) -> None:
        twin, host.twin = host.twin, None
        if twin is not None and self.connections.get(host.name) == twin.connection != 0:
            del self.connections[host.name]
            self.tell(AgentLost(host.name))

    def connect_twin(self, host: Host) -> None:
        """It takes the place of whoever is there, and they will take it back."""
        twin = host.twin
        if twin is None or not self.controller_up or self.controller_frozen:
            return
        self.lose_connection(host)
        self.connections[host.name] = twin.connection = next(self.numbers)
        said = (Held(MAIL, Holding.NOTHING, host.copy.epoch),)
        self.tell(AgentConnected(host.name, twin.boot, said))
        self.twin_renews(host, twin)

    def evict_twin(self, host: Host) -> None:
        if host.twin is not None:
            host.twin.connection = 0
            self.after(self.random.uniform(0.05, 1.0), lambda: self.connect_twin(host))

    def twin_renews(self, host: Host, twin: Twin) -> None:
        if host.twin is twin and twin.connection and self.site.roles[MAIL].lease is not None:
            boot = "" if self.old_guards else twin.boot
            request = f"twin-{next(self.numbers)}"
            self.later(LeaseAsked(request, host.name, MAIL, host.copy.epoch, boot))
            self.after(1.0, lambda: self.twin_renews(host, twin))

    def ask_twin(self, host: Host, twin: Twin, asked: AskAgent) -> None:
        number = twin.connection

        def obey() -> None:
            if twin.connection == number == self.connections.get(host.name):
                done = asked.verb is not Verb.ASSUME
                outcome = Outcome.DONE if done else Outcome.FAILED
                self.tell(AgentReported(host.name, Held(MAIL, Holding.NOTHING, asked.epoch)))
                self.tell(
                    AgentAnswered(asked.operation, host.name, asked.role, outcome, asked.epoch)
                )

        self.after(self.delay(), obey)

    # What servers do.

    def ping(self, asked: AskAgent) -> None:
        """Answered at once; or, if it is urgent, the shell says that nothing has come, as early as
        it may."""
        host, patience = self.hosts[asked.server], 0.02 if asked.urgent else math.inf
        there = host.on and host.agent and not host.frozen and host.connection
        twins = host.twin is not None and host.twin.connection
        took = self.delay() + self.delay()
        alive = took < patience and self.connections.get(host.name) in (there, twins)
        outcome = Outcome.DONE if alive else Outcome.TIMED_OUT
        event = AgentAnswered(asked.operation, host.name, asked.role, outcome)
        if alive or asked.urgent:
            self.later(event, took if alive else patience)

    def ask_agent(self, asked: AskAgent) -> None:
        host = self.hosts[asked.server]
        twin = host.twin
        if twin is not None and self.connections.get(host.name) == twin.connection != 0:
            self.ask_twin(host, twin, asked)
            return
        number, boot = self.connections.get(asked.server, 0), host.boot

        def obey() -> None:
            if host.frozen:
                host.backlog.append(obey)
            elif host.on and host.agent and host.boot == boot:
                self.obey(host, asked)

        def arrive() -> None:
            if host.connection == number or host.frozen:
                obey()
            elif self.random.random() < 0.3:  # an agent that works off what it had received
                self.after(self.random.uniform(0.0, 6.0), obey)

        if number:
            self.deliver(host, "down", arrive)

    def obey(self, host: Host, asked: AskAgent) -> None:
        copy = host.copy
        if asked.epoch < copy.epoch:
            self.answer(host, asked, Outcome.REFUSED)
            return
        copy.epoch = asked.epoch
        if asked.verb is Verb.RELEASE:
            self.release(host, asked)
        else:
            self.assume(host, asked)

    def answer(self, host: Host, asked: AskAgent, outcome: Outcome) -> None:
        known = host.copy.epoch
        self.say(host, AgentAnswered(asked.operation, host.name, asked.role, outcome, known))

    def release(self, host: Host, asked: AskAgent) -> None:
        copy, life = host.copy, host.copy.life
        if self.random.random() < self.failing:
            self.after(self.delay(), lambda: self.answer(host, asked, Outcome.FAILED))
            return

        def done() -> None:
            if not host.on or copy.life != life or copy.epoch != asked.epoch:
                return
            if host.frozen:
                host.backlog.append(done)
                return
            self.end(host)
            self.answer(host, asked, Outcome.DONE)

        self.after(self.random.choice((0.01, 0.05, 0.5)), done)

    def assume(self, host: Host, asked: AskAgent) -> None:
        copy = host.copy
        if copy.using and copy.holding is Holding.HELD:
            self.check_epoch(host, asked.epoch)
            self.answer(host, asked, Outcome.DONE)
            return
        self.set_holding(host, Holding.ASSUMING)
        if self.site.roles[MAIL].lease is None:
            self.take(host, asked)
        else:
            self.renew(host, lambda: self.take(host, asked))

    def take(self, host: Host, asked: AskAgent) -> None:
        """Mount the spool, start daemons, wait until they answer."""
        copy, life = host.copy, host.copy.life
        if asked.epoch < copy.epoch:  # overtaken while it waited for its lease
            self.answer(host, asked, Outcome.REFUSED)
            return
        self.check_epoch(host, asked.epoch)
        copy.using = True
        self.check_users()
        fails = MAIL in host.broken or host.treacherous or self.random.random() < self.failing

        def done() -> None:
            if not host.on or copy.life != life or copy.epoch != asked.epoch:
                return
            if host.frozen:
                host.backlog.append(done)
                return
            self.set_holding(host, Holding.FAILED if fails else Holding.HELD)
            self.answer(host, asked, Outcome.FAILED if fails else Outcome.DONE)

        if host.hangs:
            host.hung.append(done)
        else:
            self.after(self.random.choice((0.02, 0.1, 1.0)), done)

    def set_holding(self, host: Host, holding: Holding) -> None:
        host.copy.holding = holding
        self.world_changed()
        if not host.frozen:
            self.report(host)

    def end(self, host: Host) -> None:
        """Everything in the role's namespaces is dead, and the spool free."""
        copy = host.copy
        copy.using = False
        copy.kill_at = None
        copy.life += 1
        copy.requests.clear()
        self.set_holding(host, Holding.NOTHING)

    def users(self) -> list[str]:
        return [host.name for host in self.hosts.values() if host.copy.using]

    def check_epoch(self, host: Host, epoch: int) -> None:
        """Epochs only grow, and each belongs to one server."""
        highest, server = self.highest
        if epoch < highest or (epoch == highest and host.name != server):
            raise Broken(f"{host.name} took epoch {epoch} after {self.highest}")
        self.highest = (epoch, host.name)

    def check_users(self) -> None:
        if len(self.users()) > 1:
            raise Broken(f"{self.users()} use the spool at {self.now}")

    # Guards: they renew by a connection of their own.

    def renew(self, host: Host, first: Callable[[], None] | None = None) -> None:
        copy, sent = host.copy, self.now
        request = f"lease-{next(self.numbers)}"
        copy.requests[request] = (sent, first)
        life = copy.life
        lease = self.site.roles[MAIL].lease or 0.0
        if not host.no_lease and not host.frozen:
            boot = "" if self.old_guards else host.boot_id
            self.later(LeaseAsked(request, host.name, MAIL, copy.epoch, boot))
        if first is not None:
            copy.kill_at = sent + lease
            self.after(lease, lambda: self.kill_timer(host, life))

        def again() -> None:
            if host.on and copy.life == life and copy.kill_at is not None:
                self.renew(host)

        self.after(lease / 3, again)

    def grant(self, granted: GrantLease) -> None:
        if granted.granted:
            self.lease_ends = leases.ends(self.state)
        for host in self.hosts.values():
            if granted.request in host.copy.requests:
                life = host.copy.life
                self.after(self.delay(), partial(self.granted, host, life, granted))
                return

    def granted(self, host: Host, life: int, answer: GrantLease) -> None:
        copy = host.copy
        if copy.life != life or not host.on or answer.request not in copy.requests:
            return
        if host.no_lease:
            return
        if host.frozen:
            host.backlog.append(lambda: self.granted(host, life, answer))
            return
        sent, first = copy.requests.pop(answer.request)
        if not answer.granted:
            self.end(host)
            return
        if copy.kill_at is not None:
            copy.kill_at = max(copy.kill_at, sent + answer.duration)
            self.after(copy.kill_at - self.now, lambda: self.kill_timer(host, life))
        for request, (when, waiting) in copy.requests.items():
            if first is None and waiting is not None:  # any grant is the first one
                first, copy.requests[request] = waiting, (when, None)
        if first is not None:
            first()

    def kill_timer(self, host: Host, life: int) -> None:
        """The kernel's timer: it also ends what is stopped."""
        copy = host.copy
        if copy.life == life and copy.kill_at is not None and self.now >= copy.kill_at - 1e-9:
            self.end(host)

    # Power and store.

    def fence_power(self, asked: FencePower) -> None:
        if self.power_broken:
            if self.random.random() < 0.5:
                self.later(PowerFenced(asked.operation, asked.server, Outcome.FAILED))
            return

        def cut() -> None:
            self.power_off(self.hosts[asked.server])
            self.cut.add(asked.server)
            self.later(PowerFenced(asked.operation, asked.server, Outcome.DONE))

        self.after(self.delay(), cut)

    def store(self, asked: StorePlacement) -> None:
        if self.store_broken:
            if self.random.random() < 0.5:
                self.later(EpochStored(asked.operation, Outcome.FAILED))
            return

        def write() -> None:
            self.stored[asked.role] = (asked.server, asked.epoch)
            self.later(EpochStored(asked.operation, Outcome.DONE))

        incarnation = self.incarnation
        self.after(0.005, lambda: incarnation == self.incarnation and write())

    def remember(self, asked: Remember) -> None:
        if self.store_broken:
            self.later(Remembered(asked.operation, Outcome.FAILED))
            return

        def write() -> None:
            self.memory = asked.text
            self.later(Remembered(asked.operation, Outcome.DONE))

        incarnation = self.incarnation
        self.after(0.005, lambda: incarnation == self.incarnation and write())

    # Faults and their ends.

    def power_off(self, host: Host) -> None:
        if not host.on:
            return
        host.on = False
        host.frozen = False
        host.backlog.clear()
        copy = host.copy
        copy.using = False
        copy.kill_at = None
        copy.life += 1
        copy.requests.clear()
        copy.holding = Holding.NOTHING
        self.lose_connection(host)
        self.tell_ports(host.name)
        self.world_changed()

    def power_on(self, host: Host) -> None:
        if host.on:
            return
        host.on = True
        host.agent = True
        host.boot += 1
        self.cut.discard(host.name)
        self.tell_ports(host.name)
        self.world_changed()
        self.after(self.random.uniform(0.1, 1.0), lambda: self.connect_agent(host))

    def inject(self, fault: Fault) -> None:
        host = list(self.hosts.values())[fault.server % len(self.hosts)]
        begin, end = self.FAULTS[fault.kind]
        self.after(fault.at - self.now, lambda: begin(self, host))
        if end is not None:
            self.after(fault.at - self.now + fault.lasts, lambda: end(self, host))

    def kill_agent(self, host: Host) -> None:
        host.agent = False
        self.lose_connection(host)

    def start_agent(self, host: Host) -> None:
        host.agent = True
        self.after(self.delay(), lambda: self.connect_agent(host))

    def freeze(self, host: Host) -> None:
        host.frozen = host.on
        self.world_changed()
        number = host.connection

        def notice() -> None:
            if host.frozen and host.connection == number and self.connections.pop(host.name, 0):
                self.tell(AgentLost(host.name))

        self.after(self.site.timers.agent_timeout, notice)

    def thaw(self, host: Host) -> None:
        host.frozen = False
        backlog, host.backlog = host.backlog, []
        for action in backlog:
            action()
        if not host.connection or self.connections.get(host.name) != host.connection:
            self.lose_connection(host)
        self.world_changed()

    def unplug(self, host: Host) -> None:
        card = self.random.choice(self.site.network.servers[host.name].interfaces)
        self.cables_down.add(card.name)
        self.tell_ports(host.name)
        self.world_changed()

    def unplug_all(self, host: Host) -> None:
        self.cables_down |= {c.name for c in self.site.network.servers[host.name].interfaces}
        self.tell_ports(host.name)
        self.world_changed()

    def plug(self, host: Host) -> None:
        self.cables_down -= {c.name for c in self.site.network.servers[host.name].interfaces}
        self.tell_ports(host.name)
        self.world_changed()

    def break_service(self, host: Host) -> None:
        host.broken.add(self.random.choice((MAIL, RELAY)))
        self.world_changed()

    def mend_service(self, host: Host) -> None:
        host.broken.clear()
        self.world_changed()

    def kill_daemon(self, host: Host) -> None:
        if host.copy.holding is Holding.HELD:
            self.set_holding(host, Holding.FAILED)

    def lose_switch(self, host: Host) -> None:
        switch = SEGMENTS[len(host.name) % 2]
        self.switches_away.add(switch)
        self.later(SwitchLost(switch))

    def find_switch(self, _host: Host) -> None:
        for switch in tuple(self.switches_away):
            self.switches_away.discard(switch)
            self.after(self.delay() + self.slowest, lambda s=switch: self.connect_switch(s))

    def restart_controller(self, _host: Host) -> None:
        """Its process, or its machine, which forgets what was noted."""
        self.stop_controller()
        if self.random.random() < 0.3:
            self.lease_ends = {}
        self.after(self.random.choice((0.0, 0.5, 6.0)), self.start_once)

    def freeze_controller(self, _host: Host) -> None:
        """Stopped (SIGSTOP): it hears all later, and agents have given it up by then."""
        self.controller_frozen = self.controller_up

    def thaw_controller(self, _host: Host) -> None:
        """What was sent to it is heard first, also of who has died since."""
        if not self.controller_frozen:
            return
        self.controller_frozen = False
        unheard, self.unheard = self.unheard, []
        for event, incarnation in unheard:
            self.tell(event, incarnation)
        for host in self.hosts.values():
            self.lose_connection(host)

    def start_once(self) -> None:
        if not self.controller_up:
            self.start_controller()

    def cut_prober(self, host: Host) -> None:
        """Its cable is pulled on one segment; the switch tells."""
        segment = SEGMENTS[len(host.name) % 2]
        self.probers_cut.add(segment)
        self.tell_prober_port(segment)
        self.world_changed()

    def mend_prober(self, _host: Host) -> None:
        """The cables are back, and each server is heard again at its own time."""
        for segment in sorted(self.probers_cut):
            self.probers_cut.discard(segment)
            self.tell_prober_port(segment)
            for name in self.hosts:
                unheard = self.random.uniform(0.0, 1.2)
                self.unheard_until[name, segment] = self.now + unheard
                self.after(unheard + 0.001, self.world_changed)
        self.world_changed()

    def tell_prober_port(self, segment: str) -> None:
        up = segment not in self.probers_cut
        if segment not in self.switches_away:
            self.later(PortChanged(Attachment(segment, PROBER_PORT), up), 0.004)

    def hang_prober(self, _host: Host) -> None:
        """Its process is stopped; its client notices, kills it and starts another."""
        if self.prober_hung or not self.controller_up:
            return
        self.prober_hung = True
        incarnation = self.incarnation
        self.later(ProberSight(silent=True), 1.1)

        def started() -> None:
            if incarnation == self.incarnation:
                self.prober_hung = False
                self.seen = {}
                self.tell(ProberSight(silent=False))
                self.world_changed()

        self.after(2.6, started)

    def begin_common_cause(self, _host: Host) -> None:
        self.common_cause = self.random.choice(("timeout", "refused", "slow"))
        self.world_changed()

    def end_common_cause(self, _host: Host) -> None:
        self.common_cause = ""
        self.world_changed()

    def end_hanging(self, host: Host) -> None:
        """What it waited for (a disk, a name) is there again."""
        host.hangs = False
        hung, host.hung = host.hung, []
        for action in hung:
            action()

    def request(self, kind: RequestKind, host: Host, role: str = MAIL) -> None:
        moves = kind in (RequestKind.FAILOVER, RequestKind.FAILBACK)
        wanted = role if moves else ""
        number = next(self.numbers)
        forced = kind is RequestKind.FAILOVER and number % 2 == 1
        name = f"request-{number}"
        self.tell(Requested(name, kind, wanted, host.name, "drawn by lot", force=forced))

    # A person, where nothing else can prove that a server is gone.

    def person(self) -> None:
        """Cuts the power of what nothing is proven of, says so, and switches it on again."""
        for found in self.named(Reason.NO_PROOF):
            host = self.hosts[found]
            if self.site.power_fences and found not in self.connections:
                continue  # the engine can do that itself
            self.power_off(host)
            self.twin_goes(host)
            self.after(1.0, partial(self.request, RequestKind.CONFIRM_OFF, host))
            if found != self.gone:
                self.after(2.0, partial(self.power_on, host))
        self.after(5.0, self.person)

    def named(self, reason: Reason) -> set[str]:
        """The servers that the engine names with this reason."""
        waiting = self.state.waiting.get(MAIL, ())
        if takeover := self.state.takeovers.get(MAIL):
            waiting = takeover.waiting_for
        return {o.subject for o in waiting if o.reason is reason}

    FAULTS: ClassVar[dict[str, tuple[Action, Action | None]]] = {
        "crash": (power_off, power_on),
        "kill agent": (kill_agent, start_agent),
        "break connection": (lose_connection, None),
        "freeze": (freeze, thaw),
        "unplug a card": (unplug, plug),
        "unplug all": (unplug_all, plug),
        "break a service": (break_service, mend_service),
        "kill a daemon": (kill_daemon, None),
        "lose a switch": (lose_switch, find_switch),
        "restart controller": (restart_controller, None),
        "stop controller": (freeze_controller, thaw_controller),
        "twin": (lambda w, h: w.twin_appears(h, f"{h.name}-copy"), twin_goes),
        "twin with memory": (lambda w, h: w.twin_appears(h, h.boot_id), twin_goes),
        "break the prober": of_world("prober_broken"),
        "pull the prober's cable": (cut_prober, mend_prober),
        "hang the prober": (hang_prober, None),
        "break the power switch": of_world("power_broken"),
        "break the store": of_world("store_broken"),
        "cut the guard off": of_host("no_lease"),
        "common cause": (begin_common_cause, end_common_cause),
        "spool is full": of_world("spool_full"),
        "fails to take the mail": of_host("treacherous"),
        "never ends taking the mail": (
            lambda _, h: setattr(h, "hangs", True),
            end_hanging,
        ),
        "request mail": (lambda w, h: w.request(RequestKind.FAILOVER, h), None),
        "request relay": (lambda w, h: w.request(RequestKind.FAILOVER, h, RELAY), None),
        "fail back": (lambda w, h: w.request(RequestKind.FAILBACK, h), None),
        "disable": (
            lambda w, h: w.request(RequestKind.DISABLE, h),
            lambda w, h: w.request(RequestKind.ENABLE, h),
        ),
    }

    # The end.

    def end_faults(self, stays_off: str = "", hopeless: bool = False) -> None:
        """Everything is repaired, but a server may be off for good, and the others may still
        fail when they are given the mail (`hopeless`)."""
        self.gone = stays_off
        self.slowest = min(self.slowest, 0.1)
        self.failing = 0.0
        self.prober_broken = self.power_broken = self.store_broken = self.spool_full = False
        self.common_cause = ""
        self.find_switch(next(iter(self.hosts.values())))
        self.mend_prober(next(iter(self.hosts.values())))
        self.start_once()
        self.thaw_controller(next(iter(self.hosts.values())))
        for host in self.hosts.values():
            self.twin_goes(host)
            host.no_lease = host.treacherous = False
            self.end_hanging(host)
            self.mend_service(host)
            self.plug(host)
            if host.frozen:
                self.thaw(host)
            if not host.agent:
                self.start_agent(host)
            if host.name == stays_off:
                self.power_off(host)
            else:
                self.power_on(host)
                host.treacherous = hopeless
            if host.name in self.state.disabled:
                self.request(RequestKind.ENABLE, host)

    def watch(self) -> None:
        """A role that is out for long is never called settled, whatever the controller knows."""
        for role in self.site.roles.values():
            asked = self.controller_up and not self.controller_frozen
            if asked and not self.is_served(role):
                since = self.unserved.setdefault(role.name, self.now)
                reasons = readiness.unsettled(self.state, self.now)
                if reasons:
                    self.unserved[role.name] = self.now
                elif self.now - since > NOTICED_WITHIN:
                    raise Broken(f"{role.name} is out since {since}, and all is settled")
            else:
                self.unserved.pop(role.name, None)
            self.watch_protection(role, asked)
        self.after(0.5, self.watch)

    def watch_protection(self, role: Role, asked: bool) -> None:
        """A role that could not lose its server is not called protected for long. Of a copy of a
        machine nobody knows what it could do before it is asked to."""
        live = self.state.placements[role.name].server
        others = (host for name, host in self.hosts.items() if name != live)
        exposed = not any(self.is_able(role, host) or host.twin for host in others)
        if not asked or not exposed or readiness.unprotected(self.state, self.now)[role.name]:
            self.exposed.pop(role.name, None)
        elif self.now - self.exposed.setdefault(role.name, self.now) > NOTICED_WITHIN:
            raise Broken(f"{role.name} is called protected, and nobody else could take it")

    def is_able(self, role: Role, host: Host) -> bool:
        """Could it be given the role, as far as anybody could see?"""
        answers = host.on and not host.frozen and role.name not in host.broken
        agent = not role.needs_fence or (host.agent and host.name in self.connections)
        wanted = host.name in role.servers and host.name not in self.state.disabled
        return answers and agent and wanted and self.is_plugged(role, host)

    def is_plugged(self, role: Role, host: Host) -> bool:
        return all(
            any(self.port_up(card) for card in self.site.cards(role, host.name, segment))
            for segment in role.segments
        )

    def is_served(self, role: Role) -> bool:
        host = self.hosts.get(self.state.placements[role.name].server or "")
        if host is None or not host.on or host.frozen or role.name in host.broken:
            return False
        ill = self.spool_full or self.common_cause
        owned = host.copy.using and host.copy.holding is Holding.HELD and not ill
        return self.is_plugged(role, host) and (owned or not role.needs_fence)

    def steered_to(self) -> set[str]:
        wanted = intents(self.site, self.state.outlook)
        return {card.server for steer in wanted.steers for card in steer.order}

    def check_settled(self, quiet: float) -> None:
        """Nothing has changed for `quiet` seconds, no group points to a fenced server, and
        whoever could be served is. Where nobody can serve, it is tried again, but seldom."""
        if off := self.steered_to() & self.cut:
            raise Broken(f"a group points to {off}, which is fenced")
        able = not any(host.treacherous for host in self.hosts.values())
        for role in self.site.roles.values():
            starts = sum(
                record.kind == "takeover.started"
                and record.role == role.name
                and when > self.now - quiet
                # Who has failed gets its role back after a pause that may end only now.
                and ("cause", "failback") not in record.details
                for when, record in self.journal
            )
            if starts > (0 if able else 1 + quiet / self.site.timers.failback_hold):
                raise Broken(f"{role.name} has moved {starts} times in the last {quiet} s")
            if able and role.name in self.state.takeovers:
                raise Broken(f"not settled: {self.state.takeovers[role.name]}")
            if able:
                self.check_served(role)
        if able and (reasons := readiness.unsettled(self.state, self.now)):
            raise Broken(f"served, and not settled: {reasons}")

    def check_served(self, role: Role) -> None:
        live = self.state.placements[role.name].server
        host = self.hosts.get(live or "")
        if host is None or not host.on:
            raise Broken(f"{role.name} is at {live}, which does not serve: {self.state.waiting}")
        if role.needs_fence and (self.users() != [live] or host.copy.holding is not Holding.HELD):
            raise Broken(f"{role.name} is at {live}, used by {self.users()}: {self.state.waiting}")
