"""Comparing daemons, in a time of our own: it passes only when nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from hactrl.health.hanging import LATELY, HangingDaemons, Part
from hactrl.health.targets import ProbeRoute, Target
from hactrl.health.turns import Daemon
from hactrl.health.verdicts import Cause

ROUTE = ProbeRoute(ip_address("192.0.2.100"), ip_address("192.0.2.1"))
INTERVAL, LAG, FALL = 0.25, 0.05, 3
A = Target(
    *("relay", "smtp", "one", "one-0", "smtp", (ROUTE,), 25, INTERVAL, 1.0, 2, FALL), lag=LAG
)
B = replace(A, server="two", interface="two-0")


class Clock(selectors.SelectSelector):
    """Who would wait has waited already."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """In which no time passes but by waiting."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


class Watched:
    """All that a prober does with `HangingDaemons`, and whom it was told of."""

    def __init__(self, *targets: Target) -> None:
        self.told: list[str] = []
        self.causes: list[Cause] = []
        self.daemons = HangingDaemons(self.hear)
        self.daemons.replace(targets)
        self.breaths = 0

    def hear(self, daemon: Daemon, cause: Cause) -> None:
        self.told.append(daemon.server)
        self.causes.append(cause)

    def part(self, target: Target) -> Part:
        part = self.daemons.part(target, self.breaths)
        assert part is not None
        part.connected()
        return part

    async def breathe(self, *, speak: list[Target], mute: list[Target], takes: float = 0.0) -> None:
        """One breath, to its end: those speak who do, after so many seconds."""
        self.breaths += 1
        parts = [self.part(target) for target in speak]
        for target in mute:
            self.part(target)
        await asyncio.sleep(takes)
        for part in parts:
            part.spoke()
        await asyncio.sleep(INTERVAL - takes)


