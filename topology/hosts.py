"""Where the hosts of a backbone are: learnt from what they send, and hard to lie to.

A host is its MAC. It is learnt where it is first seen, at an edge port. Whoever then shows the
same MAC at another place, or one of its addresses under another MAC, makes a *claim* on what the
host *holds*: the host is asked at its port, and only when it does not answer in time the claim
is granted. So a host that answers cannot be robbed; one whose port is down is not asked. A full
port and a full list of addresses are claims too, on the oldest, so that nobody is cut off who is
still there.

    seen ──► refused
         ──► claim ──► the holder answers: spoof │ does not, or its port is down: moved
         ──► known, learnt or extended
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

from topology.locators import HOST_NUMBERS, is_locator
from topology.model import Address, Attachment, Host, Subnet
from topology.numbering import places

#: Hosts at one port: more than a desk's, fewer than would fill a switch's table.
HOSTS_AT_A_PORT = 64
#: A host's addresses: IPv4, link-local, and a week of temporary ones (RFC 8981) for two prefixes.
ADDRESSES_OF_A_HOST = 16
#: What is claimed from one port at a time: what is granted changes the rules of every switch.
CLAIMS_FROM_A_PORT = 8
#: Seconds that a holder has to answer; and, once it has, that further claims on it are refused
#: without asking, so that whoever makes them cannot make us flood it.
PATIENCE = 1.0
#: Seconds that a host is remembered whose port is down.
REMEMBERED = 300.0


@dataclass(frozen=True)
class Sighting:
    """A packet with this source MAC entered here. `address`: what it says is its sender's, None
    where it says nothing (RFC 5227 probe, RFC 4862 duplicate address detection)."""

    mac: str
    attachment: Attachment
    address: Address | None = None


@dataclass(frozen=True)
class Surroundings:
    """What learning depends on beside the table.

    `networks` of each switch's backbone, by switch; a switch that is missing learns nothing.
    `closed` are ports at which no host can be: trunks, servers' interfaces, the prober. `port_up`:
    whoever is there can be brought packets; not so at a dead switch. `reached`: the controller is
    connected with this switch, so that silence there means something.
    """

    networks: Mapping[str, tuple[Subnet, ...]]
    closed: Set[Attachment]
    macs: Set[str]
    addresses: Set[Address]
    port_up: Callable[[Attachment], bool]
    reached: Callable[[str], bool]


class HostRefusal(Enum):
    """SPOOF: the holder has just answered. CANNOT_ASK: its switch is out of our reach."""

    NOT_AN_EDGE = "not_an_edge"
    RESERVED_MAC = "reserved_mac"
    RESERVED_ADDRESS = "reserved_address"
    FOREIGN_ADDRESS = "foreign_address"
    SPOOF = "spoof"
    CANNOT_ASK = "cannot_ask"


class Recognition(Enum):
    """ASKED: its holder has been asked, or is to be; PENDING: somebody else asks already, or too
    much is claimed from this port."""

    KNOWN = "known"
    LEARNT = "learnt"
    EXTENDED = "extended"
    MOVED = "moved"
    ASKED = "asked"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True)
class Claimed:
    """What a claim is on: all of a host, or (`address`) one address of it."""

    mac: str
    address: Address | None = None


@dataclass(frozen=True)
class Claim:
    """`holder` as it was when it was asked, at `deadline` less `PATIENCE`."""

    claimed: Claimed
    holder: Host
    sighting: Sighting
    deadline: float


@dataclass(frozen=True)
class Decision:
    """About one sighting. `claim` is there when its holder is to be asked. `host` is as it is
    now, `former` where it was before it moved, `won` what it got because nobody answered.
    `unmasked` are claims that this sighting, of the holder, has shown to be spoofs."""

    recognition: Recognition
    sighting: Sighting
    host: Host | None = None
    refusal: HostRefusal | None = None
    claim: Claim | None = None
    former: Attachment | None = None
    won: Claimed | None = None
    unmasked: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class HostTable:
    """`hosts` by MAC, the oldest first. `claims` that wait for an answer. `answered`: until when
    further claims on it are refused. `down_since` of ports with hosts that are down."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    claims: Mapping[Claimed, Claim] = field(default_factory=dict)
    answered: Mapping[Claimed, float] = field(default_factory=dict)
    down_since: Mapping[Attachment, float] = field(default_factory=dict)

    def with_same_hosts(self, **changes: Any) -> HostTable:
        """With other claims or times. What follows from the hosts alone is not made anew: there
        may be thousands, and whoever claims what others hold makes a new table each time."""
        table = replace(self, **changes)
        known = vars(self)
        vars(table).update({name: known[name] for name in _OF_HOSTS if name in known})
        return table

    @cached_property
    def in_order(self) -> tuple[Host, ...]:
        return tuple(sorted(self.hosts.values()))

    @cached_property
    def owners(self) -> dict[Address, tuple[str, ...]]:
        """MACs; of a link-local address one in each backbone."""
        found: dict[Address, tuple[str, ...]] = {}
        for host in self.hosts.values():
            for address in host.addresses:
                found[address] = (*found.get(address, ()), host.mac)
        return found

    @cached_property
    def at_port(self) -> dict[Attachment, tuple[str, ...]]:
        """MACs, the oldest first."""
        found: dict[Attachment, tuple[str, ...]] = {}
        for host in self.hosts.values():
            found[host.attachment] = (*found.get(host.attachment, ()), host.mac)
        return found

    @cached_property
    def numbers(self) -> dict[str, frozenset[int]]:
        """By switch."""
        found: dict[str, set[int]] = {}
        for host in self.hosts.values():
            found.setdefault(host.attachment.switch, set()).add(host.number)
        return {switch: frozenset(taken) for switch, taken in found.items()}


