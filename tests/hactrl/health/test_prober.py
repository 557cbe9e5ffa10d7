"""The prober as a process, against scripted servers on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from free_port import free_port

from hactrl.clock import boot_time
from hactrl.engine.events import ProbeChanged
from hactrl.health.targets import (
    Anew,
    Beat,
    Eager,
    Note,
    Order,
    ProbeRoute,
    Target,
    Targets,
    decode_report,
    encode,
)
from hactrl.vocabulary import Verdict

PATIENCE = 20.0
"""Seconds until a test gives up waiting."""

IPV4 = ProbeRoute(ip_address("127.0.0.2"), ip_address("127.0.0.1"))
IPV6 = ProbeRoute(ip_address("::1"), ip_address("::1"))

BASE = Target(
    role="web",
    service="http",
    server="one",
    interface="A",
    kind="http",
    routes=(IPV4,),
    port=0,
    interval=0.05,
    timeout=2.0,
    rise=2,
    fall=3,
)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Process:
    """A prober. `changed` and `noted` wait for its next report of that kind."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.changes: asyncio.Queue[ProbeChanged] = asyncio.Queue()
        self.notes: asyncio.Queue[Note] = asyncio.Queue()
        self.beats: asyncio.Queue[Beat] = asyncio.Queue()

    def order(self, order: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode(order))

    def probe(self, *targets: Target) -> None:
        self.order(Targets(targets))

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            report = decode_report(line)
            match report:
                case Note():
                    self.notes.put_nowait(report)
                case Beat():
                    self.beats.put_nowait(report)
                case ProbeChanged():
                    self.changes.put_nowait(report)

    async def change(self) -> ProbeChanged:
        return await asyncio.wait_for(self.changes.get(), PATIENCE)

    async def changed(self) -> tuple[str, Verdict, str]:
        change = await self.change()
        return change.interface, change.verdict, change.reason

    async def noted(self, kind: str) -> Note:
        while (note := await asyncio.wait_for(self.notes.get(), PATIENCE)).kind != kind:
            pass
        return note


@asynccontextmanager
async def prober() -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hactrl.health.prober"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    process = Process(child)
    reading = asyncio.create_task(process.read())
    try:
        yield process
    finally:
        assert child.stdin is not None
        child.stdin.close()
        assert await asyncio.wait_for(child.wait(), PATIENCE) == 0
        await reading


class WebServer:
    """Answers a HEAD request with `status`; with None it takes the request and says nothing."""

    def __init__(self, status: int | None = 200) -> None:
        self.status = status
        self.asked = asyncio.Event()
        self.port = 0
        self.askers: asyncio.Queue[str] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self.askers.put_nowait(writer.get_extra_info("peername")[0])
        self.asked.set()
        if self.status is None:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 %d As told\r\n\r\n" % self.status)
        writer.close()

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[WebServer]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", port, backlog=1000)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 2 * PATIENCE))


def test_it_says_how_it_is_scheduled() -> None:
    async def test() -> None:
        async with prober() as process:
            note = await process.noted("scheduling")
            assert note.detail.startswith(("SCHED_FIFO 20", "ordinary: "))
            fifo = os.sched_getscheduler(process.process.pid) & ~os.SCHED_RESET_ON_FORK
            assert (fifo == os.SCHED_FIFO) == note.detail.startswith("SCHED_FIFO")

    run(test)


def test_a_service_that_answers_becomes_healthy_and_one_that_asks_to_wait_ready() -> None:
    async def test() -> None:
        async with (
            WebServer(200).listening() as good,
            WebServer(503).listening() as standby,
            prober() as process,
        ):
            process.probe(
                replace(BASE, interface="A", port=good.port),
                replace(BASE, interface="B", port=standby.port),
            )
            changes = {await process.changed(), await process.changed()}
        assert changes == {("A", Verdict.HEALTHY, ""), ("B", Verdict.READY, "temporary")}

    run(test)


