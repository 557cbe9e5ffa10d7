"""Ports: opened exclusively, and kept usable for those who have something to do there."""

from __future__ import annotations

import errno
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from eventlet.event import Event
from running import FRONTIER

from hactrl import listeners
from hactrl.listeners import (
    AGENTS,
    OPENFLOW,
    REST,
    Door,
    Guests,
    ListenerEndedError,
    ListenError,
    Room,
    open_door,
    rooms,
)
from hactrl.site import load
from hactrl.site.model import Listen

ROOM = Room(most=4, most_of_one=2)


class TestGuests:
    @pytest.fixture
    def guests(self) -> Guests:
        return Guests(ROOM)

    def test_come_in_while_there_is_room(self, guests: Guests) -> None:
        assert [guests.enter((host, 1)) for host in "abcd"] == [None] * 4

    def test_of_one_address_the_oldest_idle_one_goes_for_a_newer_one(self, guests: Guests) -> None:
        for port in (1, 2):
            guests.enter(("a", port))
        assert guests.enter(("a", 3)) == ("a", 1)
        assert guests.enter(("a", 4)) == ("a", 2)
        assert len(guests) == 2

    def test_of_all_the_address_goes_that_has_most_idle_ones(self, guests: Guests) -> None:
        for peer in (("a", 1), ("b", 1), ("b", 2), ("c", 1)):
            guests.enter(peer)
        assert guests.enter(("d", 1)) == ("b", 1)

    def test_who_is_busy_keeps_its_place(self, guests: Guests) -> None:
        for port in (1, 2):
            guests.enter(("a", port))
        guests.busy(("a", 1))
        assert guests.enter(("a", 3)) == ("a", 2)

    def test_who_is_idle_again_is_the_youngest(self, guests: Guests) -> None:
        for port in (1, 2):
            guests.enter(("a", port))
        guests.busy(("a", 1))
        guests.idle(("a", 1))
        assert guests.enter(("a", 3)) == ("a", 2)

    def test_a_newcomer_is_refused_if_all_of_its_address_are_busy(self, guests: Guests) -> None:
        for port in (1, 2):
            guests.enter(("a", port))
            guests.busy(("a", port))
        with pytest.raises(listeners._FullError):
            guests.enter(("a", 3))
        assert guests.enter(("b", 1)) is None

    def test_a_newcomer_is_refused_if_everybody_is_busy(self, guests: Guests) -> None:
        for peer in (("a", 1), ("a", 2), ("b", 1), ("b", 2)):
            guests.enter(peer)
            guests.busy(peer)
        with pytest.raises(listeners._FullError):
            guests.enter(("c", 1))

    def test_who_has_left_makes_room(self, guests: Guests) -> None:
        for port in (1, 2):
            guests.enter(("a", port))
        guests.leave(("a", 2))
        assert guests.enter(("a", 3)) is None

    def test_who_has_lost_its_place_cannot_leave_once_more_or_become_busy(
        self, guests: Guests
    ) -> None:
        for port in (1, 2, 3):
            guests.enter(("a", port))
        guests.busy(("a", 1))
        guests.leave(("a", 1))
        assert len(guests) == 2

    def test_a_port_that_comes_again_is_one_guest(self, guests: Guests) -> None:
        for _ in range(3):
            assert guests.enter(("a", 1)) is None
        assert len(guests) == 1


def test_all_switches_agents_and_guards_of_a_site_find_room_at_one_address() -> None:
    site = load(FRONTIER)
    room = rooms(site)
    assert room[OPENFLOW].most_of_one > len(site.network.switches)
    guards = sum(len(role.servers) for role in site.roles.values())
    assert room[AGENTS].most_of_one > len(site.network.servers) + guards
    assert all(one.most > one.most_of_one for one in room.values())


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens at, and would share."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


class TestOpening:
    @pytest.mark.reported("C9")
    def test_a_port_in_use_is_not_shared(self, taken: int) -> None:
        with pytest.raises(ListenError, match=rf"^{REST}: 127\.0\.0\.1:{taken}: .*in use.*ss -lt"):
            open_door(REST, Listen("127.0.0.1", taken), ROOM)

    @pytest.mark.reported("C9")
    def test_a_name_that_does_not_resolve_is_told_with_its_key(self) -> None:
        with pytest.raises(ListenError, match=rf"^{AGENTS}: no\.invalid:6655: .*not resolve"):
            open_door(AGENTS, Listen("no.invalid", 6655), ROOM)

    @pytest.mark.reported("C9")
    @pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
    def test_an_address_that_is_not_ours_is_told_with_its_key(self, host: str) -> None:
        with pytest.raises(ListenError, match=rf"^{OPENFLOW}: .*:6653: .*address"):
            open_door(OPENFLOW, Listen(host, 6653), ROOM)

    def test_a_name_is_listened_at_by_ipv4_where_it_has_both(self) -> None:
        with closing(open_door(REST, Listen("localhost", 0), ROOM).listener) as listener:
            assert listener.family == socket.AF_INET

    def test_a_port_is_open_again_at_once_after_its_connections_have_ended(self) -> None:
        first = open_door(REST, Listen("127.0.0.1", 0), ROOM)
        with socket.create_connection(("127.0.0.1", first.port)) as client:
            first.listener.accept()[0].close()  # whoever closes first waits in TIME-WAIT
            assert client.recv(1) == b""
        place = Listen("127.0.0.1", first.port)
        first.close()
        open_door(REST, place, ROOM).close()