_OF_HOSTS = ("in_order", "owners", "at_port", "numbers")


def seen(
    table: HostTable, sighting: Sighting, now: float, around: Surroundings
) -> tuple[HostTable, Decision]:
    """Take in one sighting."""
    refusal = _refusal(sighting, around)
    if refusal is not None:
        return table, Decision(Recognition.REFUSED, sighting, refusal=refusal)
    table, unmasked = _unmask(table, sighting, now)
    former: Attachment | None = None
    while (claimed := _in_the_way(table, sighting, around)) is not None:
        holder = table.hosts[claimed.mac]
        if around.port_up(holder.attachment):
            table, decision = _claim(table, claimed, sighting, now, around)
            return table, replace(decision, unmasked=unmasked, former=former)
        table, moved_from = _give_up(table, claimed, sighting, around)
        former = former or moved_from
    table, decision = _enter(table, sighting, former)
    return table, replace(decision, unmasked=unmasked)


def expire(
    table: HostTable, now: float, around: Surroundings
) -> tuple[HostTable, tuple[Decision, ...]]:
    """Grant the claims whose holders have not answered in time, or cannot any longer, because
    their port has gone down."""
    decisions = []
    for claim in tuple(table.claims.values()):
        up = around.port_up(claim.holder.attachment)
        if (up and now < claim.deadline) or table.claims.get(claim.claimed) is not claim:
            continue
        claims = {h: c for h, c in table.claims.items() if h != claim.claimed}
        table = table.with_same_hosts(claims=claims)
        holder = table.hosts.get(claim.claimed.mac)
        former = won = None
        if holder is not None and holder.attachment == claim.holder.attachment:
            if up and not around.reached(holder.attachment.switch):
                refused = Decision(
                    Recognition.REFUSED, claim.sighting, refusal=HostRefusal.CANNOT_ASK, claim=claim
                )
                decisions.append(refused)
                continue
            if _still_wanted(table, claim, around):
                table, former = _give_up(table, claim.claimed, claim.sighting, around)
                won = claim.claimed
        table, decision = seen(table, claim.sighting, now, around)
        if former is not None:
            host = table.hosts[claim.sighting.mac]
            recognition = decision.recognition
            if recognition in (Recognition.KNOWN, Recognition.EXTENDED):
                recognition = Recognition.MOVED
            decision = replace(decision, recognition=recognition, host=host, former=former)
        decisions.append(replace(decision, won=won))
    return table, tuple(decisions)