@pytest.mark.reported("A5")
def test_it_says_again_and_again_that_it_goes_on_judging() -> None:
    async def test() -> None:
        async with WebServer().listening() as web, prober() as process:
            process.probe(replace(BASE, port=web.port))
            beats = [await asyncio.wait_for(process.beats.get(), PATIENCE) for _ in range(3)]
            assert beats == [Beat()] * 3

    run(test)


@pytest.mark.reported("A5")
def test_it_names_what_it_has_not_judged_for_too_long() -> None:
    async def test() -> None:
        async with prober() as process:
            # Its first probe comes after an hour.
            never = replace(BASE, interface="never", interval=3600.0, rise=0, fall=0)
            process.probe(replace(BASE, port=1), replace(never, timeout=0.1))
            while (await asyncio.wait_for(process.beats.get(), PATIENCE)).late != (
                ("web", "http", "never"),
            ):
                pass

    run(test)


@pytest.mark.reported("A9")
def test_what_is_judged_anew_is_told_again_with_its_round() -> None:
    async def test() -> None:
        async with WebServer().listening() as web, prober() as process:
            process.probe(
                replace(BASE, interface="A", port=web.port),
                replace(BASE, interface="B", port=web.port),
            )
            first = {(await process.change()).interface for _ in range(2)}
            process.order(Anew(("A",), 7))
            again = await process.change()
            assert first == {"A", "B"}
            assert (again.interface, again.verdict, again.round) == ("A", Verdict.HEALTHY, 7)

    run(test)


@pytest.mark.reported("A6")
def test_another_reply_code_is_told_though_the_verdict_stays() -> None:
    async def test() -> None:
        codes = iter([b"421"] * 4 + [b"452"] * 1000)

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(next(codes) + b" at %d\r\n" % time.monotonic_ns())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as full, prober() as process:
            port = full.sockets[0].getsockname()[1]
            process.probe(replace(BASE, kind="smtp", port=port))
            told = [await process.change() for _ in range(2)]
            assert [change.said[:3] for change in told] == ["421", "452"]

    run(test)


def test_a_refusal_is_reported_without_a_second_one() -> None:
    async def test() -> None:
        async with prober() as process:
            # A second probe would come after the test has given up.
            process.probe(replace(BASE, port=free_port(), interval=3600.0))
            assert await process.changed() == ("A", Verdict.UNHEALTHY, "refused")

    run(test)


def test_probes_of_a_silent_service_overlap() -> None:
    async def test() -> None:
        async with WebServer(None).listening() as silent, prober() as process:
            started = time.monotonic()
            process.probe(replace(BASE, port=silent.port, timeout=1.0, fall=4))
            assert await process.changed() == ("A", Verdict.UNHEALTHY, "timeout")
            assert 1.0 <= time.monotonic() - started < 4 * 1.0

    run(test)


def test_both_families_must_work_and_the_reason_names_the_one_that_does_not() -> None:
    async def test() -> None:
        async with WebServer().listening() as only_ipv4, prober() as process:
            process.probe(replace(BASE, routes=(IPV4, IPV6), port=only_ipv4.port))
            assert await process.changed() == ("A", Verdict.UNHEALTHY, "refused_ipv6")

    run(test)


def test_once_all_ways_to_a_daemon_are_known_they_are_asked_by_turns() -> None:
    async def test() -> None:
        async with WebServer().listening() as web, prober() as process:
            ways = [f"127.0.0.{number}" for number in range(2, 5)]
            routes = [ProbeRoute(ip_address(way), IPV4.destination) for way in ways]
            cards = dict(zip("ABC", routes, strict=True))
            process.probe(
                *(
                    replace(BASE, interface=card, routes=(route,), port=web.port)
                    for card, route in cards.items()
                )
            )
            told = {await process.changed() for _ in cards}
            assert told == {(card, Verdict.HEALTHY, "") for card in cards}
            while not web.askers.empty():
                web.askers.get_nowait()
            asked = [await web.askers.get() for _ in range(12)]
            assert asked[3:] == asked[:9], "the same way again, three breaths later"
            assert set(asked) == set(ways)

    run(test)


