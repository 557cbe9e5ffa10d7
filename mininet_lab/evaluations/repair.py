"""How a backbone of 100 switches repairs itself, through 1,000 random link events, step by step.

No switch is real: what they hold is kept here, and the packet walker says what becomes of packets.
From nothing, all switches get their rules. Then links go down and come back, a few being down at
any time. Each time the switches at the link see it first, and do what they may do alone; then
routes follow in rounds, each switch on its own, in random order. After the link, after each
switch, for many between two of its messages, and after the last barrier packets are walked: those
for what the switch has just changed, from there, from elsewhere, and as they come to it after a
detour; and broadcasts. Then the same again in a hurry: each event comes while the rounds of the one
before are under way, or before they begin. Packets may be lost then, and none may loop.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

import networkx as nx

from flows.backbone.compile import BackboneCompiler
from flows.backbone.locators import DETOUR
from flows.diff import (
    AddGroup,
    AddMeter,
    Change,
    DeleteGroup,
    DeleteMeter,
    ModifyGroup,
    ModifyMeter,
    diff,
)
from flows.planner import PlanStep
from flows.walk.trace import Delivered, Dropped, Ending, Looped, Trace
from mininet_lab.graphs import Graph, random_graph
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.simulation import (
    Controller,
    SimulatedSite,
    World,
    changes,
    endings,
    history,
    network_of,
)
from topology.model import Attachment, Link
from topology.paths.routes import Destination, Routes
from topology.paths.shortest import Hops

SWITCHES, SERVERS, INTERFACES, EVENTS, HURRIED = 100, 3, 4, 1000, 200

#: Links that are down at once.
MOST_DOWN = 8

#: Walks for changed destinations of one switch when it has changed; the chance of one more, also
#: between its messages; walks when a link has turned, and at rest after each event. After so many
#: events all pairs are walked, and rules compared with those of a whole compilation.
CHANGED, CHANCE, AT_ONCE, AT_REST, EVERY = 2, 0.5, 8, 12, 100

#: What must hold, by the name of what would be counted otherwise.
PROMISES = {
    "loops": "nothing looped at any step",
    "lost at once": "when a link died, whatever had another hop arrived before any message",
    "lost in rounds": "what arrived when a change began arrived at each of its steps",
    "holes": "at the last barrier of each event, exactly what can be reached was reached",
    "strays": "nothing came to the wrong one, and no broadcast to anybody twice",
    "rules": "switches hold at last what a whole compilation gives",
}


#: What is sent, by name.
KINDS = {"rules": "flow-mods", "groups": "group-mods", "meters": "meter-mods"}


def kind(change: Change) -> str:
    match change:
        case AddGroup() | ModifyGroup() | DeleteGroup():
            return "groups"
        case AddMeter() | ModifyMeter() | DeleteMeter():
            return "meters"
        case _:
            return "rules"


@dataclass
class RepairAccount:
    """What went wrong, by promise; how often what was looked at; what was sent, by event, and
    what from nothing."""

    faults: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in PROMISES})
    counted: Counter[str] = field(default_factory=Counter)
    sent: dict[str, list[int]] = field(default_factory=dict)
    begun: dict[str, list[int]] = field(default_factory=dict)

    def note(self, **counts: int) -> None:
        for name, count in counts.items():
            self.sent.setdefault(name, []).append(count)

    def add(self, later: RepairAccount) -> None:
        """The account of what came later."""
        self.counted.update(later.counted)
        for name, found in later.faults.items():
            self.faults[name] += found
        for name, counts in later.sent.items():
            self.sent.setdefault(name, []).extend(counts)


class Watcher:
    """Brings a world about, one step at a time, and looks at packets after each."""

    def __init__(self, site: SimulatedSite, seed: int, down: frozenset[Link] = frozenset()) -> None:
        self.world = World.empty(site, down)
        self.account = RepairAccount()
        self._site = site
        self._controller = Controller(site, down)
        self._planner = self._controller.planner
        self._random = random.Random(seed)
        self._standing = Routes()
        self._hurry = False
        self._names = sorted(site.clients)
        self._now = "from nothing"
        self._destinations = sorted(site.numbers.values())

    def begin(self) -> None:
        """From nothing to forwarding."""
        self._follow(self._controller.begun)
        self._standing = self._planner.routes
        self.account.begun, self.account.sent = self.account.sent, {}
        self._at_rest()

    def event(self, link: Link, hurried: bool = False) -> None:
        """It goes, or comes back; if `hurried`, the next one comes before all has followed."""
        self._now = f"when {link} turned with {len(self.world.down)} links down"
        self.world, before = replace(self.world, down=self.world.down ^ {link}), self.world
        self._hurry = self._standing is not self._planner.routes
        if not self._hurry:
            self._alone(link, before)
        sequence = self._controller.turn(link, self._standing)
        done = self._random.randint(0, len(sequence)) if hurried else len(sequence)
        self._follow(sequence[:done])
        if done == len(sequence):
            self._standing = self._planner.routes  # also where nothing had to follow
            self._at_rest()

    # What is done.

    def _follow(self, sequence: Sequence[PlanStep]) -> None:
        """Round by round, all switches in random order within each."""
        old = self._standing
        base, sent, switches, turns = self.world, Counter[str](), 0, 0
        for step in sequence:
            assert step.routes is not None, "it is of a backbone"
            new, rules = step.routes, step.rules_of
            found = changes(old, new)
            turns += bool(found)
            for switch in self._random.sample(sorted(found), len(found)):
                messages = list(chain.from_iterable(diff(self.world.held[switch], rules(switch))))
                floods = old.tree.get(switch) != new.tree.get(switch)
                first = self._random.randint(0, len(messages)) if floods or self._chance() else 0
                if first:
                    self.world = self.world.after(switch, messages[:first])
                    self._between(switch, found[switch], base, floods)
                self.world = self.world.after(switch, messages[first:])
                self._changed(switch, found[switch], base)
                switches += bool(messages)
                sent.update(map(kind, messages))
            old = self._standing = new
        self.account.note(switches=switches, rounds=turns, **{k: sent[k] for k in KINDS})

    # What is looked at.

    def _between(
        self, switch: str, found: Sequence[Destination], base: World, floods: bool
    ) -> None:
        """After the first of a switch's messages."""
        for destination in self._some(found, 1):
            self._pair(switch, destination, base)
        if floods:
            self._broadcast(switch)

    def _changed(self, switch: str, found: Sequence[Destination], base: World) -> None:
        """A loop that was not there before leads through the switch that has changed."""
        some = self._some(found, CHANGED)
        for destination in some:
            self._pair(switch, destination, base)
        if some and self._chance():
            self._pair(self._random.choice(self._names), some[0], base)
        elif some:
            self._detoured(switch, some[0])

    def _pair(self, switch: str, destination: Destination, base: World) -> None:
        """It arrives if it arrived when the switches began to change; of that, nothing is
        promised where they began in the middle of another change."""
        if not self._arrives(switch, destination) and base.brings(switch, destination):
            if self._hurry:
                self.account.counted["hurried"] += 1
            else:
                self._fault("lost in rounds", f"{switch} to {destination}")

    def _detoured(self, switch: str, destination: Destination) -> None:
        """It comes to the switch at a trunk, and has taken an alternate before."""
        if trunks := self.world.trunks_up(switch):
            packet = self._site.packet(switch, destination)
            packet = packet.with_(eth_dst=packet["eth_dst"] | DETOUR)
            trace = self.world.walk(packet, self._random.choice(trunks))
            what = f"after a detour at {switch} to {destination}"
            self._sane(endings(trace), what, destination)

    def _alone(self, link: Link, before: World) -> None:
        """No message has been sent yet. Of what crossed the link only that is lost which had no
        other hop at its end."""
        bare: dict[Destination, str] = {}
        crossing: list[Destination] = []
        for end in (link.a, link.b):
            for destination, hops in self._planner.routes.hops.items():
                if end.port not in hops.get(end.switch, Hops()).equal:
                    continue
                crossing.append(destination)
                covered = self._covered(end, destination)
                arrives = self._arrives(end.switch, destination)
                self.account.counted["covered" if covered else "bare"] += 1
                if not covered:
                    bare[destination] = end.switch
                    self.account.counted["holes"] += not arrives
                elif not arrives:
                    self._fault("lost at once", f"{end.switch} to {destination} without {link}")
        for destination in self._some(crossing, AT_ONCE):
            switch = self._random.choice(self._names)
            ends = self._send(switch, destination)
            bad = [end for end in ends if not self._site.is_for(end, destination)]
            lost = {end.switch if isinstance(end, Dropped) else "" for end in bad}
            if not lost <= {bare.get(destination)} and before.brings(switch, destination):
                self._fault("lost at once", f"{switch} to {destination} without {link}")

    def _covered(self, end: Attachment, destination: Destination) -> bool:
        """Whether the switch can send otherwise than by this port: by another hop, or if it has
        none to another interface of the file server."""
        routes = self._planner.routes
        hops = routes.of(destination, end.switch)
        if {*hops.nearer, *hops.alternates} - {end.port}:
            return True
        if destination.kind == "switch":
            return False
        cards = self._site.network.file_servers[destination.name].interfaces
        targets = [Destination.switch(card.attachment.switch) for card in cards]
        return any(set(routes.of(t, end.switch).nearer) - {end.port} for t in targets)

    def _at_rest(self) -> None:
        """After the last barrier: what can be reached is."""
        graph = self._links_up()
        for destination in self._random.choices(self._destinations, k=AT_REST):
            self._reached(graph, self._random.choice(self._names), destination)
        switch = self._random.choice(self._names)
        places = self._broadcast(switch).places
        others = nx.node_connected_component(graph, switch) - {switch}
        if places != {self._site.clients[other].attachment for other in others}:
            self._fault("holes", f"a broadcast of {switch} reached {len(places)}")

    def all_pairs(self) -> None:
        """Everybody to everything; and whether partial compilation has left anything behind."""
        graph = self._links_up()
        site, routes = self._site, self._planner.routes
        whole = BackboneCompiler().at(site.graph, site.wishes, routes)
        for switch in self._names:
            for destination in self._destinations:
                self._reached(graph, switch, destination)
            if self.world.held[switch] != whole(switch):
                self._fault("rules", switch)

    def _links_up(self) -> Graph:
        """What is really there, not asked of those who plan."""
        graph: Graph = nx.Graph()
        graph.add_nodes_from(self._names)
        links = (link for link in self._site.network.links if link not in self.world.down)
        graph.add_edges_from((link.a.switch, link.b.switch) for link in links)
        return graph

    def _reached(self, graph: Graph, switch: str, destination: Destination) -> None:
        if destination == Destination.switch(switch):
            return
        homes = self._site.homes(destination)
        reachable = bool(homes & nx.node_connected_component(graph, switch))
        self.account.counted["cut off"] += not reachable
        if self._arrives(switch, destination) != reachable:
            self._fault("holes", f"{switch} to {destination}")

    def _broadcast(self, switch: str) -> Trace:
        trace = self.world.flood(switch)
        self._sane(endings(trace), f"a broadcast of {switch}")
        places = Counter(s.attachment for s in trace.steps() if isinstance(s, Delivered))
        if any(count > 1 for count in places.values()):
            self._fault("strays", f"a broadcast of {switch}")
        return trace

    def _arrives(self, switch: str, destination: Destination) -> bool:
        return self._site.arrives(self._send(switch, destination), destination)

    def _send(self, switch: str, destination: Destination) -> list[Ending]:
        ends = self.world.send(switch, destination)
        self._sane(ends, f"{switch} to {destination}", destination)
        return ends

    def _sane(self, ends: list[Ending], what: str, destination: Destination | None = None) -> None:
        self.account.counted["walks"] += 1
        for end in ends:
            if isinstance(end, Looped):
                self._fault("loops", what)
            right = destination is None or self._site.is_for(end, destination)
            if isinstance(end, Delivered) and not right:
                self._fault("strays", what)

    def _fault(self, promise: str, what: str) -> None:
        self.account.faults[promise].append(f"{what}, {self._now}")

    def _chance(self) -> bool:
        return self._random.random() < CHANCE

    def _some(self, found: Sequence[Destination], most: int) -> Sequence[Destination]:
        return self._random.sample(found, min(most, len(found)))


