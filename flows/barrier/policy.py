"""Table `policy`: what may be said between whom, decided once, where a packet enters.

Stateless: a service's packets are known by its port, and what comes back by the same port on the
other side and by belonging to a connection (ACK or RST is set). `admit` has seen to it that a
service address as source means its role, so addresses tell here who is who.

Between two roles both must agree: one by a connection that it may open, the other by a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from flows.barrier.segment import Barrier
from flows.common.fields import Fields, Side, address, icmpv6, mac, opening, port
from flows.intents import Connect, Permit, ServiceAddress
from flows.pipeline import POLICY, SOURCE
from flows.rules import Rule
from flows.walk.packet import ICMP
from topology.model import Address, Subnet

# Between roles, from roles to others, from others to roles: each more general than what stands
# above it. Within each: open a connection, no opening otherwise, answers, nothing else.
_OPEN, _NO_OPENING, _ANSWERS, _NOTHING = 30, 20, 10, 0
_BETWEEN_ROLES = 400
_FROM_ROLES = 300
_TO_ROLES = 200
_TO_VIRTUAL_MAC = 100
_ELSE = 0

#: ICMP errors that a role needs to hear (type, code): path MTU discovery (RFC 1191, RFC 8201) and
#: time exceeded.
_ERRORS: tuple[Fields, ...] = (
    {"ip_proto": ICMP, "icmpv4_type": 3, "icmpv4_code": 4},
    {"ip_proto": ICMP, "icmpv4_type": 11},
)
_ERRORS_V6: tuple[Fields, ...] = (icmpv6(2), icmpv6(3))


def rules(barrier: Barrier) -> Iterator[Rule]:
    """The same on every switch of the segment, and as long as the site file is."""
    yield from _between_roles(barrier)
    for connect in barrier.connects:
        yield from _connect(barrier, connect)
    for permit in barrier.permits:
        yield from _permit(permit)
    for service, own in barrier.service_addresses:
        yield from _bounds(barrier, service, own)
    for service in barrier.addresses:
        past = f"keep from {service.role} what is not for its addresses"
        yield POLICY.rule(_TO_VIRTUAL_MAC, past, {"eth_dst": mac(service.mac)})
    yield POLICY.rule(_ELSE, "let hosts talk to each other", {}, goto=SOURCE)


@dataclass(frozen=True)
class _Talk:
    """Connections from `client` to `server` (None: anybody) at one port."""

    intent: str
    protocol: str
    port: int
    client: Address | Subnet | None
    server: Address | Subnet | None

    def ways(self, base_open: int, base_answer: int) -> Iterator[Rule]:
        """There by destination port, and back by source port."""
        there = self._between(self.client, self.server) | port("dst", self.protocol, self.port)
        back = self._between(self.server, self.client) | port("src", self.protocol, self.port)
        yield POLICY.rule(base_open + _OPEN, self.intent, there, goto=SOURCE)
        yield POLICY.rule(base_answer + _ANSWERS, self.intent, back, goto=SOURCE)

    @staticmethod
    def _between(source: Address | Subnet | None, target: Address | Subnet | None) -> Fields:
        ends: tuple[tuple[Side, Address | Subnet | None], ...] = (("src", source), ("dst", target))
        return {k: v for side, end in ends if end for k, v in address(side, end).items()}


def _between_roles(barrier: Barrier) -> Iterator[Rule]:
    for connect in barrier.connects:
        for permit in barrier.permits:
            if (connect.protocol, connect.port) != (permit.protocol, permit.port):
                continue
            for client in connect.address.addresses:
                for server in permit.address.addresses:
                    if _agree(connect, permit, client, server):
                        intent = f"let {connect.address.role} use {permit.name} at {server}"
                        talk = _Talk(intent, permit.protocol, permit.port, client, server)
                        yield from talk.ways(_BETWEEN_ROLES, _BETWEEN_ROLES)


def _agree(connect: Connect, permit: Permit, client: Address, server: Address) -> bool:
    asked = any(server in network for network in connect.destinations)
    granted = not permit.sources or any(client in network for network in permit.sources)
    return client.version == server.version and client != server and asked and granted


def _connect(barrier: Barrier, connect: Connect) -> Iterator[Rule]:
    """What a role opens to others. Whatever goes to a role is settled further up."""
    roles = {ip_network(own) for _, own in barrier.service_addresses}
    intent = f"let {connect.address.role} open {connect.name}"
    for own in connect.address.addresses:
        for target in _of_family(own, connect.destinations, besides=roles):
            talk = _Talk(intent, connect.protocol, connect.port, own, target)
            yield from talk.ways(_FROM_ROLES, _TO_ROLES)


def _permit(permit: Permit) -> Iterator[Rule]:
    """What others open to a role."""
    intent = f"permit {permit.name} of {permit.address.role}"
    for own in permit.address.addresses:
        for source in _of_family(own, permit.sources, besides=set()):
            talk = _Talk(intent, permit.protocol, permit.port, source, own)
            yield from talk.ways(_TO_ROLES, _FROM_ROLES)


def _of_family(
    own: Address, networks: tuple[Subnet, ...], besides: set[Subnet]
) -> tuple[Subnet | None, ...]:
    """Those of `networks` that `own` can talk to; None, anybody, if no network is given at all."""
    if not networks:
        return (None,)
    return tuple(n for n in networks if n.version == own.version and n not in besides)


def _bounds(barrier: Barrier, service: ServiceAddress, own: Address) -> Iterator[Rule]:
    """What no other rule permits from and to a service address ends here, and is counted."""
    sent, received = address("src", own), address("dst", own)
    from_role, to_role = f"hold {service.role} at {own}", f"protect {service.role} at {own}"
    yield POLICY.rule(_FROM_ROLES + _NO_OPENING, from_role, sent | opening())
    yield POLICY.rule(_FROM_ROLES + _NOTHING, from_role, sent)
    yield POLICY.rule(_TO_ROLES + _NO_OPENING, to_role, received | opening())
    for error in _ERRORS if own.version == 4 else _ERRORS_V6:
        yield POLICY.rule(
            _TO_ROLES + _ANSWERS,
            f"let {service.role} hear ICMP errors",
            received | error,
            goto=SOURCE,
            meter=barrier.error_meter,
        )
    yield POLICY.rule(_TO_ROLES + _NOTHING, to_role, received)
    for other, peer in barrier.service_addresses:
        if peer.version == own.version:
            apart = f"keep {service.role} and {other.role} apart"
            both = sent | address("dst", peer)
            yield POLICY.rule(_BETWEEN_ROLES + _NO_OPENING, apart, both | opening())
            yield POLICY.rule(_BETWEEN_ROLES + _NOTHING, apart, both)
