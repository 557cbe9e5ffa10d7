"""Mail on the mission's three ways, as many users at once would send and read it.

(a) WAN → mailrelay → smtp_pop → spool      (b) client → smtp_pop → spool
(c) client → smtp_pop → WAN
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mininet_lab.lab import Lab
from mininet_lab.mail import ledger
from mininet_lab.mail.description import addresses_on
from mininet_lab.mail.ledger import Kind, MailRecord
from mininet_lab.network import Node

WAYS = ("a", "b", "c")

WAY_WORDS = {
    "a": "(a) mail from the WAN to the spool",
    "b": "(b) a client reads its mail",
    "c": "(c) mail from a client to the WAN",
}


@dataclass(frozen=True)
class Rates:
    """Attempts a second on each way."""

    a: float = 8.0
    b: float = 3.0
    c: float = 8.0


@dataclass
class Traffic:
    """Load on all three ways, while it is started. `seed` must differ from that of any other
    traffic of the same lab, because it is part of every mail's id."""

    lab: Lab
    seed: int
    rates: Rates = field(default_factory=Rates)
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def ledgers(self) -> dict[str, Path]:
        return {way: self.lab.directory / f"ledger-{self.seed}-{way}.jsonl" for way in WAYS}

    def start(self) -> None:
        mail, ledgers = self.lab.mail, self.ledgers
        for file in ledgers.values():
            file.touch()
        users = [f"{user.name}@{mail.domain}" for user in mail.users]
        friends = [f"{name}@{mail.wan.domain}" for name in mail.wan.mailboxes]
        logins = _each("--user", logins_of(self.lab))
        relay = _each("--to", service_addresses(self.lab, "mailrelay", "outer"))
        inner = service_addresses(self.lab, "smtp_pop", "inner")
        client, other = self.lab.network.nodes["client1"], self.lab.network.nodes["client3"]
        self._send("a", self.lab.wan, self.rates.a, *relay, *_each("--recipient", users),
                   "--sender", friends[0])  # fmt: skip
        self._send("c", client, self.rates.c, *_each("--to", inner), *_each("--recipient", friends),
                   "--sender", users[0], "--port", "587", *logins[:2])  # fmt: skip
        self._begin(other, "look", "--way", "b", "--ledger", str(ledgers["b"]), "--rate",
                    f"{self.rates.b}", *_each("--at", inner), *logins)  # fmt: skip

    def stop(self) -> None:
        """Start no more, and wait until every mail under way is acknowledged or given up.

        Raises:
            RuntimeError: a load generator failed.
        """
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            _, errors = process.communicate()
            if process.returncode:
                raise RuntimeError(f"load generator: exit {process.returncode}: {errors[-2000:]}")
        self._running.clear()

    def kill(self) -> None:
        """End it at once; for ways out of trouble."""
        for process in self._running:
            process.kill()
            process.communicate()
        self._running.clear()

    def entries(self) -> list[MailRecord]:
        return ledger.read(self.ledgers.values())

    def acknowledged(self) -> int:
        return sum(entry.kind is Kind.ACKNOWLEDGED for entry in self.entries())

    def served_since(self, moment: float) -> dict[str, float | None]:
        """For each way the seconds from `moment` to the first success that began after it."""
        entries = self.entries()
        return {way: ledger.first_served(entries, way, moment) for way in WAYS}

    def _send(self, way: str, node: Node, rate: float, *words: str) -> None:
        file = str(self.ledgers[way])
        self._begin(node, "send", "--way", way, "--ledger", file, "--rate", f"{rate}",
                    "--seed", str(self.seed), "--pause", "0.5", *words)  # fmt: skip

    def _begin(self, node: Node, *words: str) -> None:
        self._running.append(
            subprocess.Popen(
                node.command(sys.executable, "-m", "mininet_lab.mail.load", *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )


@dataclass(frozen=True)
class Account:
    """What became of all acknowledged mail: counts, and the ids of lost ones."""

    acknowledged: int
    arrived: int
    lost: tuple[str, ...]
    duplicates: int
    unacknowledged: int
    damaged: int


def account(lab: Lab, traffics: Sequence[Traffic], wan_mail: Path) -> Account:
    """Read every mailbox back by POP3 and IMAP, look into the WAN's, and compare.

    Raises:
        RuntimeError: a mailbox cannot be read.
    """
    ledgers = [str(file) for traffic in traffics for file in traffic.ledgers.values()]
    words = [
        *(sys.executable, "-m", "mininet_lab.mail.load", "account"),
        *_each("--ledger", ledgers),
        *("--at", service_addresses(lab, "smtp_pop", "inner")[0]),
        *_each("--user", logins_of(lab)),
        *("--wan-mail", str(wan_mail)),
    ]
    found = json.loads(lab.network.nodes["client1"].run(*words, timeout=300.0))
    ways = found["ways"].values()
    return Account(
        acknowledged=sum(way["acknowledged"] for way in ways),
        arrived=sum(way["arrived"] for way in ways),
        lost=tuple(name for way in ways for name in way["lost"]),
        duplicates=sum(way["duplicates"] for way in ways),
        unacknowledged=sum(way["unacknowledged"] for way in ways),
        damaged=found["damaged"],
    )


def service_addresses(lab: Lab, role: str, segment: str) -> tuple[str, ...]:
    return addresses_on(lab.site.roles[role], segment)


def logins_of(lab: Lab) -> list[str]:
    return [f"{user.name}:{user.password}" for user in lab.mail.users]


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]