def forget(
    table: HostTable, now: float, around: Surroundings
) -> tuple[HostTable, tuple[Host, ...]]:
    """Drop the hosts whose ports have been down for long, and note which ports are down."""
    down = {
        port: table.down_since.get(port, now) for port in table.at_port if not around.port_up(port)
    }
    gone = {port for port, since in down.items() if now - since >= REMEMBERED}
    down = {port: since for port, since in down.items() if port not in gone}
    lost = tuple(host for host in table.hosts.values() if host.attachment in gone)
    if not lost:
        same = down == dict(table.down_since)
        return table if same else table.with_same_hosts(down_since=down), ()
    hosts = {mac: host for mac, host in table.hosts.items() if host.attachment not in gone}
    return replace(table, hosts=hosts, down_since=down), lost


def moments(table: HostTable) -> tuple[float, ...]:
    """When `expire` or `forget` may have something to do."""
    return (
        *(claim.deadline for claim in table.claims.values()),
        *(since + REMEMBERED for since in table.down_since.values()),
    )


def number(mac: str, taken: Set[int]) -> int:
    """The host's number at a switch: from its digest, the next free one if that is taken."""
    return next(place for place in places(f"host {mac}", HOST_NUMBERS) if place not in taken)


def _refusal(sighting: Sighting, around: Surroundings) -> HostRefusal | None:
    networks = around.networks.get(sighting.attachment.switch)
    if networks is None or sighting.attachment in around.closed:
        return HostRefusal.NOT_AN_EDGE
    octets = bytes.fromhex(sighting.mac.replace(":", ""))
    group = bool(octets[0] & 1) or not any(octets)
    if group or is_locator(sighting.mac) or sighting.mac in around.macs:
        return HostRefusal.RESERVED_MAC
    address = sighting.address
    if address is None:
        return None
    if address in around.addresses:
        return HostRefusal.RESERVED_ADDRESS
    inside = any(address.version == n.version and address in n for n in networks)
    if not inside and not (address.version == 6 and address.is_link_local):
        return HostRefusal.FOREIGN_ADDRESS
    return None


def _unmask(
    table: HostTable, sighting: Sighting, now: float
) -> tuple[HostTable, tuple[Claim, ...]]:
    """A holder that is seen at its port has answered all claims on what it shows."""
    unmasked = tuple(
        claim
        for claimed, claim in table.claims.items()
        if (claimed.mac, claim.holder.attachment) == (sighting.mac, sighting.attachment)
        and claimed.address in (None, sighting.address)
    )
    if not unmasked:
        return table, ()
    done = {claim.claimed for claim in unmasked}
    answered = {claimed: until for claimed, until in table.answered.items() if until > now}
    answered |= dict.fromkeys(done, now + PATIENCE)
    claims = {h: c for h, c in table.claims.items() if h not in done}
    return table.with_same_hosts(claims=claims, answered=answered), unmasked


def _in_the_way(table: HostTable, sighting: Sighting, around: Surroundings) -> Claimed | None:
    """What somebody must give up before this sighting can be entered."""
    known = table.hosts.get(sighting.mac)
    there = table.at_port.get(sighting.attachment, ())
    if sighting.mac not in there and len(there) >= HOSTS_AT_A_PORT:
        return Claimed(there[0])
    if known is not None and known.attachment != sighting.attachment:
        return Claimed(known.mac)
    owner = _owner(table, sighting, around)
    if owner is not None and owner != sighting.mac:
        return Claimed(owner, sighting.address)
    full = known is not None and len(known.addresses) >= ADDRESSES_OF_A_HOST
    if known is not None and full and owner is None and sighting.address is not None:
        return Claimed(known.mac, known.addresses[0])
    return None


