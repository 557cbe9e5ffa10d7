"""hactrl installed into a fresh virtual environment, and started from there.

Slow, because pip really installs; the wheels come from pip's cache where it has them.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from free_port import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
FRONTIER = REPOSITORY / "examples" / "frontier.yaml"
OPENFLOW_13_HELLO = b"\x04\x00"  # OpenFlow 1.3.5, section A.1: version, type


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that only `tools/prepare.sh` has touched."""
    directory = tmp_path_factory.mktemp("fresh environment") / "venv"
    # Without the bytecode of 6,000 files, of which hardly any is read here.
    settings = os.environ | {"PIP_NO_COMPILE": "1"}
    subprocess.run([REPOSITORY / "tools" / "prepare.sh", directory], check=True, env=settings)
    return directory


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    """The example's site, with addresses, ports and files of this test's own."""
    text = FRONTIER.read_text()
    for listen in ("127.0.0.1:6653", "172.16.0.1:6655", "127.0.0.1:8080"):
        assert listen in text
        text = text.replace(listen, f"127.0.0.1:{free_port()}")
    text = text.replace("/run/hactrl/", f"{tmp_path}/")
    (tmp_path / "agent-tokens").write_text("mailrelay: one\nsmtp_pop: two\n")
    (tmp_path / "operator-token").write_text("an operator's token\n")
    for secret in ("agent-tokens", "operator-token"):
        (tmp_path / secret).chmod(0o600)
    file = tmp_path / "site.yaml"
    file.write_text(text)
    return file


def site_packages(environment: Path) -> Path:
    (directory,) = environment.glob("lib/python3*/site-packages")
    return directory


def changed_files(environment: Path, distribution: str) -> list[str]:
    """Files of an installed distribution whose digest is not the one in its RECORD."""
    packages = site_packages(environment)
    (record,) = packages.glob(f"{distribution}-*.dist-info/RECORD")
    changed = []
    for name, digest, _size in csv.reader(record.read_text().splitlines()):
        algorithm, _, wanted = digest.partition("=")
        # A console script of the same name, ours, stands in the place of Ryu's.
        if not wanted or name.endswith("bin/ryu-manager"):
            continue
        content = (packages / name).read_bytes()
        found = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest())
        if found.rstrip(b"=").decode() != wanted:
            changed.append(name)
    return changed


def test_ryu_manager_is_ours(environment: Path) -> None:
    script = (environment / "bin" / "ryu-manager").read_text()
    assert "from hactrl.shell.launcher import main" in script


@pytest.mark.parametrize("distribution", ["ryu", "eventlet"])
def test_nothing_in_site_packages_is_patched(environment: Path, distribution: str) -> None:
    assert changed_files(environment, distribution) == []


def test_a_second_preparation_does_nothing_and_is_fast(environment: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [REPOSITORY / "tools" / "prepare.sh", environment],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert time.monotonic() - started < 15


@contextmanager
def controller(environment: Path, directory: Path, *arguments: str, **variables: str) -> Iterator:
    """`ryu-manager` as a user starts it in that directory, ended with everything it started."""
    process = subprocess.Popen(
        [environment / "bin" / "ryu-manager", *arguments],
        cwd=directory,
        env={k: v for k, v in os.environ.items() if k != "HACTRL_SITE"} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def output_until(process: subprocess.Popen[bytes], wanted: bytes, seconds: float) -> bytes:
    """What the process says, up to `wanted`, its end or the time limit."""
    assert process.stdout is not None
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen and (left := deadline - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            seen += chunk
    return seen


def openflow_greeting(port: int, seconds: float) -> bytes:
    """The first bytes that a switch which connects would be sent."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
                return connection.recv(8)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # nothing tells when a port begins to listen


def openflow_port(site_file: Path) -> int:
    (line,) = (ln for ln in site_file.read_text().splitlines() if "openflow:" in ln)
    return int(line.rsplit(":", 1)[1].strip(' "}'))


@pytest.mark.parametrize("place", ["checkout", "elsewhere"])
def test_ryu_manager_hactrl_greets_switches(
    environment: Path, site_file: Path, tmp_path: Path, place: str
) -> None:
    directory = REPOSITORY if place == "checkout" else tmp_path
    with controller(environment, directory, "hactrl", HACTRL_SITE=str(site_file)) as process:
        said = output_until(process, b"instantiating app hactrl.shell.app of Hactrl", 30)
        assert b"instantiating app hactrl.shell.app of Hactrl" in said, said.decode()
        assert openflow_greeting(openflow_port(site_file), 10)[:2] == OPENFLOW_13_HELLO
