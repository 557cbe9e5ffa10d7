"""What a backbone shows of itself: hosts that are sighted, and links that are heard.

The judgement of both is `topology.hosts` and `topology.discovery`; here they become state,
effects and records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from hactrl.engine.backbone.connectivity import cut_off, network_now
from hactrl.engine.effects import AnnounceHost, AskHost, SendAgain
from hactrl.engine.events import HostSighted, LinkHeard
from hactrl.engine.state import State
from hactrl.engine.turn import Turn, with_item
from hactrl.vocabulary import EntryKind
from topology import discovery, hosts
from topology.discovery import Trouble
from topology.hosts import Decision, HostTable, Recognition, Surroundings
from topology.model import Address, Attachment, Host, Subnet

#: Seconds between two journal entries about the same refusal at the same port.
JOURNAL_PAUSE = 10.0

#: How journal and API say what is wrong with a link.
OF_TROUBLE = {
    Trouble.UNSEEN: EntryKind.LINK_UNSEEN,
    Trouble.UNDECLARED: EntryKind.LINK_UNDECLARED,
    Trouble.ONE_WAY: EntryKind.LINK_ONE_WAY,
    Trouble.MISCABLED: EntryKind.LINK_MISCABLED,
}

_GOES_ON = frozenset({Recognition.LEARNT, Recognition.EXTENDED, Recognition.MOVED})


def host_sighted(turn: Turn, event: HostSighted) -> None:
    """The packet is sent again once the switch has the rules for it. One of a host that was
    known already is, only while its switch has still to confirm them: it would come back."""
    table, decision = hosts.seen(
        turn.state.host_table, event.sighting, turn.now, surroundings(turn.state)
    )
    if table is not turn.state.host_table:
        turn.update(host_table=table)
    _note(turn, decision)
    port = event.sighting.attachment
    behind = turn.state.installed_on(port.switch) < turn.state.version
    waits = behind and decision.recognition is Recognition.KNOWN
    if event.packet and (decision.recognition in _GOES_ON or waits):
        turn.do(SendAgain(port, event.packet))


def link_heard(turn: Turn, event: LinkHeard) -> None:
    turn.update(heard=with_item(turn.state.heard, event.listener, event.speaker))
    judge(turn)


def port_went_down(turn: Turn, port: Attachment) -> None:
    """What was heard there, or from there, may be plugged in elsewhere when it comes up."""
    kept = {
        listener: speaker
        for listener, speaker in turn.state.heard.items()
        if port not in (listener, speaker)
    }
    if len(kept) != len(turn.state.heard):
        turn.update(heard=kept)
        judge(turn)


def judge(turn: Turn) -> None:
    """Compare links again, and record what is new about them."""
    state = turn.state
    closed = discovery.claimed_ports(state.site.network) | state.host_table.at_port.keys()
    cabling = discovery.judge(state.site.network, state.heard, closed)
    if cabling == state.cabling:
        return
    for report in cabling.reports:
        if report not in state.cabling.reports:
            found = {
                "listener": report.listener,
                "expected": report.expected,
                "speaker": report.speaker,
            }
            details = {name: str(port) for name, port in found.items() if port is not None}
            turn.record(OF_TROUBLE[report.trouble], link=report.link, **details)
    turn.update(cabling=cabling)


def expire(turn: Turn) -> None:
    """Grant claims that nobody has answered, and forget hosts whose ports are long down."""
    table = turn.state.host_table
    if not table.hosts and not table.claims:
        return
    around = surroundings(turn.state)
    table, decisions = hosts.expire(table, turn.now, around)
    table, lost = hosts.forget(table, turn.now, around)
    if table is not turn.state.host_table:
        turn.update(host_table=table)
    for decision in decisions:
        _note(turn, decision)
        _announce_won(turn, decision)
    for host in lost:
        turn.record(EntryKind.HOST_FORGOTTEN, host=host.mac, port=str(host.attachment))
    for moment in hosts.moments(table):
        turn.reached(moment)


def _announce_won(turn: Turn, decision: Decision) -> None:
    """What has been another's is announced, not what a host has got in place of its own."""
    host, won = decision.host, decision.won
    if host is None or won is None or won.mac == host.mac:
        return
    turn.do(AnnounceHost(host if won.address is None else replace(host, addresses=(won.address,))))


