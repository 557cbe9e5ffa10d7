"""Who is slow, and who is silent: the prober's patient dialogues, against servers on loopback."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from hactrl.clock import boot_time
from hactrl.engine.events import ProbeChanged
from hactrl.health import patience
from hactrl.health.patience import can_be_slow
from hactrl.health.prober import Prober
from hactrl.health.targets import Anew, Eager, ProbeRoute, ProberReport, Target, Targets
from hactrl.health.verdicts import Cause, Finding
from hactrl.vocabulary import Verdict

pytestmark = pytest.mark.reported("A1")

GIVE_UP = 20.0
"""Seconds until a test gives up waiting."""

IPV4 = ProbeRoute(ip_address("127.0.0.2"), ip_address("127.0.0.1"))
IPV6 = ProbeRoute(ip_address("::1"), ip_address("::1"))

TIMEOUT = 0.2
LATE = 2 * TIMEOUT
"""Seconds that a slow server takes to greet."""

BASE = Target(
    role="mail",
    service="smtp",
    server="one",
    interface="A",
    kind="smtp",
    routes=(IPV4,),
    port=0,
    interval=0.2,
    timeout=TIMEOUT,
    rise=2,
    fall=2,
)

TIMED_OUT = (Verdict.UNHEALTHY, "timeout")
SLOW = (Verdict.UNHEALTHY, "slow")


@dataclass
class MailServer:
    """Greets `late` seconds after a connection."""

    late: float = LATE
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.late)
        for say in (b"220 here\r\n", b"250 you\r\n", b"221 bye\r\n"):
            writer.write(say)
            if not await reader.readline():
                break
        writer.close()

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[MailServer]:
        server = await asyncio.start_server(self.serve, host, port)
        try:
            self.port = server.sockets[0].getsockname()[1]
            yield self
        finally:
            # Its context manager would wait for whoever has not been greeted yet (Python 3.12).
            server.close()


class Probing:
    """A prober in this process, and what it tells."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.changes: asyncio.Queue[ProbeChanged] = asyncio.Queue()
        self.prober = Prober(group, self._hear)

    def _hear(self, report: ProberReport) -> None:
        if isinstance(report, ProbeChanged):
            self.changes.put_nowait(report)

    async def change(self) -> ProbeChanged:
        return await asyncio.wait_for(self.changes.get(), GIVE_UP)

    async def told(self) -> tuple[Verdict, str]:
        change = await self.change()
        return change.verdict, change.reason

    async def until(self, verdict: Verdict, reason: str) -> None:
        """Wait until this is told, whatever is told before."""
        while await self.told() != (verdict, reason):
            pass


@asynccontextmanager
async def probing(target: Target) -> AsyncIterator[Probing]:
    async with asyncio.TaskGroup() as group:
        it = Probing(group)
        it.prober.order(Targets((target,)))
        yield it
        it.prober.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 2 * GIVE_UP)

    asyncio.run(bounded())


@dataclass
class Patients:
    """Stands in for the patient dialogues: none of them ends by itself."""

    begun: int = 0
    under_way: dict[int, int] = field(default_factory=lambda: {4: 0, 6: 0})
    most: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, _kind: str, route: ProbeRoute, *_: object) -> Finding:
        version = route.source.version
        self.begun += 1
        self.under_way[version] += 1
        self.most = max(self.most, *self.under_way.values())
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.under_way[version] -= 1
            self.ended.set()
        return Finding(Cause.NONE)


@pytest.fixture
def patients(monkeypatch: pytest.MonkeyPatch) -> Patients:
    them = Patients()
    monkeypatch.setattr(patience, "converse_patiently", them.converse)
    return them


def test_who_greets_late_is_first_silent_and_then_slow() -> None:
    async def test() -> None:
        async with MailServer().listening() as mail, probing(replace(BASE, port=mail.port)) as it:
            assert [await it.told(), await it.told()] == [TIMED_OUT, SLOW]

    run(test)


def test_who_is_slow_and_then_quick_is_healthy() -> None:
    async def test() -> None:
        async with MailServer().listening() as mail, probing(replace(BASE, port=mail.port)) as it:
            assert [await it.told(), await it.told()] == [TIMED_OUT, SLOW]
            mail.late = 0.0
            assert await it.told() == (Verdict.HEALTHY, "")

    run(test)


def test_who_is_slow_and_then_gone_refuses() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            mail = await stack.enter_async_context(MailServer().listening())
            async with probing(replace(BASE, port=mail.port)) as it:
                assert [await it.told(), await it.told()] == [TIMED_OUT, SLOW]
                await stack.aclose()
                await it.until(Verdict.UNHEALTHY, "refused")
                assert it.changes.empty()

    run(test)


