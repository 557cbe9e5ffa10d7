"""Which process a pid file names, and what is made of one that changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hactrl.agent import followed
from hactrl.agent.followed import Followed
from hactrl.agent.inside import CommandError
from hactrl.agent.looks import LookError, process_named
from hactrl.clock import boot_time

pytestmark = pytest.mark.reported("B3")


@pytest.fixture
def pidfile(tmp_path: Path) -> Path:
    return tmp_path / "daemon.pid"


def aged(pidfile: Path, text: str, seconds: float) -> None:
    """A file that was written so long ago."""
    pidfile.write_text(text, encoding="ascii")
    now = os.stat(pidfile).st_mtime
    os.utime(pidfile, (now, now - seconds))


def test_a_file_that_was_written_since_names_its_process(pidfile: Path) -> None:
    began = boot_time()
    aged(pidfile, "     4711\n", 0.0)
    assert process_named(str(pidfile), began) == "4711"


def test_a_file_older_than_the_command_is_of_another_life(pidfile: Path) -> None:
    aged(pidfile, "4711\n", 5.0)
    assert process_named(str(pidfile), boot_time() - 6.0) == "4711"
    with pytest.raises(LookError, match="older than the command"):
        process_named(str(pidfile), boot_time() - 4.0)


def test_a_clock_set_back_since_makes_no_file_old(pidfile: Path) -> None:
    aged(pidfile, "4711\n", -3600.0)
    assert process_named(str(pidfile), boot_time()) == "4711"


def test_whole_seconds_of_a_file_system_are_no_age(pidfile: Path) -> None:
    began = boot_time()
    pidfile.write_text("4711\n", encoding="ascii")
    seconds = int(os.stat(pidfile).st_mtime)
    os.utime(pidfile, (seconds, seconds))
    assert process_named(str(pidfile), began) == "4711"


@pytest.mark.parametrize("content", ["", "\n", "dovecot\n", "-5\n", "1\n", "0\n"])
def test_what_is_no_number_of_a_daemon_is_named_with_its_file(pidfile: Path, content: str) -> None:
    aged(pidfile, content, 0.0)
    with pytest.raises(LookError, match=r"daemon\.pid: no number of a process"):
        process_named(str(pidfile), 0.0)


def test_a_file_that_is_missing_is_named(pidfile: Path) -> None:
    with pytest.raises(LookError, match=r"daemon\.pid: No such file"):
        process_named(str(pidfile), 0.0)


class FakeInside:
    """The processes of a role: `named` is what the pid file says now, 0 for nothing."""

    def __init__(self, named: int) -> None:
        self.named = named
        self.looks = 0
        self.looked = asyncio.Event()
        self.watched: dict[int, Callable[[int, str], None]] = {}

    async def watch(
        self,
        pidfile: str,
        since: float,  # noqa: ARG002 - as in `Inside`
        known: int,
        timeout: float,  # noqa: ARG002
        ended: Callable[[int, str], None],
    ) -> int:
        await asyncio.sleep(0)
        self.looks += 1
        self.looked.set()
        if not self.named:
            raise CommandError(f"{pidfile}: no number of a process")
        if self.named != known:
            self.watched[self.named] = ended
        return self.named

    async def next_look(self) -> None:
        self.looked.clear()
        await self.looked.wait()


def follow(scene: Callable[[FakeInside, Followed, list[str]], object], named: int = 5) -> list[str]:
    """Play a scene with a daemon that is being followed; how it ended, if it did."""
    ends: list[str] = []

    async def play() -> None:
        inside = FakeInside(named)
        daemon = Followed(inside, "/d.pid", 0.0, ends.append)  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await scene(inside, daemon, ends)  # type: ignore[misc]

    asyncio.run(play())
    return ends


def test_a_file_that_comes_late_is_waited_for() -> None:
    async def scene(inside: FakeInside, daemon: Followed, ends: list[str]) -> None:  # noqa: ARG001
        finding = asyncio.create_task(daemon.find(10.0))
        await inside.next_look()
        inside.named = 5
        await finding

    follow(scene, named=0)


def test_a_file_that_never_names_a_process_is_an_error_in_time() -> None:
    async def scene(inside: FakeInside, daemon: Followed, ends: list[str]) -> None:  # noqa: ARG001
        with pytest.raises(CommandError, match=r"/d\.pid: no number"):
            await daemon.find(0.05)

    follow(scene, named=0)


@contextlib.asynccontextmanager
async def following(daemon: Followed):  # type: ignore[no-untyped-def]
    await daemon.find(1.0)
    task = asyncio.create_task(daemon.follow())
    yield task
    task.cancel()


def test_a_daemon_that_has_ended_and_is_named_by_no_file_has_ended() -> None:
    async def scene(inside: FakeInside, daemon: Followed, ends: list[str]) -> None:  # noqa: ARG001
        async with following(daemon) as task:
            inside.named = 0
            inside.watched[5](5, "ended")
            await task

    assert follow(scene) == ["ended"]


def test_a_daemon_that_another_has_replaced_is_followed_there() -> None:
    async def scene(inside: FakeInside, daemon: Followed, ends: list[str]) -> None:
        async with following(daemon) as task:
            inside.named = 6
            inside.watched[5](5, "ended")
            await inside.next_look()
            assert not ends
            inside.named = 0
            inside.watched[6](6, "killed")
            await task

    assert follow(scene) == ["killed"]


def test_the_file_is_looked_at_again_while_its_daemon_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followed, "NEXT_LOOK", 0.01)

    async def scene(inside: FakeInside, daemon: Followed, ends: list[str]) -> None:
        async with following(daemon) as task:
            inside.named = 0
            await inside.next_look()
            inside.named = 6
            await inside.next_look()
            await inside.next_look()
            inside.watched[5](5, "the old one ended")
            assert not ends, "and nobody waits for it any more"
            inside.named = 0
            inside.watched[6](6, "the new one ended")
            await task

    assert follow(scene) == ["the new one ended"]
