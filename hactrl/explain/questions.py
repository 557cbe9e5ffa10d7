"""Questions about packets, as they are asked, and what they take for granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

from hactrl.engine.state import State
from hactrl.explain import names
from topology.model import Address, Attachment, Host

#: Where in a network the addresses of made-up hosts begin: lower ones often belong to routers.
_FIRST_MADE_UP = 100


class PacketError(ValueError):
    """The packet asked about cannot be; the message says why."""


@dataclass(frozen=True)
class TraceQuestion:
    """What becomes of a packet. `at` is who sends it: an interface, a host, or whoever is at a
    port. `destination` is who should get it: a role, a file server, a host, or whoever is at a
    port; or an address. Names are as in `hactrl.explain.names`.

    What is left out is what would really be sent: `source` an address of the sender, `port` that
    of the receiver's first service, the MACs those that the hosts would use. A server that sends
    to a host answers it, if no `port` is given.

    `what_if` is a failure (`topology.paths.what_if.FORMS`), and the question then what switches do
    by themselves about it, with the rules that they have.
    """

    at: str
    destination: str
    source: str = ""
    protocol: str = "tcp"
    port: int | None = None
    source_port: int | None = None
    source_mac: str = ""
    destination_mac: str = ""
    what_if: str = ""


def ports_asked(state: State, question: TraceQuestion) -> tuple[Attachment, ...]:
    """The edge ports at which the question puts hosts."""
    return tuple(place.attachment for place, _ in _places_asked(state, question))


def made_up(state: State, question: TraceQuestion) -> tuple[Host, ...]:
    """Hosts at those of these ports that are a backbone's: for where no controller knows any."""
    found: list[Host] = []
    for place, source in _places_asked(state, question):
        segment = segment_of(state, place.attachment)
        if state.site.network.segments[segment].backbone:
            own = names.as_address(source)
            taken = frozenset(address for host in found for address in host.addresses)
            addresses = (own,) if own else tuple(free_addresses(state, segment, taken))
            number = len(found)
            made_of = names.MADE_UP[number], place.attachment, number + 1, addresses
            found.append(Host(*made_of))
    return tuple(found)


def _places_asked(state: State, question: TraceQuestion) -> Iterator[tuple[names.Place, str]]:
    """With the source that is given for who is there."""
    network = state.site.network
    probers = (s.prober.attachment for s in network.segments.values() if s.prober)
    closed = {*network.trunk_ports, *probers}
    for name, source in (question.at, question.source), (question.destination, ""):
        if names.is_port(state, name):
            place = names.place(state, name)
            if place.interface is None and place.attachment not in closed:
                yield place, source


def segment_of(state: State, attachment: Attachment) -> str:
    return state.site.network.switches[attachment.switch].segment


def free_addresses(
    state: State, segment: str, taken: frozenset[Address] = frozenset()
) -> Iterator[Address]:
    """One of each family of a segment's networks, which is nobody's as far as known."""
    network = state.site.network
    owned = {a for server in network.file_servers.values() for a in server.addresses}
    owned |= {a for r in state.site.roles.values() for on in r.addresses for a in on.addresses}
    probers = [each.prober for each in network.segments.values() if each.prober is not None]
    owned |= {a for prober in probers for own in prober.sources.values() for a in own}
    owned |= {*state.host_table.owners, *taken}
    families = set()
    for subnet in network.segments[segment].networks:
        if subnet.version not in families:
            families.add(subnet.version)
            size, first = subnet.num_addresses, int(subnet.network_address)
            places = (first + (_FIRST_MADE_UP + n) % size for n in range(min(size, 1 << 16)))
            family = IPv4Address if subnet.version == 4 else IPv6Address
            free = (address for address in map(family, places) if address not in owned)
            yield from islice(free, 1)
