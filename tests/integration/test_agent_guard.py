"""What each death does to a role: real agent, real guard, real namespaces, real mounts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import eventlet
import pytest
from agent_site import PATIENCE, TICKER, FakeController, FakeServer, loop_device, now

from hactrl.engine.effects import Verb
from hactrl.engine.events import (
    AgentConnected,
    AgentLost,
    AgentReported,
    GuardConnected,
    GuardLost,
    Held,
    LeaseAsked,
    Noticed,
)
from hactrl.site.model import Role, Timers
from hactrl.vocabulary import Holding, Outcome, Proof

pytestmark = pytest.mark.integration

LEASE = 1.0
MARGIN = Timers().lease_margin
"""What the controller adds before it counts the end of a lease as a proof: a machine with much to
do needs some of it to end what has been killed."""

MAIL = Role("mail", ("one", "two"), (), (), owns=("spool",), lease=LEASE)
DISK = Role("disk", ("one", "two"), (), (), owns=("spool",))
WEB = Role("web", ("one",), (), ())

ROLES = f"""
[roles.mail]
devices = ["DEVICE"]
standby = ["{sys.executable}", "DIR/ticker", "DIR/standby"]
assume = ["DIR/assume"]
release = ["DIR/release"]

[roles.mail.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/ticks"]}}
sleeper = {{pidfile = "DIR/sleeper.pid"}}

[roles.disk]
standby = ["sleep", "infinity"]
assume = ["{sys.executable}", "-c", "pass"]
release = ["sleep", "1000"]
release_timeout = 0.3

[roles.disk.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/disk-ticks"]}}

[roles.web]
always = true

[roles.web.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/web-ticks"]}}
"""
CLONE_ROLES = f"""
[roles.mail]
standby = ["sleep", "infinity"]
assume = ["true"]

[roles.mail.daemons]
ticker = {{command = ["{sys.executable}", "DIR/ticker", "DIR/ticks"]}}
"""
ASSUME = """#!/bin/sh -e
echo "$HACTRL_SERVER $HACTRL_ROLE $HACTRL_EPOCH $HACTRL_PROOF" >> DIR/assumed
mkdir -p DIR/spool
mount DEVICE DIR/spool
sleep 1000 &
echo $! > DIR/sleeper.pid
"""
RELEASE = """#!/bin/sh -e
echo released >> DIR/assumed
test ! -e DIR/stubborn || exit 1
umount DIR/spool
"""


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController(MAIL, DISK, WEB)
    yield controller
    controller.server.stop()


@pytest.fixture
def server(tmp_path: Path, controller: FakeController) -> Iterator[FakeServer]:
    """A server with its agent connected and the `always` role running."""
    with loop_device(tmp_path) as device:
        for name, text in (("assume", ASSUME), ("release", RELEASE), ("ticker", TICKER)):
            script = tmp_path / name
            script.write_text(text.replace("DIR", str(tmp_path)).replace("DEVICE", device))
            script.chmod(0o755)
        server = FakeServer(tmp_path, controller.server.port, ROLES.replace("DEVICE", device))
        server.start_agent()
        try:
            controller.next(AgentConnected)
            yield server
        finally:
            server.end()


def test_assume_runs_the_role_with_its_proof(
    controller: FakeController, server: FakeServer
) -> None:
    assert controller.assume("mail", 3, Proof.POWER).outcome is Outcome.DONE
    assert (server.directory / "assumed").read_text() == "one mail 3 power\n"
    assert server.known_epochs()["mail"] == 3


def test_a_mount_inside_is_seen_nowhere_else(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    assert not (server.directory / "spool" / "lost+found").exists()
    (sleeper,) = server.inside_with("sleep 1000")
    inside = Path(f"/proc/{sleeper}/root{server.directory}/spool/lost+found")
    assert inside.is_dir()


def test_the_standby_command_has_ended_when_the_role_is_held(
    controller: FakeController, server: FakeServer
) -> None:
    server.await_tick("standby", after=0)
    controller.assume("mail", 3)
    assert not server.inside_with(f"{server.directory}/standby")


def test_the_standby_command_runs_again_after_a_release(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    controller.release("mail", 4)
    released = now()
    server.await_tick("standby", after=released)


def test_renewals_keep_a_role_alive_beyond_its_lease(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    began = now()
    while now() < began + 2.5 * LEASE:
        controller.next(LeaseAsked, role="mail", epoch=3)
    assert server.last_tick() > began + 2.4 * LEASE


def test_the_same_assume_again_changes_nothing(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    before = server.inside_with("sleep 1000")
    assert controller.assume("mail", 3).outcome is Outcome.DONE
    assert server.inside_with("sleep 1000") == before != set()


def test_a_higher_epoch_is_taken_over_while_held(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    before = server.inside_with("sleep 1000")
    assert controller.assume("mail", 5).outcome is Outcome.DONE
    controller.next(LeaseAsked, epoch=5)
    assert server.inside_with("sleep 1000") == before != set()


def test_a_lower_epoch_is_refused_with_the_known_one_after_a_restart(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 7)
    controller.release("mail", 8)
    server.kill_agent()
    controller.next(AgentLost)
    server.start_agent()
    controller.next(AgentConnected)
    for verb in (Verb.ASSUME, Verb.RELEASE):
        answer = controller.ask(verb, "mail", 7, Proof.RELEASED)
        assert (answer.outcome, answer.known_epoch) == (Outcome.REFUSED, 8)


def test_release_ends_all_inside_and_frees_the_device(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    began = now()
    assert controller.release("mail", 4).outcome is Outcome.DONE
    took = now() - began
    print(f"released and verified after {took * 1000:.0f} ms")
    assert not server.inside_with("sleep 1000")
    device = device_of(server)
    os.close(os.open(device, os.O_RDONLY | os.O_EXCL))


def test_a_release_command_that_fails_still_ends_in_a_verified_release(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    (server.directory / "stubborn").touch()
    assert controller.release("mail", 4).outcome is Outcome.DONE
    os.close(os.open(device_of(server), os.O_RDONLY | os.O_EXCL))


def test_a_release_that_cannot_be_verified_is_failed(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    with mounted_elsewhere(device_of(server), server.directory / "elsewhere"):
        assert controller.release("mail", 4).outcome is Outcome.FAILED
    controller.next_holding(Holding.NOTHING)
    assert controller.release("mail", 4).outcome is Outcome.DONE


def test_a_release_command_that_hangs_is_ended(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("disk", 3)
    began = now()
    assert controller.release("disk", 4).outcome is Outcome.DONE
    assert now() - began < 10.0
    assert not server.inside_with("disk-ticks")


@pytest.mark.usefixtures("server")
def test_a_role_can_be_assumed_again_after_its_release(controller: FakeController) -> None:
    for epoch in (3, 5, 7):
        assert controller.assume("mail", epoch).outcome is Outcome.DONE
        assert controller.release("mail", epoch + 1).outcome is Outcome.DONE


def test_a_failed_assume_is_answered_and_cleaned_up(
    controller: FakeController, server: FakeServer
) -> None:
    (server.directory / "assume").write_text("#!/bin/sh\nexit 3\n")
    assert controller.assume("mail", 3).outcome is Outcome.FAILED
    controller.next_holding(Holding.NOTHING)
    assert "exit status 3" in server.log.read_text()


@pytest.mark.usefixtures("server")
def test_a_guard_is_connected_before_it_has_anything_to_ask(controller: FakeController) -> None:
    controller.next(GuardConnected, server="one", role="mail")
    assert not controller.grants
    assert controller.assume("mail", 3).outcome is Outcome.DONE
    assert controller.grants


def test_a_denied_lease_starts_nothing(controller: FakeController, server: FakeServer) -> None:
    controller.granting = False
    assert controller.assume("mail", 3).outcome is Outcome.FAILED
    assert not (server.directory / "assumed").exists()


def test_a_daemon_that_ends_is_reported_at_once(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    took = []
    for daemon in ("sleep 1000", str(server.directory / "ticks")):
        (number,) = server.inside_with(daemon)
        began = now()
        os.kill(number, signal.SIGKILL)
        took.append(controller.next_holding(Holding.FAILED) - began)
        controller.release("mail", 10 + len(took) * 2)
        controller.assume("mail", 11 + len(took) * 2)
    print("reported after", *(f"{t * 1000:.1f} ms" for t in took))
    assert min(took) < 0.05


def test_an_always_role_is_started_again_when_its_daemon_ends(
    controller: FakeController, server: FakeServer
) -> None:
    server.await_tick("web-ticks", after=0)
    (number,) = server.inside_with("web-ticks")
    os.kill(number, signal.SIGKILL)
    controller.next(AgentReported, held=Held("web", Holding.FAILED, 0))
    controller.next(AgentReported, held=Held("web", Holding.HELD, 0))


def test_the_role_goes_on_when_the_agent_is_killed_and_is_taken_up_again(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    before = server.inside_with("sleep 1000")
    server.kill_agent()
    began, _ = controller.next(AgentLost)
    while now() < began + 1.5 * LEASE:
        controller.next(LeaseAsked)
    assert server.last_tick() > began + 1.4 * LEASE
    server.start_agent()
    controller.next(AgentConnected)
    assert server.inside_with("sleep 1000") == before != set()
    controller.next(AgentReported, held=Held("mail", Holding.HELD, 3))
    assert controller.release("mail", 4).outcome is Outcome.DONE


def test_everything_dies_at_the_end_of_the_lease_when_agent_and_guard_are_stopped(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    server.await_tick("ticks", after=0)
    assert server.agent is not None
    guard = server.guard("mail")
    os.kill(server.agent.pid, signal.SIGSTOP)
    os.kill(guard, signal.SIGSTOP)
    os.kill(server.first_process("mail"), signal.SIGSTOP)  # so that only the kernel can end it
    stopped = now()
    server.await_end_of_ticks()
    asked = [moment for moment, _ in controller.grants if moment <= stopped][-1]
    lived = server.last_tick() - asked
    print(f"died {lived * 1000:.0f} ms after the last grant; the lease is {LEASE * 1000:.0f} ms")
    assert LEASE - 0.3 < lived <= LEASE + MARGIN


def test_everything_dies_at_once_when_the_guard_is_killed(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    server.await_tick("ticks", after=0)
    began = now()
    os.kill(server.guard("mail"), signal.SIGKILL)
    reported = controller.next_holding(Holding.FAILED)
    controller.next_holding(Holding.NOTHING)
    print(
        f"last tick {(server.last_tick() - began) * 1000:.1f} ms, "
        f"report {(reported - began) * 1000:.1f} ms after the kill"
    )
    assert server.last_tick() - began < MARGIN
    assert controller.assume("mail", 5).outcome is Outcome.DONE


def test_a_role_with_a_lease_dies_without_controller_and_one_without_goes_on(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    controller.assume("disk", 3)
    server.await_tick("ticks", after=0)
    controller.server.stop()
    gone = now()
    server.await_end_of_ticks()
    lived = server.last_tick() - gone
    print(f"died {lived * 1000:.0f} ms after the controller")
    assert lived <= LEASE + MARGIN
    assert server.last_tick("disk-ticks") > server.last_tick() + 0.1
    controller.restart()
    _, connected = controller.next(AgentConnected)
    holding = {held.role: held.holding for held in connected.roles}
    assert holding["disk"] is Holding.HELD
    assert holding["mail"] is not Holding.HELD


def test_a_denied_renewal_ends_the_role_at_once(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    server.await_tick("ticks", after=0)
    controller.granting = False
    controller.next_holding(Holding.FAILED)
    denied, _ = controller.grants[-1]
    controller.next_holding(Holding.NOTHING)
    print(f"last tick {(server.last_tick() - denied) * 1000:.1f} ms after the denial")
    assert server.last_tick() - denied < MARGIN


@pytest.mark.reported("B1")
def test_a_clone_of_the_server_is_refused_and_told_what_to_do(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    directory = server.directory / "clone"
    directory.mkdir()
    (directory / "ticker").write_text(TICKER)
    clone = FakeServer(directory, controller.port, CLONE_ROLES)
    clone.start_agent()
    try:
        _, noticed = controller.next(Noticed, kind="agent.refused")
        assert dict(noticed.details)["refusal"] == "twin"
        assert controller.ask(Verb.STATUS, "mail", 3).outcome is Outcome.DONE
        end = now() + PATIENCE
        while "a name and a token of its own" not in clone.log.read_text():
            assert now() < end
            eventlet.sleep(0.02)
    finally:
        clone.end()
    assert controller.seen(AgentConnected) == 0
    assert server.last_tick() > now() - MARGIN


@pytest.mark.reported("A8")
@pytest.mark.usefixtures("server")
def test_after_a_stop_of_the_controller_only_who_is_there_counts_as_connected(
    controller: FakeController,
) -> None:
    time.sleep(3.2)  # the hub stands still: the agent gives up and comes again, a few times
    controller.next(AgentLost)
    controller.next(AgentConnected)
    assert controller.ask(Verb.STATUS, "mail", 0).outcome is Outcome.DONE
    assert controller.seen(AgentConnected) == 0


@pytest.mark.reported("A6")
def test_the_guard_is_told_apart_from_the_agent(
    controller: FakeController, server: FakeServer
) -> None:
    controller.assume("mail", 3)
    server.kill_agent()
    controller.next(AgentLost)
    controller.next(LeaseAsked)
    assert controller.seen(GuardLost) == 0
    os.kill(server.guard("mail"), signal.SIGKILL)
    controller.next(GuardLost, server="one", role="mail")


@pytest.mark.reported("B1")
@pytest.mark.usefixtures("server")
def test_a_guard_says_of_which_boot_it_is(controller: FakeController) -> None:
    controller.assume("mail", 3)
    _, asked = controller.next(LeaseAsked, role="mail")
    assert asked.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextlib.contextmanager
def mounted_elsewhere(device: str, place: Path) -> Iterator[None]:
    """A mount outside of the role's namespaces, as a careless administrator makes it."""
    place.mkdir()
    script = 'mount "$1" "$2" && echo mounted && exec sleep 1000'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", device, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mounted\n"
            yield
        finally:
            process.kill()


def device_of(server: FakeServer) -> str:
    (line,) = (x for x in server.file.read_text().splitlines() if x.startswith("devices"))
    return line.split('"')[1]
