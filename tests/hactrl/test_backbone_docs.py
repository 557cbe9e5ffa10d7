"""docs/backbone.md tells of examples/campus.yaml what is so: names, costs, hops and rounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.backbone.locators import Locators
from hactrl.site import load
from topology import backbones
from topology.graph import LiveGraph
from topology.model import Link
from topology.paths.rounds import order, port_neighbours
from topology.paths.routes import Destination
from topology.paths.trees import Trees

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backbone.md").read_text(encoding="utf-8")
NETWORK = load(ROOT / "examples" / "campus.yaml").network
SWITCHES = sorted(NETWORK.switches)
FAILING = next(link for link in NETWORK.links if {link.a.switch, link.b.switch} == {"r1", "r6"})


def everything_up() -> Trees:
    live = {server.name: server.interfaces for server in NETWORK.file_servers.values()}
    return backbones.trees(LiveGraph.of(NETWORK), live)


def rounds_without(link: Link) -> dict[Destination, list[list[str]]]:
    """For each destination the switches that change in each round, when this link has failed."""
    trees = everything_up()
    before = trees.routes({})
    trees.remove_link(link.a.switch, link.b.switch, str(link))
    after = trees.routes({})
    beside = port_neighbours(trees.graph)
    return {
        to: [sorted(ready) for ready in order(beside, before.toward(to), after.toward(to))]
        for to in after.hops
    }


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables under a heading, without their heads."""
    section = PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    tables = re.findall(r"^\|[-|]+\|\n((?:\|.*\n)+)", section, re.MULTILINE)
    return [[c.strip() for c in row.split("|")[1:-1]] for row in "".join(tables).splitlines()]


def test_each_switch_has_the_locators_that_are_told() -> None:
    locators = Locators.of(NETWORK)
    octets = {name: locators.prefix(name)[0].to_bytes(6).hex(":")[:8] for name in SWITCHES}
    assert rows("Locators") == [[name, f"`{octets[name]}`"] for name in SWITCHES]


def test_ways_cost_what_is_told() -> None:
    trees = everything_up()
    told = {str(to): [str(trees.cost(to, name)) for name in SWITCHES] for to in trees.sources}
    assert [row[0] for row in rows("Costs")] == [
        "file server archive",
        "file server files",
        "switch r6",
    ]
    for destination, *costs in rows("Costs"):
        assert costs == told[destination]


def test_the_hops_of_a_switch_are_those_that_are_told() -> None:
    hops = everything_up().hops(Destination.file_server("archive"), "r5")
    told = {kind: cell.split()[0] for kind, _, cell in rows("Next hops")}
    assert told == {
        "equal": " ".join(map(str, hops.equal)),
        "downstream": " ".join(map(str, hops.downstream)),
        "alternate": " ".join(map(str, hops.alternates)),
    }


def test_the_rounds_of_the_failure_are_those_that_are_told() -> None:
    rounds = rounds_without(FAILING)[Destination.switch("r6")]
    told = [[number, changes] for number, changes, _ in rows("Rounds")]
    assert told == [[str(n), ", ".join(those)] for n, those in enumerate(rounds, start=1)]


@pytest.mark.parametrize("link", NETWORK.links, ids=str)
def test_no_other_link_of_the_campus_needs_two_rounds(link: Link) -> None:
    most = max(map(len, rounds_without(link).values()))
    assert most == (2 if link == FAILING else 1)
