"""The report's network: real switches take the compiled rules, give them back alike, and do with
packets what the walker says."""

from __future__ import annotations

import random
from itertools import product

import pytest
from ofproto_trace import delivered, ofproto_trace
from private_ovs import Bridge, Channel, PrivateOvs
from report_network import ADDRESSES, CANDIDATES, NETWORK, PORTS, SUBNETS, Situation, placed

from flows.diff import diff
from flows.openflow import error_text, messages
from flows.openflow.ryu_mended import parser
from flows.rules import RuleSet
from flows.walk.packet import ACK, SYN, Packet, arp_request, icmp, neighbour_solicitation, tcp
from flows.walk.walker import Walker
from topology.model import Attachment

pytestmark = pytest.mark.integration

PACKETS = 60
HOST_MACS = ("02:c0:00:00:00:07", "02:c0:00:00:00:08")
SITUATIONS = {
    "normal": Situation(),
    "smtp_pop at mailrelay": placed(smtp_pop="mailrelay"),
    "mailrelay at smtp_pop": placed(mailrelay="smtp_pop"),
}


@pytest.fixture(scope="module")
def bridges(ovs: PrivateOvs) -> dict[str, Bridge]:
    return {
        name: ovs.add_bridge(name, switch.datapath_id, sorted(PORTS[name]))
        for name, switch in NETWORK.switches.items()
    }


def install(channel: Channel, wanted: RuleSet) -> None:
    for batch in diff(channel.read_back(), wanted):
        sends = [m for change in batch for m in messages(channel.datapath, change)]
        errors = channel.barrier(*sends)
        assert [error_text(e) for e in errors if isinstance(e, parser.OFPErrorMsg)] == []


def some_packet(segment: str, chooser: random.Random) -> Packet:
    """Something that hosts, roles or the prober could send on the segment, or should not."""
    four, six = SUBNETS[segment]
    virtual = [address.mac for address in ADDRESSES.values() if address.segment == segment]
    cards = [c.mac for c in CANDIDATES.values() if c.segment == segment]
    macs = [*HOST_MACS, *virtual, *cards]
    eth = (chooser.choice(macs), chooser.choice(macs))
    lasts = ["7", "24", "25", "26", "80", "241", "242"]
    prefix = chooser.choice([f"{four}.", f"{six}::"])
    source, target = (prefix + chooser.choice(lasts) for _ in range(2))
    ports = (chooser.choice([25, 80, 40000]), chooser.choice([25, 80, 110, 40000]))
    if chooser.random() < 0.25:
        if prefix.endswith("."):
            return arp_request((eth[0], source), target)
        return neighbour_solicitation((eth[0], source), target)
    if chooser.random() < 0.1:
        return icmp(eth, source, target, chooser.choice([2, 3, 8, 128]))
    flags = chooser.choice([SYN, SYN | ACK, ACK])
    return tcp(eth, (source, ports[0]), (target, ports[1]), flags)


@pytest.mark.parametrize(
    ("switch", "situation"), list(product(NETWORK.switches, SITUATIONS)), ids=lambda text: text
)
def test_switch_takes_and_keeps_the_rules_and_does_what_the_walker_says(
    bridges: dict[str, Bridge], switch: str, situation: str
) -> None:
    wanted = SITUATIONS[situation].compiled()[switch]
    with bridges[switch].connect() as channel:
        install(channel, wanted)
        assert diff(channel.read_back(), wanted) == ()
    chooser = random.Random(switch + situation)
    walker = Walker({switch: wanted}, ())
    for _ in range(PACKETS):
        packet = some_packet(NETWORK.switches[switch].segment, chooser)
        port = chooser.choice(sorted(PORTS[switch]))
        trace, happens = ofproto_trace(bridges[switch], packet, port, chooser.randrange(1, 1 << 32))
        walked = walker.walk(lambda _: True, packet, Attachment(switch, port))
        possible = [delivered(outcome) for outcome in walked.outcomes()]
        assert happens in possible, f"{packet} at {port}: {possible}\n{trace}"
