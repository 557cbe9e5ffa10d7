"""The ports that a controller listens at: opened before anything else, and kept usable.

A port belongs to one process: none is opened with SO_REUSEPORT, so a second controller on the same
ports ends at its start. Whoever connects is a stranger until its protocol has told who it is
(`Door.busy`). Strangers are what makes room: when too many connections are open, of one address or
of all, the oldest idle one goes, so that nobody who merely connects can keep others out.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket as plain
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows.sparing import Sparing
from hactrl import hub
from hactrl.hub import socket
from hactrl.site.model import Listen, Site

LOG = logging.getLogger(__name__)

OPENFLOW = "controller.openflow.listen"
AGENTS = "controller.agents.listen"
REST = "controller.rest.listen"

BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted. One that it has no room for tries
again after a second."""

PAUSE = 0.1
"""Seconds before the next try when a connection could not be accepted."""

SILENCE = 60.0
"""Seconds for which the same trouble of a listener, or defect in who serves its connections, is not
told again."""

SPARE = 32
"""Connections of one address beyond those that a site has use for."""

LEFT_OVER = 128
"""Descriptors that everything but connections takes: store, prober, commands, log."""

OPEN: dict[str, Door] = {}
"""What the launcher has opened, by key. Ryu makes its servers and its applications itself, so
nobody can hand it to them."""

Peer = tuple[Any, ...]
"""A peer's address as `accept` tells it: host, port and, of IPv6, more."""

Handler = Callable[[Any, Peer], object]


class ListenError(Exception):
    """A port cannot be opened; the message is one line, with the key of the site file."""


class ListenerEndedError(Exception):
    """A listener has ended that nobody closed."""


class _FullError(Exception):
    """There is no room for a connection, and nobody idle who could make some."""


@dataclass(frozen=True)
class Room:
    """How many connections a listener takes: of everybody, and of one address."""

    most: int
    most_of_one: int


def rooms(site: Site) -> dict[str, Room]:
    """Enough for all switches, agents and guards of the site to come from one address, as they do
    behind a proxy, and to connect anew before their former connections have ended."""
    switches = len(site.network.switches)
    agents = len(site.network.servers) + sum(len(role.servers) for role in site.roles.values())
    return {
        OPENFLOW: Room(2 * (switches + SPARE), switches + SPARE),
        AGENTS: Room(2 * (agents + SPARE), agents + SPARE),
        REST: Room(256, 64),
    }


