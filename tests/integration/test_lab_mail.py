"""Real Postfix and Dovecot: mail survives its server, and would not without fsync.

The three ways of the mission on one bridge: WAN (192.0.2.1) → mailrelay → smtp_pop, a client
(10.0.0.101) reading, and a client sending to the WAN.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mail_machines import Fabric, Machine

from hactrl.site import load
from mininet_lab import spool
from mininet_lab.clock import now
from mininet_lab.loop_device import LoopDevice
from mininet_lab.mail import ledger
from mininet_lab.mail.description import Fsync, MailSite, all_addresses
from mininet_lab.mail.ledger import Kind
from mininet_lab.mail.rendering import render, render_wan

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
SITE = load(CHECKOUT / "examples" / "frontier.yaml")
OURS = ("192.0.2.1/24", "2001:db8:0:1::1/64", "10.0.0.101/24", "2001:db8:0:2::101/64")
RELAY = ("192.0.2.25", "2001:db8:0:1::25")
INSIDE = ("10.0.0.25", "2001:db8:0:2::25")


class MailSetting:
    """The WAN and mailrelay, running; smtp_pop wherever a test puts it."""

    def __init__(self, root: Path, mail: MailSite, stack: ExitStack) -> None:
        self.root, self.mail, self._stack = root, mail, stack
        self.image = root / "spool.img"
        spool.create(self.image)
        self.fabric = Fabric(OURS)
        stack.callback(self.fabric.close)
        wan = render_wan(mail.wan, root / "wan")
        wan.install()
        self.fabric.start(daemon_command(wan.agent))
        self._machine("mailrelay", "mailrelay", None).stand_by()

    def smtp_pop_on(self, server: str) -> Machine:
        """A warm standby."""
        disk = self._stack.enter_context(LoopDevice.attach(self.image))
        machine = self._machine("smtp_pop", server, disk.path)
        machine.stand_by()
        return machine

    def load(self, *arguments: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "mininet_lab.mail.load", *arguments]
        enter = ["nsenter", "-t", str(self.fabric.init), "-n"]
        process = subprocess.Popen(enter + program, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        self._stack.callback(ended, process)
        return process

    def traffic(self) -> list[subprocess.Popen[str]]:
        """The three ways at once, until `end`."""
        wan, users = self.mail.wan, self.users()
        ours = flags("--recipient", [f"{u.name}@{self.mail.domain}" for u in self.mail.users])
        theirs = flags("--recipient", [f"{name}@{wan.domain}" for name in wan.mailboxes])
        common = ["--ledger", str(self.ledger)]
        friend, user = f"friend1@{wan.domain}", f"user1@{self.mail.domain}"
        a = ["send", "--way", "a", "--rate", "30", "--sender", friend, *flags("--to", RELAY), *ours]
        b = ["look", "--way", "b", "--rate", "10", *flags("--at", INSIDE), *users]
        c = ["send", "--way", "c", "--rate", "15", "--sender", user, "--port", "587"]
        c += [*flags("--to", INSIDE), *theirs, *users]
        return [self.load(*way, *common) for way in (a, b, c)]

    def users(self) -> list[str]:
        return flags("--user", [f"{u.name}:{u.password}" for u in self.mail.users])

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    def entries(self) -> list[ledger.MailRecord]:
        return ledger.read([self.ledger]) if self.ledger.exists() else []

    def account(self, holder: Machine, server: str) -> dict[str, Any]:
        """Once all queues are empty. The holder's spool is in its own mount namespace."""
        queues = [(self.fabric, "wan/postfix"), (holder, f"{server}/smtp_pop/postfix")]
        for machine, directory in queues:
            listing = ["postqueue", "-c", str(self.root / directory), "-j"]
            await_that(lambda m=machine, c=listing: m.output(c) == "", "an empty queue", pause=0.1)
        arguments = ["--ledger", str(self.ledger), "--at", INSIDE[0], *self.users()]
        process = self.load("account", *arguments, "--wan-mail", str(self.root / "wan/mail"))
        account: dict[str, Any] = json.loads(process.communicate(timeout=30)[0])
        return account

    def _machine(self, role: str, server: str, device: Path | None) -> Machine:
        rendering = render(SITE, self.mail, role, server, self.root / server, spool=device)
        rendering.install()
        machine = Machine(rendering)
        self._stack.callback(machine.close)
        addresses = [a + ("/64" if ":" in a else "/24") for a in all_addresses(SITE.roles[role])]
        mac = SITE.roles[role].addresses[0].mac
        self.fabric.plug(machine, mac, addresses)
        return machine


def flags(name: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (name, value)]


def daemon_command(agent: Mapping[str, Any]) -> list[str]:
    command: list[str] = agent["daemons"]["postfix"]["command"]
    return command


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Stop sending; return when every mail has been acknowledged."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.communicate(timeout=90)
        assert process.returncode == 0


def await_that(condition: Callable[[], bool], what: str, pause: float = 0.02) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(pause)


def acknowledged(site: MailSetting, way: str, since: float = 0.0) -> int:
    return sum(
        e.kind is Kind.ACKNOWLEDGED and e.way == way and e.began >= since for e in site.entries()
    )


def timed(what: Callable[[], None]) -> float:
    begin = time.monotonic()
    what()
    return round((time.monotonic() - begin) * 1000)