@dataclass(frozen=True)
class Part:
    """Of all events, those that one process plays: what switches hold at rest follows from the
    links that are up, so a part can begin without those before it. It begins from nothing."""

    switches: int
    seed: int
    events: int
    first: int
    last: int
    hurried: bool = False

    @property
    def site(self) -> SimulatedSite:
        graph = random_graph(self.switches, self.seed)
        return SimulatedSite(network_of(graph, SERVERS, INTERFACES, self.seed))

    def play(self) -> RepairAccount:
        site = self.site
        downs = history(site.network.links, self.events, MOST_DOWN, self.seed)
        watcher = Watcher(site, self.seed + self.first, downs[self.first])
        watcher.begin()
        watcher.all_pairs()
        gc.freeze()  # most of what there is stays, and need not be looked through again
        for number in range(self.first + 1, self.last + 1):
            (link,) = downs[number] ^ downs[number - 1]
            look = number % EVERY == 0 or number == self.last
            watcher.event(link, self.hurried and not look)
            if look:
                watcher.all_pairs()
        return watcher.account


def parts(seed: int, events: int, processes: int, hurried: bool = False) -> list[Part]:
    bounds = [events * number // processes for number in range(processes + 1)]
    return [Part(SWITCHES, seed, events, *pair, hurried) for pair in pairwise(bounds)]


def play(options: Options, story: Story) -> None:
    """From nothing, then all events, by as many processes as there are processors."""
    results = Results("repair", options.seed)
    events = options.runs or EVENTS
    processes = min(os.cpu_count() or 1, events)
    todo = parts(options.seed, events, processes)
    links = len(todo[0].site.network.links)
    story.tell(f"{SWITCHES} switches, {links} links, {SERVERS} file servers of {INTERFACES} each")
    account = played(todo, f"{events} events", story)
    show(story, results, account)
    judge(story, results, account)
    events = max(processes, events * HURRIED // EVENTS)
    todo = parts(options.seed + 1, events, processes, hurried=True)
    account = played(todo, f"{events} events in a hurry", story)
    lost = account.counted["hurried"]
    walks = account.counted["walks"]
    story.tell(f"in a hurry: {lost} of {walks:,} packets were lost that had arrived just before")
    results.add("in a hurry: packets lost that had arrived", "hactrl", "number", [lost])
    results.add("in a hurry: packets walked", "hactrl", "number", [walks])
    judge(story, results, account, "in a hurry: ")
    story.tell(f"figures are in {results.write()}")


def played(todo: list[Part], what: str, story: Story) -> RepairAccount:
    """All parts, each by a process."""
    with story.working(what), ProcessPoolExecutor(len(todo)) as pool:
        account, *others = pool.map(Part.play, todo)
    for other in others:
        account.add(other)
    return account


def show(story: Story, results: Results, account: RepairAccount) -> None:
    """What was sent, and what switches did alone."""
    rows = []
    for name, title in (*KINDS.items(), ("switches", "switch updates"), ("rounds", "rounds")):
        values = sorted(account.sent[name])
        results.add("from nothing", title, "number", account.begun[name])
        results.add("per event", title, "number", account.sent[name])
        tail = values[len(values) * 95 // 100]
        figures = (account.begun[name][0], statistics.median(values), tail, values[-1])
        rows.append((title, *(f"{figure:,}" for figure in figures)))
    story.table("What is sent", ("", "from nothing", "median", "95 %", "most"), rows)
    counted = account.counted
    whats = {
        "covered": "entries that used a dying link and had another hop",
        "bare": "entries that used a dying link and had none",
        "holes": "of these, lost until the routes followed",
        "cut off": "pairs at rest that no link joined",
        "walks": "packets walked",
    }
    for name, title in whats.items():
        results.add(title, "hactrl", "number", [counted[name]])
    story.table("Packets", ("", "number"), [(t, f"{counted[n]:,}") for n, t in whats.items()])


def judge(story: Story, results: Results, account: RepairAccount, when: str = "") -> None:
    """Every promise, with the first case in which it did not hold."""
    for name, promise in PROMISES.items():
        found = account.faults[name]
        results.add(f"{when}{name}", "hactrl", "breaches", [len(found)])
        otherwise = f"{len(found)} times, first: {found[0]}" if found else ""
        story.expect(not found, f"{when}{promise}", otherwise)
