"""A controller that runs, and what they can do to it who merely reach its ports."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from running import PATIENCE, Running, command, own_site, running

from hactrl.site import load

#: So many may a process have that nobody has allowed more.
DESCRIPTORS = 1024
IDLE = 1200


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("controller"), DESCRIPTORS) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def many_descriptors() -> Iterator[None]:
    """For the test itself, which opens all these connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < IDLE + 200:
        pytest.skip(f"needs {IDLE + 200} descriptors, and may have {before[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], IDLE + 200), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def started(site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A controller that is expected to end by itself."""
    return subprocess.run(
        [*command(site), *options], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def own_words(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a controller says that cannot start. eventlet says something at every start."""
    return [line for line in done.stderr.splitlines() if "not greened" not in line]


@pytest.mark.reported("C9")
@pytest.mark.parametrize("who", ["openflow", "agents", "rest"])
def test_a_second_controller_at_the_same_port_ends_at_once_and_the_first_goes_on(
    controller: Running, tmp_path: Path, who: str
) -> None:
    place = f"127.0.0.1:{getattr(controller, who)}"
    done = started(own_site(tmp_path, **{who: place}))
    assert done.returncode == 1
    (line,) = own_words(done)
    assert line.startswith(f"ryu-manager: controller.{who}.listen: {place}: the port is in use")
    assert not (tmp_path / "hactrl.sqlite").exists()
    assert controller.is_well()


@pytest.mark.reported("C9")
@pytest.mark.parametrize(
    ("who", "place", "trouble"),
    [
        ("openflow", "no.invalid:6653", "does not resolve"),
        ("agents", "192.0.2.1:6655", "no interface of this machine has the address"),
        ("rest", "no.invalid:8080", "does not resolve"),
        ("rest", "[2001:db8::1]:8080", "no interface of this machine has the address"),
    ],
)
def test_where_nobody_can_listen_a_controller_ends_with_one_line(
    tmp_path: Path, who: str, place: str, trouble: str
) -> None:
    done = started(own_site(tmp_path, **{who: place}))
    assert done.returncode == 1
    (line,) = own_words(done)
    assert line.startswith(f"ryu-manager: controller.{who}.listen: {place}: ")
    assert trouble in line


@pytest.mark.reported("C9")
@pytest.mark.parametrize(
    ("options", "trouble"),
    [
        (["--ctl-privkey", "/none", "--ctl-cert", "/none"], "not usable"),
        (["--ctl-privkey", "/none"], "go together"),
    ],
)
def test_a_controller_whose_key_no_switch_could_be_served_with_ends_with_one_line(
    tmp_path: Path, options: list[str], trouble: str
) -> None:
    done = started(own_site(tmp_path), *options)
    assert done.returncode == 1
    (line,) = own_words(done)
    assert trouble in line


@pytest.fixture
def interruptible() -> Iterator[None]:
    """These tests may run where nobody sits at a terminal, which programs inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.reported("A6")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_controller_that_is_told_to_end_does_so_by_that_signal_with_its_journal_on_disk(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as controller:
        token = Path(load(tmp_path / "site.yaml").controller.operator_token).read_text().strip()
        url = f"http://127.0.0.1:{controller.rest}/v1/servers/smtp_pop/disable"
        answer = httpx.post(
            url,
            json={"reason": "told to end"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30.0,
            trust_env=False,
        )
        assert answer.status_code == 202
        controller.process.send_signal(number)
        assert controller.process.wait(30.0) == -number
        with closing(sqlite3.connect(tmp_path / "hactrl.sqlite")) as store:
            kinds = [kind for (kind,) in store.execute("SELECT kind FROM journal")]
        assert "request.accepted" in kinds


def test_what_makes_a_controller_settle_does_not_end_unheard(tmp_path: Path) -> None:
    command_line = command(own_site(tmp_path))
    at = command_line.index("-c") + 1
    defect = "from hactrl.control.runtime import Runtime; Runtime.settle = lambda self: 1 / 0\n"
    command_line[at] = defect + command_line[at]
    done = subprocess.run(
        command_line, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 70
    assert "settling failed; the controller ends" in done.stderr


@pytest.mark.reported("C2")
@pytest.mark.parametrize("who", ["rest", "openflow", "agents"])
def test_more_idle_connections_than_there_are_descriptors_leave_a_controller_usable(
    controller: Running, who: str
) -> None:
    with ExitStack() as idle:
        for _ in range(IDLE):
            place = ("127.0.0.1", getattr(controller, who))
            idle.enter_context(socket.create_connection(place, timeout=30.0))
        assert controller.is_well()
    told = [line for line in controller.log.splitlines() if f"controller.{who}.listen" in line]
    assert len(told) == 1


HEAD = b"POST /v1/trace HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TABLES = b"GET /v1/tables HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: What is sent at once, and then again and again until the controller hangs up or `ENOUGH` is sent.
ATTACKS = {
    "one byte a chunk": (CHUNKED, b"1\r\nx\r\n" * 10_000),
    "an endless chunk-size line": (CHUNKED, b"f" * 65536),
    "a body of 10 GB": (HEAD + b"Content-Length: 10000000000\r\n\r\n", b"x" * 65536),
    "an endless head": (HEAD, b"X-Padding: " + b"x" * 1000 + b"\r\n"),
    "an endless line of a head": (HEAD, b"X" * 65536),
    "an endless request line": (b"GET /", b"x" * 65536),
    "requests whose answers nobody reads": (TABLES, TABLES * 100),
}
ENOUGH = 64 * 1024 * 1024

#: Mebibytes that the controller may grow by meanwhile, seconds in which it answers others, and
#: seconds after which it is taken to read no more.
GROWTH = 100
WITHIN = 15.0
STUCK = 3.0


def resident(controller: Running) -> float:
    """The controller's memory, in MiB."""
    pages = int(Path(f"/proc/{controller.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


@pytest.mark.reported("C6")
@pytest.mark.parametrize("attack", ATTACKS)
def test_who_asks_without_end_is_hung_up_on_and_others_are_served(
    controller: Running, attack: str
) -> None:
    begin, again = ATTACKS[attack]
    before = resident(controller)
    sent = 0
    with socket.create_connection(("127.0.0.1", controller.rest)) as client:
        client.settimeout(STUCK)
        client.sendall(begin)
        # Hung up on, or no more is read of what is sent.
        with contextlib.suppress(OSError):
            while sent < ENOUGH:
                sent += client.send(again)
        asked = time.monotonic()
        assert controller.is_well()
        assert time.monotonic() - asked < WITHIN
    assert sent < ENOUGH
    assert resident(controller) - before < GROWTH