class Guests:
    """Who is connected, and who goes when there is no room. Idle ones are in the order in which
    they have become so."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._idle: dict[Peer, None] = {}
        self._busy: set[Peer] = set()
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def enter(self, peer: Peer) -> Peer | None:
        """Let in a connection, idle so far; returns the one that has lost its place for it.

        Raises:
            _FullError: nobody can be sent away for it.
        """
        self.leave(peer)  # an earlier connection from the same port, which is gone
        host = peer[0]
        if self._of[host] >= self._room.most_of_one:
            gone = self.oldest(host)
        elif len(self) >= self._room.most:
            gone = self.oldest(self._crowd())
        else:
            self._add(peer)
            return None
        if gone is None:
            raise _FullError
        self.leave(gone)
        self._add(peer)
        return gone

    def oldest(self, host: str | None = None) -> Peer | None:
        """Who has been idle for longest, of one address or of all."""
        return next((p for p in self._idle if host is None or p[0] == host), None)

    def busy(self, peer: Peer) -> None:
        """It keeps its place from now on. No matter if it has lost it already."""
        if peer in self._idle:
            del self._idle[peer]
            self._busy.add(peer)

    def idle(self, peer: Peer) -> None:
        """It may lose its place from now on, after those who are idle already."""
        if peer in self._busy:
            self._busy.remove(peer)
            self._idle[peer] = None

    def leave(self, peer: Peer) -> None:
        """The connection has ended, or has lost its place."""
        if peer not in self._idle and peer not in self._busy:
            return
        self._idle.pop(peer, None)
        self._busy.discard(peer)
        self._of[peer[0]] -= 1
        if not self._of[peer[0]]:
            del self._of[peer[0]]

    def _add(self, peer: Peer) -> None:
        self._idle[peer] = None
        self._of[peer[0]] += 1

    def _crowd(self) -> str | None:
        """The address with the most idle connections."""
        crowds = Counter(peer[0] for peer in self._idle).most_common(1)
        return crowds[0][0] if crowds else None


class Door:
    """A listening socket, and who has come in by it. `key` is what the site file calls it."""

    def __init__(self, key: str, listener: Any, room: Room) -> None:
        self.key = key
        self.listener = listener
        self._guests = Guests(room)
        self._inside: dict[Peer, tuple[Any, Any]] = {}  # socket, greenlet
        self._sparing = Sparing(SILENCE)
        self._serving = self._closed = False

    @property
    def port(self) -> int:
        """Of use where the site file says 0."""
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self, handle: Handler) -> None:
        """Accept until `close`; `handle` gets each connection in a greenlet of its own, which ends
        with it.

        Raises:
            ListenerEndedError: the listener has ended otherwise.
        """
        self._serving = True
        try:
            while (accepted := self._accept()) is not None:
                self._let_in(handle, *accepted)
                # Else whoever connects without end would never let anybody else run.
                hub.sleep(0)
        finally:
            self.listener.close()

    def close(self) -> None:
        """Listen no more; `serve` returns."""
        self._closed = True
        with contextlib.suppress(OSError):  # ended already
            self.listener.shutdown(plain.SHUT_RDWR)  # wakes `serve`, which closes it
        if not self._serving:
            self.listener.close()

    def busy(self, peer: Peer) -> None:
        """The peer has shown who it is, or is being served: it keeps its connection."""
        self._guests.busy(peer)

    def idle(self, peer: Peer) -> None:
        """The peer is waited for: where there is no room, its connection ends."""
        self._guests.idle(peer)

    def _let_in(self, handle: Handler, sock: Any, peer: Peer) -> None:
        try:
            gone = self._guests.enter(peer)
        except _FullError:
            self._say("full", f"connections of {peer[0]} are refused: too many are in use")
            sock.close()
            return
        self._inside[peer] = sock, hub.spawn(self._host, handle, sock, peer)
        if gone is not None:
            self._say("crowded", f"idle connections of {gone[0]} end: there are too many")
            self._send_away(gone)

    def _accept(self) -> tuple[Any, Peer] | None:
        while True:
            try:
                sock, peer = self.listener.accept()
                return sock, peer
            except OSError as error:
                if self._closed:
                    return None
                if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                    raise ListenerEndedError(f"{self.key}: {error.strerror}") from error
                # Descriptors or memory have run out, or the peer has gone already.
                self._say("accept", f"nobody can connect: {error.strerror or error}; trying again")
                if (gone := self._guests.oldest()) is not None:
                    self._guests.leave(gone)
                    self._send_away(gone)
                hub.sleep(PAUSE)

    def _host(self, handle: Handler, sock: Any, peer: Peer) -> None:
        try:
            handle(sock, peer)
        except Exception as error:
            if self._sparing.tell(type(error).__name__) is not None:
                LOG.exception("%s: connection of %s", self.key, peer[0])
        finally:
            sock.close()
            if self._inside[peer][0] is sock:  # else a later connection from the same port
                self._guests.leave(peer)
                del self._inside[peer]

    def _send_away(self, peer: Peer) -> None:
        """End a connection; its greenlet sees the end of what it reads, and closes it."""
        sock, greenlet = self._inside[peer]
        try:
            sock.shutdown(plain.SHUT_RDWR)
        except OSError:
            greenlet.kill()  # closed already, or TLS has taken the descriptor over

    def _say(self, kind: str, text: str) -> None:
        self._sparing.log(kind, LOG.warning, "%s: %s", self.key, text)


def open_door(key: str, listen: Listen, room: Room) -> Door:
    """Listen, exclusively.

    Raises:
        ListenError: the name does not resolve, the address is not ours, or the port is in use.
    """
    place = f"[{listen.host}]" if ":" in listen.host else listen.host
    where = f"{key}: {place}:{listen.port}"
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=plain.SOCK_STREAM)
    except OSError as error:  # socket.gaierror too
        raise ListenError(
            f"{where}: the name does not resolve ({error.strerror or error}); write an address, or"
            " put the name into /etc/hosts"
        ) from error
    # A name may mean addresses of both kinds: IPv4 then, as switches and agents will.
    family, kind, _, _, address = min(found, key=lambda one: one[0] != plain.AF_INET)
    listener = socket.socket(family, kind)
    try:
        # To listen again although connections of an earlier controller still wait for their end.
        listener.setsockopt(plain.SOL_SOCKET, plain.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"{where}: {_trouble(error, listen.port)}") from error
    return Door(key, listener, room)


def door(key: str, listen: tuple[str, int]) -> Door:
    """The one that is open; a new one for applications that are not ours. Raises ListenError."""
    return OPEN.get(key) or open_door(key, Listen(*listen), Room(1024, 1024))


def _trouble(error: OSError, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"the port is in use (another controller? `ss -ltnp sport = :{port}` names it);"
                " end what listens there, or write another port"
            )
        case errno.EADDRNOTAVAIL:
            return "no interface of this machine has the address; give it one, or write another"
        case errno.EACCES:
            return "ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or write another port"
    return f"{error.strerror or error}; write another address or port"


def allow_descriptors() -> None:
    """Let this process have as many descriptors as it may allow itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_descriptors(needed: dict[str, Room]) -> None:
    """Say so if not all connections that may be open can be."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = LEFT_OVER + sum(room.most for room in needed.values())
    if allowed < most:
        LOG.warning(
            "%d descriptors are allowed, and %d may be needed; raise `ulimit -n`, or LimitNOFILE"
            " in the systemd unit",
            *(allowed, most),
        )


def or_end(name: str, function: Callable[[], None]) -> None:
    """Run what must not end; its end is the end of the controller, for others to start it again."""
    try:
        function()
        LOG.critical("%s has ended; the controller ends", name)
    except Exception:
        LOG.critical("%s failed; the controller ends", name, exc_info=True)
    logging.shutdown()
    os._exit(os.EX_SOFTWARE)
