"""What the controller hears from the ports of backbones, and says to them: hosts that no rule
knows, and link layer discovery.

    packet in ──┬──► Ears ──► LinkHeard
                └──► HostSighted ──► (engine) ──► AskHost, SendAgain, AnnounceHost ──► packet out
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Protocol

from flows import lldp
from flows.backbone.locators import Locators
from flows.frames import FrameError, announcement, mac_octets, question, sender
from hactrl import hub
from hactrl.engine.effects import AnnounceHost, AskHost, SendAgain
from hactrl.engine.events import Event, HostSighted, LinkHeard
from hactrl.engine.state import State
from hactrl.switches.session import Wanted
from topology import discovery
from topology.backbones import backbone_switches
from topology.discovery import Ears, Hearing
from topology.hosts import Sighting
from topology.locators import ASKER_MAC
from topology.model import Attachment, Host

LOG = logging.getLogger(__name__)

#: Frames that wait for the rules of one switch; of more, the oldest are lost, and sent anew by
#: whoever misses an answer.
MOST_WAITING = 256

#: Hosts whose new name some switch does not tell yet; of more, the oldest are not announced again,
#: and who holds their former name asks anew when his entry has aged.
MOST_TOLD = 4096

#: Seconds after which a frame that waited is not worth sending: its sender has tried again.
WORTH_SENDING = 2.0


class Switches(Protocol):
    """Those that are connected take frames; see `hactrl.switches.board`."""

    def emit(self, switch: str, frame: bytes, port: int) -> None:
        """Send the frame out of this port."""

    def resubmit(self, switch: str, frame: bytes, port: int) -> None:
        """Treat the frame as if it had just come in by this port."""


@dataclass
class _Told:
    """`late` are the switches that still tell a host's former name to whoever asks them, until
    they hold the rules of `version`."""

    host: Host
    version: int
    late: set[str]


@dataclass
class BackbonePorts:
    """`current` gives the engine's state; `post` takes events and never blocks."""

    switches: Switches
    current: Callable[[], State]
    post: Callable[[Event], None]
    clock: Callable[[], float]
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _ears: Ears = field(default_factory=Ears)
    _round_began: float | None = None
    _waiting: dict[str, deque[tuple[int, float, SendAgain]]] = field(default_factory=dict)
    _told: deque[_Told] = field(default_factory=lambda: deque(maxlen=MOST_TOLD))

    # What is heard.

    def frame_in(self, listener: Attachment, frame: bytes) -> None:
        """A switch did not know what to do with a frame that came in there, or it is for us."""
        if frame[:6] == lldp.DESTINATION:
            self._announced(listener, frame)
            return
        try:
            mac, address = sender(frame)
        except FrameError as error:
            LOG.debug("a frame at %s is not believed: %s", listener, error)
            return
        asked = frame[:6] == mac_octets(ASKER_MAC)
        self.post(HostSighted(Sighting(mac, listener, address), b"" if asked else frame))

    def _announced(self, listener: Attachment, frame: bytes) -> None:
        """Others may speak LLDP too; what they say is not for us."""
        try:
            told = lldp.read(frame, self._secret, self.clock())
        except lldp.LldpError as error:
            LOG.debug("LLDP at %s: %s", listener, error)
            return
        switches = self.current().site.network.switches.values()
        name = next((s.name for s in switches if s.datapath_id == told.datapath_id), None)
        if name is not None:
            speaker = Attachment(name, told.port)
            self._ears, change = discovery.hear(self._ears, listener, speaker, self.clock())
            self._tell((change,) if change else ())

    def port_down(self, port: Attachment) -> None:
        """Whatever was heard there may be plugged in elsewhere when it comes up."""
        self._ears = discovery.deafen(self._ears, lambda gone: gone == port)

    def _tell(self, changes: tuple[Hearing, ...]) -> None:
        for change in changes:
            self.post(LinkHeard(change.listener, change.speaker))

    # What is said.

    def announce(self) -> None:
        """Say for ever, out of every port that may be a trunk, which one it is; each once a round,
        evenly, so that neither switches nor controller meet a burst."""
        while True:
            ports = self._ports()
            self._grow_old(ports)
            pause = discovery.round_time(len(ports)) / max(1, len(ports))
            for port in ports:
                self._announce(port, len(ports))
                hub.sleep(pause)
            if not ports:
                hub.sleep(pause)

    def _ports(self) -> list[Attachment]:
        """The ports of connected backbone switches that are up, but those of servers and prober."""
        state = self.current()
        claimed = discovery.claimed_ports(state.site.network)
        return [
            Attachment(name, port)
            for name in sorted(backbone_switches(state.site.network))
            if (switch := state.switches.get(name)) and switch.connected
            for port in sorted(switch.ports_up)
            if Attachment(name, port) not in claimed
        ]

    def _grow_old(self, ports: list[Attachment]) -> None:
        """At the beginning of a round. However long the last one took, because the controller was
        suspended or busy, it was one: all links would be silent, as it alone was."""
        now = self.clock()
        began = now if self._round_began is None else self._round_began
        late = now - began - discovery.round_time(len(ports))
        if late > 0:
            self._ears = discovery.stand_still(self._ears, late, now)
        self._round_began = now
        up, trunks = set(ports), self.current().site.network.trunk_ports
        connected = {name for name, s in self.current().switches.items() if s.connected}
        gone = {port for port in self._ears.heard if port.switch in connected and port not in up}
        ears = discovery.deafen(self._ears, lambda port: port in gone)
        ears = discovery.listen(ears, up & trunks, now)
        self._ears, changes = discovery.grow_old(ears, now, len(ports), connected)
        self._tell(changes)

    def _announce(self, port: Attachment, ports: int) -> None:
        number = self.current().site.network.switches[port.switch].datapath_id
        told = lldp.Announcement(number, port.port, self.clock())
        ttl = round(discovery.lifetime(ports))
        self.switches.emit(port.switch, lldp.frame(told, ttl, self._secret), port.port)

    def ask(self, effect: AskHost) -> None:
        """Carry it out. A host that is asked for itself is asked for all of its addresses: it may
        have given up the oldest. One without any cannot be asked; `topology.hosts` says what
        follows from no answer."""
        host = effect.host
        addresses = host.addresses if effect.address is None else (effect.address,)
        port = host.attachment
        for address in addresses:
            self.switches.emit(port.switch, question(ASKER_MAC, host.mac, address), port.port)

    def send_again(self, effect: SendAgain) -> None:
        """Carry it out as soon as the switch holds the rules of the present state."""
        state = self.current()
        if state.installed_on(effect.port.switch) >= state.version:
            self._resubmit(effect)
            return
        waiting = self._waiting.setdefault(effect.port.switch, deque(maxlen=MOST_WAITING))
        waiting.append((state.version, self.clock(), effect))

    def awaited(self) -> Set[str]:
        """The switches whose rules some frame waits for."""
        return self._waiting.keys()

    def announce_host(self, effect: AnnounceHost) -> None:
        """Carry it out as soon as the host's own switch can, and once more when every switch tells
        its name: who has asked another one meanwhile was told the former one."""
        host, state = effect.host, self.current()
        self._announce_host(host, self.send_again)
        late = {
            switch.name
            for switch in state.site.network.switches_of(self._segment_of(host))
            if state.installed_on(switch.name) < state.version
        }
        if late:
            self._told.append(_Told(host, state.version, late))

    def _announce_host(self, host: Host, send: Callable[[SendAgain], None]) -> None:
        """To hosts as the host itself would, by its own switch; to file servers, who hear no
        broadcasts, at each interface, under its locator."""
        network, segment = self.current().site.network, self._segment_of(host)
        locator = Locators.of(network).host(host).to_bytes(6).hex(":")
        for address in host.addresses:
            send(SendAgain(host.attachment, announcement(host.mac, address)))
            for card in network.file_interfaces.values():
                if card.segment == segment:
                    port = card.attachment
                    self.switches.emit(port.switch, announcement(locator, address), port.port)

    def _segment_of(self, host: Host) -> str:
        return self.current().site.network.switches[host.attachment.switch].segment

    def _announce_again(self, switch: str, version: int) -> None:
        """A switch holds these rules; whom that was the last one for is announced once more, if he
        is still the same."""
        state = self.current()
        connected = {name for name, known in state.switches.items() if known.connected}
        for told in tuple(self._told):
            if version >= told.version:
                told.late.discard(switch)
            if not told.late & connected:
                self._told.remove(told)
                if state.host_table.hosts.get(told.host.mac) == told.host:
                    self._announce_host(told.host, self._resubmit)

    def installed(self, switch: str, wanted: Wanted) -> None:
        """The switch holds this."""
        if not wanted.final:
            return
        version = wanted.version
        waiting = self._waiting.pop(switch, deque())
        for needed, since, effect in waiting:
            if needed > version:
                kept = self._waiting.setdefault(switch, deque(maxlen=MOST_WAITING))
                kept.append((needed, since, effect))
            elif self.clock() - since < WORTH_SENDING:
                self._resubmit(effect)
        self._announce_again(switch, version)

    def _resubmit(self, effect: SendAgain) -> None:
        self.switches.resubmit(effect.port.switch, effect.packet, effect.port.port)
