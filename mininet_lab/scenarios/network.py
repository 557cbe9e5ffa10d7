"""Build the network without a controller and see that its cables lead where they should."""

from __future__ import annotations

from pathlib import Path

from mininet_lab.lab import Lab
from mininet_lab.plan import CLIENTS
from mininet_lab.report import Story
from mininet_lab.scenarios import Options


def play(directory: Path, options: Options, story: Story) -> None:
    """Clients reach each other over the ring, servers the management network."""
    del options
    story.chapter("The network, with switches that only learn")
    lab = Lab(directory)
    with story.working("building the network"):
        lab.__enter__()
    try:
        lab.network.bridge_by_hand()
        first, *others = CLIENTS
        for other in others:
            for address in other.addresses:
                story.expect(
                    _answers(lab, first.name, str(address.ip)),
                    f"{other.name} answers {first.name} at {address.ip}",
                )
        for server in lab.servers.values():
            with story.working(f"switching {server.name} on"):
                server.power_on()
            answers = "1 received" in server.chassis.run(*_ping(lab.site.controller.agents.host))
            story.expect(answers, f"{server.name} reaches the management network")
            with story.working(f"cutting the power of {server.name}"):
                lab.power_cut(server.name)
            story.expect(not server.is_on, f"{server.name} is proven off")
    finally:
        with story.working("taking it down"):
            lab.__exit__(None, None, None)


def _answers(lab: Lab, origin: str, address: str) -> bool:
    return "1 received" in lab.network.nodes[origin].run(*_ping(address))


def _ping(address: str) -> tuple[str, ...]:
    return ("ping", "-n", "-c", "1", "-W", "2", address)