LATE_SERVER = f"""
import asyncio
async def serve(reader, writer):
    await asyncio.sleep({LATE})
    for say in (b"220 here\\r\\n", b"250 you\\r\\n", b"221 bye\\r\\n"):
        writer.write(say)
        if not await reader.readline():
            break
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def test_a_slow_server_that_is_stopped_is_silent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 5 * LATE)

    async def test() -> None:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LATE_SERVER), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:
            port = int(await child.stdout.readline())
            async with probing(replace(BASE, port=port)) as it:
                assert [await it.told(), await it.told()] == [TIMED_OUT, SLOW]
                child.send_signal(signal.SIGSTOP)  # its kernel goes on taking connections
                assert await it.told() == TIMED_OUT
        finally:
            child.kill()
            await child.wait()

    run(test)


def test_the_family_that_is_slow_is_named() -> None:
    async def test() -> None:
        async with (
            MailServer().listening() as slow,
            MailServer(late=0.0).listening("::1", slow.port),
            probing(replace(BASE, port=slow.port, routes=(IPV4, IPV6))) as it,
        ):
            await it.until(Verdict.UNHEALTHY, "timeout_ipv4")
            await it.until(Verdict.UNHEALTHY, "slow_ipv4")

    run(test)


def test_who_waits_for_a_service_is_told_that_it_is_slow() -> None:
    async def test() -> None:
        async with MailServer().listening() as mail, probing(replace(BASE, port=mail.port)) as it:
            it.prober.order(Eager("mail", "one", boot_time() + 60))
            assert [await it.told(), await it.told()] == [TIMED_OUT, SLOW]

    run(test)


def test_what_is_judged_anew_is_slow_only_when_found_so_again() -> None:
    async def test() -> None:
        async with MailServer().listening() as mail, probing(replace(BASE, port=mail.port)) as it:
            assert [await it.told(), await it.told()] == [TIMED_OUT, SLOW]
            it.prober.order(Anew(("A",), 7))
            changes = [await it.change(), await it.change()]
            assert [(each.reason, each.round) for each in changes] == [("timeout", 7), ("slow", 7)]

    run(test)


def test_one_patient_dialogue_for_each_family_is_held_at_a_time(patients: Patients) -> None:
    async def test() -> None:
        asked = asyncio.Semaphore(0)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.release()
            await reader.read()
            writer.close()

        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0) as ipv4,
            await asyncio.start_server(serve, "::1", ipv4.sockets[0].getsockname()[1]) as ipv6,
        ):
            port = ipv6.sockets[0].getsockname()[1]
            async with probing(replace(BASE, port=port, routes=(IPV4, IPV6), interval=0.05)) as it:
                await it.told()
                await asyncio.wait_for(patients.started.wait(), GIVE_UP)
                for _ in range(20):
                    await asyncio.wait_for(asked.acquire(), GIVE_UP)
        assert (patients.begun, patients.most) == (2, 1)

    run(test)


@pytest.mark.parametrize("end", ["stop", "anew", "healthy"])
def test_a_patient_dialogue_ends_with_what_it_was_for(patients: Patients, end: str) -> None:
    async def test() -> None:
        async with (
            MailServer().listening() as mail,
            probing(replace(BASE, port=mail.port, fall=1, interval=3 * TIMEOUT)) as it,
        ):
            assert await it.told() == TIMED_OUT
            await asyncio.wait_for(patients.started.wait(), GIVE_UP)
            if end == "stop":
                it.prober.order(Targets(()))
            elif end == "anew":  # also if it is silent again at once
                it.prober.order(Anew(("A",), 1))
                assert await it.told() == TIMED_OUT
                assert patients.ended.is_set()
            else:
                mail.late = 0.0
                assert await it.told() == (Verdict.HEALTHY, "")
            await asyncio.wait_for(patients.ended.wait(), GIVE_UP)

    run(test)


@pytest.mark.parametrize(
    ("kind", "can"), [("smtp", True), ("http", True), ("tcp", False), ("icmp", False)]
)
def test_only_who_speaks_can_be_slow(kind: str, can: bool) -> None:
    assert can_be_slow(replace(BASE, kind=kind)) is can


def test_a_dead_family_ends_the_wait_for_the_other() -> None:
    async def test() -> None:
        async with MailServer(late=3600.0).listening() as mail:
            target = replace(BASE, port=mail.port, routes=(IPV4, IPV6))
            found = await asyncio.wait_for(patience.wait_for_words(target), GIVE_UP)
            assert found == Finding(Cause.REFUSED)

    run(test)
