"""The lab's network and isolation, on the real kernel. Each test is a run of its own, in a
directory of its own, so that it collides with nobody's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mininet_lab.loop_device import LoopDevice, attached

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]

#: Runs inside, as a scenario would: a server's power, by the site's own power fence.
POWER = """
import signal, subprocess, sys, time
from pathlib import Path
from mininet_lab.isolate import process_one
from mininet_lab.clock import now
from mininet_lab.lab import Lab
from mininet_lab.servers import ServerError

def main():
    with Lab(Path(sys.argv[1])) as lab:
        server = lab.servers["smtp_pop"]
        server.power_on()
        first = Path(f"/proc/{server.init}/root/run/boot-id").read_text()
        namespaces = server.run_in_role("smtp_pop", "ip", "-o", "address")
        assert "10.0.0.25/24" in namespaces and "2001:db8:0:2::25/64" in namespaces, namespaces
        init = server.init
        fence = [str(lab.directory / "bin" / "hactrl-lab-power"), "off", "smtp_pop"]
        began = now()
        subprocess.run(fence, check=True)
        print("off", now() - began)
        assert not Path(f"/proc/{init}").exists()
        assert not server.is_on
        began = now()
        subprocess.run(fence, check=True)
        print("off again", now() - began)
        carrier = Path("/sys/class/net/i2-2/carrier").read_text().strip()
        assert carrier == "0", carrier
        server.power_on()
        while True:
            try:
                server.signal_agent(signal.SIGSTOP)
                break
            except ServerError:  # it is being started
                time.sleep(0.01)
        time.sleep(0.1)  # nsenter(1), which is to collect it, stops too
        server.power_off()
        server.power_on()
        assert Path(f"/proc/{server.init}/root/run/boot-id").read_text() != first
        assert Path("/sys/class/net/i2-2/carrier").read_text().strip() == "1"
        unknown = subprocess.run([*fence[:2], "nobody"], capture_output=True, text=True)
        assert unknown.returncode == 1 and "nobody" in unknown.stderr, unknown
    return 0

sys.exit(process_one(main))
"""


def lab(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mininet_lab", *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"HACTRL_LAB_DIRECTORY": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_that_mention(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_hosts_reach_each_other_and_servers_go_on_and_off(tmp_path: Path) -> None:
    run = lab(tmp_path, "run", "network")
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert "all promises held" in output


def test_power_fence_proves_a_server_off_and_a_boot_is_a_new_one(tmp_path: Path) -> None:
    namespaces = ("--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
    done = subprocess.run(
        ["unshare", *namespaces, "--mount-proc", sys.executable, "-c", POWER, str(tmp_path)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert attached(tmp_path) == ()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing_and_the_next_one_works(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = lab(tmp_path, "run", "network")
    assert run.stdout is not None
    while "switching smtp_pop on" not in (line := run.stdout.readline()):
        assert line, "the run ended early"
    run.send_signal(number)
    run.wait(timeout=20)
    assert eventually(lambda: not processes_that_mention(str(tmp_path)))
    assert eventually(lambda: attached(tmp_path) == ())
    run.stdout.close()
    clean = lab(tmp_path, "clean")
    output, _ = clean.communicate(timeout=30)
    assert clean.returncode == 0, output
    assert not (tmp_path / "run").exists()


#: Takes the place of the first program that a run starts, and waits before it is that.
LATE = """#!/bin/sh
touch "$0.begun"
while [ ! -e "$0.go" ]; do sleep 0.01; done
exec /usr/bin/setpriv "$@"
"""


def test_a_run_whose_outer_process_dies_before_anybody_could_die_with_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "bin" / "setpriv"
    late.parent.mkdir()
    late.write_text(LATE)
    late.chmod(0o755)
    monkeypatch.setenv("PATH", f"{late.parent}:{os.environ['PATH']}")
    run = lab(tmp_path / "lab", "run", "takeover")  # goes on for longer than is waited for
    assert eventually(late.with_name("setpriv.begun").exists)
    run.kill()
    run.wait()
    late.with_name("setpriv.go").touch()
    assert eventually(lambda: not processes_that_mention(str(tmp_path)))

    # A process that ends forgets its command line before its lock.
    def is_cleaned() -> bool:
        output, _ = lab(tmp_path / "lab", "clean").communicate(timeout=30)
        return "not ended" not in output

    assert eventually(is_cleaned)


def test_a_disk_that_somebody_has_attached_is_named_and_not_taken_away(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    disk = tmp_path / "run" / "spool.img"
    disk.write_bytes(bytes(2**20))
    with LoopDevice.attach(disk) as device:
        clean = lab(tmp_path, "clean")
        output, _ = clean.communicate(timeout=30)
        assert clean.returncode == 2
        assert f"losetup --detach {device.path}" in output.replace("\n", " ")
    assert lab(tmp_path, "clean").wait(timeout=30) == 0
    assert not disk.exists()


def test_only_one_run_at_a_time(tmp_path: Path) -> None:
    first = lab(tmp_path, "run", "network")
    assert first.stdout is not None
    while "building the network" not in (line := first.stdout.readline()):
        assert line, "the run ended early"
    second = lab(tmp_path, "run", "network")
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "one at a time" in output
    first.communicate(timeout=120)
    assert first.returncode == 0