def play(test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(test)


def test_who_says_nothing_in_several_breaths_while_another_speaks_hangs() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        for _ in range(FALL - 1):
            await watched.breathe(speak=[B], mute=[A])
        assert watched.told == []
        await watched.breathe(speak=[B], mute=[A])
        assert watched.told == ["one"]

    play(test())


def test_where_nobody_speaks_nobody_hangs() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        for _ in range(5 * FALL):
            await watched.breathe(speak=[], mute=[A, B])
        assert watched.told == []

    play(test())


def test_a_word_that_comes_late_begins_the_row_anew() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        for _ in range(5):
            for _ in range(FALL - 2):
                await watched.breathe(speak=[B], mute=[A])
            watched.breaths += 1
            late = watched.part(A)
            watched.part(B).spoke()
            await asyncio.sleep(4 * LAG)
            late.spoke()
        assert watched.told == []

    play(test())


def test_a_word_through_one_card_speaks_for_the_daemon_behind_all_cards() -> None:
    async def test() -> None:
        other_card = replace(A, interface="one-1")
        watched = Watched(A, other_card, B)
        for _ in range(2 * FALL):
            await watched.breathe(speak=[B, other_card], mute=[A])
        assert watched.told == []

    play(test())


def test_who_makes_no_connection_is_not_the_daemons_matter() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        for _ in range(2 * FALL):
            watched.breaths += 1
            assert watched.daemons.part(A, watched.breaths) is not None
            await watched.breathe(speak=[B], mute=[])
        assert watched.told == []

    play(test())


def test_a_connection_that_stands_after_others_have_spoken_gets_its_time_from_then_on() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        for _ in range(2 * FALL):
            watched.breaths += 1
            watched.part(B).spoke()
            await asyncio.sleep(2 * LAG)
            part = watched.part(A)
            await asyncio.sleep(LAG / 2)
            part.spoke()
            await asyncio.sleep(INTERVAL)
        assert watched.told == []
        for _ in range(FALL):
            watched.breaths += 1
            watched.part(B).spoke()
            await asyncio.sleep(2 * LAG)
            watched.part(A)
            await asyncio.sleep(INTERVAL)
        assert watched.told == ["one"]

    play(test())


def test_who_always_greets_late_has_as_much_time_as_it_needed_lately() -> None:
    """As behind postscreen's greeting pause, while a placeholder speaks at once."""

    async def test() -> None:
        watched = Watched(A, B)
        pause = 2.0  # eight breaths
        for _ in range(LATELY):
            watched.breaths += 1
            late = watched.part(A)
            watched.part(B).spoke()
            asyncio.get_running_loop().call_later(pause, late.spoke)
            await asyncio.sleep(INTERVAL)
        assert set(watched.told) == {"one"}, "nothing was known of it at first"
        await asyncio.sleep(pause)
        watched.told.clear()
        for _ in range(5 * LATELY):
            watched.breaths += 1
            late = watched.part(A)
            watched.part(B).spoke()
            asyncio.get_running_loop().call_later(pause, late.spoke)
            await asyncio.sleep(INTERVAL)
        assert watched.told == []

    play(test())


def test_a_prober_that_stood_still_reads_what_has_come_meanwhile_first() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        for _ in range(2 * FALL):
            watched.breaths += 1
            part = watched.part(A)
            watched.part(B).spoke()
            loop.clock.now += 1.0  # and meanwhile A has spoken, but who reads that gets its turn
            loop.call_later(LAG / 2, part.spoke)
            await asyncio.sleep(INTERVAL)
        assert watched.told == []

    play(test())


def test_what_the_site_file_lets_be_is_not_compared() -> None:
    async def test() -> None:
        watched = Watched(replace(A, lag=None), replace(B, lag=None))
        for _ in range(2 * FALL):
            await watched.breathe(speak=[B], mute=[A])
        assert watched.told == []

    play(test())


@pytest.mark.parametrize("kind", ["tcp", "icmp"])
def test_services_that_say_nothing_have_no_part(kind: str) -> None:
    async def test() -> None:
        target = replace(A, kind=kind)
        daemons = HangingDaemons(lambda *_: None)
        daemons.replace([target])
        assert daemons.part(target, 1) is None

    play(test())


class TestUnfinishedDialogues:
    """Of a daemon that is compared with nobody; its two cards are asked by turns."""

    ALONE = replace(A, lag=None)
    OTHER_CARD = replace(ALONE, interface="one-1")

    def end(self, watched: Watched, *causes: Cause) -> None:
        for number, cause in enumerate(causes):
            watched.part((self.ALONE, self.OTHER_CARD)[number % 2]).ended(cause)

    def watched(self) -> Watched:
        return Watched(self.ALONE, self.OTHER_CARD)

    def test_several_in_a_row_condemn_it_through_whatever_cards(self) -> None:
        async def test() -> None:
            watched = self.watched()
            self.end(watched, *[Cause.TIMEOUT] * (FALL - 1))
            assert watched.told == []
            self.end(watched, Cause.TIMEOUT)
            assert (watched.told, watched.causes) == (["one"], [Cause.TIMEOUT])

        play(test())

    @pytest.mark.parametrize("cause", [Cause.NONE, Cause.TEMPORARY, Cause.BAD_ANSWER])
    def test_one_that_ends_with_words_begins_the_row_anew(self, cause: Cause) -> None:
        async def test() -> None:
            watched = self.watched()
            for _ in range(5):
                self.end(watched, *[Cause.TIMEOUT] * (FALL - 1), cause)
            assert watched.told == []

        play(test())

    def test_where_no_connection_stood_the_daemon_is_not_judged(self) -> None:
        async def test() -> None:
            watched = self.watched()
            for number in range(2 * FALL):
                part = watched.daemons.part(self.ALONE, number)
                assert part is not None
                part.ended(Cause.TIMEOUT)
            assert watched.told == []

        play(test())

    def test_a_greeting_does_not_make_up_for_what_should_follow(self) -> None:
        async def test() -> None:
            watched = self.watched()
            for _ in range(FALL):
                part = watched.part(self.ALONE)
                part.spoke()
                part.ended(Cause.TIMEOUT)
            assert watched.causes == [Cause.TIMEOUT]

        play(test())


def test_who_is_probed_no_longer_is_forgotten() -> None:
    async def test() -> None:
        watched = Watched(A, B)
        for _ in range(FALL - 1):
            await watched.breathe(speak=[B], mute=[A])
        watched.daemons.replace([B])
        watched.daemons.replace([A, B])
        await watched.breathe(speak=[B], mute=[A])
        assert watched.told == []

    play(test())