def _owner(table: HostTable, sighting: Sighting, around: Surroundings) -> str | None:
    """Who has the sighting's address on the same backbone. Each has networks of its own, and may
    have an fe80::1 of its own too."""
    if sighting.address is None:
        return None
    macs = table.owners.get(sighting.address, ())
    return next((mac for mac in macs if _beside(table.hosts[mac], sighting, around)), None)


def _beside(host: Host, sighting: Sighting, around: Surroundings) -> bool:
    """On the same backbone."""
    there, here = host.attachment.switch, sighting.attachment.switch
    return around.networks.get(there) == around.networks.get(here)


def _still_wanted(table: HostTable, claim: Claim, around: Surroundings) -> bool:
    """Meanwhile the claimant's port may have become a trunk, or full."""
    permitted = _refusal(claim.sighting, around) is None
    return permitted and _in_the_way(table, claim.sighting, around) == claim.claimed


def _claim(
    table: HostTable, claimed: Claimed, sighting: Sighting, now: float, around: Surroundings
) -> tuple[HostTable, Decision]:
    if not around.reached(table.hosts[claimed.mac].attachment.switch):
        return table, Decision(Recognition.REFUSED, sighting, refusal=HostRefusal.CANNOT_ASK)
    if now < table.answered.get(claimed, now):
        return table, Decision(Recognition.REFUSED, sighting, refusal=HostRefusal.SPOOF)
    port = sighting.attachment
    already = sum(claim.sighting.attachment == port for claim in table.claims.values())
    if claimed in table.claims or already >= CLAIMS_FROM_A_PORT:
        return table, Decision(Recognition.PENDING, sighting)
    claim = Claim(claimed, table.hosts[claimed.mac], sighting, now + PATIENCE)
    table = table.with_same_hosts(claims={**table.claims, claimed: claim})
    return table, Decision(Recognition.ASKED, sighting, claim=claim)


def _give_up(
    table: HostTable, claimed: Claimed, sighting: Sighting, around: Surroundings
) -> tuple[HostTable, Attachment | None]:
    """Take from its holder what was claimed. A host that has moved keeps its addresses, unless it
    is on another backbone now: then the answer is where it was, and `_enter` is to follow."""
    host = table.hosts[claimed.mac]
    if claimed.address is not None:
        kept = tuple(a for a in host.addresses if a != claimed.address)
        hosts = {**table.hosts, host.mac: replace(host, addresses=kept)}
        return replace(table, hosts=hosts), None
    if host.mac == sighting.mac and host.attachment != sighting.attachment:
        others = {mac: known for mac, known in table.hosts.items() if mac != host.mac}
        taken = replace(table, hosts=others).numbers.get(sighting.attachment.switch, frozenset())
        kept = host.addresses if _beside(host, sighting, around) else ()
        place, own = sighting.attachment, number(host.mac, taken)
        moved = replace(host, attachment=place, number=own, addresses=kept)
        return replace(table, hosts={**others, host.mac: moved}), host.attachment
    hosts = {mac: known for mac, known in table.hosts.items() if mac != host.mac}
    return replace(table, hosts=hosts), None


def _enter(
    table: HostTable, sighting: Sighting, former: Attachment | None
) -> tuple[HostTable, Decision]:
    """Nothing is in the way: note the host as it has been seen."""
    known = table.hosts.get(sighting.mac)
    if known is None:
        taken = table.numbers.get(sighting.attachment.switch, frozenset())
        own = () if sighting.address is None else (sighting.address,)
        host = Host(sighting.mac, sighting.attachment, number(sighting.mac, taken), own)
        recognition = Recognition.LEARNT
    elif sighting.address is None or sighting.address in known.addresses:
        host, recognition = known, Recognition.KNOWN
    else:
        host = replace(known, addresses=(*known.addresses, sighting.address))
        recognition = Recognition.EXTENDED
    if former is not None:
        recognition = Recognition.MOVED
    if host is not known:
        table = replace(table, hosts={**table.hosts, host.mac: host})
    return table, Decision(recognition, sighting, host, former=former)