def test_a_way_that_led_to_nobody_is_well_again_before_it_is_its_turn() -> None:
    async def test() -> None:
        async with WebServer().listening() as web, prober() as process:
            ways = [ProbeRoute(ip_address(f"127.0.1.{n}"), IPV4.destination) for n in range(1, 100)]
            others = [
                replace(BASE, interface=str(number), routes=(way,), port=web.port, interval=0.2)
                for number, way in enumerate(ways)
            ]
            port = free_port()  # nobody listens there yet
            lost = replace(others[0], interface="lost", routes=(IPV4,), port=port)
            process.probe(*others, lost)
            told = {await process.changed() for _ in (*others, lost)}
            assert ("lost", Verdict.UNHEALTHY, "refused") in told
            began = time.monotonic()
            async with WebServer().listening(port):
                assert await process.changed() == ("lost", Verdict.HEALTHY, "")
                assert time.monotonic() - began < len(ways) * lost.interval / 2

    run(test)


def test_a_daemon_that_hangs_alone_costs_its_timeout_and_not_every_card_s_turns() -> None:
    async def test() -> None:
        async with WebServer().listening() as web, prober() as process:
            many = [
                ProbeRoute(ip_address(f"127.0.1.{number}"), IPV4.destination)
                for number in range(1, 101)
            ]
            # By its own turns alone a card would be found silent after 15 seconds.
            cards = [
                replace(BASE, interface=str(number), routes=(way,), port=web.port, timeout=0.3)
                for number, way in enumerate(many)
            ]
            process.probe(*cards)
            told = {await process.changed() for _ in cards}
            assert {verdict for _, verdict, _ in told} == {Verdict.HEALTHY}
            began = time.monotonic()
            web.status = None
            told = {await process.changed() for _ in cards}
            assert told == {(str(n), Verdict.UNHEALTHY, "timeout") for n in range(len(cards))}
            assert time.monotonic() - began < 100 * BASE.interval

    run(test)


def test_a_prober_without_its_source_address_knows_nothing() -> None:
    async def test() -> None:
        elsewhere = ProbeRoute(ip_address("192.0.2.1"), ip_address("127.0.0.1"))
        async with prober() as process:
            process.probe(replace(BASE, routes=(elsewhere,), port=80))
            assert await process.changed() == ("A", Verdict.UNKNOWN, "no_address")

    run(test)


def test_a_change_is_reported_once_and_then_the_next() -> None:
    async def test() -> None:
        server = WebServer()
        async with prober() as process:
            async with server.listening():
                process.probe(replace(BASE, port=server.port))
                assert await process.changed() == ("A", Verdict.HEALTHY, "")
                server.status = 500
                assert await process.changed() == ("A", Verdict.UNHEALTHY, "bad_answer")
                server.status = 200
                assert await process.changed() == ("A", Verdict.HEALTHY, "")
            assert await process.changed() == ("A", Verdict.UNHEALTHY, "refused")

    run(test)


def test_new_targets_replace_the_old_ones_and_leave_what_stays_undisturbed() -> None:
    async def test() -> None:
        async with (
            WebServer().listening() as kept,
            WebServer().listening() as dropped,
            WebServer().listening() as added,
            prober() as process,
        ):
            stays = replace(BASE, interface="stays", port=kept.port)
            goes = replace(BASE, interface="goes", port=dropped.port)
            comes = replace(BASE, interface="comes", port=added.port)
            process.probe(stays, goes)
            assert {(await process.changed())[0] for _ in range(2)} == {"stays", "goes"}
            process.probe(stays, comes)
            assert await process.changed() == ("comes", Verdict.HEALTHY, "")
            kept.status = dropped.status = 500
            assert await process.changed() == ("stays", Verdict.UNHEALTHY, "bad_answer")
            added.status = 500
            assert await process.changed() == ("comes", Verdict.UNHEALTHY, "bad_answer")

    run(test)


