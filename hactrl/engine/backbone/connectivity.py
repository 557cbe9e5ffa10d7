"""Which switches of a backbone are joined, as far as the state knows."""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.state import Outlook, State
from topology.discovery import Cabling
from topology.model import Network


def network_now(network: Network, found: Cabling | Outlook) -> Network:
    """The network with the links that may be used: without those that lead elsewhere, and with
    those that were discovered."""
    misled, discovered = found.misled, found.discovered
    if not misled and not discovered:
        return network
    kept = tuple(link for link in network.links if str(link) not in misled)
    return replace(network, links=kept + discovered)


def joined(state: State, switch: str) -> frozenset[str]:
    """The switches that links which are up join with this one, and itself."""
    beside: dict[str, list[str]] = {}
    for link in network_now(state.site.network, state.cabling).links:
        if state.port_up(link.a) and state.port_up(link.b):
            beside.setdefault(link.a.switch, []).append(link.b.switch)
            beside.setdefault(link.b.switch, []).append(link.a.switch)
    found, todo = {switch}, [switch]
    while todo:
        new = set(beside.get(todo.pop(), ())) - found
        found |= new
        todo += new
    return frozenset(found)


def cut_off(state: State, switch: str) -> bool:
    """Nothing can be brought to a switch, or it is dead: its links, or those of the switches that
    it is joined with, are down at their other ends, and the controller is connected with some
    switch there and with none here. That it is connected with nobody at all says nothing.
    """
    here = joined(state, switch)
    connected = {name for name, known in state.switches.items() if known.connected}
    if here & connected:
        return False
    network = network_now(state.site.network, state.cabling)
    ends = (pair for link in network.links for pair in ((link.a, link.b), (link.b, link.a)))
    return any(
        one.switch in here and other.switch in connected and not state.port_up(other)
        for one, other in ends
    )
