"""Clients are brought to interfaces that work."""

from __future__ import annotations

from dataclasses import replace

from campus_network import campus, site_of

from hactrl.control.wanted import intents
from hactrl.engine.backbone import nearest
from hactrl.engine.decide import decide, initial
from hactrl.engine.events import PortChanged, ProbeChanged, SwitchConnected
from hactrl.engine.state import State
from hactrl.health.targets import targets
from hactrl.vocabulary import Verdict
from topology.model import Attachment

NETWORK = campus([("a", "b"), ("b", "c")], ["a", "c"], prober="b")
SERVER = NETWORK.file_servers["files"]


def after(*events: PortChanged | ProbeChanged | SwitchConnected) -> State:
    state = initial(site_of(NETWORK), {}, 0.0)
    for number, event in enumerate(events, 1):
        state, _ = decide(state, event, float(number))
    return state


def connected(switch: str) -> SwitchConnected:
    ports = {e.port for e in NETWORK.trunk_ports if e.switch == switch} | {1, 2, 4}
    return SwitchConnected(switch, frozenset(ports))


def judged(interface: str, verdict: Verdict) -> ProbeChanged:
    return ProbeChanged("files", "smb", interface, verdict, "timeout")


def live(state: State) -> list[str]:
    return [card.name for card in nearest.live(state, SERVER)]


def test_before_anything_is_known_all_interfaces_are_used() -> None:
    assert live(after()) == ["a-2", "c-2"]


def test_an_interface_whose_port_is_down_is_not_used() -> None:
    events = connected("a"), PortChanged(Attachment("a", 2), up=False)
    assert live(after(*events)) == ["c-2"]


def test_an_interface_whose_probe_fails_is_not_used() -> None:
    assert live(after(judged("a-2", Verdict.UNHEALTHY))) == ["c-2"]


def test_an_interface_that_answers_again_is_used_again() -> None:
    events = judged("a-2", Verdict.UNHEALTHY), judged("a-2", Verdict.HEALTHY)
    assert live(after(*events)) == ["a-2", "c-2"]


def test_probes_that_fail_everywhere_close_nothing() -> None:
    events = judged("a-2", Verdict.UNHEALTHY), judged("c-2", Verdict.UNHEALTHY)
    assert live(after(*events)) == ["a-2", "c-2"]


def test_a_prober_that_is_cut_off_judges_nobody() -> None:
    events = (
        connected("b"),
        judged("a-2", Verdict.UNHEALTHY),
        PortChanged(Attachment("b", 4), up=False),
    )
    assert live(after(*events)) == ["a-2", "c-2"]


def test_an_interface_that_no_link_joins_to_the_prober_serves_its_own_side() -> None:
    cut = next(link.a for link in NETWORK.links if "c" in (link.a.switch, link.b.switch))
    events = (
        connected("b"),
        connected("c"),
        PortChanged(cut, up=False),
        judged("c-2", Verdict.UNHEALTHY),
    )
    assert live(after(*events)) == ["a-2", "c-2"]
    assert live(after(*events, PortChanged(cut, up=True))) == ["a-2"]


def test_every_change_of_it_changes_what_the_switches_should_hold() -> None:
    before, failed = after(), after(judged("a-2", Verdict.UNHEALTHY))
    assert failed.version > before.version
    (wanted,) = intents(failed.site, failed.outlook).nearest
    assert [card.name for card in wanted.live] == ["c-2"]


def test_each_service_is_probed_through_each_interface_in_both_families() -> None:
    probed = targets(site_of(NETWORK))
    assert {(p.role, p.service, p.interface) for p in probed} == {
        ("files", "smb", "a-2"),
        ("files", "smb", "c-2"),
    }
    assert all(len(p.routes) == 2 for p in probed)


def test_a_segment_without_a_prober_has_nothing_probed() -> None:
    alone = campus([("a", "b")], ["a"])
    assert targets(replace(site_of(NETWORK), network=alone)) == ()
