"""Hosts and links as the engine's state: what changes the rules, and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import AnnounceHost, AskHost, Effect, KeepHosts, Record, SendAgain, Wake
from hactrl.engine.events import (
    Event,
    HostSighted,
    LinkHeard,
    PortChanged,
    SwitchConnected,
    SwitchLost,
    Tick,
)
from hactrl.engine.state import State
from hactrl.site import load
from topology.hosts import ADDRESSES_OF_A_HOST, PATIENCE, REMEMBERED, Sighting
from topology.model import Attachment, Host, Link, Network, Segment, Switch

EXAMPLE = Path(__file__).parents[3] / "examples" / "frontier.yaml"
A1, A5, B1, B5 = (Attachment(t[0], int(t[1])) for t in ("a1", "a5", "b1", "b5"))
ANN, EVE = "00:16:3e:00:00:01", "00:16:3e:00:00:02"


def start() -> State:
    campus = Segment("campus", (ip_network("10.0.0.0/16"),), backbone=True)
    switches = {name: Switch(name, n, "campus") for n, name in enumerate("ab", start=1)}
    network = Network({"campus": campus}, switches, (Link(A1, B1),))
    state = initial(replace(load(EXAMPLE), network=network, roles={}), {}, 0.0)
    ports = frozenset({1, 5, 9})
    return tell(state, SwitchConnected("a", ports), SwitchConnected("b", ports))[0]


def tell(state: State, *events: Event, now: float = 1.0) -> tuple[State, list[Effect]]:
    done: list[Effect] = []
    for event in events:
        state, effects = decide(state, event, now)
        done += effects
    return state, done


def sighted(mac: str, port: Attachment, packet: bytes = b"frame") -> HostSighted:
    return HostSighted(Sighting(mac, port, ip_address("10.0.1.1")), packet)


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects if isinstance(effect, Record)]


def test_a_new_host_changes_the_rules_and_its_first_packet_is_sent_again() -> None:
    before = start()
    state, effects = tell(before, sighted(ANN, A5))
    assert state.version == before.version + 1
    assert [host.mac for host in state.outlook.hosts] == [ANN]
    assert SendAgain(A5, b"frame") in effects
    assert kinds(effects) == ["host.learnt"]


def test_a_claim_asks_the_holder_and_wakes_when_its_time_is_over() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    state, effects = tell(state, sighted(ANN, B5), now=2.0)
    assert [e.host.attachment for e in effects if isinstance(e, AskHost)] == [A5]
    assert Wake(2.0 + PATIENCE) in effects
    state, effects = tell(state, Tick(), now=2.0 + PATIENCE)
    assert kinds(effects) == ["host.moved"]
    assert state.host_table.hosts[ANN].attachment == B5
    assert AnnounceHost(state.host_table.hosts[ANN]) in effects


def test_an_address_that_another_host_has_got_is_announced() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    state, effects = tell(state, sighted(EVE, B5), now=2.0)
    assert not any(isinstance(e, AnnounceHost) for e in effects)
    state, effects = tell(state, Tick(), now=2.0 + PATIENCE)
    assert AnnounceHost(state.host_table.hosts[EVE]) in effects


def test_what_another_host_did_not_have_is_not_announced() -> None:
    """A host with a full list changed its addresses, and nobody knows them by another name."""
    own = [ip_address(f"10.0.2.{n}") for n in range(ADDRESSES_OF_A_HOST + 1)]
    events = [HostSighted(Sighting(ANN, A5, address), b"") for address in own]
    state, _ = tell(start(), *events)
    state, effects = tell(state, Tick(), now=2.0 + PATIENCE)
    assert state.host_table.hosts[ANN].addresses == tuple(own[1:])
    assert not any(isinstance(e, AnnounceHost) for e in effects)


def test_the_hosts_of_a_dead_switch_are_learnt_where_they_come_up_again() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    state, _ = tell(state, SwitchLost("a"), PortChanged(B1, False))
    state, effects = tell(state, sighted(ANN, B5), now=2.0)
    assert kinds(effects) == ["host.moved"]
    assert state.host_table.hosts[ANN].attachment == B5


def test_a_controller_that_starts_while_a_switch_is_dead_learns_its_hosts_elsewhere() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    again = initial(state.site, {}, 0.0, state.outlook.hosts)
    again, _ = tell(again, SwitchConnected("b", frozenset({5, 9})), sighted(ANN, B5))
    assert again.host_table.hosts[ANN].attachment == B5


def test_an_address_that_two_hosts_had_on_backbones_that_are_one_now_is_the_first_ones() -> None:
    shared = (ip_address("fe80::1"),)
    known = [Host(ANN, A5, 1, shared), Host(EVE, B5, 2, shared)]
    table = initial(start().site, {}, 0.0, known).host_table
    assert [host.addresses for host in table.hosts.values()] == [shared, ()]


def test_hosts_are_not_forgotten_while_no_switch_is_connected() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    state, _ = tell(state, PortChanged(B1, False), SwitchLost("a"), SwitchLost("b"))
    state, _ = tell(state, Tick(), now=10.0)
    state, _ = tell(state, Tick(), now=20.0 + REMEMBERED)
    assert ANN in state.host_table.hosts


def test_the_hosts_of_a_switch_that_only_we_cannot_reach_keep_what_they_hold() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    state, _ = tell(state, SwitchLost("a"))
    state, effects = tell(state, sighted(ANN, B5), now=2.0)
    assert kinds(effects) == ["host.refused"]
    assert state.host_table.hosts[ANN].attachment == A5


def test_spoofs_are_all_counted_and_told_to_the_journal_now_and_then() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    state, first = tell(state, sighted(EVE, B5), sighted(ANN, A5), sighted(EVE, B5), now=2.0)
    assert kinds(first) == ["host.refused"]
    assert state.refused_sightings["spoof", B5] == (2, 2.0)


def test_a_link_that_leads_elsewhere_leaves_the_network_and_is_named() -> None:
    state, effects = tell(start(), LinkHeard(B1, Attachment("a", 9)))
    assert network_now(state.site.network, state.cabling).links == ()
    assert state.outlook.misled == {"a:1-b:1"}
    assert "link.miscabled" in kinds(effects)


def test_a_port_that_goes_down_takes_what_was_heard_there_at_once() -> None:
    state, _ = tell(start(), LinkHeard(B1, Attachment("a", 9)))
    state, _ = tell(state, PortChanged(B1, False))
    assert state.heard == {}
    assert state.outlook.misled == frozenset()


def test_a_port_that_went_down_while_its_switch_was_away_has_heard_nothing() -> None:
    state, _ = tell(start(), LinkHeard(B5, A5), LinkHeard(A5, B5), SwitchLost("b"))
    state, _ = tell(state, SwitchConnected("b", frozenset({1, 9})))
    assert state.heard == {}
    assert state.cabling.reports == ()


def test_every_change_of_the_hosts_is_kept() -> None:
    state, effects = tell(start(), sighted(ANN, A5))
    (kept,) = [e.hosts for e in effects if isinstance(e, KeepHosts)]
    assert [host.mac for host in kept] == [ANN]
    _, effects = tell(state, sighted(ANN, A5))
    assert not any(isinstance(e, KeepHosts) for e in effects)


def test_a_controller_that_starts_anew_wants_the_same_for_the_hosts_it_knew() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    again = initial(state.site, {}, 0.0, state.outlook.hosts)
    assert again.outlook.hosts == state.outlook.hosts


def test_a_host_whose_port_is_a_trunk_now_is_forgotten() -> None:
    state, _ = tell(start(), sighted(ANN, A5))
    (host,) = state.outlook.hosts
    moved = [replace(host, attachment=place) for place in (A1, Attachment("gone", 5))]
    assert initial(state.site, {}, 0.0, moved).outlook.hosts == ()
