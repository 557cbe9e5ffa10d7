"""Which OpenFlow connection is which switch, when two say that they are the same one.

Whoever connects tells the datapath id, and anybody can tell any. So of two live connections with
one id, the one that was there first and answers an echo stays. The other one is refused, and held
off for a pause that doubles with each try. If the first one does not answer, it is a connection
that died unseen, and the other one takes its place, which the engine is told.

Nothing here keeps the caller waiting, which is the greenlet that serves all switches' events:
whatever sends to a switch, waits for it or closes it runs in a greenlet of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flows.sparing import Sparing
from hactrl import hub
from hactrl.engine.events import Event, Noticed, SwitchConnected, SwitchLost
from hactrl.journal import of_strangers
from hactrl.switches.board import Switchboard
from hactrl.switches.session import Session
from hactrl.switches.wire import DatapathWire
from hactrl.vocabulary import EntryKind

LOG = logging.getLogger(__name__)

#: Seconds that a switch has to answer an echo when another claims to be it.
ECHO_DEADLINE = 0.5

#: Seconds in which a switch says that we are its master, or is refused.
ROLE_DEADLINE = 10.0
#: Seconds for which an address is held off that claimed what another is; they double.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: Addresses that are remembered; of more, the one that was refused first is forgotten.
MOST_HELD = 1024

#: Seconds between two tracebacks of one address's events.
DEFECT_PAUSE = 10.0

#: Entries of the journal that anybody can bring about.
OF_STRANGERS = (
    EntryKind.OPENFLOW_DISCONNECTED,
    EntryKind.SWITCH_REFUSED,
    EntryKind.SWITCH_UNKNOWN,
    EntryKind.SWITCH_UNRULED,
)

Details = tuple[tuple[str, str], ...]

#: (name, function): run the function in a greenlet whose failure ends the controller.
Spawn = Callable[[str, Callable[[], None]], Any]


@dataclass
class SwitchConnection:
    """A switch that is ours once it is `mastered`. `replaces`: see `SwitchConnected`."""

    switch: str
    wire: DatapathWire
    session: Session
    replaces: bool
    mastered: bool = False
    greenlets: list[Any] = field(default_factory=list)


@dataclass
class _Hold:
    until: float
    pause: float


class Doorkeeper:
    """Remembers who was refused, by address and datapath id. `clock` gives seconds that never
    jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._holds: dict[tuple[str, int], _Hold] = {}

    def holds_off(self, host: str, datapath_id: int) -> bool:
        hold = self._holds.get((host, datapath_id))
        return hold is not None and self._clock() < hold.until

    def refuse(self, host: str, datapath_id: int) -> None:
        """Hold it off from now on: longer than the last time, unless that was long ago."""
        now = self._clock()
        former = self._holds.pop((host, datapath_id), None)
        pause = FIRST_PAUSE
        if former is not None and now < former.until + LONGEST_PAUSE:
            pause = min(2 * former.pause, LONGEST_PAUSE)
        if len(self._holds) >= MOST_HELD:
            del self._holds[next(iter(self._holds))]
        self._holds[host, datapath_id] = _Hold(now + pause, pause)

    def welcome(self, host: str, datapath_id: int) -> None:
        """Who was the switch until now may come again at once."""
        self._holds.pop((host, datapath_id), None)


