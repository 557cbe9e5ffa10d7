"""The units for systemd."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hactrl.shell.watchdog import HUNG_AFTER, LOCKED_AFTER, UNSERVED_AFTER

UNITS = Path(__file__).parents[3] / "examples" / "systemd"

pytestmark = pytest.mark.reported("C1")


def service(name: str) -> configparser.SectionProxy:
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS / name)
    return unit["Service"]


def test_the_controller_tells_systemd_of_itself_and_is_always_started_again() -> None:
    unit = service("hactrl.service")
    assert (unit["Type"], unit["NotifyAccess"], unit["Restart"]) == ("notify", "main", "always")


def test_systemd_waits_longer_than_the_controllers_own_watchdog() -> None:
    patience = float(service("hactrl.service")["WatchdogSec"])
    assert patience > 2 * max(HUNG_AFTER, UNSERVED_AFTER, LOCKED_AFTER)


def test_an_agent_ends_alone() -> None:
    assert service("hactrl-agent.service")["KillMode"] == "process"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_no_fault_with_them(tmp_path: Path) -> None:
    for unit in UNITS.glob("*.service"):
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    files = [str(file) for file in tmp_path.glob("*.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
