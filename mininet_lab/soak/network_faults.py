"""Cables pulled, and switches without a controller or without power."""

from __future__ import annotations

from mininet_lab import plan
from mininet_lab.lab import Lab
from mininet_lab.network import run
from mininet_lab.servers import LabServer
from mininet_lab.soak.struck import NotStruckError, Struck, undone_by
from topology.model import Attachment

#: Where nobody listens.
_NOBODY = "tcp:127.0.0.1:9"


def pull(
    lab: Lab, where: tuple[str, ...], ports: list[Attachment], owner: LabServer | None = None
) -> Struck:
    """Pull cables at the switches' ends, or at the cards of `owner`: they come up with its power.

    Raises:
        NotStruckError: a port still hears somebody.
    """
    change = lab.network.set_port if owner is None else lab.network.set_cable

    def mend() -> None:
        if owner is None or owner.is_on:
            for port in ports:
                change(port, up=True)

    with undone_by(mend):
        for port in ports:
            change(port, up=False)
        if up := [port for port in ports if _carrier(port)]:
            raise NotStruckError(f"{', '.join(map(str, up))} have a carrier")
    return Struck(where, mend)


def part(lab: Lab, switch: str) -> Struck:
    """Cut a switch off from the controller. It keeps its rules (`fail_mode=secure`), unless it
    had no controller at all: Open vSwitch would flush them, so it gets one that is not there.

    Raises:
        NotStruckError: it is still connected, or has lost its rules.
    """

    def mend() -> None:
        lab.network.connect_to_controller([switch])

    before = lab.ovs.dump_flows(switch)
    question = ("--bare", "--columns=is_connected", "list", "controller", switch)
    with undone_by(mend):
        run("ovs-vsctl", "set-controller", switch, _NOBODY)
        connected = run("ovs-vsctl", *question).strip()
        if connected == "true" or (before and not lab.ovs.dump_flows(switch)):
            raise NotStruckError(f"{switch}: connected {connected}, {len(before)} flows before")
    return Struck((switch,), mend)


def switch_off(lab: Lab, switch: str) -> Struck:
    """Without power: no port has a carrier, no controller is told, and what the switch knew is
    gone.

    Raises:
        NotStruckError: it has rules.
    """
    ports = cabled(lab, switch)

    def mend() -> None:
        for port in ports:
            lab.network.set_port(port, up=True)
        lab.network.connect_to_controller([switch])

    with undone_by(mend):
        run("ovs-vsctl", "del-controller", switch)
        for port in ports:
            lab.network.set_port(port, up=False)
        for what in ("del-flows", "del-groups"):
            run("ovs-ofctl", "-O", "OpenFlow13", what, switch)
        if flows := lab.ovs.dump_flows(switch):
            raise NotStruckError(f"{switch} has {len(flows)} flows")
    return Struck((switch,), mend, f"{len(ports)} ports")


def cabled(lab: Lab, switch: str) -> list[Attachment]:
    """The ports of a switch that have a cable."""
    network = lab.site.network
    ports = [end for link in network.links for end in (link.a, link.b)]
    ports += [card.attachment for card in network.interfaces.values()]
    ports += [guest.attachment for guest in plan.GUESTS]
    ports += [x.prober.attachment for x in network.segments.values() if x.prober is not None]
    return [port for port in ports if port.switch == switch]


def _carrier(port: Attachment) -> bool:
    """Whether the switch's port is up and hears somebody at the other end."""
    told = run("ip", "-brief", "link", "show", plan.port_device(port))
    return " UP " in told