@pytest.fixture
def build() -> Iterator[Callable[..., MailSetting]]:
    # Not tmp_path: Postfix's and Dovecot's users must get in, and socket paths must be short.
    # In memory if there is room, because fsync of a busy disk would take most of the time.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    root = Path(tempfile.mkdtemp(prefix="lab-mail-", dir=memory if roomy else None))
    root.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        yield lambda fsync=Fsync.OPTIMIZED: MailSetting(root, MailSite(fsync=fsync), stack)


def power_cut_under_load(site: MailSetting) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mail on all ways; cut smtp_pop's power; the standby takes over. Account and figures."""
    first = site.smtp_pop_on("smtp_pop")
    first.assume("never_owned")
    first.ready()
    traffic = site.traffic()
    await_that(lambda: acknowledged(site, "a") >= 60, "mail on way a")
    await_that(lambda: acknowledged(site, "c") >= 30, "mail on way c")
    fault = now()
    figures: dict[str, Any] = {"cut": timed(first.cut_power)}
    second = site.smtp_pop_on("mailrelay")
    figures |= {
        "assume": timed(lambda: second.assume("power")),
        "ready": timed(second.ready),
    }
    for way, count in (("a", 60), ("c", 30)):
        await_that(lambda w=way, n=count: acknowledged(site, w, fault) >= n, f"mail on way {way}")
    end(traffic)
    account = site.account(second, "mailrelay")
    for way in "abc":
        figures[f"first served {way}"] = ledger.first_served(site.entries(), way, fault)
    print(json.dumps({"milliseconds": figures, "account": account}))
    return account, figures


def test_after_a_power_cut_every_acknowledged_mail_is_there(
    build: Callable[..., MailSetting],
) -> None:
    account, figures = power_cut_under_load(build())
    assert {way: account["ways"][way]["lost"] for way in "ac"} == {"a": [], "c": []}
    assert account["ways"]["a"]["acknowledged"] >= 120
    assert account["ways"]["a"]["duplicates"] == 0
    assert all(figures[f"first served {way}"] is not None for way in "abc")


def test_without_fsync_the_same_power_cut_loses_mail(build: Callable[..., MailSetting]) -> None:
    account, _ = power_cut_under_load(build(Fsync.NEVER))
    assert len(account["ways"]["a"]["lost"]) > 0


def test_a_planned_move_loses_nothing_and_doubles_nothing(
    build: Callable[..., MailSetting],
) -> None:
    site = build()
    first = site.smtp_pop_on("smtp_pop")
    first.assume("never_owned")
    first.ready()
    traffic = site.traffic()
    await_that(lambda: acknowledged(site, "a") >= 40, "mail on way a")
    print("release", timed(first.release), "ms")
    first.close()
    moved = now()
    second = site.smtp_pop_on("mailrelay")
    second.assume("released")
    await_that(lambda: acknowledged(site, "a", moved) >= 40, "mail on way a")
    end(traffic)
    account = site.account(second, "mailrelay")
    print(json.dumps(account))
    assert {way: account["ways"][way]["lost"] for way in "ac"} == {"a": [], "c": []}
    assert account["ways"]["a"]["duplicates"] == 0


def attempt(site: MailSetting, *arguments: str) -> str:
    """What a client was told, in its ledger."""
    path = site.root / f"attempt-{uuid4()}"
    once = ["--rate", "1", "--duration", "0.1", "--ledger", str(path)]
    site.load(*arguments, "--way", "x", *once).communicate(timeout=20)
    (entry, *_) = ledger.read([path])
    return entry.detail


def test_before_the_spool_comes_everything_says_try_again(
    build: Callable[..., MailSetting],
) -> None:
    site = build()
    site.smtp_pop_on("mailrelay")
    envelope = ["--sender", "x@wan.example", "--recipient", "user1@frontier.example"]
    envelope += ["--patience", "0"]
    sends = [["send", "--to", a, "--port", p, *envelope] for a in INSIDE for p in ("25", "587")]
    looks = [["look", "--at", address, *site.users()[:2]] for address in INSIDE]
    wanted = [(send, "temporary 421") for send in sends]
    wanted += [(look, "temporary -ERR") for look in looks]

    def hears(case: tuple[list[str], str]) -> None:
        arguments, answer = case
        await_that(lambda: attempt(site, *arguments).startswith(answer), f"{answer}: {arguments}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(hears, wanted))
    assert attempt(site, "send", "--to", RELAY[0], *envelope).startswith("temporary 4")


def test_who_may_send_what_to_whom(build: Callable[..., MailSetting]) -> None:
    site = build()
    pop = site.smtp_pop_on("smtp_pop")
    pop.assume("never_owned")
    pop.ready()

    def told(to: str, recipient: str, *more: str) -> str:
        sender = ["--sender", "x@wan.example", "--recipient", recipient, "--patience", "0"]
        return attempt(site, "send", "--to", to, *sender, *more)[:13]

    wrong = ["--port", "587", "--user", "user1:wrong"]
    cases = {
        (RELAY[0], "user1@frontier.example"): "",
        (RELAY[1], "user1@frontier.example"): "",
        (RELAY[0], "nobody@frontier.example"): "permanent 550",
        (RELAY[0], "x@elsewhere.example"): "permanent 554",
        (INSIDE[0], "friend1@wan.example"): "",
        (INSIDE[0], "friend1@wan.example", "--port", "587"): "permanent 554",
        (INSIDE[0], "friend1@wan.example", *wrong): "permanent 535",
        ("192.0.2.1", "nobody@wan.example"): "permanent 550",
        ("192.0.2.1", "x@elsewhere.example"): "permanent 554",
    }
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda case: told(*case), cases)
    assert dict(zip(cases, answers, strict=True)) == cases
