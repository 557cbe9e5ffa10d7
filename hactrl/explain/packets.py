"""Questions about packets: who sends to whom, and what would then be on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from flows.walk.packet import ACK, SYN, Packet, icmp, tcp, udp
from hactrl.engine.state import State
from hactrl.explain import names
from hactrl.explain.parties import Party, receiver_of, sender_of
from hactrl.explain.questions import PacketError, TraceQuestion, segment_of
from topology.model import Address, Attachment

#: Neither TCP's nor UDP's port of any service.
CLIENT_PORT = 49152

ECHO_REQUEST = {4: 8, 6: 128}

_PROTOCOLS = "tcp", "udp", "icmp"


@dataclass(frozen=True)
class SentPacket:
    """A packet, where it comes in, and who sends what to whom, in words."""

    packet: Packet
    at: Attachment
    words: str


def sent(state: State, question: TraceQuestion) -> SentPacket:
    """The packet that is asked about.

    Raises:
        UnknownNameError: a name that nothing has, or a host that nobody has seen.
        PacketError: there is no such packet.
    """
    if question.protocol not in _PROTOCOLS:
        raise PacketError(f"{question.protocol!r} is no protocol: tcp, udp or icmp")
    if question.at == question.destination:
        raise PacketError(f"who is at {question.at} would send to himself")
    place = names.place(state, question.at)
    sender = sender_of(state, question, place)
    receiver = receiver_of(state, question, segment_of(state, place.attachment))
    source, destination = _addresses(sender, receiver)
    try:
        packet, what = _packet(question, sender, receiver, (source, destination))
    except ValueError as error:
        raise PacketError(str(error)) from error
    to = receiver.name if receiver.name == str(destination) else f"{receiver.name} ({destination})"
    words = f"{sender.name} ({source}) at {place.attachment} {what} {to}"
    return SentPacket(packet, place.attachment, words)


# What is on the wire.


def _addresses(sender: Party, receiver: Party) -> tuple[Address, Address]:
    """Of both, of the same family: IPv4 rather than IPv6, and rather not link-local."""
    pairs = [
        (own, other)
        for own in sender.addresses
        for other in receiver.addresses
        if own.version == other.version
    ]
    if not pairs:
        ends = (", ".join(map(str, p.addresses)) or "none" for p in (sender, receiver))
        said = "{} (addresses: {}) and {} (addresses: {}) have none of the same family"
        own, other = ends
        raise PacketError(said.format(sender.name, own, receiver.name, other))
    return min(pairs, key=lambda pair: (pair[0].version, sum(a.is_link_local for a in pair)))


def _packet(
    question: TraceQuestion, sender: Party, receiver: Party, ends: tuple[Address, Address]
) -> tuple[Packet, str]:
    """The packet, and what is done by it, in words."""
    macs = question.source_mac or sender.mac, question.destination_mac or receiver.mac
    source, destination = map(str, ends)
    protocol = question.protocol
    if protocol == "icmp":
        kind = ECHO_REQUEST[ip_address(source).version]
        return icmp(macs, source, destination, kind), "sends an echo request to"
    port, source_port, flags = question.port, question.source_port, SYN
    asked = next((s.port for s in receiver.services if s.protocol == protocol), None)
    serves = next((s.port for s in sender.services if s.protocol == protocol), None)
    answers = port is None and asked is None and serves is not None
    if answers:
        port, flags = CLIENT_PORT, SYN | ACK
        source_port = serves if source_port is None else source_port
        what = f"answers from {protocol.upper()} port {source_port} to"
    else:
        port = (asked or 0) if port is None else port
        to = f"port {port} of" if port else ""
        what = f"sends {protocol.upper()} to {to}".rstrip()
    if source_port is None:
        source_port = CLIENT_PORT
    if protocol == "udp":
        return udp(macs, (source, source_port), (destination, port)), what
    return tcp(macs, (source, source_port), (destination, port), flags), what
