"""The dialogues against the real Postfix and Dovecot, which the unit tests' scripts quote."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mail_machines import Namespaces

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 20.0

MAIN_CF = """
compatibility_level = 3.6
myhostname = mail.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file_prefixes = {root}
maillog_file = {root}/postfix.log
smtputf8_enable = no
alias_maps =
"""
MASTER_CF = """
smtp      inet  n - n - -  smtpd
2525      inet  n - n - -  smtpd -o smtpd_client_restrictions=reject -o smtpd_delay_reject=no
postlog   unix-dgram n - n - 1 postlogd
anvil     unix  - - n - 1  anvil
rewrite   unix  - - n - -  trivial-rewrite
proxymap  unix  - - n - -  proxymap
cleanup   unix  n - n - 0  cleanup
"""
DOVECOT_CONF = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
passdb {{
  driver = static
  args = nopassword=y
}}
"""


class Daemons:
    """Postfix and Dovecot on the ports that everybody knows, alone in a network namespace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Namespaces()
        for directory in ("etc", "queue", "data", "run", "state"):
            (root / directory).mkdir()
        (root / "etc" / "main.cf").write_text(MAIN_CF.format(root=root))
        (root / "etc" / "master.cf").write_text(MASTER_CF)
        (root / "dovecot.conf").write_text(DOVECOT_CONF.format(root=root))
        subprocess.run(["chown", "postfix", root / "data"], check=True)
        self.host.run(["postfix", "-c", str(root / "etc"), "check"])
        master = "/usr/lib/postfix/sbin/master"
        self.host.start([master, "-d", "-c", str(root / "etc")])
        self.dovecot = self.host.start(["dovecot", "-F", "-c", str(root / "dovecot.conf")])

    def probe(self, kind: str, port: int, timeout: float = PATIENCE) -> str:
        """What one probe finds, from inside the namespace."""
        program = (
            "import asyncio, json, sys; from ipaddress import ip_address\n"
            "from hactrl.health.dialogues import converse\n"
            "from hactrl.health.targets import ProbeRoute\n"
            "here = ip_address('127.0.0.1'); kind, port, timeout = json.loads(sys.argv[1])\n"
            "print(asyncio.run(converse(kind, ProbeRoute(here, here), port, timeout)).cause.name)"
        )
        asked = json.dumps([kind, port, timeout])
        return self._run(program, asked)

    def send_syns(self, port: int, seconds: float) -> int:
        """To one of them and to a port where nobody listens; how often that one refused."""
        program = (
            "import asyncio, json, sys; from ipaddress import ip_address\n"
            "from hactrl.health.syn import SynProber\n"
            "from hactrl.health.targets import ProbeRoute, Target\n"
            "port, seconds = json.loads(sys.argv[1]); told = []\n"
            "routes = (ProbeRoute(ip_address('127.0.0.2'), ip_address('127.0.0.1')),)\n"
            "def target(card, port):\n"
            "    return Target('mail', 'smtp', card, card, 'smtp', routes, port, 1.0, 1.0, 2, 3,\n"
            "                  syn_interval=0.005)\n"
            "async def ask():\n"
            "    async with asyncio.TaskGroup() as group:\n"
            "        prober = SynProber(group, lambda one, *what: told.append((one.port, *what)))\n"
            "        prober.replace([target('A', port), target('B', 9)])\n"
            "        await asyncio.sleep(seconds)\n"
            "        prober.replace(())\n"
            "asyncio.run(ask())\n"
            "assert {port for port, *_ in told} == {9}, told\n"
            "print(len(told))"
        )
        return int(self._run(program, json.dumps([port, seconds])))

    def _run(self, program: str, asked: str) -> str:
        """In Python, inside the namespace; what it prints."""
        command = ["nsenter", "-t", str(self.host.init), "-n", sys.executable, "-c", program, asked]
        return subprocess.check_output(command, cwd=CHECKOUT, text=True).strip()

    def connections(self) -> int:
        """How many Postfix has heard of."""
        return (self.root / "postfix.log").read_text().count("]: connect from ")

    def probe_until(self, wanted: str, kind: str, port: int) -> str:
        """As long as the daemon that has just been started does not answer yet."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.probe(kind, port)) != wanted and time.monotonic() < deadline:
            pass
        return found


@pytest.fixture(scope="module")
def daemons() -> Iterator[Daemons]:
    # Not pytest's directory: the daemons' own users must get in.
    with tempfile.TemporaryDirectory(prefix="probed-") as name:
        root = Path(name)
        root.chmod(0o755)
        daemons = Daemons(root)
        yield daemons
        daemons.host.close()


@pytest.mark.parametrize(
    ("kind", "port"), [("smtp", 25), ("submission", 25), ("pop3", 110), ("imap", 143)]
)
def test_a_running_daemon_is_alive(daemons: Daemons, kind: str, port: int) -> None:
    assert daemons.probe_until("NONE", kind, port) == "NONE"


def test_a_daemon_that_turns_everybody_away_is_not(daemons: Daemons) -> None:
    assert daemons.probe_until("BAD_GREETING", "smtp", 2525) == "BAD_GREETING"


def test_a_daemon_hears_of_no_syn_and_its_log_has_no_line_of_it(daemons: Daemons) -> None:
    """The dialogue afterwards is the next that it hears of: whoever came before is in its log."""
    assert daemons.probe_until("NONE", "smtp", 25) == "NONE"
    before = daemons.connections()
    assert daemons.send_syns(25, 1.0) > 20
    assert daemons.probe("smtp", 25) == "NONE"
    deadline = time.monotonic() + PATIENCE
    while daemons.connections() == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert daemons.connections() == before + 1


def test_a_stopped_daemon_still_connects_and_is_not_alive(daemons: Daemons) -> None:
    assert daemons.probe_until("NONE", "imap", 143) == "NONE"
    everything = subprocess.check_output(
        ["nsenter", "-t", str(daemons.host.init), "-p", "-m", "pgrep", "-f", "dovecot"], text=True
    )
    ids = everything.split()

    def send(name: str) -> None:
        daemons.host.run(["kill", f"-{name}", *ids])

    send("STOP")
    try:
        assert daemons.probe("tcp", 143) == "NONE"
        assert daemons.probe("imap", 143, timeout=0.2) == "TIMEOUT"
    finally:
        send("CONT")
        # nsenter has stopped itself with its child, and would never reap it.
        daemons.dovecot.send_signal(signal.SIGCONT)