def test_who_waits_for_a_service_has_it_at_its_first_good_answer() -> None:
    async def test() -> None:
        async with WebServer().listening() as server, prober() as process:
            # By itself it would take hours and more answers than can be had in the test.
            slow = replace(BASE, port=server.port, interval=3600.0, rise=1_000_000)
            process.probe(slow, replace(slow, interface="B", server="two"))
            process.order(Eager("web", "one", boot_time() + 60))
            assert await process.changed() == ("A", Verdict.HEALTHY, "")
            assert process.changes.empty()

    run(test)


def test_an_eager_probe_finds_a_service_soon_after_it_begins_to_listen() -> None:
    async def test() -> None:
        server = WebServer()
        async with server.listening():
            pass
        async with prober() as process:
            process.probe(replace(BASE, port=server.port, interval=3600.0))
            assert await process.changed() == ("A", Verdict.UNHEALTHY, "refused")
            process.order(Eager("web", "one", boot_time() + 60))
            async with server.listening(server.port):
                assert await process.changed() == ("A", Verdict.HEALTHY, "")

    run(test)


def test_what_a_kernel_says_counts_at_once_and_the_daemon_must_say_itself_that_it_is_well() -> None:
    """It is asked more often than the daemon, whose next word is far off."""

    async def test() -> None:
        async with prober() as it:
            async with WebServer().listening() as web:
                asked = replace(BASE, port=web.port, syn_interval=0.02, interval=0.05)
                it.probe(asked)
                assert await it.changed() == ("A", Verdict.HEALTHY, "")
                slowly = replace(asked, interval=3600.0, rise=1)
                it.probe(slowly)
                assert await it.changed() == ("A", Verdict.HEALTHY, "")
            assert await it.changed() == ("A", Verdict.UNHEALTHY, "refused")

    run(test)


def test_who_takes_connections_and_says_nothing_while_another_speaks_is_found_to_hang() -> None:
    """Long before its probes time out."""

    async def test() -> None:
        async with (
            WebServer().listening() as hanging,
            WebServer().listening() as well,
            prober() as it,
        ):
            patiently = replace(BASE, timeout=3600.0, lag=0.05)
            other = replace(patiently, server="two", interface="B", port=well.port)
            it.probe(replace(patiently, port=hanging.port), other)
            changes = [await it.changed(), await it.changed()]
            assert sorted(changes) == [(card, Verdict.HEALTHY, "") for card in "AB"]
            hanging.status = None
            assert await it.changed() == ("A", Verdict.UNHEALTHY, "hangs")
            hanging.status = 200
            assert await it.changed() == ("A", Verdict.HEALTHY, "")

    run(test)


def test_a_stall_of_the_prober_s_own_is_reported_and_is_no_failure_of_the_service() -> None:
    async def test() -> None:
        async with WebServer(None).listening() as server, prober() as process:
            process.probe(replace(BASE, port=server.port, timeout=0.5, fall=1, rise=1))
            await server.asked.wait()
            process.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)  # the stall: longer than the timeout
            server.status = 200
            process.process.send_signal(signal.SIGCONT)
            assert (await process.noted("stall")).seconds > 0.5
            assert await process.changed() == ("A", Verdict.HEALTHY, "")

    run(test)


def test_it_ends_when_its_controller_dies() -> None:
    async def test() -> None:
        async with WebServer(None).listening() as server, prober() as process:
            process.probe(replace(BASE, port=server.port, timeout=3600.0))
            await server.asked.wait()
            # Leaving the block closes its stdin, and asserts that it ends with exit code 0.

    run(test)


def test_it_ends_when_its_controller_dies_while_a_daemon_hangs() -> None:
    async def test() -> None:
        async with (
            WebServer().listening() as hanging,
            WebServer().listening() as well,
            prober() as it,
        ):
            one = replace(BASE, port=hanging.port, timeout=3600.0, lag=0.05)
            it.probe(one, replace(one, server="two", interface="B", port=well.port))
            assert {(await it.changed())[1] for _ in range(2)} == {Verdict.HEALTHY}
            hanging.status = None
            assert await it.changed() == ("A", Verdict.UNHEALTHY, "hangs")

    run(test)