class Connections:
    """`names` gives switches by datapath id; `board` has the sessions of those that are ours;
    `post` takes events and never blocks."""

    def __init__(
        self,
        names: Mapping[int, str],
        board: Switchboard,
        post: Callable[[Event], None],
        *,
        spawn: Spawn,
        generation_id: int,
        clock: Callable[[], float],
    ) -> None:
        self._names = names
        self._board = board
        self._post = post
        self._spawn = spawn
        self._generation_id = generation_id
        self._doorkeeper = Doorkeeper(clock)
        self._defects = Sparing(DEFECT_PAUSE, clock=clock)
        self._strangers = {kind: of_strangers(clock) for kind in OF_STRANGERS}
        self._connections: dict[str, SwitchConnection] = {}
        # Who asks for the place of a switch that is connected; None when it has left meanwhile. One
        # question at a time, because answers to several could be told for each other's.
        self._newcomers: dict[str, Any] = {}

    def of(self, datapath: Any) -> SwitchConnection | None:
        """The switch that this connection is; None if it is none, or another one is that switch."""
        connection = self._connections.get(self._names.get(datapath.id, ""))
        return connection if connection and connection.wire.datapath is datapath else None

    def arrived(self, datapath: Any) -> None:
        """It has told its datapath id and ports."""
        name, host = self._names.get(datapath.id), datapath.address[0]
        if self._doorkeeper.holds_off(host, datapath.id):
            self._close(datapath)
        elif name is None:
            self._doorkeeper.refuse(host, datapath.id)
            self._notice(EntryKind.SWITCH_UNKNOWN, unknown(datapath.id, host))
            self._close(datapath)
        elif name in self._newcomers:
            self._close(datapath)  # one after the other; it connects again
        elif incumbent := self._connections.get(name):
            self._contest(incumbent, datapath)
        else:
            self._admit(name, datapath, replaces=False)

    def mastered(self, connection: SwitchConnection, ports_up: Iterable[int]) -> None:
        """From here on the switch is ours. Before, it takes changes from whoever asks, and what it
        were given would wait without end."""
        run = self._spawn(f"session of {connection.switch}", connection.session.run)
        connection.greenlets.append(run)
        connection.mastered = True
        self._board.plug(connection.session)
        up = frozenset(ports_up)
        self._post(SwitchConnected(connection.switch, up, connection.replaces))

    def left(self, datapath: Any) -> None:
        """The connection has ended."""
        name = self._names.get(datapath.id, "")
        if self._newcomers.get(name) is datapath:
            self._newcomers[name] = None
        if connection := self.of(datapath):
            self._doorkeeper.welcome(datapath.address[0], datapath.id)
            self._end(connection)

    def misbehaved(self, datapath: Any, reason: str) -> None:
        """It sent what it may not, or more than it may, and is being disconnected for that."""
        connection = self.of(datapath)
        peer = connection.switch if connection else "stranger"
        details = ("peer", peer), ("address", datapath.address[0]), ("reason", reason)
        self._notice(EntryKind.OPENFLOW_DISCONNECTED, details)

    def failed(self, datapath: Any, event: str) -> None:
        """An event of it was not served, by a defect of ours; call it where that is caught. What is
        known of the switch may be wrong now, so it ends, and begins anew when it connects again."""
        name, host = self._names.get(datapath.id, ""), datapath.address[0]
        said = "%s of switch %s at %s is not served, and its connection ends"
        if self._defects.log((event, host), LOG.exception, said, event, name, host):
            details = ("event", event), ("switch", name), ("address", host)
            self._post(Noticed(EntryKind.EVENT_FAILED, details=details))
        if connection := self.of(datapath):
            self._end(connection)
        else:
            self._close(datapath)

    def _contest(self, incumbent: SwitchConnection, newcomer: Any) -> None:
        name = incumbent.switch
        self._newcomers[name] = newcomer
        self._spawn(f"contest of {name}", lambda: self._decide(incumbent, newcomer))

    def _decide(self, incumbent: SwitchConnection, newcomer: Any) -> None:
        name = incumbent.switch
        answers = incumbent.wire.answers_echo(ECHO_DEADLINE)
        left = self._newcomers.pop(name) is None
        stands = self._connections.get(name) is incumbent
        if stands and answers:
            host, connected = newcomer.address[0], incumbent.wire.datapath.address
            self._doorkeeper.refuse(host, newcomer.id)
            self._notice(EntryKind.SWITCH_REFUSED, refused(name, host, connected))
            self._close(newcomer)
            return
        if left:
            return
        if stands:
            LOG.warning("switch %s no longer answers at %s", name, incumbent.wire.datapath.address)
            self._end(incumbent)
        self._admit(name, newcomer, replaces=True)

    def _admit(self, name: str, datapath: Any, *, replaces: bool) -> None:
        wire = DatapathWire(datapath)
        session = self._board.session(name, wire)
        connection = SwitchConnection(name, wire, session, replaces)
        self._connections[name] = connection
        ask = self._spawn(f"role at {name}", lambda: wire.take_master_role(self._generation_id))
        connection.greenlets.append(ask)
        waited = partial(self._spawn, f"end of {name}", lambda: self._end_unruled(connection))
        connection.greenlets.append(hub.spawn_after(ROLE_DEADLINE, waited))

    def _end_unruled(self, connection: SwitchConnection) -> None:
        """Who answers echoes, and takes no master, must not keep a switch's place."""
        if connection.mastered or self._connections.get(connection.switch) is not connection:
            return
        datapath = connection.wire.datapath
        details = ("switch", connection.switch), ("address", datapath.address[0])
        self._doorkeeper.refuse(datapath.address[0], datapath.id)
        self._notice(EntryKind.SWITCH_UNRULED, details)
        self._end(connection)

    def _end(self, connection: SwitchConnection) -> None:
        """Forget a switch's connection, and close it if it is still there. What waits in vain for
        it to take a message ends too."""
        del self._connections[connection.switch]
        self._board.unplug(connection.session)
        connection.wire.ended()
        for greenlet in connection.greenlets:
            hub.spawn_n(greenlet.kill)
        self._close(connection.wire.datapath)
        if connection.mastered:
            self._post(SwitchLost(connection.switch))

    def _notice(self, kind: EntryKind, details: Details) -> None:
        """Each kind by itself, so that whoever makes up datapath ids hides no impostor."""
        if self._strangers[kind].tell(details) is not None:
            self._post(Noticed(kind, details=details))

    def _close(self, datapath: Any) -> None:
        self._spawn("closing", datapath.close)


def unknown(datapath_id: int, host: str) -> Details:
    return ("datapath_id", f"{datapath_id:#x}"), ("address", host)


def refused(switch: str, host: str, connected: tuple[Any, ...]) -> Details:
    """Without the port of the one that is refused: it has another one with each try."""
    return ("switch", switch), ("refused", host), ("connected", f"{connected[0]}:{connected[1]}")