def remembered(state: State, known: Iterable[Host]) -> HostTable:
    """The table of a controller that starts: the hosts that are where one can be, still. Where
    the site file has made one backbone of two, an address may have two owners: the first has it.
    """
    around = surroundings(state)
    hosts: dict[str, Host] = {}
    owned: set[tuple[tuple[Subnet, ...], Address]] = set()
    for host in known:
        networks = around.networks.get(host.attachment.switch)
        if networks is None or host.attachment in around.closed or host.mac in around.macs:
            continue
        if around.addresses & set(host.addresses):
            continue
        free = tuple(a for a in host.addresses if (networks, a) not in owned)
        owned.update((networks, address) for address in free)
        hosts[host.mac] = replace(host, addresses=free)
    return HostTable(hosts)


def surroundings(state: State) -> Surroundings:
    """What learning depends on beside the table of hosts."""
    network = state.site.network
    backbones = {s.name: s for s in network.segments.values() if s.backbone}
    probers = [s.prober for s in backbones.values() if s.prober is not None]
    servers = network.file_servers.values()
    macs = {server.mac for server in servers}
    macs |= {card.mac for card in network.file_interfaces.values()}
    macs |= {prober.mac for prober in probers}
    addresses = {address for server in servers for address in server.addresses}
    addresses |= {a for p in probers for pool in p.sources.values() for a in pool}
    connected = {name for name, switch in state.switches.items() if switch.connected}
    lost = cache(lambda switch: cut_off(state, switch))
    return Surroundings(
        networks={
            switch.name: backbones[switch.segment].networks
            for switch in network.switches.values()
            if switch.segment in backbones
        },
        closed=discovery.claimed_ports(network) | network_now(network, state.cabling).trunk_ports,
        macs=macs,
        addresses=addresses,
        port_up=lambda port: (
            state.port_up(port) and (port.switch in connected or not lost(port.switch))
        ),
        reached=connected.__contains__,
    )


def _note(turn: Turn, decision: Decision) -> None:
    for claim in decision.unmasked:
        refused = Decision(Recognition.REFUSED, claim.sighting, refusal=hosts.HostRefusal.SPOOF)
        _refused(turn, refused)
    host = decision.host
    if decision.claim is not None and decision.recognition is Recognition.ASKED:
        turn.do(AskHost(decision.claim.holder, decision.claim.claimed.address))
    if decision.recognition is Recognition.REFUSED:
        _refused(turn, decision)
    elif decision.former is not None and host is not None:
        turn.record(
            EntryKind.HOST_MOVED,
            host=host.mac,
            port=str(host.attachment),
            former=str(decision.former),
        )
        turn.do(AnnounceHost(host))
    elif decision.recognition is Recognition.LEARNT and host is not None:
        turn.record(EntryKind.HOST_LEARNT, host=host.mac, port=str(host.attachment))
    if decision.recognition is Recognition.LEARNT or decision.former is not None:
        judge(turn)


def _refused(turn: Turn, decision: Decision) -> None:
    """Count each; tell the journal now and then."""
    assert decision.refusal is not None
    sighting = decision.sighting
    key = (decision.refusal.value, sighting.attachment)
    count, told = turn.state.refused_sightings.get(key, (0, turn.now - JOURNAL_PAUSE))
    if turn.now >= told + JOURNAL_PAUSE:
        told = turn.now
        turn.record(
            EntryKind.HOST_REFUSED,
            host=sighting.mac,
            port=str(sighting.attachment),
            address=str(sighting.address or ""),
            reason=decision.refusal.value,
        )
    counted = with_item(turn.state.refused_sightings, key, (count + 1, told))
    turn.update(refused_sightings=counted)
