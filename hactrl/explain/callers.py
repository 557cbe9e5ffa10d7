"""Who is behind a MAC or a port, and why nobody is: a site's names for what switches send."""

from __future__ import annotations

from collections.abc import Iterator

from flows.backbone.locators import DETOUR, Locators
from flows.common.fields import mac
from flows.pipeline import FORWARD
from flows.walk.trace import Delivered, Dropped, EndReason
from hactrl.engine.backbone import nearest
from hactrl.engine.state import State
from hactrl.explain import names
from hactrl.explain.parties import called
from topology.model import FileServer, derived_mac


class Callers:
    """Of one state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._network = state.site.network
        self._locators = Locators.of(self._network)
        self._cards = {card.attachment: card for card in names.interfaces(state).values()}
        self._macs = dict(self._named())

    def mac(self, value: int) -> str:
        """Whose MAC that is, also with the mark of a detour; empty if nobody's."""
        if value in self._macs:
            return self._macs[value]
        unmarked = self._macs.get(value & ~DETOUR, "")
        return f"{unmarked}, marked as on a detour" if unmarked else ""

    def receiver(self, end: Delivered) -> str:
        """Who gets what is delivered at a port."""
        card = self._cards.get(end.attachment)
        value = end.packet["eth_dst"]
        if card is not None:
            roles = self._state.site.roles
            role = next((name for name in roles if mac(card.role_mac(name)) == value), "")
            to = f", for its role {role}" if role else ""
            return f"interface {card.name} of {card.server}{to}"
        for segment in self._network.segments.values():
            if segment.prober and segment.prober.attachment == end.attachment:
                return f"the prober of {segment.name}"
        table = self._state.host_table
        for own in table.at_port.get(end.attachment, ()):
            if mac(own) == value:
                return called(table.hosts[own])
        return "a host"

    def why_dropped(self, drop: Dropped) -> str:
        """What is behind it, where rules do not say; empty if they do."""
        value = drop.packet["eth_dst"]
        if drop.reason is EndReason.NO_LIVE_BUCKET:
            for role, segment, cards in self._state.outlook.orders:
                if not cards and value == mac(self._virtual(role, segment)):
                    return f"nobody serves {role} on {segment} now (`hactl status` says why)"
        if drop.rule is None or drop.rule.table != FORWARD.number:
            return ""
        unmarked = value & ~DETOUR
        for server in self._network.file_servers.values():
            if unmarked == mac(server.mac):
                return self._unreachable(drop, server)
        for switch in self._locators.switches:
            prefix, mask = self._locators.prefix(switch)
            if unmarked & mask == prefix and switch != drop.switch:
                return f"no way that is up leads from {drop.switch} to {switch}"
        return ""

    def _unreachable(self, drop: Dropped, server: FileServer) -> str:
        if nearest.live(self._state, server):
            way = f"no way that is up leads from {drop.switch} to an interface of {server.name}"
            return f"{way} (`hactl paths` shows which are live)"
        ports = ", ".join(f"{card.name} ({card.attachment})" for card in server.interfaces)
        return f"the ports of all interfaces of {server.name} are down: {ports}"

    def _virtual(self, role: str, segment: str) -> str:
        addresses = self._state.site.roles[role].addresses
        return next(on.mac for on in addresses if on.segment == segment)

    def _named(self) -> Iterator[tuple[int, str]]:
        """Later ones come first to mind."""
        for host in self._state.host_table.hosts.values():
            yield mac(host.mac), f"the host's own MAC at {host.attachment}"
            yield self._locators.host(host), f"the locator of {called(host)} at {host.attachment}"
        for segment in self._network.segments.values():
            if segment.prober:
                yield mac(segment.prober.mac), f"the MAC of the prober of {segment.name}"
        for card in self._cards.values():
            yield mac(card.mac), f"the MAC of {card.name}"
            if card.name in self._network.file_interfaces:
                yield self._locators.interface(card), f"the locator of {card.name}"
        for role in self._state.site.roles.values():
            for on in role.addresses:
                yield mac(on.mac), f"the virtual MAC of role {role.name} on {on.segment}"
            for card in self._cards.values():
                own = card.role_mac(role.name)
                yield mac(own), f"that of role {role.name} on {card.name}"
                detour = derived_mac(f"detour to {own}")
                yield mac(detour), f"that of a detour to role {role.name} on {card.name}"
                diverted = derived_mac(f"diverted to {own}")
                yield mac(diverted), f"that of what was diverted to role {role.name} on {card.name}"
        for server in self._network.file_servers.values():
            yield mac(server.mac), f"the virtual MAC of {server.name}"