class Entrance:
    """A door that is served, and the sockets that have come in."""

    def __init__(self, room: Room) -> None:
        self.door = open_door(REST, Listen("127.0.0.1", 0), room)
        self.came: list[tuple[Any, Any]] = []
        self.greenlet = eventlet.spawn(self.door.serve, self._handle)

    def _handle(self, sock: Any, peer: Any) -> None:
        sock.sendall(b"in")
        self.came.append((sock, peer))
        while sock.recv(64):
            pass

    def connect(self) -> Any:
        client = eventlet.connect(("127.0.0.1", self.door.port))
        client.settimeout(5.0)
        return client

    def enter(self) -> Any:
        client = self.connect()
        assert client.recv(2) == b"in"
        return client


@pytest.fixture
def entrance() -> Iterator[Entrance]:
    entrance = Entrance(Room(2, 2))
    yield entrance
    entrance.door.close()
    entrance.greenlet.kill()


class TestServing:
    @pytest.mark.reported("C2")
    def test_whoever_is_idle_loses_its_connection_to_the_next(self, entrance: Entrance) -> None:
        clients = [entrance.enter() for _ in range(3)]
        assert clients[0].recv(1) == b""

    @pytest.mark.reported("C2")
    def test_whoever_is_busy_keeps_its_connection(self, entrance: Entrance) -> None:
        first = entrance.enter()
        entrance.door.busy(entrance.came[0][1])
        second, _third = entrance.enter(), entrance.enter()
        assert second.recv(1) == b""
        first.sendall(b"still here")

    @pytest.mark.reported("C2")
    def test_where_all_are_busy_who_comes_is_refused_and_no_one_else(
        self, entrance: Entrance, caplog: pytest.LogCaptureFixture
    ) -> None:
        clients = [entrance.enter() for _ in range(2)]
        for _, peer in entrance.came:
            entrance.door.busy(peer)
        for _ in range(3):
            assert entrance.connect().recv(1) == b""
        assert len([r for r in caplog.records if "refused" in r.message]) == 1
        clients[0].close()
        while len(entrance.door._guests) == 2:
            eventlet.sleep(0)
        entrance.enter()

    def test_whose_handler_fails_makes_room(self, caplog: pytest.LogCaptureFixture) -> None:
        door = open_door(REST, Listen("127.0.0.1", 0), Room(1, 1))
        greenlet = eventlet.spawn(door.serve, lambda sock, peer: door.busy(peer) or sock.defect)
        for _ in range(2):
            with eventlet.connect(("127.0.0.1", door.port)) as client:
                assert client.recv(1) == b""
        assert "defect" in caplog.text
        assert len([r for r in caplog.records if r.exc_info]) == 1, "one traceback in a while"
        door.close()
        greenlet.kill()

    def test_is_over_when_the_door_is_closed(self) -> None:
        entrance = Entrance(ROOM)
        entrance.enter()
        entrance.door.close()
        with eventlet.Timeout(5.0):
            entrance.greenlet.wait()

    def test_leaves_its_port_to_the_next_at_once(self) -> None:
        entrance = Entrance(ROOM)
        entrance.enter()
        place = Listen("127.0.0.1", entrance.door.port)
        entrance.door.close()
        open_door(REST, place, ROOM).close()


class TestAccepting:
    """With a listener whose `accept` does what a test wants."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listeners, "PAUSE", 0.0)

    def door(self, *outcomes: Any) -> tuple[Door, list[Any]]:
        left, waiting = list(outcomes), Event()

        def accept() -> Any:
            outcome = left.pop(0) if left else waiting.wait()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        listener = SimpleNamespace(accept=accept, close=lambda: None)
        return Door(OPENFLOW, listener, ROOM), left

    @pytest.mark.reported("C2")
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
    def test_goes_on_when_descriptors_have_run_out_and_says_so_once(
        self, number: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        door, left = self.door(*[OSError(number, "run out")] * 50)
        served = eventlet.spawn(door.serve, lambda _sock, _peer: None)
        while left:
            eventlet.sleep(0)
        assert not served.dead
        assert [r.message for r in caplog.records] == [
            f"{OPENFLOW}: nobody can connect: run out; trying again"
        ]
        served.kill()

    @pytest.mark.reported("C2")
    def test_of_idle_ones_the_oldest_gives_its_descriptor_when_they_have_run_out(self) -> None:
        ours, theirs = eventlet.green.socket.socketpair()
        door, left = self.door((ours, ("a", 1)), OSError(errno.EMFILE, "run out"))
        served = eventlet.spawn(door.serve, lambda sock, _peer: sock.recv(1))
        while left:
            eventlet.sleep(0)
        theirs.settimeout(5.0)
        assert theirs.recv(1) == b""
        served.kill()

    @pytest.mark.reported("C9")
    @pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL])
    def test_of_a_listener_that_has_ended_is_an_error(self, number: int) -> None:
        door, _ = self.door(OSError(number, "ended"))
        with pytest.raises(ListenerEndedError, match=OPENFLOW):
            door.serve(lambda _sock, _peer: None)


@pytest.mark.reported("C9")
@pytest.mark.parametrize("body", ["raise ValueError('a defect')", "return"])
def test_the_end_of_what_must_not_end_is_the_end_of_the_process(body: str) -> None:
    code = f"from hactrl.listeners import or_end\ndef run(): {body}\nor_end('OpenFlow', run)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 70
    assert "OpenFlow" in done.stderr


@pytest.mark.reported("C2")
def test_the_process_may_have_as_many_descriptors_as_it_is_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    try:
        listeners.allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_descriptors_are_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (300, 300))
    listeners.check_descriptors({REST: Room(256, 64)})
    assert "300 descriptors are allowed, and 384 may be needed" in caplog.text
    assert "LimitNOFILE" in caplog.text
