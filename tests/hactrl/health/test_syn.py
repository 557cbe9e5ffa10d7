"""Asking kernels: real ones, on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address

import pytest
from free_port import free_port

from hactrl.health.syn import (
    LONGEST,
    Questions,
    Rhythm,
    SynProber,
    portions,
    rhythms,
)
from hactrl.health.targets import ProbeRoute, Target
from hactrl.health.verdicts import Cause

PATIENCE = 20.0

ROUTE = ProbeRoute(ip_address("127.0.0.2"), ip_address("127.0.0.1"))
BASE = Target(
    *("web", "http", "one", "A", "http", (ROUTE,), 0, 0.25, 1.0, 2, 3),
    device_mac="02:00:00:00:00:fe",
    syn_interval=0.01,
    syn_fall=3,
    syn_lag=0.02,
)
OTHER = replace(BASE, server="two", interface="B")

Told = asyncio.Queue[tuple[str, Cause]]


def run(targets: list[Target], test: Callable[[Told], Awaitable[None]]) -> None:
    async def play() -> None:
        told: Told = asyncio.Queue()

        def tell(target: Target, _route: ProbeRoute, cause: Cause) -> None:
            told.put_nowait((target.interface, cause))

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            prober = SynProber(group, tell)
            prober.replace(targets)
            await test(told)
            prober.replace(())

    asyncio.run(play())


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        listener.setblocking(False)
        yield listener


@contextmanager
def mute() -> Iterator[int]:
    """A port whose kernel answers no SYN, as that of a machine that has died: its queue of
    connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as filling:
        port = listener.getsockname()[1]
        filling.connect(("127.0.0.1", port))
        with socket.socket() as unanswered:
            unanswered.setblocking(False)
            with suppress(BlockingIOError):
                unanswered.connect(("127.0.0.1", port))
            yield port


def test_a_port_where_nobody_listens_is_told_as_refused() -> None:
    async def test(told: Told) -> None:
        assert await told.get() == ("A", Cause.REFUSED)

    run([replace(BASE, port=free_port())], test)


def test_who_does_not_answer_while_another_does_is_told_as_silent() -> None:
    async def test(told: Told) -> None:
        assert await told.get() == ("A", Cause.SILENT)

    with mute() as silent, listening() as listener:
        port = listener.getsockname()[1]
        run([replace(BASE, port=silent), replace(OTHER, port=port)], test)


def test_a_refusal_is_an_answer_that_others_are_compared_with() -> None:
    async def test(told: Told) -> None:
        while await told.get() != ("A", Cause.SILENT):
            pass

    with mute() as silent:
        run([replace(BASE, port=silent), replace(OTHER, port=free_port())], test)


@pytest.mark.parametrize("alone", [[], [OTHER]], ids=["one", "two"])
def test_where_nobody_answers_nobody_is_told_of(alone: list[Target]) -> None:
    async def test(told: Told) -> None:
        await asyncio.sleep(20 * 0.01)
        assert told.empty()

    with mute() as silent:
        run([replace(target, port=silent) for target in (BASE, *alone)], test)


def test_no_daemon_hears_of_it() -> None:
    """A connection that came about would be there to be accepted."""

    async def test(told: Told) -> None:
        await asyncio.sleep(20 * 0.01)
        assert told.empty()

    with listening() as listener:
        run([replace(BASE, port=listener.getsockname()[1])], test)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_only_services_over_tcp_are_asked_and_those_that_the_site_file_lets_be() -> None:
    icmp, off = replace(BASE, kind="icmp"), replace(BASE, syn_interval=None)
    assert rhythms([icmp, off]) == {}
    assert [len(cards) for cards in rhythms([BASE, icmp, OTHER]).values()] == [2]


def test_families_and_segments_are_compared_apart() -> None:
    ipv6 = ProbeRoute(ip_address("::1"), ip_address("::1"))
    both = replace(BASE, routes=(ROUTE, ipv6))
    elsewhere = replace(OTHER, device_mac="02:00:00:00:01:fe")
    assert len(rhythms([both, elsewhere])) == 3


def test_what_cannot_be_sent_is_no_question_and_so_not_missing() -> None:
    """As when this host has no more ports, or lacks the address for a moment."""
    lacking = ProbeRoute(ip_address("192.0.2.1"), ip_address("127.0.0.1"))

    async def test(told: Told) -> None:
        await asyncio.sleep(20 * 0.01)
        assert told.empty()

    with listening() as listener:
        port = listener.getsockname()[1]
        run([replace(BASE, port=port, routes=(lacking,)), replace(OTHER, port=port)], test)


def asked(cards: int, services: int) -> Questions:
    targets = [
        replace(BASE, interface=f"c{card}", port=port)
        for card in range(cards)
        for port in range(1, services + 1)
    ]
    (found,) = rhythms(targets).values()
    return found


@pytest.mark.parametrize(
    ("cards", "services", "sizes"),
    [
        (1, 1, [1]),
        (2, 1, [2]),
        (2, 100, [2]),
        (3, 100, [3]),
        (64, 1, [64]),
        (65, 1, [65]),
        (66, 1, [64, 2]),
    ],
)
def test_many_cards_are_asked_in_portions_of_two_at_least(
    cards: int, services: int, sizes: list[int]
) -> None:
    questions = asked(cards, services)
    found = portions(questions)
    assert [card for portion in found for card in portion] == list(questions)
    assert [len(portion) for portion in found] == sizes


def test_one_answer_of_any_service_proves_that_the_kernel_behind_a_card_lives() -> None:
    async def test(told: Told) -> None:
        await asyncio.sleep(20 * 0.01)
        assert told.empty()

    with mute() as silent, listening() as listener:
        port = listener.getsockname()[1]
        targets = [replace(BASE, port=silent), replace(BASE, service="pop3", port=port)]
        run([*targets, replace(OTHER, port=port)], test)


def test_a_large_site_is_asked_less_often_and_no_answer_is_waited_for_until_it_is_sent_again() -> (
    None
):
    rhythm = Rhythm("", 4, 0.01, 3, 0.02)
    assert rhythm.paused(2) == 0.01
    assert rhythm.paused(1000) == pytest.approx(0.4)
    assert rhythm.patience(2) == pytest.approx(0.05)
    assert rhythm.patience(1000) == LONGEST
