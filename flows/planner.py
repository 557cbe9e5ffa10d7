"""Keeps the routes of the backbones up to date, and plans how switches get from one to another.

live graph, intents ──► trees (incremental) ──► routes ──► rounds ──► steps
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from flows.backbone.compile import BackboneCompiler
from flows.intents import Intents, Nearest
from flows.rules import RuleSet
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Attachment, Interface, Link
from topology.paths.rounds import rounds
from topology.paths.routes import Destination, Routes, differing
from topology.paths.trees import Trees
from topology.pauses import Pause, no_pause

#: Where more than this part of the links changes at once, all trees are computed anew.
_MANY = 0.25


@dataclass(frozen=True)
class PlanStep:
    """What switches should hold for a while. `routes`: what it is compiled from; None where no
    rule depends on routes that must stay together. `changed`: the switches that differ from the
    step before; None where all may."""

    rules_of: Callable[[str], RuleSet]
    routes: Routes | None = None
    changed: frozenset[str] | None = None


class Planner:
    """It keeps nothing that could not be computed from what it is given last: only how that is
    computed faster (law 2).

    `changes` grows whenever routes or live interfaces of file servers have changed, and before
    anything that `nearest` depends on does: others may look between, in a pause.
    """

    def __init__(self, pause: Pause = no_pause) -> None:
        self.changes = 0
        self._pause = pause
        self._latest: tuple[Routes, tuple[Nearest, ...]] | None = None
        self._trees: Trees | None = None
        self._links: Mapping[Attachment, Link] = {}
        self._compiler = BackboneCompiler()
        self._surroundings: tuple[object, ...] | None = None

    @property
    def trees(self) -> Trees:
        """Those of what was followed last."""
        assert self._trees is not None, "nothing has been followed yet"
        return self._trees

    @property
    def routes(self) -> Routes:
        """Those of what was followed last."""
        assert self._latest is not None, "nothing has been followed yet"
        return self._latest[0]

    def plan(
        self, graph: LiveGraph, intents: Intents, standing: Routes | None
    ) -> Sequence[PlanStep]:
        """The steps from the routes that stand (None: unknown) to those of the live graph, at
        least one. In the first one every switch may change, unless nothing but routes has."""
        routes = self.follow(graph, intents)
        former, self._surroundings = self._surroundings, _surroundings(graph, intents)
        self._pause()
        rules_of = partial(self._compiler.at, graph, intents)
        if standing is None or former is None:
            return (PlanStep(rules_of(routes), routes),)
        same = former == self._surroundings
        self._pause()
        steps: list[PlanStep] = []
        latest = standing
        planned = rounds(self.trees.graph, standing, routes, self._pause)
        for then in planned or (routes,):
            changed = frozenset(self._differing(latest, then)) if same or steps else None
            steps.append(PlanStep(rules_of(then), then, changed))
            latest = then
        return steps

    def follow(self, graph: LiveGraph, intents: Intents) -> Routes:
        """The routes of a live graph, from the trees of the one before."""
        former, self._links = self._links, backbones.links(graph)
        self._pause()
        gone, come = _missing(former, self._links), _missing(self._links, former)
        latest = self._latest
        touched = latest is None or bool(gone or come) or latest[1] != intents.nearest
        self.changes += touched
        if latest is None or gone or come:
            tree: Mapping[str, tuple[int, ...]] = backbones.flood_tree(graph, self._pause)
        else:
            tree = latest[0].tree
        live = {nearest.server.name: nearest.live for nearest in intents.nearest}
        self._trees = self._followed(graph, live, gone, come)
        self._latest = self._trees.routes(tree), intents.nearest
        self.changes += touched
        return self._latest[0]

    def nearest(self, server: str, switch: str) -> frozenset[str]:
        """The live interfaces of a file server that no other is nearer to a switch than, offsets
        included, by name; none while no way is known."""
        if self._trees is None or self._latest is None:
            return frozenset()
        live = (card for n in self._latest[1] if n.server.name == server for card in n.live)
        near = self._trees.ends(Destination.file_server(server), switch)
        return frozenset(card.name for card in live if card.attachment.switch in near)

    def _followed(
        self,
        graph: LiveGraph,
        live: Mapping[str, tuple[Interface, ...]],
        gone: Sequence[Link],
        come: Sequence[Link],
    ) -> Trees:
        """The trees, after all that has changed."""
        trees = self._trees
        many = len(gone) + len(come) > 1 + _MANY * len(self._links)
        if trees is None or many or set(trees.graph) != backbones.members(graph):
            return backbones.trees(graph, live, self._pause)
        for link in gone:
            self._pause()
            trees.remove_link(link.a.switch, link.b.switch, str(link))
        for link in come:
            self._pause()
            a, b = link.a, link.b
            ports = {a.switch: a.port, b.switch: b.port}
            trees.add_link(a.switch, b.switch, str(link), link.cost, ports)
        for destination, offsets in backbones.sources(graph.network, live).items():
            self._pause()
            trees.set_sources(destination, offsets)
        return trees

    def _differing(self, one: Routes, other: Routes) -> set[str]:
        """The switches whose routes are not the same."""
        switches = {s for s in {**one.tree, **other.tree} if one.tree.get(s) != other.tree.get(s)}
        for destination in {**one.hops, **other.hops}:
            self._pause()
            switches |= differing(one.toward(destination), other.toward(destination))
        return switches


def _missing(one: Mapping[Attachment, Link], other: Mapping[Attachment, Link]) -> list[Link]:
    """Those of `one` that `other` has not."""
    return [link for end, link in one.items() if other.get(end) != link]


def _surroundings(graph: LiveGraph, intents: Intents) -> tuple[object, ...]:
    """Where they are equal, switches with the same routes have the same rules. Which of their
    ports are trunks and hosts' comes from network and graph; that a trunk is down, only the routes
    tell them."""
    network = graph.network
    host_ports = {name: graph.host_ports(name) for name in backbones.backbone_switches(network)}
    return network, intents, host_ports
