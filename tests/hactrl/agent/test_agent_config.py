"""The agent's file is taken whole or refused with every error."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from hactrl.agent.config import AgentConfig, ConfigError, Daemon, host_and_port, load
from hactrl.agent.main import main

COMMON = """
server = "one"
controllers = ["192.0.2.1:6655"]
token_file = "/etc/token"
state_directory = "/var/lib/agent"
run_directory = "/run/agent"
"""
MAIL = """
[roles.mail]
standby = ["/bin/answer-421"]
assume = ["/bin/assume"]
"""


def read(tmp_path: Path, text: str) -> AgentConfig:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def errors(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return caught.value.errors


def test_the_example_of_the_document_is_right(tmp_path: Path) -> None:
    document = Path(__file__).parents[3] / "docs" / "agent.md"
    (example,) = re.findall(r"```toml\n(.*?)```", document.read_text(encoding="utf-8"), re.S)
    config = read(tmp_path, example)
    assert [role.name for role in config.roles] == ["smtp_pop", "mailrelay"]
    written = tomllib.loads(example)["roles"]["smtp_pop"]
    defaults = read(tmp_path, COMMON + MAIL).roles[0]
    times = [name for name in written if name.endswith(("_timeout", "_interval", "_failures"))]
    assert len(times) == 7
    for name in times:
        assert written[name] == getattr(defaults, name), "the document names the defaults"


def test_daemons_are_started_or_found_by_pidfile(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        COMMON
        + MAIL
        + '[roles.mail.daemons]\na = {command = ["/a"]}\n'
        + 'b = {pidfile = "/b.pid", from = "prepare"}',
    )
    assert config.roles[0].daemons == (
        Daemon("a", ("/a",), "", "assume"),
        Daemon("b", (), "/b.pid", "prepare"),
    )


def test_every_error_is_named_at_once(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        'server = ""\ncontrollers = ["controller.example:6655"]\ntoken_file = "token"\n'
        + 'run_directory = "/run"\nstate_direktory = "/var"\n'
        + "[roles.mail]\nrelease_timeout = 0\nprepare = 'ls -l'\n"
        + "check_failures = 0\ncheck_write = 'spool'\n"
        + '[roles.mail.daemons]\na = {}\nb = {pidfile = "/b", from = "boot"}\n',
    )
    places = sorted(error.split(":")[0] for error in found)
    assert places == [
        "controllers",
        "roles.mail.assume",
        "roles.mail.check_failures",
        "roles.mail.check_write",
        "roles.mail.daemons.a",
        "roles.mail.daemons.b.from",
        "roles.mail.prepare",
        "roles.mail.release_timeout",
        "roles.mail.standby",
        "server",
        "state_directory",
        "state_direktory",
        "token_file",
    ]
    assert any("did you mean 'state_directory'?" in error for error in found)


def test_an_always_role_needs_something_to_run(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, COMMON + "[roles.web]\nalways = true")
    assert "at least one" in error


def test_an_always_role_owns_no_device(tmp_path: Path) -> None:
    role = '[roles.web]\nalways = true\nassume = ["/a"]\ndevices = ["/dev/sda"]'
    (error,) = errors(tmp_path, COMMON + role)
    assert "no `devices`" in error


@pytest.mark.reported("B7")
def test_a_role_that_owns_something_needs_what_answers_while_it_is_elsewhere(
    tmp_path: Path,
) -> None:
    role = '[roles.mail]\nassume = ["/bin/assume"]\n'
    (error,) = errors(tmp_path, COMMON + role)
    assert error.startswith("roles.mail.standby: is missing; what answers 'try again later'")
    waits = '[roles.mail.daemons]\ndovecot = {pidfile = "/run/master.pid", from = "prepare"}\n'
    assert read(tmp_path, COMMON + role + waits).roles


def test_users_can_be_killed_only_of_named_devices(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, COMMON + MAIL + "kill_users = true\n")
    assert error.startswith("roles.mail.kill_users: there are no `devices`")


def test_a_broken_file_is_one_error_with_its_place(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, "server = \n")
    assert "line 1" in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [("192.0.2.1:1", ("192.0.2.1", 1)), ("[2001:db8::1]:65535", ("2001:db8::1", 65535))],
)
def test_controllers_are_addresses_with_ports(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


@pytest.mark.parametrize(
    "text", ["192.0.2.1", "2001:db8::1:1", "[192.0.2.1]:1", "name:1", "192.0.2.1:0", "192.0.2.1:x"]
)
def test_anything_else_is_no_controller(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text.rpartition(":")[0].strip("[]") or text)):
        host_and_port(text)


def test_check_exits_1_and_prints_the_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(COMMON, encoding="utf-8")
    assert main(["--check", str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: roles: is missing\n"
    path.write_text(COMMON + MAIL, encoding="utf-8")
    assert main(["--check", str(path)]) == 0
