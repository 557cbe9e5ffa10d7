"""A backbone whose switches are not real: what each holds is a value, and the packet walker says
what becomes of packets. With it a controller that only plans and compiles, by hactrl's own planner.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address, ip_network

from flows.backbone.locators import Locators
from flows.diff import Change, apply_all
from flows.intents import Intents, Nearest
from flows.pipeline import FORWARD
from flows.planner import Planner, PlanStep
from flows.rules import Group, Rule, RuleSet, ToGroup
from flows.walk.packet import Packet, arp_request, mac, udp
from flows.walk.trace import (
    Crossed,
    Delivered,
    Dropped,
    Ending,
    Grouped,
    Looped,
    ToController,
    Trace,
)
from flows.walk.trace import TraceStep as Walked
from flows.walk.walker import Walker
from mininet_lab.graphs import Graph
from topology.graph import LiveGraph
from topology.model import (
    Attachment,
    FileServer,
    Host,
    Interface,
    Link,
    Network,
    Segment,
    Switch,
    derived_mac,
)
from topology.paths.routes import Destination, Routes, differing
from topology.pauses import Pause, no_pause

#: Ports of every switch: the client's, the file servers' from here on, the trunks' from here on.
CLIENT, CARDS, TRUNKS = 1, 2, 21

_SEGMENT = "backbone"
_NOBODY = "10.0.255.1"

Changes = Mapping[str, Sequence[Destination]]


def network_of(graph: Graph, servers: int, interfaces: int, seed: int) -> Network:
    """A backbone with these switches and links, and file servers on random switches."""
    generator, names = random.Random(seed), sorted(graph)
    switches = {name: Switch(name, n, _SEGMENT) for n, name in enumerate(names, 1)}
    free = dict.fromkeys(names, TRUNKS)
    links = []
    for edge in sorted(graph.edges()):
        a, b = (Attachment(switch, free[switch]) for switch in edge)
        for switch in edge:
            free[switch] += 1
        links.append(Link(a, b))
    found = {}
    for number in range(servers):
        name, port = f"files{number}", CARDS + number
        cards = tuple(
            Interface(at + name, name, _SEGMENT, Attachment(at, port), derived_mac(at + name))
            for at in generator.sample(names, interfaces)
        )
        own = ip_address(f"10.0.0.{number + 1}")
        found[name] = FileServer(name, _SEGMENT, derived_mac(name), (own,), cards)
    segment = Segment(_SEGMENT, (ip_network("10.0.0.0/16"),), backbone=True)
    return Network({_SEGMENT: segment}, switches, tuple(links), file_servers=found)


def history(links: Sequence[Link], events: int, most: int, seed: int) -> list[frozenset[Link]]:
    """Which links are down, at first none, and then after each event: a random one goes, or of
    those that are down, never more than `most`, one comes back."""
    generator = random.Random(seed)
    found = [frozenset[Link]()]
    for _ in range(events):
        down = found[-1]
        back = bool(down) and (len(down) >= most or generator.random() < 0.5)
        link = generator.choice([link for link in links if (link in down) == back])
        found.append(down ^ {link})
    return found


@dataclass(frozen=True)
class SimulatedSite:
    """A network in which all is plugged in and every client is known."""

    network: Network

    @cached_property
    def clients(self) -> dict[str, Host]:
        """By switch."""
        return {
            name: Host(
                derived_mac(f"client {name}"),
                Attachment(name, CLIENT),
                number,
                (ip_address("10.0.1.0") + number,),
            )
            for number, name in enumerate(self.network.switches, 1)
        }

    @cached_property
    def wishes(self) -> Intents:
        servers = self.network.file_servers.values()
        nearest = tuple(Nearest(server, server.interfaces) for server in servers)
        return Intents(nearest=nearest, hosts=tuple(self.clients.values()))

    @cached_property
    def graph(self) -> LiveGraph:
        """With all links: rules know from routes alone which are down."""
        ours = {client.attachment for client in self.clients.values()}
        ours |= {card.attachment for card in self.network.file_interfaces.values()}
        ours |= self.network.trunk_ports
        up = {name: {end.port for end in ours if end.switch == name} for name in self.clients}
        return LiveGraph.of(self.network, ports_up=up)

    @cached_property
    def locators(self) -> Locators:
        return Locators.of(self.network)

    @cached_property
    def numbers(self) -> dict[int, Destination]:
        """Destinations by what the rules toward them match."""
        prefix = self.locators.prefix
        found = {prefix(name)[0]: Destination.switch(name) for name in self.clients}
        for server in self.network.file_servers.values():
            found[mac(server.mac)] = Destination.file_server(server.name)
        return found

    def homes(self, destination: Destination) -> frozenset[str]:
        """The switches where it is plugged in."""
        if destination.kind == "switch":
            return frozenset({destination.name})
        cards = self.network.file_servers[destination.name].interfaces
        return frozenset(card.attachment.switch for card in cards)

    def packet(self, switch: str, destination: Destination) -> Packet:
        """From the client at a switch to a file server, or to the client at another one."""
        sender = self.clients[switch]
        if destination.kind == "switch":
            receiver = self.clients[destination.name]
            name, address = self.locators.host(receiver), receiver.addresses[0]
        else:
            server = self.network.file_servers[destination.name]
            name, address = mac(server.mac), server.addresses[0]
        ends = (str(sender.addresses[0]), 50000), (str(address), 9)
        return udp((sender.mac, derived_mac("anybody")), *ends).with_(eth_dst=name)

    def arrives(self, ends: Sequence[Ending], destination: Destination) -> bool:
        """Whether nothing else can become of it."""
        return bool(ends) and all(self.is_for(ending, destination) for ending in ends)

    def is_for(self, ending: Ending, destination: Destination) -> bool:
        """Whether it is a delivery to the right one, by its own MAC."""
        if not isinstance(ending, Delivered):
            return False
        receivers: Sequence[Host | Interface]
        if destination.kind == "switch":
            receivers = (self.clients[destination.name],)
        else:
            receivers = self.network.file_servers[destination.name].interfaces
        found = (ending.attachment, ending.packet["eth_dst"])
        return any(found == (one.attachment, mac(one.mac)) for one in receivers)


@dataclass(frozen=True)
class World:
    """What all switches hold, and which links are down, at one moment."""

    site: SimulatedSite
    held: Mapping[str, RuleSet]
    walker: Walker
    down: frozenset[Link] = frozenset()

    @classmethod
    def empty(cls, site: SimulatedSite, down: Set[Link] = frozenset()) -> World:
        held = dict.fromkeys(site.network.switches, RuleSet())
        return cls(site, held, Walker(held, site.network.links), frozenset(down))

    def after(self, switch: str, changes: Iterable[Change]) -> World:
        """The switch has carried out these."""
        held = apply_all(self.held[switch], changes)
        return replace(
            self, held={**self.held, switch: held}, walker=self.walker.replaced(switch, held)
        )

    @cached_property
    def _dead(self) -> frozenset[Attachment]:
        return frozenset(end for link in self.down for end in (link.a, link.b))

    def trunks_up(self, switch: str) -> list[Attachment]:
        trunks = self.site.network.trunk_ports - self._dead
        return sorted(end for end in trunks if end.switch == switch)

    def walk(self, packet: Packet, at: Attachment) -> Trace:
        dead = self._dead
        return self.walker.walk(lambda end: end not in dead, packet, at)

    def send(self, switch: str, destination: Destination) -> list[Ending]:
        """Where it can end, whatever select groups choose."""
        client = self.site.clients[switch]
        return endings(self.walk(self.site.packet(switch, destination), client.attachment))

    def brings(self, switch: str, destination: Destination) -> bool:
        """Whether it arrives, whatever select groups choose."""
        return self.site.arrives(self.send(switch, destination), destination)

    def flood(self, switch: str) -> Trace:
        """The client there asks everybody for somebody whom nobody knows."""
        client = self.site.clients[switch]
        question = arp_request((client.mac, str(client.addresses[0])), _NOBODY)
        return self.walk(question, client.attachment)


class Controller:
    """What a controller does after each link that goes or comes back: `planner` is the one that
    hactrl runs. It begins when these links are down; `pause` is called while it works."""

    def __init__(
        self, site: SimulatedSite, down: Set[Link] = frozenset(), pause: Pause = no_pause
    ) -> None:
        self.planner = Planner(pause)
        self._site = site
        self._down = frozenset(down)
        self.begun = self._plan(None)

    def turn(self, link: Link, standing: Routes | None = None) -> Sequence[PlanStep]:
        """The steps that follow when a link has gone, or has come back. `standing`: the routes
        that switches have now, where these are not yet the latest."""
        self._down ^= {link}
        return self._plan(standing or self.planner.routes)

    def _plan(self, standing: Routes | None) -> Sequence[PlanStep]:
        ends = {end for link in self._down for end in (link.a, link.b)}
        graph = replace(self._site.graph, down_ports=frozenset(ends))
        return self.planner.plan(graph, self._site.wishes, standing)


def groups_of(rules: Iterable[Rule], groups: Mapping[int, Group]) -> dict[int, Group]:
    """Those that rules of table `forward` send to, and those that these send to."""
    found: dict[int, Group] = {}
    todo = [action for rule in rules if rule.table == FORWARD.number for action in rule.apply]
    while todo:
        action = todo.pop()
        if isinstance(action, ToGroup) and action.group not in found:
            found[action.group] = groups[action.group]
            todo += (inner for bucket in groups[action.group].buckets for inner in bucket.actions)
    return found


def endings(trace: Trace) -> list[Ending]:
    """What can become of the packet; of ways that meet only once."""
    found: list[Ending] = []
    met: set[int] = set()
    todo: list[Walked] = list(trace.root.steps)
    while todo:
        match todo.pop():
            case Grouped(_, branches):
                todo += (step for branch in branches for step in branch.steps)
            case Crossed(_, visit):
                if id(visit) not in met:
                    met.add(id(visit))
                    todo += visit.steps
            case Delivered() | ToController() | Dropped() | Looped() as ending:
                found.append(ending)
            case _:
                pass
    return found


def changes(old: Routes, new: Routes, pause: Pause = no_pause) -> Changes:
    """By switch the destinations toward which it sends otherwise; none where only its flood tree
    is another one."""
    found: dict[str, list[Destination]] = {
        switch: []
        for switch in {**old.tree, **new.tree}
        if old.tree.get(switch) != new.tree.get(switch)
    }
    for destination in {**old.hops, **new.hops}:
        pause()
        for switch in differing(old.toward(destination), new.toward(destination)):
            found.setdefault(switch, []).append(destination)
    return found
