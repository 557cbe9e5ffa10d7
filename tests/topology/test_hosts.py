"""Hosts: learnt, moved, and never robbed while they answer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from topology.hosts import (
    ADDRESSES_OF_A_HOST,
    CLAIMS_FROM_A_PORT,
    HOSTS_AT_A_PORT,
    PATIENCE,
    REMEMBERED,
    Decision,
    HostRefusal,
    HostTable,
    Recognition,
    Sighting,
    Surroundings,
    expire,
    forget,
    number,
    seen,
)
from topology.locators import HOST_NUMBERS
from topology.model import Attachment

P1, P2, P3 = Attachment("s1", 1), Attachment("s1", 2), Attachment("s2", 1)
TRUNK = Attachment("s1", 9)
ANN, BOB, EVE = (f"00:16:3e:00:00:0{n}" for n in (1, 2, 3))
SERVER_MAC = "02:00:00:00:00:01"


def around(down: frozenset[Attachment] = frozenset(), lost: str = "") -> Surroundings:
    networks = (ip_network("10.0.0.0/16"), ip_network("fd00::/64"))
    return Surroundings(
        {"s1": networks, "s2": networks},
        frozenset({TRUNK}),
        frozenset({SERVER_MAC}),
        frozenset({ip_address("10.0.0.1")}),
        lambda port: port not in down,
        lambda switch: switch != lost,
    )


def see(  # noqa: PLR0917 (a sighting, written flat)
    table: HostTable,
    mac: str,
    port: Attachment,
    address: str | None,
    now: float = 0.0,
    place: Surroundings | None = None,
) -> tuple[HostTable, Decision]:
    found = ip_address(address) if address else None
    return seen(table, Sighting(mac, port, found), now, place or around())


def knowing(*hosts: tuple[str, Attachment, str | None]) -> HostTable:
    table = HostTable()
    for mac, port, address in hosts:
        table, _ = see(table, mac, port, address)
    return table


def test_a_host_is_learnt_with_its_address_where_it_is_first_seen() -> None:
    table, decision = see(HostTable(), ANN, P1, "10.0.1.1")
    assert decision.recognition is Recognition.LEARNT
    assert (table.hosts[ANN].attachment, table.hosts[ANN].addresses) == (
        P1,
        (ip_address("10.0.1.1"),),
    )


def test_a_further_address_is_added_and_what_is_known_changes_nothing() -> None:
    table = knowing((ANN, P1, "10.0.1.1"))
    table, decision = see(table, ANN, P1, "fe80::1")
    assert decision.recognition is Recognition.EXTENDED
    again, decision = see(table, ANN, P1, "fe80::1")
    assert (again, decision.recognition) == (table, Recognition.KNOWN)


def refused(mac: str, port: Attachment, address: str | None) -> HostRefusal | None:
    table, decision = see(HostTable(), mac, port, address)
    assert table == HostTable()
    return decision.refusal


def test_what_cannot_be_a_host_is_refused() -> None:
    assert refused(ANN, TRUNK, None) is HostRefusal.NOT_AN_EDGE
    assert refused(ANN, Attachment("barrier", 1), None) is HostRefusal.NOT_AN_EDGE
    assert refused(SERVER_MAC, P1, None) is HostRefusal.RESERVED_MAC
    assert refused("0a:00:01:00:00:01", P1, None) is HostRefusal.RESERVED_MAC
    assert refused("0e:00:01:00:00:01", P1, None) is HostRefusal.RESERVED_MAC
    assert refused("01:16:3e:00:00:01", P1, None) is HostRefusal.RESERVED_MAC
    assert refused(ANN, P1, "10.0.0.1") is HostRefusal.RESERVED_ADDRESS
    assert refused(ANN, P1, "192.0.2.1") is HostRefusal.FOREIGN_ADDRESS


def test_a_host_whose_old_port_is_down_moves_at_once_with_its_addresses() -> None:
    table = knowing((ANN, P1, "10.0.1.1"))
    table, decision = see(table, ANN, P3, None, 1.0, around(frozenset({P1})))
    assert (decision.recognition, decision.former) == (Recognition.MOVED, P1)
    assert table.hosts[ANN].attachment == P3
    assert table.hosts[ANN].addresses == (ip_address("10.0.1.1"),)


def test_a_host_that_does_not_answer_at_its_old_port_moves_when_its_time_is_over() -> None:
    table, decision = see(knowing((ANN, P1, "10.0.1.1")), ANN, P3, "10.0.1.1", 1.0)
    assert decision.recognition is Recognition.ASKED
    assert table.hosts[ANN].attachment == P1
    assert expire(table, 1.0 + PATIENCE / 2, around())[1] == ()
    table, (moved,) = expire(table, 1.0 + PATIENCE, around())
    assert (moved.recognition, moved.former) == (Recognition.MOVED, P1)
    assert table.hosts[ANN].attachment == P3


def test_a_host_that_was_asked_moves_at_once_when_its_old_port_goes_down() -> None:
    table, _ = see(knowing((ANN, P1, "10.0.1.1")), ANN, P3, "10.0.1.1", 1.0)
    table, (moved,) = expire(table, 1.0, around(frozenset({P1})))
    assert (moved.recognition, moved.former) == (Recognition.MOVED, P1)
    assert table.hosts[ANN].attachment == P3


def test_whoever_claims_what_an_answering_host_holds_is_unmasked_and_refused() -> None:
    table, _ = see(knowing((ANN, P1, "10.0.1.1")), EVE, P2, "10.0.1.1", 1.0)
    table, answer = see(table, ANN, P1, "10.0.1.1", 1.1)
    assert [claim.sighting.mac for claim in answer.unmasked] == [EVE]
    table, again = see(table, EVE, P2, "10.0.1.1", 1.2)
    assert (again.recognition, again.refusal) == (Recognition.REFUSED, HostRefusal.SPOOF)
    assert expire(table, 9.0, around())[1] == ()
    assert EVE not in table.hosts


def test_a_host_is_asked_once_however_many_claims_come() -> None:
    table, _ = see(knowing((ANN, P1, "10.0.1.1")), EVE, P2, "10.0.1.1", 1.0)
    assert see(table, BOB, P3, "10.0.1.1", 1.1)[1].recognition is Recognition.PENDING


def test_an_address_that_nobody_answers_for_goes_to_who_shows_it_and_the_host_stays() -> None:
    table, _ = see(knowing((ANN, P1, "10.0.1.1")), BOB, P2, "10.0.1.1", 1.0)
    table, (granted,) = expire(table, 2.0, around())
    assert granted.recognition is Recognition.LEARNT
    assert table.owners == {ip_address("10.0.1.1"): (BOB,)}
    assert ANN in table.hosts


def test_silence_behind_a_switch_out_of_reach_grants_nothing() -> None:
    table = knowing((ANN, P3, "10.0.1.1"))
    assert see(table, EVE, P1, "10.0.1.1", 1.0, around(lost="s2"))[1].refusal is (
        HostRefusal.CANNOT_ASK
    )
    table, _ = see(table, EVE, P1, "10.0.1.1", 1.0)
    table, (decision,) = expire(table, 2.0, around(lost="s2"))
    assert decision.refusal is HostRefusal.CANNOT_ASK
    assert table.owners == {ip_address("10.0.1.1"): (ANN,)}


def test_a_move_does_not_take_the_address_of_a_third() -> None:
    table = knowing((ANN, P1, "10.0.1.1"), (BOB, P3, "10.0.1.2"))
    table, decision = see(table, ANN, P2, "10.0.1.2", 1.0, around(frozenset({P1})))
    assert decision.recognition is Recognition.ASKED
    assert table.hosts[ANN].attachment == P2
    assert table.owners[ip_address("10.0.1.2")] == (BOB,)


def test_on_a_full_port_the_oldest_host_is_asked_before_another_gets_its_place() -> None:
    macs = [f"00:16:3e:00:01:{n:02x}" for n in range(HOSTS_AT_A_PORT)]
    table = knowing(*((mac, P1, None) for mac in macs))
    table, decision = see(table, ANN, P1, None, 1.0)
    assert decision.claim is not None
    assert decision.claim.claimed.mac == macs[0]
    table, _ = expire(table, 2.0, around())
    assert macs[0] not in table.hosts
    assert ANN in table.hosts
    assert len(table.at_port[P1]) == HOSTS_AT_A_PORT


def test_of_too_many_addresses_the_oldest_is_asked_for() -> None:
    table = knowing(*((ANN, P1, f"10.0.2.{n}") for n in range(ADDRESSES_OF_A_HOST)))
    table, decision = see(table, ANN, P1, "10.0.3.1", 1.0)
    assert decision.claim is not None
    assert decision.claim.claimed.address == ip_address("10.0.2.0")
    table, _ = expire(table, 2.0, around())
    assert len(table.hosts[ANN].addresses) == ADDRESSES_OF_A_HOST
    assert ip_address("10.0.3.1") in table.hosts[ANN].addresses


def test_a_host_is_forgotten_when_its_port_has_been_down_for_long() -> None:
    down = around(frozenset({P1}))
    table, _ = forget(knowing((ANN, P1, None), (BOB, P2, None)), 10.0, down)
    assert set(forget(table, 10.0 + REMEMBERED - 1, down)[0].hosts) == {ANN, BOB}
    table, lost = forget(table, 10.0 + REMEMBERED, down)
    assert [host.mac for host in lost] == [ANN]
    assert set(table.hosts) == {BOB}


def test_a_port_that_came_up_again_counts_anew() -> None:
    down = around(frozenset({P1}))
    table, _ = forget(knowing((ANN, P1, None)), 10.0, down)
    table, _ = forget(table, 20.0, around())
    table, _ = forget(table, 10.0 + REMEMBERED, down)
    assert ANN in table.hosts


def test_a_number_that_is_taken_gives_the_next() -> None:
    own = number(ANN, frozenset())
    assert number(ANN, {own}) == (own + 1) % HOST_NUMBERS


def test_a_number_stays_when_others_come_and_go() -> None:
    table = knowing((ANN, P1, None), (BOB, P2, None))
    kept = table.hosts[BOB].number
    table, _ = see(table, ANN, P3, None, 1.0, around(frozenset({P1})))
    assert table.hosts[BOB].number == kept


steps = st.lists(
    st.tuples(
        st.sampled_from([ANN, BOB, EVE, "00:16:3e:00:00:04"]),
        st.sampled_from([P1, P2, P3]),
        st.sampled_from([None, "10.0.1.1", "10.0.1.2", "10.0.1.3", "fe80::1"]),
        st.floats(0.0, 3.0),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps)
def test_nobody_takes_anything_from_a_host_that_answers(
    steps: list[tuple[str, Attachment, str | None, float]],
) -> None:
    """ANN is at P1 with an address and answers whenever she is asked, in half the time."""
    table, now = knowing((ANN, P1, "10.0.1.1")), 0.0
    for mac, port, address, pause in steps:
        if mac == ANN and port == P1:
            continue
        now += pause
        table, granted = expire(table, now, around())
        table, decision = see(table, mac, port, address, now)
        asked = [d.claim.claimed.mac for d in (*granted, decision) if d.claim]
        if ANN in asked:
            now += PATIENCE / 2
            table, _ = see(table, ANN, P1, "10.0.1.1", now)
        assert table.hosts[ANN].attachment == P1
        assert table.owners[ip_address("10.0.1.1")] == (ANN,)


@settings(max_examples=60)
@given(steps, st.sets(st.sampled_from([P1, P2, P3])))
def test_numbers_at_a_switch_and_owners_of_addresses_are_unique(
    steps: list[tuple[str, Attachment, str | None, float]], down: set[Attachment]
) -> None:
    table, now, place = HostTable(), 0.0, around(frozenset(down))
    for mac, port, address, pause in steps:
        now += pause
        table, _ = expire(table, now, place)
        table, _ = see(table, mac, port, address, now, place)
        shown = [a for host in table.hosts.values() for a in host.addresses]
        assert len(shown) == len(set(shown))
        at = [(host.attachment.switch, host.number) for host in table.hosts.values()]
        assert len(at) == len(set(at))


def test_no_port_gets_more_hosts_by_moves_than_by_new_ones() -> None:
    """Or whoever has two ports could make the table grow for ever."""
    macs = [f"00:16:3e:00:01:{n:02x}" for n in range(HOSTS_AT_A_PORT)]
    there = [f"00:16:3e:00:02:{n:02x}" for n in range(HOSTS_AT_A_PORT - 1)]
    table = knowing(*((mac, P1, None) for mac in macs), *((mac, P2, None) for mac in there))
    for mac in macs[:2]:
        table, decision = see(table, mac, P2, None, 1.0)
        assert decision.recognition is Recognition.ASKED
    for second in range(3):
        table, _ = expire(table, 1.0 + (second + 1) * PATIENCE, around())
        assert len(table.at_port[P2]) <= HOSTS_AT_A_PORT


def test_from_one_port_little_is_claimed_at_a_time() -> None:
    """Or one port could have all switches change their rules 50 times a second for ever."""
    macs = [f"00:16:3e:00:01:{n:02x}" for n in range(20)]
    table = knowing(*((mac, P1, None) for mac in macs), (ANN, P3, None))
    for mac in macs:
        table, decision = see(table, mac, P2, None, 1.0)
    assert decision.recognition is Recognition.PENDING
    assert len(table.claims) == CLAIMS_FROM_A_PORT
    _, decision = see(table, ANN, P1, None, 1.0)
    assert decision.recognition is Recognition.ASKED
    table, _ = expire(table, 1.0 + PATIENCE, around())
    _, decision = see(table, macs[-1], P2, None, 2.5)
    assert decision.recognition is Recognition.ASKED


def test_what_is_asked_for_at_a_port_that_becomes_a_trunk_stays_with_its_holder() -> None:
    table, decision = see(knowing((ANN, P1, "10.0.1.1")), EVE, P2, "10.0.1.1", 1.0)
    assert decision.recognition is Recognition.ASKED
    closed = replace(around(), closed=frozenset({P2}))
    table, (decision,) = expire(table, 1.0 + PATIENCE, closed)
    assert decision.refusal is HostRefusal.NOT_AN_EDGE
    assert table.hosts[ANN].addresses == (ip_address("10.0.1.1"),)


def test_what_follows_from_the_hosts_is_not_made_anew_for_a_claim() -> None:
    """Of thousands of hosts that takes 20 ms, and anybody can make 50 claims a second."""
    before = knowing((ANN, P1, "10.0.1.1"), (BOB, P3, "10.0.1.2"))
    derived = before.in_order, before.owners, before.at_port, before.numbers
    claimed, decision = see(before, EVE, P2, "10.0.1.1", 1.0)
    assert decision.recognition is Recognition.ASKED
    answered, _ = see(claimed, ANN, P1, "10.0.1.1", 1.5)
    for table in (claimed, answered):
        found = table.in_order, table.owners, table.at_port, table.numbers
        assert all(one is other for one, other in zip(found, derived, strict=True))


def test_each_backbone_has_link_local_addresses_of_its_own() -> None:
    """The routers of many have fe80::1."""
    networks = {"s1": (ip_network("10.0.0.0/16"),), "s2": (ip_network("10.1.0.0/16"),)}
    place = replace(around(), networks=networks)
    table = HostTable()
    for mac, port in ((ANN, P1), (BOB, P3)):
        table, decision = see(table, mac, port, "fe80::1", 0.0, place)
        assert decision.recognition is Recognition.LEARNT
    _, decision = see(table, EVE, P3, "fe80::1", 1.0, place)
    assert decision.claim is not None
    assert decision.claim.claimed.mac == BOB
    down = replace(place, port_up=lambda port: port != P1)
    table, decision = see(table, ANN, P3, None, 2.0, down)
    assert decision.recognition is Recognition.MOVED
    assert table.owners == {ip_address("fe80::1"): (BOB,)}  # each rule of a switch is one host's
