"""Segments, switches, links, ports and cards: does what is plugged together fit?"""

from __future__ import annotations

import networkx

from hactrl.site.checker import Checker, listed
from hactrl.site.errors import Path
from hactrl.site.schema import HIGHEST_COST, InterfacePart, ProberPart, SegmentPart
from topology.model import Subnet


class NetworkChecks(Checker):
    """All that can be told without looking at roles."""

    def run(self) -> None:
        self._switches()
        for name, segment in self.site.segments.items():
            self._segment(name, segment)
        self._networks_apart()
        self._ports()
        self._cards()

    def _switches(self) -> None:
        names: list[tuple[Path, str]] = []
        numbers: list[tuple[Path, str]] = []
        for segment, part in self.site.segments.items():
            for switch, described in part.switches.items():
                path: Path = ("segments", segment, "switches", switch)
                names.append((path, switch))
                numbers.append(((*path, "datapath_id"), f"{described.datapath_id:#x}"))
        self.once(names, "the name")
        self.once(numbers, "the datapath id")

    def _segment(self, name: str, segment: SegmentPart) -> None:
        if segment.discover and not segment.backbone and not self.cut("segments", name, "backbone"):
            self.document.add(
                ("segments", name, "discover"),
                f"{name} is no backbone, so that no link is used which is not declared",
                "discover: false, or 'backbone: true' beside it",
            )
        graph = self._links(name, segment)
        self._costs(name, segment)
        if not segment.discover:  # where links are discovered, others may join what is apart here
            self._joined(name, graph)
        if segment.prober is not None:
            self._prober(name, segment.prober, segment.networks)

    def _links(self, name: str, segment: SegmentPart) -> networkx.Graph[str]:
        """The switches with the links that are right."""
        path: Path = ("segments", name)
        graph: networkx.Graph[str] = networkx.Graph()
        graph.add_nodes_from(segment.switches)
        for index, link in enumerate(segment.links):
            ends = [(*path, "links", index, end) for end in (0, 1)]
            if (*path, "links", index, "ends") in self.document.lines:
                ends = [(*path, "links", index, "ends", end) for end in (0, 1)]
            if all([self.attached(*pair, name) for pair in zip(ends, link.ends, strict=True)]):
                if link.ends[0].switch == link.ends[1].switch:
                    self.document.add(ends[1], "the link ends where it begins", "another switch")
                graph.add_edge(link.ends[0].switch, link.ends[1].switch)
        return graph

    def _costs(self, name: str, segment: SegmentPart) -> None:
        """A cost beside a bandwidth would leave open which holds; and of links with a bandwidth
        and links with nothing, these would be taken for the fastest."""
        path = ("segments", name)
        if self.cut(*path, "links"):
            return
        for index, link in enumerate(segment.links):
            here: Path = (*path, "links", index)
            if link.bandwidth is None:
                if segment.bandwidths and link.cost is None:
                    what = "the link has no bandwidth, and others of its segment have one"
                    self.document.add(here, what, "a bandwidth or a cost")
            elif link.cost is not None:
                what = "the link has both a cost and a bandwidth"
                self.document.add((*here, "bandwidth"), what, "one of the two")
            elif (cost := segment.cost_of(link)) > HIGHEST_COST:
                what = f"the link would cost {cost}, by its bandwidth and the reference"
                expected = (
                    f"a cost of its own, or a reference_bandwidth that makes it {HIGHEST_COST}"
                )
                self.document.add((*here, "bandwidth"), what, f"{expected} at most")
        if segment.reference_bandwidth and not segment.bandwidths:
            what = f"no link of {name} has a bandwidth"
            self.document.add((*path, "reference_bandwidth"), what, "links with a bandwidth")

    def _joined(self, name: str, graph: networkx.Graph[str]) -> None:
        if self.cut("segments", name):
            return
        for group in sorted(networkx.connected_components(graph), key=len)[:-1]:
            self.document.add(
                ("segments", name, "switches", min(group)),
                f"no link leads from {', '.join(sorted(group))} to the rest of {name}",
                "links that join all switches of a segment",
            )

    def _prober(self, name: str, prober: ProberPart, networks: list[Subnet]) -> None:
        path: Path = ("segments", name, "prober")
        self.attached((*path, "attachment"), prober.attachment, name)
        for index, pool in enumerate(prober.addresses):
            if not self.cut("segments", name, "networks") and not any(
                pool.version == network.version and pool.subnet_of(network) for network in networks
            ):
                self.document.add(
                    (*path, "addresses", index),
                    f"{pool} is outside the networks of {name}",
                    listed(networks),
                )

    def _networks_apart(self) -> None:
        seen: list[tuple[str, Subnet]] = []
        for name, segment in self.site.segments.items():
            for index, network in enumerate(segment.networks):
                for other, theirs in seen:
                    if theirs.overlaps(network):
                        self.document.add(
                            ("segments", name, "networks", index),
                            f"{network} overlaps {theirs} of {other}",
                            "networks that do not overlap",
                        )
                seen.append((name, network))

    def _ports(self) -> None:
        places: list[tuple[Path, str]] = []
        for name, segment in self.site.segments.items():
            path: Path = ("segments", name)
            for index, link in enumerate(segment.links):
                for end in (0, 1):
                    places.append(((*path, "links", index, end), str(link.ends[end])))
            if segment.prober is not None:
                places.append(((*path, "prober", "attachment"), str(segment.prober.attachment)))
        places += [((*path, "attachment"), str(card.attachment)) for path, card in self.cards()]
        places += [((*path, "attachment"), str(at.attachment)) for path, _, at in self.file_cards()]
        self.once(places, "port")

    def _cards(self) -> None:
        cards = {str(path[-1]): (path, card) for path, card in self.cards()}
        paths = [path for path, _ in self.cards()] + [path for path, _, _ in self.file_cards()]
        self.once(((path, str(path[-1])) for path in paths), "the name")
        for path, card in self.cards():
            known = self.known(
                (*path, "segment"), "segment", card.segment, self.written("segments")
            )
            if known and card.segment in self.site.segments:
                self.attached((*path, "attachment"), card.attachment, card.segment)
            if card.redundant_for is not None:
                self._stands_in(path, card, cards)

    def _stands_in(
        self, path: Path, card: InterfacePart, cards: dict[str, tuple[Path, InterfacePart]]
    ) -> None:
        here = (*path, "redundant_for")
        name = str(card.redundant_for)
        if not self.known(here, "interface", name, self.written_cards) or name not in cards:
            return
        other_path, other = cards[name]
        primaries = [
            n
            for n, (p, c) in cards.items()
            if c.redundant_for is None and c.segment == card.segment and p[1] != path[1]
        ]
        expected = "a primary interface of another server on this segment"
        if primaries:
            expected += f": {', '.join(primaries)}"
        if other_path[1] == path[1]:
            self.document.add(here, f"{name} is a card of the same server", expected)
        elif other.redundant_for is not None:
            self.document.add(here, f"{name} is itself redundant", expected)
        elif other.segment != card.segment and other.segment in self.site.segments:
            self.document.add(here, f"{name} is on segment {other.segment}", expected)
