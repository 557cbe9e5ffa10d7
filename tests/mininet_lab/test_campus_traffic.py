"""What is counted on the campus, and what is promised of it: without switches."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from hactrl.site import load
from hactrl.site.model import Site
from mininet_lab.campus import SITE_FILE, site_text
from mininet_lab.campus_traffic import (
    BEST,
    CROWD,
    EVERYWHERE,
    NEAREST,
    SERVER,
    SIZE,
    SPREAD,
    TURNS,
    USUAL,
    Counted,
    Scene,
    judge,
    show,
    systems,
)
from mininet_lab.report import Story

SITE = load(SITE_FILE)
PLACEMENTS = pytest.mark.parametrize("placement", [EVERYWHERE, CROWD], ids=lambda one: one.name)


def played(tmp_path: Path, placement: Scene, system: str) -> Site:
    """The site that a system is counted on."""
    file = tmp_path / "site.yaml"
    file.write_text(site_text(systems(SITE, placement)[system], placement.ports))
    return load(file)


def offsets(site: Site) -> dict[str, int]:
    cards = site.network.file_servers[SERVER].interfaces
    return {card.attachment.switch: card.offset for card in cards if card.offset}


def counted(offset: int = 0, broken: tuple[str, ...] = (), **heaviest: int) -> dict[str, Counted]:
    """Of one link, which carries ten files unless `heaviest` has another number for the system."""
    return {
        system: Counted(
            {"r3:14-r4:13": heaviest.get(system, 10) * SIZE},
            {"files-3": offset if system == SPREAD else 0},
            broken if system == NEAREST else (),
        )
        for system in (USUAL, BEST, TURNS, NEAREST, SPREAD)
    }


def verdict(found: dict[str, Counted]) -> tuple[int, str]:
    text = io.StringIO()
    story = Story("traffic", Console(file=text, width=200))
    show(CROWD, found, story)
    judge(found, story)
    return story.finish(), text.getvalue()


@PLACEMENTS
@pytest.mark.parametrize("system", [USUAL, BEST, TURNS, NEAREST, SPREAD])
def test_each_site_is_right_and_says_how_many_clients_each_switch_has(
    tmp_path: Path, placement: Scene, system: str
) -> None:
    network = played(tmp_path, placement, system).network
    declared = {switch.name: switch.clients for switch in network.switches.values()}
    assert declared == dict.fromkeys(declared, 0) | Counter(p.switch for p in placement.ports)
    cards = {card.attachment for card in network.file_interfaces.values()}
    assert len({*placement.ports}) == len(placement.ports)
    assert not {*placement.ports} & (network.trunk_ports | cards)


@PLACEMENTS
def test_spread_has_the_interfaces_of_nearest(tmp_path: Path, placement: Scene) -> None:
    near, far = (
        played(tmp_path, placement, system).network.file_servers[SERVER]
        for system in (NEAREST, SPREAD)
    )
    assert far.policy == "spread"
    assert [card.attachment for card in far.interfaces] == [
        card.attachment for card in near.interfaces
    ]
    assert {card.attachment.switch for card in far.interfaces} == {*placement.homes}


def test_offsets_help_the_crowd_and_nobody_where_clients_are_everywhere(tmp_path: Path) -> None:
    assert not offsets(played(tmp_path, EVERYWHERE, SPREAD))
    assert offsets(played(tmp_path, CROWD, SPREAD)) == {"r3": 1}
    assert not offsets(played(tmp_path, CROWD, NEAREST))


def test_spread_that_loads_a_link_more_than_nearest_breaks_the_promise() -> None:
    assert verdict(counted(offset=1, spread=11))[0] == 0  # a part of it was sent again
    status, told = verdict(counted(offset=1, spread=12))
    assert status == 1
    assert "files-3 +1" in told


def test_nothing_is_promised_of_spread_without_offsets() -> None:
    status, told = verdict(counted(spread=12))
    assert status == 0
    assert "no offset that helps" in told


def test_a_file_that_did_not_arrive_whole_breaks_the_promise() -> None:
    status, told = verdict(counted(broken=("client4",)))
    assert status == 1
    assert "client4" in told
