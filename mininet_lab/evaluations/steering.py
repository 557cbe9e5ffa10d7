"""How long steering takes: from an event that moves a role to the last group modification handed to
the connections of the switches.

One process, no network, no disk: the engine, the compiler, the rulebook and the sessions as the
controller runs them, an operator's request as the event, connections that take everything at once,
and a store that answers at once. Roles share their services evenly, own nothing, and are played by
two servers with a card on either side. All switches are in the segments of the roles, but for the
last rows: there most are in others.

Median and most of some moves to and fro. `changes` are all messages of one move.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import count, pairwise
from typing import Any

from flows.diff import Change, ModifyGroup
from flows.openflow import Counts
from flows.planner import Planner
from flows.rules import RuleSet
from hactrl import hub
from hactrl.control.present import Present
from hactrl.control.runtime import Outlets, Runtime
from hactrl.control.stretch import Stretch
from hactrl.engine.decide import initial
from hactrl.engine.effects import EFFECTS, AnswerRequest, Remember, StorePlacement, Wake
from hactrl.engine.events import (
    AgentConnected,
    EpochStored,
    Event,
    ProbeChanged,
    Remembered,
    Requested,
    RequestKind,
    SwitchConnected,
)
from hactrl.hub import LightQueue
from hactrl.site.model import (
    Controller,
    Listen,
    ProbeSettings,
    Role,
    RoleAddress,
    Service,
    Site,
    Timers,
)
from hactrl.site.reader import load
from hactrl.switches.board import Listeners, Switchboard
from hactrl.switches.session import Session
from hactrl.vocabulary import Outcome, Verdict
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from topology.model import (
    Address,
    Attachment,
    Interface,
    Link,
    Network,
    Prober,
    Segment,
    Server,
    Switch,
)

EXAMPLE = "examples/frontier.yaml"
SERVICES, SWITCHES, ROLES = (1, 10, 100, 1000), (2, 5, 20, 100), 10

#: Moves that are measured, and before them, so that all is remembered that ever is.
MOVES, BEFORE = 20, 4

#: Milliseconds, in the median: on the example, and with 1,000 services over ten roles.
EXAMPLE_GOAL, GOAL = 1.5, 10.0

#: Ports of every switch, up.
PORTS = frozenset(range(1, 10))
CARD, TRUNKS, PROBER = 1, (3, 4), 5


def play(options: Options, story: Story) -> None:
    """The example, then all numbers of services and switches."""
    results, rows = Results("steering", options.seed), []
    cases: list[tuple[str, Site, float | None]] = [("the frontier", load(EXAMPLE), EXAMPLE_GOAL)]
    for switches in SWITCHES:
        for services in SERVICES:
            goal = GOAL if services == max(SERVICES) else None
            cases.append((f"{services:,} on {switches}", site_of(services, switches), goal))
    for others in (0, 90):
        site = site_of(100, 10, others)
        cases.append((f"100 on 10, {others} others", site, None))
    for name, site, goal in cases:
        with story.working(name):
            moves = measure(site, options.runs or MOVES)
        taken = [move.seconds for move in moves]
        results.add(name, "hactrl", "s", taken)
        median = statistics.median(taken) * 1e3
        rows.append((name, f"{median:.2f}", f"{max(taken) * 1e3:.2f}", str(moves[-1].changes)))
        if goal is not None:
            story.expect(median <= goal, f"{name}: at most {goal} ms", f"{median:.2f} ms")
    story.table("A role moves", ("services on switches", "median, ms", "most", "changes"), rows)
    story.tell(f"figures are in {results.write()}")


@dataclass
class Moved:
    """Seconds until the last group modification, and how many changes were sent."""

    seconds: float
    changes: int


@dataclass
class Sent:
    """To all switches: how many changes, and when the last group modification."""

    changes: int = 0
    steered_at: float = 0.0


@dataclass
class WillingSwitch:
    """A switch that takes everything at once."""

    sent: Sent
    session: Session | None = None
    _numbers: count[int] = field(default_factory=count)

    def send(self, change: Change) -> list[int]:
        self.sent.changes += 1
        if isinstance(change, ModifyGroup):
            self.sent.steered_at = time.perf_counter()
        return [next(self._numbers)]

    def barrier(self) -> int:
        assert self.session is not None, "it is set at once"
        number = next(self._numbers)
        self.session.barrier_done(number)
        return number

    def read(self) -> int:
        assert self.session is not None, "it is set at once"
        self.session.replied(RuleSet())
        return 0

    def count(self) -> int:
        return 0

    def take_reply(self, message: RuleSet) -> tuple[int, RuleSet | int] | None:
        return 0, message

    def question_failed(self, _xid: int) -> bool:
        return False

    def emit(self, _frame: bytes, _port: int) -> None:
        """Nobody asks for it."""

    resubmit = emit

    def count_answers(self) -> None:
        """Nobody asks for it."""

    def take_counts(self, _message: Any) -> Counts | None:
        return None


class Bench:
    """A controller without Ryu, with all its switches, agents and verdicts."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sent = Sent()
        self.connections = {name: WillingSwitch(self.sent) for name in site.network.switches}
        preferred = {name: (role.servers[0], 1) for name, role in site.roles.items()}
        state = initial(site, preferred, 0.0)
        events = LightQueue()
        self._board = Switchboard(site.network.switches)
        self.runtime = Runtime(
            Present(state),
            events,
            self._outlets(),
            Planner(Stretch().pause),
            want=self._board.want,
            clock=lambda: 100.0,
        )
        self._board.tell(Listeners(installed=(self.runtime.installed,)))
        sessions = [self._board.session(name, wire) for name, wire in self.connections.items()]
        for session, connection in zip(sessions, self.connections.values(), strict=True):
            connection.session = session
            self._board.plug(session)
        self._greenlets = [
            hub.spawn(work)
            for work in (
                self.runtime.run,
                *(rulebook.run for rulebook in self.runtime.rulebooks),
                *(session.run for session in sessions),
            )
        ]
        for event in self._all_is_well():
            self.runtime.post(event)
        self.rest()

    def _outlets(self) -> Outlets:
        def ignore(_effect: object) -> None:
            """Nobody is there to do it."""

        own: Outlets = {StorePlacement: self._stored, Remember: self._remembered}
        kinds = (kind for kind in EFFECTS if kind not in (Wake, AnswerRequest))
        return {**dict.fromkeys(kinds, ignore), **own}

    def _stored(self, effect: StorePlacement) -> None:
        self.runtime.post(EpochStored(effect.operation, Outcome.DONE))

    def _remembered(self, effect: Remember) -> None:
        self.runtime.post(Remembered(effect.operation, Outcome.DONE))

    def _all_is_well(self) -> list[Event]:
        found: list[Event] = [SwitchConnected(name, PORTS) for name in self.connections]
        found += [AgentConnected(name, "boot", ()) for name in self.site.network.servers]
        for all_ in self.site.probed.values():
            found += [ProbeChanged(*probed.key, Verdict.HEALTHY) for probed in all_]
        return found

    def rest(self) -> None:
        """Until everybody waits."""
        idle = 0
        while idle < 3 * len(self._greenlets):
            before = self.sent.changes
            hub.sleep(0)
            idle = idle + 1 if self.sent.changes == before else 0

    def move(self, number: int) -> Moved:
        """Of the first role that owns nothing, to its other server."""
        role = next(role for role in self.site.roles.values() if not role.owns)
        live = self.runtime.state.placements[role.name].server
        target = next(server for server in role.servers if server != live)
        before = self.sent.changes
        gc.collect()
        begun = time.perf_counter()
        self.runtime.post(
            Requested(f"move {number}", RequestKind.FAILOVER, role.name, target, "measured")
        )
        self.rest()
        assert self.runtime.state.placements[role.name].server == target, "it has moved"
        return Moved(self.sent.steered_at - begun, self.sent.changes - before)

    def end(self) -> None:
        for greenlet in self._greenlets:
            greenlet.kill()


def measure(site: Site, moves: int) -> Sequence[Moved]:
    bench = Bench(site)
    try:
        return [bench.move(number) for number in range(BEFORE + moves)][BEFORE:]
    finally:
        bench.end()


def site_of(services: int, switches: int, others: int = 0) -> Site:
    """Ten roles at most, on two segments; `others` are switches of segments without roles."""
    sides = {"outer": switches // 2, "inner": switches - switches // 2}
    sides |= {f"other{n}": min(10, others - 10 * n) for n in range((others + 9) // 10)}
    segments: dict[str, Segment] = {}
    found: dict[str, Switch] = {}
    links: list[Link] = []
    for place, (segment, size) in enumerate(sides.items()):
        names = [f"{segment}-{n}" for n in range(size)]
        found |= {name: Switch(name, len(found) + n, segment) for n, name in enumerate(names, 1)}
        ends = pairwise(names)
        links += [Link(Attachment(a, TRUNKS[1]), Attachment(b, TRUNKS[0])) for a, b in ends]
        sources: dict[str, tuple[Address, ...]] = {
            f"{server}-{segment}": (ip_address(f"10.{place}.1.{n}"),)
            for n, server in enumerate(("alpha", "beta"), 1)
        }
        at = Attachment(names[0], PROBER)
        prober = Prober(segment, at, f"02:00:00:ff:00:{place:02x}", sources if place < 2 else {})
        networks = (ip_network(f"10.{place}.0.0/16"),)
        segments[segment] = Segment(segment, networks, prober)
    servers = {
        server: Server(
            server,
            tuple(
                Interface(
                    f"{server}-{segment}",
                    server,
                    segment,
                    Attachment(f"{segment}-{n * (sides[segment] - 1)}", CARD + n),
                    f"02:00:00:00:{n:02x}:{place:02x}",
                )
                for place, segment in enumerate(("outer", "inner"))
            ),
        )
        for n, server in enumerate(("alpha", "beta"))
    }
    network = Network(segments, found, tuple(links), servers)
    here = Listen("127.0.0.1", 0)
    controller = Controller(here, here, here, "", "", "")
    roles = {role.name: role for role in roles_of(services)}
    return Site("steering", network, roles, (), {}, Timers(), controller)


def roles_of(services: int) -> list[Role]:
    number = min(ROLES, services)
    probe = ProbeSettings("tcp", 0.25, 1.0, 2, 3)
    return [
        Role(
            f"role{role}",
            ("alpha", "beta"),
            tuple(
                RoleAddress(
                    segment,
                    f"02:00:00:aa:{place:02x}:{role:02x}",
                    (ip_address(f"10.{place}.0.{10 + role}"),),
                )
                for place, segment in enumerate(("outer", "inner"))
            ),
            tuple(
                Service(
                    f"service{n}", ("outer", "inner")[n % 2], "tcp", 1000 + n, True, (), (), probe
                )
                for n in range(role, services, number)
            ),
        )
        for role in range(number)
    ]
